//! Who waits to be let in, and who is invited, as administrators decide it.

use bson::doc;

use super::{Browser, signed_in};
use crate::support::{PASSWORD, TestApp, email_of};

/// Somebody who made an account for themselves and waits.
async fn waiting(app: &TestApp, name: &str) -> String {
    let id = app.sign_up(name).await;
    app.update_user(&id, doc! { "isVerified": true, "awaitsApproval": true })
        .await;
    id
}

#[tokio::test]
async fn who_waits_is_let_in_or_refused_once() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let empty = root.open("/admin/registrations").await.expect(200);
    empty.expect_text("Nobody waits.");
    let (ada, eve) = (waiting(&app, "ada").await, waiting(&app, "eve").await);
    app.update_user(&eve, doc! { "fullName": "<img src=x>" }).await;
    let page = root.open("/admin/registrations").await.expect(200);
    page.expect_text("ada@example.com").expect_text("Refuse eve");
    assert!(!page.html.contains("<img src=x>"));

    let list = "/admin/registrations";
    let approve = format!("/admin/registrations/{ada}/approve");
    let approved = root.fill(list, &approve, &[]).await;
    assert_eq!(approved.location(), "/admin/registrations?done=approved");
    Browser::new(&app).sign_in("ada").await.location();
    let refuse = format!("/admin/registrations/{eve}/refuse");
    let refused = root.fill(list, &refuse, &[]).await;
    assert_eq!(refused.location(), "/admin/registrations?done=refused");
    assert!(app.find_user(&eve).await.is_none());
    // Somebody has decided already; and what is no id is nobody.
    for path in [approve, refuse, "/admin/registrations/x/refuse".to_owned()] {
        let page = root.fill("/admin/users/new", &path, &[]).await.expect(404);
        page.expect_text("Nobody waits here any more");
    }
    assert!(app.find_user(&ada).await.is_some(), "who was let in stays");
    root.open("/admin/registrations?cursor=nonsense")
        .await
        .expect(400);
}

#[tokio::test]
async fn an_invitation_is_handed_over_as_a_link_that_is_shown_once() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let at = "/admin/invitations";
    root.open(at).await.expect(200).expect_text("There is none.");
    let wish = [("uses", "2"), ("role", "supervisor"), ("note", "<b>4B</b>")];
    let made = root.fill(at, at, &wish).await.expect(200);
    let mark = "https://chat.example.com/register?invitation=";
    let (_, after) = made.html.split_once(mark).unwrap();
    let code = after.split('<').next().unwrap().to_owned();
    assert_eq!(made.headers["cache-control"], "no-store");

    let list = root.open(at).await.expect(200);
    assert!(!list.html.contains(&code) && !list.html.contains("<b>4B"));
    list.expect_text("&#60;b&#62;4B")
        .expect_text("used 0 of 2")
        .expect_text("Supervisor");
    // It is good for what it says.
    let body = serde_json::json!({
        "username": "mei", "email": email_of("mei"), "password": PASSWORD, "invitation": code,
    });
    app.client.post("/api/auth/signup", &body).await.expect(201);
    root.open(at).await.expect_text("used 1 of 2");

    let (_, after) = list.html.split_once("/admin/invitations/").unwrap();
    let id = after.split('/').next().unwrap();
    let revoke = format!("/admin/invitations/{id}/revoke");
    let revoked = root.fill(at, &revoke, &[]).await;
    assert_eq!(revoked.location(), "/admin/invitations?done=invitation_revoked");
    root.fill(at, &revoke, &[])
        .await
        .expect(404)
        .expect_text("There is no such invitation any more.");
    root.open(at).await.expect_text("There is none.");
}

#[tokio::test]
async fn an_invitation_with_an_address_is_mailed_and_told_to_nobody_else() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let at = "/admin/invitations";
    let mailed = root.fill(at, at, &[("email", "mei@example.com")]).await;
    assert_eq!(mailed.location(), "/admin/invitations?done=invitation_mailed");
    let mail = app.mail("mei@example.com", "You are invited").await;
    assert!(mail.contains("/register?invitation="), "{mail}");
    root.open(at).await.expect_text("mei@example.com");
    for (members, text) in [
        (
            [("email", "nowhere"), ("uses", "1")],
            "This is not an e-mail address.",
        ),
        (
            [("email", "root1@example.com"), ("uses", "1")],
            "There is an account with this address.",
        ),
        (
            [("email", "a@example.com"), ("uses", "2")],
            "1, please, where the invitation is mailed.",
        ),
        (
            [("email", ""), ("uses", "ten")],
            "A whole number from 1 to 10,000, please.",
        ),
        (
            [("email", ""), ("expires_in_days", "366")],
            "A whole number from 1 to 365, please.",
        ),
        (
            [("email", ""), ("role", "admin")],
            "must be enduser or supervisor",
        ),
    ] {
        let page = root.fill(at, at, &members).await;
        assert!(page.status.is_client_error(), "{}", page.status);
        page.expect_text(text);
    }
    assert_eq!(app.count("invitations", doc! {}).await, 1);
}
