//! Another e-mail address.

use bson::doc;
use serde_json::{Value, json};

use crate::support::{PASSWORD, SignedIn, TestApp};

const NEW: &str = "lovelace@example.com";

async fn ask(user: &SignedIn, email: &str) -> test_support::Answer {
    let body = json!({ "email": email, "currentPassword": PASSWORD });
    user.client.put("/api/profile", &body).await
}

async fn verify(app: &TestApp, body: Value) -> test_support::Answer {
    app.client.post("/api/auth/verify-email", &body).await
}

/// Another code than this one.
fn wrong(code: &str, step: u32) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + step) % 1_000_000)
}

#[tokio::test]
async fn the_new_address_counts_once_its_code_comes_back() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;

    let answer = ask(&ada, " Lovelace@Example.COM ").await.expect(200);
    assert_eq!(answer.body["pendingEmail"], NEW);
    assert_eq!(answer.body["user"]["email"], "ada@example.com");
    let told = app.mail("ada@example.com", "Another e-mail address").await;
    assert!(told.contains("lovelace@example.com"), "{told}");
    let code = app.code(NEW, 1).await;
    assert!(!told.contains(&code));
    app.try_log_in("ada@example.com", PASSWORD).await.expect(200);

    let link = app.reset_token("ada@example.com", 1).await;
    let answer = verify(&app, json!({ "token": code, "email": NEW }))
        .await
        .expect(200);
    assert_eq!(answer.body["message"], "Email verified successfully");

    app.try_log_in(NEW, PASSWORD).await.expect(200);
    app.try_log_in("ada@example.com", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    let profile = ada.client.get("/api/profile").await.expect(200);
    assert_eq!(profile.body["user"]["email"], NEW);
    app.mail("ada@example.com", "address was changed").await;
    app.redeem(&link, "seven green kites 4")
        .await
        .expect_problem(400, "invalid_reset_token");
    verify(&app, json!({ "token": code, "email": NEW }))
        .await
        .expect_problem(400, "invalid_code");
    app.audited("email_change_asked", "ok", 1).await;
    app.audited("email_changed", "ok", 1).await;
}

#[tokio::test]
async fn the_code_alone_is_enough() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    ask(&ada, NEW).await.expect(200);
    let code = app.code(NEW, 1).await;

    verify(&app, json!({ "token": code })).await.expect(200);

    app.try_log_in(NEW, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_change_takes_the_password_and_an_address_that_is_free() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.sign_up("bob").await;
    let put = async |body: Value| ada.client.put("/api/profile", &body).await;

    for password in [json!(null), json!("")] {
        let answer = put(json!({ "email": NEW, "currentPassword": password })).await;
        let answer = answer.expect_problem(400, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], "currentPassword");
    }
    put(json!({ "email": NEW, "currentPassword": "not the password" }))
        .await
        .expect_problem(400, "wrong_password");
    let taken = ask(&ada, "BOB@example.com")
        .await
        .expect_problem(400, "email_taken");
    assert!(taken.body["error"].as_str().unwrap().contains("already exists"));
    for email in [
        "nobody",
        "a@b.c\r\nBcc: x@y.z",
        "a@b.c, x@y.z",
        "\u{430}da@example.com",
        "ada\u{0}@example.com",
    ] {
        let answer = ask(&ada, email).await.expect_problem(400, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], "email", "{email:?}");
    }
    for body in [
        json!({ "email": { "$ne": null }, "currentPassword": PASSWORD }),
        json!({ "email": NEW, "currentPassword": { "$ne": null } }),
    ] {
        put(body).await.expect_problem(400, "validation_failed");
    }
    let same = put(json!({ "email": " ADA@example.com" })).await.expect(200);
    assert!(same.body.get("pendingEmail").is_none());
    assert_eq!(
        app.count("verifications", doc! { "type": "email-change" }).await,
        0
    );
}

