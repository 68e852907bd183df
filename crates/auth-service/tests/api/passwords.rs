//! Forgetting, choosing, changing and being given passwords.

use bson::doc;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    PASSWORD, SignedIn, TestApp, claims_of, cookies_of, email_of, eventually, text, token_of,
};

const NEW: &str = "seven green kites 4";

fn change(current: &str, new: &str) -> serde_json::Value {
    json!({ "currentPassword": current, "newPassword": new })
}

async fn signed_out(app: &TestApp, user: &SignedIn) {
    user.client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
    app.refresh(&user.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_mailed_link_sets_a_password_and_ends_every_session() {
    let app = TestApp::spawn().await;
    let (phone, laptop) = (app.user("ada", "enduser").await, app.log_in("ada").await);
    let bob = app.user("bob", "enduser").await;

    let token = app.reset_token("ada@example.com", 1).await;
    assert_eq!(token.len(), 64);
    let answer = app.redeem(&token, NEW).await.expect(200);

    assert_eq!(answer.body, json!({ "message": "Password reset successful" }));
    assert!(
        cookies_of(&answer)
            .iter()
            .all(|cookie| cookie.contains("Max-Age=0"))
    );
    signed_out(&app, &phone).await;
    signed_out(&app, &laptop).await;
    bob.client.get("/api/profile").await.expect(200);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    app.try_log_in("ada", NEW).await.expect(200);
    app.redeem(&token, "another password 1")
        .await
        .expect_problem(400, "invalid_reset_token");
    let mail = app.mail("ada@example.com", "password was changed").await;
    assert!(mail.contains("127.0.0.1") && !mail.contains(NEW), "{mail}");
    app.audited("password_reset", "done", 1).await;
    app.audited("password_reset", "refused", 1).await;
}

#[tokio::test]
async fn an_address_nobody_has_gets_the_same_answer_and_no_mail() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let shut = app.user("shut", "enduser").await;
    app.update_user(&shut.id, doc! { "isDisabled": true }).await;
    let ask = async |email: &str| {
        let answer = app
            .client
            .post("/api/auth/forgot-password", &json!({ "email": email }))
            .await
            .expect(200);
        answer.text
    };

    let known = ask("ADA@example.com").await;
    for email in [
        "nobody@example.com",
        "shut@example.com",
        "not an address",
        "ada@example.com\u{0}",
        "ada",
    ] {
        assert_eq!(ask(email).await, known, "{email:?}");
    }
    app.mail("ada@example.com", "Choose a new password").await;
    let none = r#"auth_password_resets_total{outcome="no_account",service="auth-service"}"#;
    eventually("all are worked on", async || {
        (app.metric(none).await > 4.5).then_some(())
    })
    .await;
    assert_eq!(app.count("password_resets", doc! {}).await, 1);
}

#[tokio::test]
async fn the_token_is_kept_as_a_hash_only() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    let token = app.reset_token("ada@example.com", 1).await;

    let row = app
        .collection("password_resets")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();

    assert!(!format!("{row:?}").contains(&token));
    let hash = row.get_str("tokenHash").unwrap().to_owned();
    app.redeem(&hash, NEW)
        .await
        .expect_problem(400, "invalid_reset_token");
}

#[tokio::test]
async fn a_link_dies_of_age_of_a_newer_one_and_of_other_changes() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let mail = "ada@example.com";
    let dead = async |token: &str| {
        app.redeem(token, NEW)
            .await
            .expect_problem(400, "invalid_reset_token");
    };

    let old = app.reset_token(mail, 1).await;
    app.advance_secs(61);
    let newer = app.reset_token(mail, 2).await;
    dead(&old).await;

    app.advance_secs(30 * 60 + 1);
    dead(&newer).await;

    let before_change = app.reset_token(mail, 3).await;
    let ada = app.log_in(&ada.username).await;
    ada.client
        .post("/api/change-password", &change(PASSWORD, "eight blue boats 2"))
        .await
        .expect(200);
    dead(&before_change).await;

    app.advance_secs(601);
    let before_move = app.reset_token(mail, 4).await;
    app.update_user(&ada.id, doc! { "email": "elsewhere@example.com" })
        .await;
    dead(&before_move).await;

    app.update_user(&ada.id, doc! { "email": mail, "isDisabled": true })
        .await;
    dead(&before_move).await;
    app.update_user(&ada.id, doc! { "isDisabled": false }).await;
    app.redeem(&before_move, NEW).await.expect(200);
}

