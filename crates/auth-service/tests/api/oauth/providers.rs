//! What administrators say about providers.

use bson::doc;
use futures_util::future::join;
use serde_json::json;

use super::{School, add_provider, begin_link, path_of};
use crate::{
    oidc::{CLIENT_SECRET, Stranger},
    support::{TestApp, text},
};

const PATH: &str = "/api/v1/admin/oauth-providers";

#[tokio::test]
async fn presets_need_a_client_only() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for (preset, kind, issuer) in [
        ("google", "oidc", "https://accounts.google.com"),
        ("github", "github", "https://github.com"),
    ] {
        let body = json!({ "preset": preset, "name": "", "client_id": "id", "client_secret": "hush" });
        let made = root.client.post(PATH, &body).await.expect(201);
        let made = &made.body["provider"];
        assert_eq!(
            (&made["name"], &made["kind"], &made["issuer"]),
            (&json!(preset), &json!(kind), &json!(issuer))
        );
        assert_eq!(
            made["callback_url"],
            format!("https://chat.example.com/api/v1/auth/oauth/{preset}/callback")
        );
    }
}

/// The form of the older front end: seven members, and nothing about kinds.
#[tokio::test]
async fn older_settings_of_google_and_github_are_known_by_their_addresses() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let google = json!({
        "name": "google", "client_id": "id", "client_secret": "hush", "scope": "openid email profile",
        "authorize_url": "https://accounts.google.com/o/oauth2/auth", "token_url": "https://oauth2.googleapis.com/token",
        "userinfo_url": "https://www.googleapis.com/oauth2/v2/userinfo",
    });
    let made = root.client.post(PATH, &google).await.expect(201);
    assert_eq!(
        (
            &made.body["provider"]["kind"],
            &made.body["provider"]["client_secret"]
        ),
        (&json!("oidc"), &json!("***"))
    );
    let github = json!({
        "name": "github", "client_id": "id", "client_secret": "hush", "scope": "read:user user:email",
        "authorize_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token", "userinfo_url": "https://api.github.com/user",
        "is_active": false,
    });
    let made = root.client.post(PATH, &github).await.expect(201);
    assert_eq!(
        (
            &made.body["provider"]["kind"],
            &made.body["provider"]["is_active"]
        ),
        (&json!("github"), &json!(false))
    );
    let buttons = app.client.get("/api/v1/auth/oauth/providers").await.expect(200);
    assert_eq!(buttons.body["providers"].as_array().unwrap().len(), 1);
}

/// C15, and at rest.
#[tokio::test]
async fn a_secret_is_kept_under_seal_and_shown_to_nobody() {
    let school = School::open().await;
    let rows = school.app.collection("sign_in_providers");
    let row = rows.find_one(doc! {}).await.unwrap().unwrap();
    let sealed = row.get_str("sealedSecret").unwrap().to_owned();
    assert!(sealed.starts_with("v1.") && !row.to_string().contains(CLIENT_SECRET));
    let listed = school.root.client.get(PATH).await.expect(200);
    let kept = school
        .edit(&json!({ "client_secret": "", "display_name": "Renamed" }))
        .await
        .expect(200);
    // Clients that send back what they were shown change nothing.
    let sent_back = school.edit(&json!({ "client_secret": "***" })).await.expect(200);
    for shown in [&listed.text, &kept.text, &sent_back.text] {
        assert!(!shown.contains(CLIENT_SECRET) && !shown.contains(&sealed) && shown.contains("\"***\""));
    }
    school.browser().sign_in("school").await.expect(200);
    school
        .edit(&json!({ "client_secret": "another" }))
        .await
        .expect(200);
    school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(502, "provider_unreachable");
    // Moved to another provider it opens nothing.
    school
        .edit(&json!({ "client_secret": CLIENT_SECRET }))
        .await
        .expect(200);
    let row = rows.find_one(doc! {}).await.unwrap().unwrap();
    rows.delete_one(doc! {}).await.unwrap();
    let mut moved = row;
    moved.insert("_id", "another");
    rows.insert_one(moved).await.unwrap();
    school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(500, "internal");
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_kept() {
    let school = School::open().await;
    let good =
        json!({ "name": "other", "issuer": school.idp.issuer(), "client_id": "id", "client_secret": "hush" });
    for (member, value) in [
        ("name", json!("a/b")),
        ("name", json!("")),
        ("kind", json!("saml")),
        ("issuer", json!("no address")),
        ("issuer", json!("https://login.example.com/?x=y")),
        ("client_id", json!("")),
        ("client_secret", json!("")),
        ("default_role", json!("admin")),
        ("default_role", json!("king")),
        ("color", json!("red; background: url(x)")),
        ("display_name", json!("x\ny")),
        ("redirect_uris", json!(["http://evil.example/"])),
        ("redirect_uris", json!(["https://a.example/#x"])),
        ("redirect_uris", json!(["javascript:alert(1)"])),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let refused = school
            .root
            .client
            .post(PATH, &body)
            .await
            .expect_problem(400, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], member, "{}", refused.text);
    }
    let taken = json!({ "name": "School", "issuer": school.idp.issuer(), "client_id": "id", "client_secret": "hush" });
    school
        .root
        .client
        .post(PATH, &taken)
        .await
        .expect_problem(400, "provider_name_taken");
    assert_eq!(school.app.count("sign_in_providers", doc! {}).await, 1);
    let nobody = format!("{PATH}/none");
    school
        .root
        .client
        .put(&nobody, &json!({}))
        .await
        .expect_problem(404, "provider_not_found");
    school
        .root
        .client
        .delete(&nobody)
        .await
        .expect_problem(404, "provider_not_found");
    let other = add_provider(&school.root, &good).await;
    let renamed = format!("{PATH}/{other}");
    school
        .root
        .client
        .put(&renamed, &json!({ "name": "school" }))
        .await
        .expect_problem(400, "provider_name_taken");
    school.root.client.delete(&renamed).await.expect(200);
    for (action, count) in [("provider_created", 2), ("provider_deleted", 1)] {
        school.app.audited(action, "ok", count).await;
    }
}

