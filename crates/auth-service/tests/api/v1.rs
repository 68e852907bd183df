//! The account routes under `/api/v1`.

use auth_service::domain::user::SignInRule;
use bson::doc;
use serde_json::json;

use crate::support::{PASSWORD, TestApp, text};

#[tokio::test]
async fn an_older_front_end_registers_signs_in_looks_and_signs_out() {
    let app = TestApp::spawn().await;
    let body = json!({
        "username": "ada", "email": "ada@example.com", "password": PASSWORD, "is_admin": true, "role": "admin",
    });
    let made = app.client.post("/api/v1/auth/register", &body).await.expect(201);
    assert!(
        made.body["access_token"].is_null(),
        "the address has to be proven first"
    );
    let id = text(&made.body["user"]["id"]);
    let code = app.code("ada@example.com", 1).await;
    app.client
        .post("/api/auth/verify-email", &json!({ "token": code }))
        .await
        .expect(200);

    let credentials = json!({ "username": "ada", "password": PASSWORD });
    let answer = app
        .client
        .post("/api/v1/auth/login", &credentials)
        .await
        .expect(200);
    let person = json!({
        "id": id, "username": "ada", "email": "ada@example.com", "is_admin": false, "role": "enduser",
    });
    assert_eq!(answer.body["user"], person);
    assert!(!answer.headers.contains_key("set-cookie"));
    let ada = app.client.with_token(text(&answer.body["access_token"]));
    assert_eq!(ada.get("/api/v1/me").await.expect(200).body["user"], person);
    assert_eq!(
        ada.get("/api/v1/hello").await.expect(200).body["message"],
        "hello world"
    );
    let account = ada.get("/api/v1/auth/account").await.expect(200);
    assert_eq!(
        (
            &account.body["user"]["has_password"],
            &account.body["user"]["oauth_accounts"]
        ),
        (&json!(true), &json!([]))
    );

    ada.post("/api/v1/auth/logout", &json!({})).await.expect(200);
    ada.get("/api/v1/me").await.expect_problem(401, "session_revoked");
    let refresh = text(&answer.body["refresh_token"]);
    app.refresh(&refresh).await.expect(401);
    app.client.get("/api/v1/test").await.expect(200);
}

#[tokio::test]
async fn wrong_credentials_are_told_as_everywhere() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    for (body, status, code) in [
        (
            json!({ "username": "ada", "password": "wrong" }),
            401,
            "invalid_credentials",
        ),
        (
            json!({ "username": "", "password": PASSWORD }),
            400,
            "validation_failed",
        ),
        (
            json!({ "username": "ada", "password": "" }),
            400,
            "validation_failed",
        ),
        (json!({ "username": "ada" }), 400, "validation_failed"),
    ] {
        app.client
            .post("/api/v1/auth/login", &body)
            .await
            .expect_problem(status, code);
    }
    let taken = json!({ "username": "ada", "email": "new@example.com", "password": PASSWORD });
    app.client
        .post("/api/v1/auth/register", &taken)
        .await
        .expect_problem(400, "username_taken");
}

#[tokio::test]
async fn an_admin_registers_others_and_lists_everybody() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for (name, is_admin) in [("helper", true), ("pupil", false)] {
        let body = json!({
            "username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "is_admin": is_admin,
        });
        let made = root.client.post("/api/v1/register", &body).await.expect(201);
        assert_eq!(made.body["user"]["is_admin"], is_admin);
        assert_eq!(
            app.log_in(name).await.claims(&app).role.as_str() == "admin",
            is_admin
        );
    }
    app.update_user(&app.log_in("pupil").await.id, doc! { "isDisabled": true })
        .await;

    let users = root.client.get("/api/v1/users").await.expect(200);

    let users = users.body["users"].as_array().unwrap();
    let state = |name: &str| {
        let user = users.iter().find(|user| user["username"] == name).unwrap();
        (
            user["is_admin"].as_bool().unwrap(),
            user["is_active"].as_bool().unwrap(),
        )
    };
    assert_eq!(users.len(), 3);
    assert_eq!(
        (state("root1"), state("helper"), state("pupil")),
        ((true, true), (true, true), (false, false))
    );
    let pupil = json!({ "username": "late", "email": "late@example.com", "password": PASSWORD });
    app.log_in("helper")
        .await
        .client
        .post("/api/v1/register", &pupil)
        .await
        .expect(201);
}

#[tokio::test]
async fn where_addresses_need_no_proof_a_registration_signs_in() {
    let app = TestApp::spawn_with(|config| config.sign_in_rule = SignInRule::Anybody).await;
    let body = json!({ "username": "ada", "email": "ada@example.com", "password": PASSWORD });

    let made = app.client.post("/api/v1/auth/register", &body).await.expect(201);

    let ada = app.client.with_token(text(&made.body["access_token"]));
    let profile = ada.get("/api/profile").await.expect(200);
    assert_eq!(
        profile.body["user"]["isVerified"], false,
        "it is still not proven"
    );
    let again = app.log_in("ada").await;
    app.refresh(&again.refresh).await.expect(200);
    app.update_user(&again.id, doc! { "isDisabled": true }).await;
    app.try_log_in("ada", PASSWORD).await.expect(401);
}

#[tokio::test]
async fn one_changes_ones_account_with_the_current_password_only() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let path = "/api/v1/auth/account";
    let other = "another plenty of trees";

    let without = json!({ "password": other });
    ada.client
        .put(path, &without)
        .await
        .expect_problem(400, "validation_failed");
    let wrong = json!({ "password": other, "current_password": "wrong" });
    ada.client
        .put(path, &wrong)
        .await
        .expect_problem(400, "wrong_password");
    let email = json!({ "email": "new@example.com", "current_password": PASSWORD });
    let asked = ada.client.put(path, &email).await.expect(200);
    assert_eq!(
        asked.body["user"]["email"], "ada@example.com",
        "it has to be proven first"
    );
    assert!(asked.body.get("access_token").is_none());

    let right = json!({ "password": other, "current_password": PASSWORD });
    let changed = ada.client.put(path, &right).await.expect(200);
    ada.client
        .get("/api/v1/me")
        .await
        .expect_problem(401, "session_revoked");
    let again = app.client.with_token(text(&changed.body["access_token"]));
    again.get("/api/v1/me").await.expect(200);
    app.try_log_in("ada", other).await.expect(200);
}

#[tokio::test]
async fn an_admin_changes_others() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/v1/users/{}", ada.id);
    let given = "given by the office 1";

    let edit = json!({ "email": "Ada2@example.com", "is_admin": true, "password": given });
    let changed = root.client.put(&path, &edit).await.expect(200);
    assert_eq!(changed.body["user"]["email"], "ada2@example.com");
    assert_eq!(changed.body["user"]["is_admin"], true);
    let signed_in = app.try_log_in("ada", given).await.expect(200);
    assert_eq!(signed_in.body["mustChangePassword"], true);

    root.client
        .put(&path, &json!({ "is_active": false }))
        .await
        .expect(200);
    app.try_log_in("ada", given).await.expect(401);
    let own = format!("/api/v1/users/{}", root.id);
    root.client
        .put(&own, &json!({ "is_admin": false }))
        .await
        .expect_problem(409, "last_admin");
    root.client
        .put("/api/v1/users/short", &json!({}))
        .await
        .expect_problem(400, "invalid_user_id");
    let nobody = format!("/api/v1/users/{}", "a".repeat(24));
    root.client
        .put(&nobody, &json!({}))
        .await
        .expect_problem(404, "user_not_found");
}