#[tokio::test]
async fn a_refused_password_does_not_use_the_link_up() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    let token = app.reset_token("ada@example.com", 1).await;

    for bad in [
        "short",
        "password123",
        "my name is ada",
        "flowgate rocks 1",
        &"x".repeat(73),
        "nul\u{0}byte 123",
    ] {
        let answer = app.redeem(&token, bad).await;
        let answer = answer.expect_problem(400, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], "newPassword");
    }
    app.redeem(&token, &"x".repeat(1_000_000))
        .await
        .expect_problem(413, "body_too_large");
    app.redeem(&token, NEW).await.expect(200);
}

#[tokio::test]
async fn of_parallel_uses_of_a_link_one_counts() {
    let app = TestApp::spawn().await;
    let other = app.spawn_beside().await;
    app.user("ada", "enduser").await;
    let token = app.reset_token("ada@example.com", 1).await;
    let passwords: Vec<_> = (0..8).map(|number| format!("parallel kites {number}")).collect();

    let answers = join_all(passwords.iter().enumerate().map(|(index, password)| {
        let app = if index % 2 == 0 { &app } else { &other };
        app.redeem(&token, password)
    }))
    .await;

    let winners: Vec<_> = (0..8).filter(|index| answers[*index].status == 200).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    app.try_log_in("ada", &passwords[winners[0]]).await.expect(200);
}

#[tokio::test]
async fn a_link_proves_the_address_and_shuts_out_who_signed_up_before() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "email_not_verified");

    let token = app.reset_token("ada@example.com", 1).await;
    app.redeem(&token, NEW).await.expect(200);

    app.try_log_in("ada", NEW).await.expect(200);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn links_are_paced_for_each_account() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    app.reset_token("ada@example.com", 1).await;

    for _ in 0..5 {
        let body = json!({ "email": "ada@example.com" });
        app.client
            .post("/api/auth/forgot-password", &body)
            .await
            .expect(200);
    }

    let paced = r#"auth_password_resets_total{outcome="too_soon",service="auth-service"}"#;
    eventually("all are worked on", async || {
        (app.metric(paced).await > 4.5).then_some(())
    })
    .await;
    let links = app.mails_to("ada@example.com");
    let links = links.iter().filter(|mail| mail.contains("Choose a new password"));
    assert_eq!(links.count(), 1);
}

#[tokio::test]
async fn links_lead_to_the_configured_address_only() {
    let app = TestApp::spawn_with(|config| {
        config.public_url = "https://school.example/chat/".parse().unwrap();
    })
    .await;
    app.user("ada", "enduser").await;
    let request = app
        .client
        .request(Method::POST, "/api/auth/forgot-password")
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example")
        .header("origin", "https://evil.example")
        .json(&json!({ "email": "ada@example.com" }));
    app.client.send(request).await.expect(200);

    let mail = app.mail("ada@example.com", "Choose a new password").await;

    let whole = mail.replace("=\r\n", "").replace("=3D", "=");
    assert!(
        whole.contains("https://school.example/chat/reset-password?token="),
        "{whole}"
    );
    assert!(!whole.contains("evil.example"), "{whole}");
    app.redeem(&token_of(&mail), NEW).await.expect(200);
}

