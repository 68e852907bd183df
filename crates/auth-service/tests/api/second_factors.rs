//! The second factor.

use aws_lc_rs::hmac;
use bson::{Document, doc};
use common_http::{Access, rows};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client};

use crate::support::{PASSWORD, SignedIn, TestApp, claims_of, cookies_of, text, token_of};

const NEW: &str = "seven green kites 4";

/// Somebody's authenticator app.
#[derive(Clone)]
pub(crate) struct Phone {
    secret: Vec<u8>,
}

impl Phone {
    /// What every app does with the secret it is told (RFC 4648 base32, RFC 6238), written anew.
    pub(crate) fn new(secret: &str) -> Self {
        let mut bits = 0_u64;
        let mut count = 0;
        let mut bytes = Vec::new();
        for symbol in secret.bytes() {
            let value = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                b'2'..=b'7' => symbol - b'2' + 26,
                _ => panic!("not base32"),
            };
            bits = (bits << 5) | u64::from(value);
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
            }
        }
        Self { secret: bytes }
    }

    /// The code `steps` steps from now.
    pub(crate) fn code(&self, app: &TestApp, steps: i64) -> String {
        let step = app.clock.now().timestamp() / 30 + steps;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &u64::try_from(step).unwrap().to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let word = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    }

    /// A code that is none of the three that are good now.
    fn wrong_code(&self, app: &TestApp) -> String {
        let good = [-1, 0, 1].map(|steps| self.code(app, steps));
        let mut codes = (0..).map(|number| format!("{number:06}"));
        codes.find(|code| !good.contains(code)).unwrap()
    }
}

/// Somebody signed in who has a second factor. The clock is a step further then.
async fn with_factor(app: &TestApp, name: &str) -> (SignedIn, Phone, Vec<String>) {
    let user = app.user(name, "enduser").await;
    let (phone, codes) = enable(app, &user).await;
    (user, phone, codes)
}

pub(crate) async fn enable(app: &TestApp, user: &SignedIn) -> (Phone, Vec<String>) {
    let setup = user
        .client
        .post("/api/2fa/setup", &json!({ "password": PASSWORD }))
        .await
        .expect(200);
    let phone = Phone::new(setup.body["secret"].as_str().unwrap());
    let enabled = user
        .client
        .post("/api/2fa/enable", &json!({ "code": phone.code(app, 0) }))
        .await
        .expect(200);
    let codes = enabled.body["recoveryCodes"].as_array().unwrap();
    app.advance_secs(30);
    (phone, codes.iter().map(text).collect())
}

async fn pending(app: &TestApp, name: &str) -> String {
    let answer = app.try_log_in(name, PASSWORD).await.expect(200);
    text(&answer.body["pendingToken"])
}

async fn verify(app: &TestApp, body: Value) -> Answer {
    app.client.post("/api/auth/verify-2fa", &body).await
}

async fn log_in_with(app: &TestApp, member: &str, code: &str) -> Answer {
    let body = json!({ "username": "ada", "password": PASSWORD, member: code });
    app.client.post("/api/auth/login", &body).await
}