#[tokio::test]
async fn a_refused_half_changes_nothing() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.sign_up("bob").await;

    for (username, email, code) in [
        ("bob", NEW, "username_taken"),
        ("lovelace", "bob@example.com", "email_taken"),
        ("x", NEW, "validation_failed"),
    ] {
        let body = json!({ "username": username, "email": email, "currentPassword": PASSWORD });
        ada.client
            .put("/api/profile", &body)
            .await
            .expect_problem(400, code);
    }

    let stored = app.find_user(&ada.id).await.unwrap();
    assert_eq!(stored.get_str("username").ok(), Some("ada"));
    assert_eq!(
        app.count("verifications", doc! { "type": "email-change" }).await,
        0
    );
    let body = json!({ "username": "lovelace", "email": NEW, "currentPassword": PASSWORD });
    let both = ada.client.put("/api/profile", &body).await.expect(200);
    assert_eq!(both.body["user"]["username"], "lovelace");
    assert_eq!(both.body["pendingEmail"], NEW);
}

#[tokio::test]
async fn five_wrong_codes_void_the_right_one() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    ask(&ada, NEW).await.expect(200);
    let code = app.code(NEW, 1).await;

    for step in 1..=5 {
        verify(&app, json!({ "token": wrong(&code, step), "email": NEW }))
            .await
            .expect_problem(400, "invalid_code");
    }
    verify(&app, json!({ "token": code, "email": NEW }))
        .await
        .expect_problem(400, "invalid_code");
    verify(&app, json!({ "token": code }))
        .await
        .expect_problem(400, "invalid_code");

    let soon = ask(&ada, NEW).await.expect_problem(429, "too_many_attempts");
    assert!(soon.headers.contains_key("retry-after"));
    app.advance_secs(31);
    ask(&ada, NEW).await.expect(200);
    let code = app.code(NEW, 2).await;
    verify(&app, json!({ "token": code, "email": NEW }))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_address_taken_meanwhile_stays_where_it_is() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    ask(&ada, NEW).await.expect(200);
    let code = app.code(NEW, 1).await;
    app.sign_up("lovelace").await;

    let taken = verify(&app, json!({ "token": code })).await;

    let taken = taken.expect_problem(400, "email_taken");
    assert!(taken.body["error"].as_str().unwrap().contains("already exists"));
    let stored = app.find_user(&ada.id).await.unwrap();
    assert_eq!(stored.get_str("email").ok(), Some("ada@example.com"));
}

#[tokio::test]
async fn a_change_dies_with_the_password_and_with_the_next_one() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    ask(&ada, "first@example.com").await.expect(200);
    let first = app.code("first@example.com", 1).await;
    ask(&ada, NEW).await.expect(200);
    let second = app.code(NEW, 1).await;
    verify(&app, json!({ "token": first, "email": "first@example.com" }))
        .await
        .expect_problem(400, "invalid_code");

    let token = app.reset_token("ada@example.com", 1).await;
    app.redeem(&token, "seven green kites 4").await.expect(200);

    verify(&app, json!({ "token": second, "email": NEW }))
        .await
        .expect_problem(400, "invalid_code");
    app.try_log_in("ada@example.com", "seven green kites 4")
        .await
        .expect(200);
}

#[tokio::test]
async fn the_code_of_one_person_moves_nobody_else() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada", "enduser").await, app.user("bob", "enduser").await);
    ask(&ada, NEW).await.expect(200);
    let for_ada = app.code(NEW, 1).await;
    app.advance_secs(31);
    // The last one who asked is whom the code moves.
    ask(&bob, NEW).await.expect(200);
    let for_bob = app.code(NEW, 2).await;

    verify(&app, json!({ "token": for_ada, "email": NEW }))
        .await
        .expect_problem(400, "invalid_code");
    verify(&app, json!({ "token": for_bob, "email": "bob@example.com" }))
        .await
        .expect_problem(400, "invalid_code");
    verify(&app, json!({ "token": for_bob, "email": NEW }))
        .await
        .expect(200);

    let stored = app.find_user(&ada.id).await.unwrap();
    assert_eq!(stored.get_str("email").ok(), Some("ada@example.com"));
    app.try_log_in(NEW, PASSWORD).await.expect(200);
    assert_eq!(
        app.find_user(&bob.id).await.unwrap().get_str("email").ok(),
        Some(NEW)
    );
}