#[tokio::test]
async fn changing_ends_every_session_and_opens_one() {
    let app = TestApp::spawn().await;
    let (here, elsewhere) = (app.user("ada", "enduser").await, app.log_in("ada").await);

    let answer = here
        .client
        .post("/api/change-password", &change(PASSWORD, NEW))
        .await
        .expect(200);

    assert!(answer.body["message"].is_string());
    assert_eq!(cookies_of(&answer).len(), 2);
    signed_out(&app, &here).await;
    signed_out(&app, &elsewhere).await;
    let (access, refresh) = (
        text(&answer.body["accessToken"]),
        text(&answer.body["refreshToken"]),
    );
    app.client
        .with_token(&access)
        .get("/api/profile")
        .await
        .expect(200);
    app.refresh(&refresh).await.expect(200);
    assert_ne!(claims_of(&app, &access).sid, here.claims(&app).sid);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    app.try_log_in("ada", NEW).await.expect(200);
    app.mail("ada@example.com", "password was changed").await;
    app.audited("password_changed", "ok", 1).await;
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_a_good_new_one() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let post = async |current: &str, new: &str| {
        ada.client
            .post("/api/change-password", &change(current, new))
            .await
    };

    post("not the password", NEW)
        .await
        .expect_problem(400, "wrong_password");
    post(&"a".repeat(90_000), NEW)
        .await
        .expect_problem(400, "wrong_password");
    for (current, new, field) in [
        ("", NEW, "currentPassword"),
        (PASSWORD, "", "newPassword"),
        (PASSWORD, PASSWORD, "newPassword"),
        (PASSWORD, "short", "newPassword"),
        (PASSWORD, "ada is my name", "newPassword"),
        (PASSWORD, "tail\u{0}of nothing", "newPassword"),
    ] {
        let answer = post(current, new).await.expect_problem(400, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    ada.client.get("/api/profile").await.expect(200);

    for _ in 0..5 {
        post("not the password", NEW).await.expect(400);
    }
    let slowed = post(PASSWORD, NEW).await.expect_problem(429, "too_many_attempts");
    assert!(slowed.headers.contains_key("retry-after"));
    app.log_in("ada").await;
    app.advance_secs(61);
    post(PASSWORD, NEW).await.expect(200);
}

#[tokio::test]
async fn of_parallel_changes_one_counts() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let passwords: Vec<_> = (0..4).map(|number| format!("parallel kites {number}")).collect();

    let bodies: Vec<_> = passwords.iter().map(|new| change(PASSWORD, new)).collect();
    let answers = join_all(
        bodies
            .iter()
            .map(|body| ada.client.post("/api/change-password", body)),
    )
    .await;

    let winners: Vec<_> = (0..4).filter(|index| answers[*index].status == 200).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    app.try_log_in("ada", &passwords[winners[0]]).await.expect(200);
    assert_eq!(app.count("sessions", doc! {}).await, 2);
}

#[tokio::test]
async fn sign_ins_that_race_with_a_change_leave_no_session_of_the_old_password() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let body = change(PASSWORD, NEW);

    let logins = join_all((0..12).map(|_| app.try_log_in("ada", PASSWORD)));
    let changed = ada.client.post("/api/change-password", &body);
    let (logins, changed) = futures_util::future::join(logins, changed).await;

    changed.expect(200);
    for login in logins.into_iter().filter(|login| login.status == 200) {
        let old = SignedIn::from_answer(&app, "ada", &login);
        old.client
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
    }
    assert_eq!(app.count("sessions", doc! {}).await, 1);
}

