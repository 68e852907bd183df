//! What administrators change while the service runs.

use bson::doc;
use futures_util::future::join;
use serde_json::{Value, json};

use crate::{
    imports::import,
    support::{PASSWORD, SignedIn, TestApp, email_of, eventually, text},
};

const PATH: &str = "/api/v1/admin/config";
const PUBLIC: &str = "/api/v1/auth/config";

/// Changes the settings as they are now.
pub(crate) async fn change(root: &SignedIn, mut edit: Value) {
    let now = root.client.get(PATH).await.expect(200);
    edit["version"] = now.body["version"].clone();
    root.client.put(PATH, &edit).await.expect(200);
}

fn sign_up(name: &str, email: &str, password: &str) -> Value {
    json!({ "username": name, "email": email, "password": password })
}

#[tokio::test]
async fn settings_have_versions_and_of_two_who_change_one_learns_of_the_other() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let first = root.client.get(PATH).await.expect(200);
    assert_eq!(
        (&first.body["version"], &first.body["settings"]["registration"]),
        (&json!(0), &json!("open"))
    );

    let (one, two) = join(
        root.client
            .put(PATH, &json!({ "version": 0, "site_name": "School" })),
        root.client
            .put(PATH, &json!({ "version": 0, "password_min_length": 12 })),
    )
    .await;
    let mut codes = [one.status.as_u16(), two.status.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [200, 409], "{} {}", one.text, two.text);
    root.client
        .put(PATH, &json!({ "version": 0 }))
        .await
        .expect_problem(409, "settings_changed");
    change(&root, json!({ "site_name": "Another", "logo_url": "/logo.svg" })).await;
    change(&root, json!({ "logo_url": "" })).await;
    let versions = root.client.get(&format!("{PATH}/versions")).await.expect(200);
    let versions = versions.body["versions"].as_array().unwrap().clone();
    assert_eq!(versions.len(), 3);
    assert_eq!(
        (
            &versions[1]["settings"]["logo_url"],
            &versions[0]["settings"]["logo_url"],
            &versions[0]["created_by"]
        ),
        (&json!("/logo.svg"), &Value::Null, &json!(root.id))
    );
    let activate = |version: i64| format!("{PATH}/versions/{version}/activate");
    let back = root
        .client
        .post(&activate(2), &json!({ "version": 3 }))
        .await
        .expect(200);
    assert_eq!(
        (&back.body["version"], &back.body["settings"]["logo_url"]),
        (&json!(4), &json!("/logo.svg"))
    );
    root.client
        .post(&activate(2), &json!({ "version": 3 }))
        .await
        .expect_problem(409, "settings_changed");
    root.client
        .post(&activate(99), &json!({ "version": 4 }))
        .await
        .expect_problem(404, "settings_not_found");
    let begin = root
        .client
        .post(&activate(0), &json!({ "version": 4 }))
        .await
        .expect(200);
    assert_eq!(begin.body["settings"], first.body["settings"]);
    app.audited("settings_changed", "ok", 5).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_and_changes_nothing() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for (member, value) in [
        ("registration_domains", json!(["School.example"])),
        ("registration_domains", json!(["a b"])),
        ("registration", json!("domain")),
        ("password_min_length", json!(7)),
        ("password_min_length", json!(65)),
        ("site_name", json!("")),
        ("logo_url", json!("http://a.example/x.png")),
        ("logo_url", json!("//a.example/x.png")),
        ("logo_url", json!("javascript:alert(1)")),
        ("mail_sender_name", json!("a\r\nBcc: x@y.z")),
    ] {
        let mut body = json!({ "version": 0 });
        body[member] = value;
        root.client
            .put(PATH, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    assert_eq!(app.count("settings", doc! {}).await, 0);
    let user = app.user("ada", "supervisor").await;
    user.client.get(PATH).await.expect_problem(403, "forbidden");
    user.client
        .put(PATH, &json!({ "version": 0 }))
        .await
        .expect_problem(403, "forbidden");
}

#[tokio::test]
async fn registration_is_open_by_domain_or_closed() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    change(
        &root,
        json!({ "registration": "domain", "registration_domains": ["school.example"] }),
    )
    .await;
    for path in ["/api/auth/signup", "/api/v1/auth/register"] {
        let stranger = sign_up("stranger", "a@evil-school.example", PASSWORD);
        app.client
            .post(path, &stranger)
            .await
            .expect_problem(403, "registration_closed");
    }
    app.client
        .post(
            "/api/auth/signup",
            &sign_up("ada", "ada@school.example", PASSWORD),
        )
        .await
        .expect(201);
    change(&root, json!({ "registration": "closed" })).await;
    let public = app.client.get(PUBLIC).await.expect(200);
    assert_eq!(public.body["registration"], "closed");
    app.client
        .post(
            "/api/auth/signup",
            &sign_up("bob", "bob@school.example", PASSWORD),
        )
        .await
        .expect_problem(403, "registration_closed");
    // Admins make accounts as before.
    let body = sign_up("carol", "carol@example.com", PASSWORD);
    root.client.post("/api/v1/register", &body).await.expect(201);
}

