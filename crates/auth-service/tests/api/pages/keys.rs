//! API keys, as people make and revoke them in a browser without scripts.

use bson::doc;

use super::signed_in;
use crate::{api_keys::verify, support::TestApp};

/// The key on the page that shows it.
fn shown(html: &str) -> String {
    let (_, after) = html.split_once("value=\"fg-").unwrap();
    format!("fg-{}", after.split('"').next().unwrap())
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_revoked() {
    let app = TestApp::spawn().await;
    let (id, mut ada) = signed_in(&app, "ada", "enduser").await;
    let page = ada.open("/account/keys").await.expect(200);
    page.expect_text("There is no key.");
    assert!(!page.html.contains("scope_admin"), "not for her");
    let members = [
        ("name", "My <notebook>"),
        ("scope_chat", "on"),
        ("chatflows", "flow-a\r\nflow-b"),
        ("credit_cap", "5"),
        ("rate", ""),
        ("expires_at", "2030-06-30"),
    ];
    let made = ada
        .fill("/account/keys", "/account/keys", &members)
        .await
        .expect(200);
    made.expect_text("My &#60;notebook&#62;");
    assert_eq!(made.headers["cache-control"], "no-store");
    let key = shown(&made.html);
    let grant = verify(&app, &key).await.unwrap();
    assert_eq!((grant.user_id, grant.credit_cap, grant.rate), (id, Some(5), None));
    assert_eq!(grant.chatflows.unwrap(), ["flow-a", "flow-b"]);
    assert_eq!(grant.expires_at, Some(1_909_094_399));

    let list = ada.open("/account/keys").await.expect(200);
    list.expect_text(&key[..10]).expect_text("at most 5 credits");
    assert!(!list.html.contains(&key));
    // Loading the page again that showed the key sends the form again: another key of this name is none.
    let again = ada
        .submit("/account/keys", &list.token(), &members)
        .await
        .expect(409);
    again.expect_text("There is a key of this name already.");

    let row = app
        .collection("api_keys")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    let action = format!("/account/keys/{}", row.get_str("_id").unwrap());
    let (_, mut bob) = signed_in(&app, "bob", "enduser").await;
    bob.fill("/account/keys", &action, &[]).await.expect(404);
    assert!(verify(&app, &key).await.is_some());
    let revoked = ada.submit(&action, &list.token(), &[]).await;
    assert_eq!(revoked.location(), "/account/keys?done=key_revoked");
    assert_eq!(verify(&app, &key).await, None);
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let members = [
        ("name", ""),
        ("credit_cap", "many"),
        ("rate", "-1"),
        ("expires_at", "soon"),
        ("scope_admin", "on"),
        ("chatflows", "a/b"),
    ];
    let page = ada
        .fill("/account/keys", "/account/keys", &members)
        .await
        .expect(400);
    for text in [
        "A whole number, please, from 1 to 1,000,000,000,000.",
        "A whole number, please, from 1 to 10,000.",
        "This is not a day.",
        "Only keys of administrators may have these rights.",
        "These are not ids of chatflows.",
        r#"value="many""#,
    ] {
        page.expect_text(text);
    }
    ada.jar.insert("flowgateLanguage".to_owned(), "de".to_owned());
    ada.open("/account/keys")
        .await
        .expect(200)
        .expect_text("API-Schlüssel");
    assert_eq!(app.count("api_keys", doc! {}).await, 0);
}

#[tokio::test]
async fn administrators_make_service_accounts_and_their_keys() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let with_password = [
        ("username", "reports"),
        ("role", "enduser"),
        ("is_service_account", "on"),
        ("password", "plenty of trees 9"),
    ];
    root.fill("/admin/users/new", "/admin/users/new", &with_password)
        .await
        .expect(400)
        .expect_text("A service account has no password; leave it empty.");
    let made = root
        .fill("/admin/users/new", "/admin/users/new", &with_password[..3])
        .await;
    let page = made.location().split('?').next().unwrap().to_owned();
    let user = root.open(&page).await.expect(200);
    user.expect_text("Service account");
    assert!(!user.html.contains("Give a new password"));
    root.open("/admin/users")
        .await
        .expect(200)
        .expect_text("Service account");

    let keys = format!("{page}/keys");
    let members = [("name", "Nightly"), ("scope_read", "on")];
    let shown_once = root.submit(&keys, &user.token(), &members).await.expect(200);
    let key = shown(&shown_once.html);
    assert_eq!(verify(&app, &key).await.unwrap().username, "reports");
    let refused = root
        .submit(&keys, &user.token(), &[("name", "None")])
        .await
        .expect(400);
    refused.expect_text("Choose at least one.");

    let row = app
        .collection("api_keys")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    let action = format!("{keys}/{}", row.get_str("_id").unwrap());
    let revoked = root.submit(&action, &user.token(), &[]).await;
    assert_eq!(revoked.location(), format!("{page}?done=key_revoked"));
    assert_eq!(verify(&app, &key).await, None);
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    ada.fill("/account", &keys, &members).await.expect(403);
}