#[tokio::test]
async fn an_admin_gives_a_password_that_has_to_be_changed() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "supervisor").await;
    let path = format!("/api/admin/users/{}/reset-password", ada.id);

    let body = json!({ "newPassword": "given by the school 1", "notes": "asked by phone" });
    let answer = root.client.post(&path, &body).await.expect(200);

    assert_eq!(
        answer.body["user"],
        json!({ "username": "ada", "email": "ada@example.com", "mustChangePassword": true })
    );
    assert!(answer.body.get("generatedPassword").is_none());
    signed_out(&app, &ada).await;
    let mail = app.mail("ada@example.com", "password was reset").await;
    assert!(!mail.contains("given by the school"), "{mail}");
    app.audited("password_reset_by_admin", "ok", 1).await;

    let answer = app.try_log_in("ada", "given by the school 1").await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], true);
    let ada = SignedIn::from_answer(&app, "ada", &answer);
    assert!(ada.claims(&app).must_change_password);
    for (method, path) in [
        (Method::GET, "/api/dashboard"),
        (Method::PUT, "/api/profile"),
        (Method::GET, "/api/admin/reports"),
    ] {
        let request = ada.client.request(method, path).json(&json!({}));
        let answer = ada.client.send(request).await;
        answer.expect_problem(403, "password_change_required");
    }
    let profile = ada.client.get("/api/profile").await.expect(200);
    assert_eq!(profile.body["user"]["mustChangePassword"], true);
    let refreshed = app.refresh(&ada.refresh).await.expect(200);
    assert!(claims_of(&app, &text(&refreshed.body["accessToken"])).must_change_password);

    let answer = ada
        .client
        .post("/api/change-password", &change("given by the school 1", NEW))
        .await
        .expect(200);
    let free = app.client.with_token(text(&answer.body["accessToken"]));
    free.get("/api/admin/reports").await.expect(200);
    let profile = free.get("/api/profile").await.expect(200);
    assert!(profile.body["user"].get("mustChangePassword").is_none());
    let again = app.try_log_in("ada", NEW).await.expect(200);
    assert!(again.body.get("mustChangePassword").is_none());
}

#[tokio::test]
async fn whoever_must_change_can_still_sign_out() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.update_user(&ada.id, doc! { "mustChangePassword": true })
        .await;
    for path in ["/api/auth/logout", "/api/auth/logout-all"] {
        let ada = app.log_in("ada").await;
        ada.client.post(path, &json!({})).await.expect(200);
        signed_out(&app, &ada).await;
    }
}

#[tokio::test]
async fn generated_passwords_are_strong_and_work() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/admin/users/{}/reset-password", ada.id);

    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        let answer = root.client.post(&path, &json!({ "generateRandom": true })).await;
        let password = text(&answer.expect(200).body["generatedPassword"]);
        assert_eq!(password.len(), 19, "16 symbols and three hyphens");
        assert!(
            password
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        );
        app.try_log_in("ada", &password).await.expect(200);
        assert!(seen.insert(password));
    }
}

#[tokio::test]
async fn what_an_admin_may_not_give_is_refused_and_changes_nothing() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/admin/users/{}/reset-password", ada.id);

    for body in [
        json!({}),
        json!({ "generateRandom": false }),
        json!({ "newPassword": NEW, "generateRandom": true }),
        json!({ "newPassword": "short" }),
        json!({ "newPassword": "" }),
        json!({ "newPassword": { "$ne": null } }),
        json!({ "generateRandom": "true" }),
    ] {
        root.client
            .post(&path, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    let good = json!({ "generateRandom": true });
    root.client
        .post("/api/admin/users/nobody/reset-password", &good)
        .await
        .expect_problem(400, "invalid_user_id");
    let nobody = format!("/api/admin/users/{}/reset-password", "a".repeat(24));
    root.client
        .post(&nobody, &good)
        .await
        .expect_problem(404, "user_not_found");
    ada.client
        .post(&path, &good)
        .await
        .expect_problem(403, "forbidden");
    app.client
        .post(&path, &good)
        .await
        .expect_problem(401, "missing_token");
    ada.client.get("/api/profile").await.expect(200);
    app.log_in("ada").await;
}

#[tokio::test]
async fn an_invitation_lasts_a_week_and_chooses_the_first_password() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let id = app.sign_up("newcomer").await;
    let path = format!("/api/admin/users/{id}/invitation");

    root.client.post(&path, &json!({})).await.expect(200);
    let mail = app.mail(&email_of("newcomer"), "Your account is ready").await;
    app.advance_secs(6 * 24 * 3_600);
    app.redeem(&token_of(&mail), NEW).await.expect(200);

    app.try_log_in("newcomer", NEW).await.expect(200);
    app.audited("user_invited", "ok", 1).await;
    let nobody = format!("/api/admin/users/{}/invitation", "a".repeat(24));
    let root = app.log_in("root1").await;
    root.client
        .post(&nobody, &json!({}))
        .await
        .expect_problem(404, "user_not_found");
}
