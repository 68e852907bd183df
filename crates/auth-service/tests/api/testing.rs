//! What exists for tests of clients only.

use auth_service::Config;
use bson::{Document, doc};
use common_config::Env;
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::support::{TestApp, text};

async fn with_switch() -> TestApp {
    TestApp::spawn_with(|config| config.testing_endpoints = true).await
}

#[tokio::test]
async fn without_the_switch_there_is_nothing_and_nothing_readable_is_kept() {
    let app = TestApp::spawn().await;
    let id = app.sign_up("ada").await;
    let code = app.code("ada@example.com", 1).await;
    let link = app.reset_token("ada@example.com", 1).await;

    for path in ["verification-token", "verify-user"] {
        let path = format!("/api/testing/{path}/{id}");
        let unchecked = test_support::Client::new(&app.base);
        unchecked.get(&path).await.expect_problem(404, "not_found");
        unchecked
            .post(&path, &json!({}))
            .await
            .expect_problem(404, "not_found");
    }
    for collection in ["verifications", "password_resets"] {
        let rows: Vec<Document> = app
            .collection(collection)
            .find(doc! {})
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let rows = format!("{rows:?}");
        assert!(!rows.contains(&code) && !rows.contains(&link), "{rows}");
    }
}

#[tokio::test]
async fn with_the_switch_tests_read_what_was_mailed() {
    let app = with_switch().await;
    let id = app.sign_up("ada").await;
    let path = format!("/api/testing/verification-token/{id}");

    let code = app.client.get(&path).await.expect(200);
    assert_eq!(code.body["type"], "email");
    assert_eq!(text(&code.body["token"]), app.code("ada@example.com", 1).await);
    let link = app.reset_token("ada@example.com", 1).await;
    let shown = app
        .client
        .get(&format!("{path}/password-reset"))
        .await
        .expect(200);
    assert_eq!(shown.body["type"], "password-reset");
    assert_eq!(shown.body["token"], link.as_str());

    let body = json!({ "token": code.body["token"] });
    app.client.post("/api/auth/verify-email", &body).await.expect(200);
    app.client.get(&path).await.expect_problem(404, "token_not_found");
    app.redeem(&link, "seven green kites 4").await.expect(200);
    app.client
        .get(&format!("{path}/password-reset"))
        .await
        .expect_problem(404, "token_not_found");
}

#[tokio::test]
async fn with_the_switch_tests_verify_users() {
    let app = with_switch().await;
    let id = app.sign_up("ada").await;
    let path = format!("/api/testing/verify-user/{id}");

    let answer = app.client.post(&path, &json!({})).await.expect(200);

    let user = json!({ "id": id, "username": "ada", "email": "ada@example.com", "isEmailVerified": true });
    assert_eq!(answer.body["user"], user);
    app.log_in("ada").await;
    assert_eq!(app.count("verifications", doc! {}).await, 0);
}

#[tokio::test]
async fn bad_ids_and_types_are_refused() {
    let app = with_switch().await;
    let nobody = "a".repeat(24);
    for (path, status, code) in [
        ("verification-token/x".to_owned(), 400, "invalid_user_id"),
        (format!("verification-token/{nobody}"), 404, "token_not_found"),
        (
            format!("verification-token/{nobody}/email-change"),
            400,
            "validation_failed",
        ),
    ] {
        let path = format!("/api/testing/{path}");
        app.client.get(&path).await.expect_problem(status, code);
    }
    for (id, status, code) in [
        ("x", 400, "invalid_user_id"),
        (nobody.as_str(), 404, "user_not_found"),
    ] {
        let path = format!("/api/testing/verify-user/{id}");
        app.client
            .post(&path, &json!({}))
            .await
            .expect_problem(status, code);
    }
}

#[test]
fn production_refuses_the_switch() {
    let env = Env::from_pairs([
        ("MONGODB_URI", "mongodb://localhost/auth_db"),
        ("JWT_ACCESS_SECRET", "Zq8vT3mK1xWc7Rb5Ny2Lp9Hd4Gf6Js0A"),
        ("JWT_REFRESH_SECRET", "b7Xn2Qw9Lk4Vt6Yc1Mz8Rj5Hs3Pd0FgT"),
        ("SERVICE_JWT_SECRET", "u5Ke8Wr1Bn7Tc3Zx9Jm6Vq2Ly4Hg0DsP"),
        ("MAIL_DIR", "/tmp/mail"),
        ("TESTING_ENDPOINTS", "true"),
        ("NODE_ENV", "production"),
    ]);

    assert!(Config::from_env(&env).is_err());
    assert!(env.mistakes().join("\n").contains("TESTING_ENDPOINTS"));
}