async fn factor_row(app: &TestApp) -> Document {
    app.collection("second_factors")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_second_factor_is_set_up_and_asked_for() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let status = async || ada.client.get("/api/2fa").await.expect(200).body;
    assert_eq!(
        status().await,
        json!({ "enabled": false, "recoveryCodesLeft": 0 })
    );

    let setup = ada
        .client
        .post("/api/2fa/setup", &json!({ "password": PASSWORD }))
        .await
        .expect(200);
    let uri = text(&setup.body["otpauthUri"]);
    assert!(uri.starts_with("otpauth://totp/Flowgate:"), "{uri}");
    assert!(uri.contains(setup.body["secret"].as_str().unwrap()), "{uri}");
    let svg = text(&setup.body["qrSvg"]);
    assert!(svg.contains("<svg") && svg.len() < 60_000, "{}", svg.len());
    app.try_log_in("ada", PASSWORD).await.expect(200);
    assert_eq!(status().await["enabled"], false, "not before a first code");

    let phone = Phone::new(setup.body["secret"].as_str().unwrap());
    let enabled = ada
        .client
        .post("/api/2fa/enable", &json!({ "code": phone.code(&app, 0) }))
        .await
        .expect(200);
    let codes: std::collections::HashSet<_> = enabled.body["recoveryCodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    assert_eq!(codes.len(), 10);
    assert_eq!(
        status().await,
        json!({ "enabled": true, "recoveryCodesLeft": 10 })
    );
    app.mail("ada@example.com", "turned on").await;

    app.advance_secs(30);
    let answer = app.try_log_in("ada", PASSWORD).await.expect(200);
    assert_eq!(
        (&answer.body["totpRequired"], &answer.body["totp_required"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(answer.body["pendingToken"], answer.body["pending_token"]);
    assert_eq!(answer.body["expiresIn"], 300);
    for member in ["accessToken", "refreshToken", "user"] {
        assert!(answer.body.get(member).is_none(), "{member}");
    }
    assert!(cookies_of(&answer).is_empty());

    let body = json!({ "pendingToken": answer.body["pendingToken"], "code": phone.code(&app, 0) });
    let signed_in = verify(&app, body).await.expect(200);
    assert_eq!(cookies_of(&signed_in).len(), 2);
    assert_eq!(signed_in.body["user"]["username"], "ada");
    let access = text(&signed_in.body["accessToken"]);
    app.client
        .with_token(&access)
        .get("/api/profile")
        .await
        .expect(200);
    assert_ne!(claims_of(&app, &access).sid, ada.claims(&app).sid);
}

#[tokio::test]
async fn nothing_of_it_is_stored_readable() {
    let app = TestApp::spawn().await;
    let (_, phone, codes) = with_factor(&app, "ada").await;

    let row = format!("{:?}", factor_row(&app).await);

    assert!(!row.contains(&hex::encode(&phone.secret)), "{row}");
    for code in &codes {
        assert!(!row.contains(code.as_str()) && !row.contains(&code.replace('-', "")));
    }
}

#[tokio::test]
async fn every_spelling_of_the_members_is_read() {
    let app = TestApp::spawn().await;
    let (_, phone, codes) = with_factor(&app, "ada").await;
    for (token, code) in [
        ("pendingToken", "code"),
        ("pending_token", "totpCode"),
        ("pendingToken", "totp_code"),
    ] {
        let body = json!({ token: pending(&app, "ada").await, code: phone.code(&app, 0) });
        verify(&app, body).await.expect(200);
        app.advance_secs(30);
    }
    for (member, code) in [("recoveryCode", &codes[0]), ("recovery_code", &codes[1])] {
        let body = json!({ "pendingToken": pending(&app, "ada").await, member: code });
        verify(&app, body).await.expect(200);
        log_in_with(&app, member, &codes[if member == "recoveryCode" { 2 } else { 3 }])
            .await
            .expect(200);
    }
    for member in ["totpCode", "totp_code"] {
        app.advance_secs(30);
        log_in_with(&app, member, &phone.code(&app, 0)).await.expect(200);
    }
    let empty = log_in_with(&app, "totpCode", "").await.expect(200);
    assert_eq!(empty.body["totpRequired"], true);
}

#[tokio::test]
async fn a_code_is_good_once_and_a_little_early_or_late() {
    let app = TestApp::spawn().await;
    let (_, phone, _) = with_factor(&app, "ada").await;
    let try_code = async |code: String| log_in_with(&app, "totpCode", &code).await;

    try_code(phone.code(&app, 2))
        .await
        .expect_problem(401, "invalid_second_factor");
    try_code(phone.code(&app, 1)).await.expect(200);
    let used = try_code(phone.code(&app, 1)).await;
    used.expect_problem(401, "invalid_second_factor");
    // The step of now lies before the one that was used: it is gone with it.
    try_code(phone.code(&app, 0))
        .await
        .expect_problem(401, "invalid_second_factor");
    app.advance_secs(90);
    try_code(phone.code(&app, -1)).await.expect(200);
    try_code(phone.code(&app, 0)).await.expect(200);
    app.audited("second_factor", "replayed", 2).await;
    app.audited("second_factor", "wrong", 1).await;
}

#[tokio::test]
async fn of_parallel_uses_of_a_code_one_counts() {
    let app = TestApp::spawn().await;
    let other = app.spawn_beside().await;
    let (_, phone, codes) = with_factor(&app, "ada").await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(pending(&app, "ada").await);
    }
    let body = |token: &str| json!({ "pendingToken": token, "code": phone.code(&app, 0) });
    let bodies: Vec<_> = tokens.iter().map(|token| body(token)).collect();

    let answers = join_all(bodies.iter().enumerate().map(|(index, body)| {
        let app = if index % 2 == 0 { &app } else { &other };
        verify(app, body.clone())
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);

    let answers = join_all((0..6).map(|_| log_in_with(&app, "recoveryCode", &codes[0]))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);

    // One token, two good proofs at once: the token serves once.
    app.advance_secs(60);
    let token = pending(&app, "ada").await;
    let answers = join_all(
        codes[1..4]
            .iter()
            .map(|code| verify(&app, json!({ "pendingToken": token, "recoveryCode": code }))),
    )
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn a_pending_token_serves_once_for_five_minutes_and_five_tries() {
    let app = TestApp::spawn().await;
    let (_, phone, codes) = with_factor(&app, "ada").await;
    let dead = async |token: &str, code: &str| {
        verify(&app, json!({ "pendingToken": token, "recoveryCode": code }))
            .await
            .expect_problem(401, "invalid_pending_token");
    };

    let token = pending(&app, "ada").await;
    verify(&app, json!({ "pendingToken": token, "recoveryCode": codes[0] }))
        .await
        .expect(200);
    dead(&token, &codes[1]).await;

    let token = pending(&app, "ada").await;
    for _ in 0..5 {
        let body = json!({ "pendingToken": token, "code": phone.wrong_code(&app) });
        verify(&app, body)
            .await
            .expect_problem(401, "invalid_second_factor");
    }
    dead(&token, &codes[1]).await;

    let token = pending(&app, "ada").await;
    app.advance_secs(301);
    dead(&token, &codes[1]).await;
    log_in_with(&app, "recoveryCode", &codes[1]).await.expect(200);
}

#[tokio::test]
async fn wrong_codes_are_slowed_over_all_tokens_and_the_owner_still_gets_in() {
    let app = TestApp::spawn().await;
    let (_, phone, codes) = with_factor(&app, "ada").await;

    for _ in 0..5 {
        log_in_with(&app, "totpCode", &phone.wrong_code(&app))
            .await
            .expect_problem(401, "invalid_second_factor");
    }
    let slowed = log_in_with(&app, "totpCode", &phone.code(&app, 0)).await;
    let slowed = slowed.expect_problem(429, "too_many_attempts");
    assert!(slowed.headers.contains_key("retry-after"));
    app.mail("ada@example.com", "Wrong codes").await;
    let token = pending(&app, "ada").await;
    for _ in 0..6 {
        verify(
            &app,
            json!({ "pendingToken": token, "code": phone.code(&app, 0) }),
        )
        .await
        .expect_problem(429, "too_many_attempts");
    }

    app.advance_secs(1);
    verify(
        &app,
        json!({ "pendingToken": token, "code": phone.code(&app, 0) }),
    )
    .await
    .expect(200);
    for _ in 0..6 {
        log_in_with(&app, "totpCode", &phone.wrong_code(&app)).await;
    }
    log_in_with(&app, "totpCode", &phone.wrong_code(&app))
        .await
        .expect_problem(429, "too_many_attempts");
    log_in_with(&app, "recoveryCode", &codes[0]).await.expect(200);
}

#[tokio::test]
async fn guesses_made_at_once_are_all_counted() {
    let app = TestApp::spawn().await;
    let (_, phone, _) = with_factor(&app, "ada").await;
    let wrong = phone.wrong_code(&app);

    let answers = join_all((0..20).map(|_| log_in_with(&app, "totpCode", &wrong))).await;

    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert!(looked_at <= 5, "{looked_at}");
    assert!(factor_row(&app).await.get_i32("wrongCount").unwrap() <= 5);
}

#[tokio::test]
async fn recovery_codes_work_once_each() {
    let app = TestApp::spawn().await;
    let (ada, _, codes) = with_factor(&app, "ada").await;
    let with_code = async |code: &str| log_in_with(&app, "recoveryCode", code).await;

    with_code(&codes[0].to_uppercase().replace('-', " "))
        .await
        .expect(200);
    with_code(&codes[0])
        .await
        .expect_problem(401, "invalid_second_factor");
    let mail = app.mail("ada@example.com", "recovery code was used").await;
    assert!(mail.contains("9 are left"), "{mail}");
    for bad in ["0000-0000-0000", "x", "123456", "\u{0}", &"a".repeat(5_000)] {
        with_code(bad).await.expect_problem(401, "invalid_second_factor");
    }
    let bob = app.user("bob", "enduser").await;
    let (_, of_bob) = enable(&app, &bob).await;
    with_code(&of_bob[0])
        .await
        .expect_problem(401, "invalid_second_factor");
    let left = ada.client.get("/api/2fa").await.expect(200);
    assert_eq!(left.body["recoveryCodesLeft"], 9);
    app.audited("second_factor", "recovery_code", 1).await;
}

#[tokio::test]
async fn new_recovery_codes_replace_the_old_ones() {
    let app = TestApp::spawn().await;
    let (ada, phone, old) = with_factor(&app, "ada").await;
    let path = "/api/2fa/recovery-codes";

    let body = json!({ "password": PASSWORD, "code": phone.code(&app, 0) });
    let answer = ada.client.post(path, &body).await.expect(200);

    let new: Vec<_> = answer.body["recoveryCodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    assert_eq!(new.len(), 10);
    log_in_with(&app, "recoveryCode", &old[0])
        .await
        .expect_problem(401, "invalid_second_factor");
    log_in_with(&app, "recoveryCode", &new[0]).await.expect(200);
    app.mail("ada@example.com", "New recovery codes").await;
    ada.client
        .post(path, &body)
        .await
        .expect_problem(400, "wrong_code");
}

#[tokio::test]
async fn disabling_takes_both_factors() {
    let app = TestApp::spawn().await;
    let (ada, phone, codes) = with_factor(&app, "ada").await;
    let disable = async |body: Value| ada.client.post("/api/2fa/disable", &body).await;
    let code = phone.code(&app, 0);

    disable(json!({ "password": "not the password", "code": code }))
        .await
        .expect_problem(400, "wrong_password");
    disable(json!({ "password": PASSWORD, "code": phone.wrong_code(&app) }))
        .await
        .expect_problem(400, "wrong_code");
    for body in [
        json!({ "password": PASSWORD }),
        json!({ "password": PASSWORD, "code": "" }),
        json!({ "password": "", "code": code }),
        json!({ "password": PASSWORD, "code": code, "recoveryCode": codes[0] }),
        json!({ "password": PASSWORD, "code": { "$ne": null } }),
    ] {
        disable(body).await.expect_problem(400, "validation_failed");
    }
    assert_eq!(ada.client.get("/api/2fa").await.body["enabled"], true);

    disable(json!({ "password": PASSWORD, "recoveryCode": codes[0] }))
        .await
        .expect(200);

    app.mail("ada@example.com", "turned off").await;
    let signed_in = app.try_log_in("ada", PASSWORD).await.expect(200);
    assert!(signed_in.body["accessToken"].is_string());
    assert_eq!(app.count("second_factors", doc! {}).await, 0);
    disable(json!({ "password": PASSWORD, "code": code }))
        .await
        .expect_problem(409, "second_factor_not_enabled");
    enable(&app, &ada).await;
}

#[tokio::test]
async fn setting_up_takes_the_password_and_a_first_code_in_time() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let post = async |path: &str, body: Value| ada.client.post(path, &body).await;
    let set_up = async || post("/api/2fa/setup", json!({ "password": PASSWORD })).await;

    post("/api/2fa/enable", json!({ "code": "123456" }))
        .await
        .expect_problem(409, "second_factor_not_set_up");
    post("/api/2fa/setup", json!({ "password": "not the password" }))
        .await
        .expect_problem(400, "wrong_password");
    post("/api/2fa/setup", json!({ "password": "" }))
        .await
        .expect_problem(400, "validation_failed");

    let first = Phone::new(set_up().await.expect(200).body["secret"].as_str().unwrap());
    let second = Phone::new(set_up().await.expect(200).body["secret"].as_str().unwrap());
    assert_ne!(first.secret, second.secret);
    post("/api/2fa/enable", json!({ "code": second.wrong_code(&app) }))
        .await
        .expect_problem(400, "wrong_code");
    app.advance_secs(3_601);
    let ada = app.log_in("ada").await;
    let enable = async |code: String| ada.client.post("/api/2fa/enable", &json!({ "code": code })).await;
    enable(second.code(&app, 0))
        .await
        .expect_problem(409, "second_factor_not_set_up");

    let body = json!({ "password": PASSWORD });
    let setup = ada.client.post("/users/me/2fa/setup", &body).await.expect(200);
    let third = Phone::new(setup.body["secret"].as_str().unwrap());
    let code = third.code(&app, 0);
    let answers = join_all((0..4).map(|_| enable(code.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    log_in_with(&app, "totpCode", &code)
        .await
        .expect_problem(401, "invalid_second_factor");
    ada.client
        .post("/api/2fa/setup", &body)
        .await
        .expect_problem(409, "second_factor_enabled");
    enable(third.code(&app, 1))
        .await
        .expect_problem(409, "second_factor_enabled");
}

#[tokio::test]
async fn a_lost_phone_is_taken_away_by_an_admin() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let (ada, _, _) = with_factor(&app, "ada").await;
    let path = format!("/api/admin/users/{}/2fa", ada.id);

    ada.client.delete(&path).await.expect_problem(403, "forbidden");
    app.client
        .delete(&path)
        .await
        .expect_problem(401, "missing_token");
    let root_again = app.log_in(&root.username).await;
    root_again.client.delete(&path).await.expect(200);

    ada.client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
    let signed_in = app.try_log_in("ada", PASSWORD).await.expect(200);
    assert!(signed_in.body["accessToken"].is_string());
    app.mail("ada@example.com", "Second factor removed").await;
    app.audited("second_factor", "removed_by_admin", 1).await;
    root.client
        .delete(&path)
        .await
        .expect_problem(409, "second_factor_not_enabled");
    for (id, status, code) in [
        ("x", 400, "invalid_user_id"),
        (&"a".repeat(24), 404, "user_not_found"),
    ] {
        let path = format!("/api/admin/users/{id}/2fa");
        root.client.delete(&path).await.expect_problem(status, code);
    }
}

#[tokio::test]
async fn a_new_password_kills_pending_sign_ins_and_leaves_the_factor() {
    let app = TestApp::spawn().await;
    let (ada, phone, codes) = with_factor(&app, "ada").await;
    let before = pending(&app, "ada").await;

    let link = app.reset_token("ada@example.com", 1).await;
    app.redeem(&link, NEW).await.expect(200);

    verify(&app, json!({ "pendingToken": before, "recoveryCode": codes[0] }))
        .await
        .expect_problem(401, "invalid_pending_token");
    let answer = app.try_log_in("ada", NEW).await.expect(200);
    assert_eq!(answer.body["totpRequired"], true, "a mailbox is not a phone");
    let body = json!({ "pendingToken": answer.body["pendingToken"], "code": phone.code(&app, 0) });
    let signed_in = SignedIn::from_answer(&app, "ada", &verify(&app, body).await.expect(200));
    assert_eq!(signed_in.id, ada.id);

    app.advance_secs(601);
    let answer = app.try_log_in("ada", NEW).await.expect(200);
    app.update_user(&ada.id, doc! { "isDisabled": true }).await;
    let body = json!({ "pendingToken": answer.body["pendingToken"], "recoveryCode": codes[1] });
    verify(&app, body)
        .await
        .expect_problem(401, "invalid_pending_token");
}

#[tokio::test]
async fn a_password_to_be_changed_is_asked_for_after_the_second_factor() {
    let app = TestApp::spawn().await;
    let (ada, phone, _) = with_factor(&app, "ada").await;
    app.update_user(&ada.id, doc! { "mustChangePassword": true })
        .await;

    let pending = pending(&app, "ada").await;
    let body = json!({ "pendingToken": pending, "code": phone.code(&app, 0) });
    let answer = verify(&app, body).await.expect(200);

    assert_eq!(answer.body["mustChangePassword"], true);
    let restricted = app.client.with_token(text(&answer.body["accessToken"]));
    for path in ["/api/2fa", "/api/dashboard"] {
        restricted
            .get(path)
            .await
            .expect_problem(403, "password_change_required");
    }
}

#[tokio::test]
async fn a_pending_token_opens_no_route() {
    let app = TestApp::spawn_with(|config| config.testing_endpoints = true).await;
    let (_, _, codes) = with_factor(&app, "ada").await;
    let token = pending(&app, "ada").await;
    let with_token = app.client.with_token(&token);
    let by_cookie = async |method: Method, path: &str| {
        let request = app.client.request(method, path);
        let request = request.header("cookie", format!("accessToken={token}"));
        app.client.send(request.json(&json!({}))).await
    };

    let mut tried = 0;
    for row in rows(auth_service::routes) {
        if matches!(row.access, Access::Public | Access::Optional) {
            continue;
        }
        let path = row
            .path
            .replace("{user_id}", &"a".repeat(24))
            .replace("{email}", "ada@example.com");
        let method: Method = row.method.as_str().parse().unwrap();
        let request = with_token.request(method.clone(), &path).json(&json!({}));
        let answer = with_token.send(request).await;
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text);
        assert_eq!(by_cookie(method, &path).await.status, 401, "{path}");
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
    app.refresh(&token)
        .await
        .expect_problem(401, "invalid_refresh_token");
    let sessions = app.count("sessions", doc! {}).await;
    let body = json!({ "refreshToken": token });
    app.client.post("/api/auth/logout", &body).await.expect(200);
    assert_eq!(app.count("sessions", doc! {}).await, sessions);
    app.redeem(&token, NEW)
        .await
        .expect_problem(400, "invalid_reset_token");
    verify(&app, json!({ "pendingToken": token, "recoveryCode": codes[0] }))
        .await
        .expect(200);
}

#[tokio::test]
async fn nothing_else_is_a_pending_token() {
    let app = TestApp::spawn().await;
    let (ada, _, codes) = with_factor(&app, "ada").await;
    let token = pending(&app, "ada").await;
    let flipped = if token.ends_with('A') { "B" } else { "A" };
    let bent = format!("{}{flipped}", &token[..token.len() - 1]);
    for bad in [
        ada.access.clone(),
        ada.refresh.clone(),
        app.tokens().service("proxy-service", "auth-service"),
        "rubbish".to_owned(),
        "a.b.c".to_owned(),
        bent,
        "x".repeat(60_000),
    ] {
        verify(&app, json!({ "pendingToken": bad, "recoveryCode": codes[0] }))
            .await
            .expect_problem(401, "invalid_pending_token");
    }
    for body in [
        json!({}),
        json!({ "code": "123456" }),
        json!({ "pendingToken": token }),
        json!({ "pendingToken": "", "code": "123456" }),
        json!({ "pendingToken": { "$ne": null }, "code": "123456" }),
        json!({ "pendingToken": token, "code": { "$gt": "" } }),
        json!({ "pendingToken": token, "code": "123456", "recoveryCode": "x" }),
    ] {
        verify(&app, body).await.expect_problem(400, "validation_failed");
    }
}

#[tokio::test]
async fn the_forms_of_others_that_name_an_address_do_not_exist() {
    let app = TestApp::spawn().await;
    with_factor(&app, "ada").await;
    let unchecked = Client::new(&app.base);
    let body = json!({ "email": "ada@example.com", "code": "123456", "password": PASSWORD });
    for path in [
        "/auth/totp/setup",
        "/auth/totp/verify",
        "/auth/generate-passcode",
        "/auth/verify-passcode",
        "/api/auth/totp/setup",
        "/api/auth/totp/verify",
    ] {
        unchecked.post(path, &body).await.expect_problem(404, "not_found");
    }
    for path in ["setup", "enable", "disable"] {
        let path = format!("/users/me/2fa/{path}");
        app.client
            .post(&path, &body)
            .await
            .expect_problem(401, "missing_token");
    }
}

#[tokio::test]
async fn a_factor_sealed_with_another_key_lets_nobody_in_and_can_be_removed() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let (ada, phone, codes) = with_factor(&app, "ada").await;
    let other_key = "another key of the operator 0123456789";
    let other = app
        .spawn_beside_with(|config| config.data_encryption_key = Some(other_key.into()))
        .await;

    log_in_with(&other, "totpCode", &phone.code(&app, 0))
        .await
        .expect_problem(500, "internal");
    log_in_with(&other, "recoveryCode", &codes[0])
        .await
        .expect_problem(401, "invalid_second_factor");
    let path = format!("/api/admin/users/{}/2fa", ada.id);
    other
        .client
        .with_token(&root.access)
        .delete(&path)
        .await
        .expect(200);
    other.try_log_in("ada", PASSWORD).await.expect(200);
}

#[test]
fn links_of_mails_are_read_whole() {
    let token = "ab".repeat(32);
    let mail = format!(
        "https://x/reset-password?token=3D{}=\r\n{}\r\n",
        &token[..40],
        &token[40..]
    );
    assert_eq!(token_of(&mail), token);
}