#[tokio::test]
async fn a_provider_that_people_are_connected_with_stays_where_it_is() {
    let school = School::open().await;
    let path = format!("{PATH}/{}", school.provider_id);
    let known = school.arrives("1001", "ada@example.com").await.expect(200);
    school
        .root
        .client
        .delete(&path)
        .await
        .expect_problem(409, "provider_in_use");
    school
        .edit(&json!({ "issuer": "http://127.0.0.1:9/" }))
        .await
        .expect_problem(409, "provider_in_use");
    school
        .edit(&json!({ "auto_provision": false, "default_role": "supervisor" }))
        .await
        .expect(200);
    school
        .arrives("1002", "bob@example.com")
        .await
        .expect_problem(403, "not_provisioned");
    school.edit(&json!({ "auto_provision": true })).await.expect(200);
    let bob = school.arrives("1002", "bob@example.com").await.expect(200);
    assert_eq!(bob.body["user"]["role"], "supervisor");
    let listed = school.root.client.get(PATH).await.expect(200);
    assert_eq!(listed.body["providers"][0]["connected_users"], 2);

    for id in [text(&known.body["user"]["id"]), text(&bob.body["user"]["id"])] {
        school.app.update_user(&id, doc! { "role": "enduser" }).await;
        let user = format!("/api/admin/users/{id}");
        school.root.client.delete(&user).await.expect(200);
    }
    school.root.client.delete(&path).await.expect(200);
}

/// Two admins delete while somebody links: whoever comes first, nobody is left connected with nothing.
#[tokio::test]
async fn deleting_and_linking_at_once_leaves_no_identity_behind() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    for round in 0..10 {
        let body = json!({
            "name": format!("p{round}"), "issuer": school.idp.issuer(), "client_id": crate::oidc::CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        });
        let id = add_provider(&school.root, &body).await;
        let subject = format!("90{round}");
        school
            .idp
            .becomes(Stranger::new(&subject, "elsewhere@example.org"));
        let url = begin_link(&ada, &format!("p{round}")).await;
        let mut back = school.browser().visit(&url).await;
        back.set_path(&format!("/api/v1/auth/oauth/p{round}/link"));
        let path = path_of(&back);
        let delete = format!("{PATH}/{id}");
        let deletes = join(
            school.root.client.delete(&delete),
            school.root.client.delete(&delete),
        );
        let (_, (first, second)) = join(ada.client.get(&path), deletes).await;

        let is_gone = school.app.count("sign_in_providers", doc! { "_id": &id }).await == 0;
        let is_linked = school
            .identities_of(&ada.id)
            .await
            .iter()
            .any(|one| one["provider_user_id"] == subject);
        assert!(
            !(is_gone && is_linked),
            "round {round}: {} {}",
            first.text,
            second.text
        );
        assert_eq!(is_gone, first.status == 200 || second.status == 200);
        assert!(!(first.status == 200 && second.status == 200), "deleted once");
    }
}

#[tokio::test]
async fn two_admins_who_change_one_provider_at_once_both_know() {
    let school = School::open().await;
    let (first, second) = join(
        school.edit(&json!({ "display_name": "One" })),
        school.edit(&json!({ "color": "#123456" })),
    )
    .await;
    let listed = school.root.client.get(PATH).await.expect(200);
    let provider = &listed.body["providers"][0];
    for (answer, member, value) in [(first, "display_name", "One"), (second, "color", "#123456")] {
        let counts = answer.status == 200;
        assert!(
            counts || answer.body["code"] == "provider_changed",
            "{}",
            answer.text
        );
        assert_eq!(provider[member] == value, counts);
    }
}