#[tokio::test]
async fn in_maintenance_only_admins_sign_in() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    change(&root, json!({ "user_sign_in": false })).await;
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(403, "sign_in_closed");
    app.try_log_in("ada", "wrong")
        .await
        .expect_problem(401, "invalid_credentials");
    app.try_log_in("root1", PASSWORD).await.expect(200);
    app.refresh(&ada.refresh).await.expect(200);
    change(&root, json!({ "user_sign_in": true })).await;
    app.try_log_in("ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn new_passwords_are_as_long_as_wanted() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    change(&root, json!({ "password_min_length": 20 })).await;
    let (short, long) = ("nineteen characters", "twenty characters ok");
    assert_eq!((short.len(), long.len()), (19, 20));
    let refused = |answer: test_support::Answer| answer.expect_problem(400, "validation_failed");
    refused(
        app.client
            .post("/api/auth/signup", &sign_up("bob", &email_of("bob"), short))
            .await,
    );
    let body = |new: &str| json!({ "currentPassword": PASSWORD, "newPassword": new });
    refused(ada.client.post("/api/change-password", &body(short)).await);
    let token = app.reset_token(&email_of("ada"), 1).await;
    refused(app.redeem(&token, short).await);
    app.redeem(&token, long).await.expect(200);
    let table = format!(
        "username,email,password\nsam,{},{short}\ntom,{},{long}\n",
        email_of("sam"),
        email_of("tom")
    );
    let answer = import(&root, "", table).await.expect(200);
    assert_eq!(answer.body["results"][0]["status"], "failed", "{}", answer.text);
    assert_eq!(
        answer.body["results"][0]["message"],
        "password: must have at least 20 characters"
    );
    assert_eq!(answer.body["results"][1]["status"], "created");
    // A batch invites whoever comes without a good password.
    let uma = json!({ "users": [{ "username": "uma", "email": email_of("uma"), "password": short }] });
    root.client.post("/api/admin/users/batch", &uma).await.expect(201);
    app.try_log_in("uma", short).await.expect(401);
    // Those there are go on to be good.
    app.try_log_in("root1", PASSWORD).await.expect(200);
    app.client
        .post("/api/auth/signup", &sign_up("bob", &email_of("bob"), long))
        .await
        .expect(201);
}

#[tokio::test]
async fn where_addresses_need_no_proof_people_are_in_at_once() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let replica = app.spawn_beside().await;
    change(
        &root,
        json!({ "require_email_verification": false, "mail_sender_name": "The office" }),
    )
    .await;
    let body = sign_up("ada", &email_of("ada"), PASSWORD);
    let made = app.client.post("/api/v1/auth/register", &body).await.expect(201);
    let ada = app.client.with_token(text(&made.body["access_token"]));
    ada.get("/api/v1/me").await.expect(200);
    let mail = app.mail(&email_of("ada"), "Verify").await;
    assert!(
        mail.contains("From: \"The office\" <noreply@example.com>")
            || mail.contains("From: The office <noreply@example.com>"),
        "{mail}"
    );
    // Another replica follows by itself.
    eventually("the other replica follows", async || {
        let answer = replica.try_log_in("ada", PASSWORD).await;
        (answer.status == 200).then_some(())
    })
    .await;
}
