//! `authenticate`, `refresh`, `revoke` and `get_current_user`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Answer, Client, Forge, Person};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{bearer_token, body_json, header, method, path},
};

use super::fakes::problem;
use super::support::TestApp;

const LOGIN: &str = "/api/v1/chat/authenticate";
const REFRESH: &str = "/api/v1/chat/refresh";
const REVOKE: &str = "/api/v1/chat/revoke";
const ME: &str = "/api/v1/chat/get_current_user";

fn credentials() -> Value {
    json!({ "username": "ada", "password": "correct horse" })
}

async fn auth_answers(app: &TestApp, route: &str, answer: ResponseTemplate) {
    let mock = Mock::given(method("POST")).and(path(format!("/api/auth/{route}")));
    mock.respond_with(answer).mount(&app.behind.auth).await;
}

async fn asked(app: &TestApp, route: &str) -> usize {
    let requests = app.behind.auth.received_requests().await.unwrap();
    let path = format!("/api/auth/{route}");
    requests
        .iter()
        .filter(|request| request.url.path() == path)
        .count()
}

/// A refresh token as far as we can read one: only auth-service can check it.
fn refresh_token_of(session_id: &str) -> String {
    let payload = URL_SAFE_NO_PAD.encode(json!({ "sid": session_id }).to_string());
    format!("e30.{payload}.c2lnbmF0dXJl")
}

#[actix_web::test]
async fn signing_in_answers_the_tokens_and_the_person() {
    let app = TestApp::spawn().await;
    let ada = Person::new("ada", Role::Supervisor);
    let access = app.tokens.access(&ada);
    let user = json!({ "id": ada.id, "username": "ada", "email": ada.email, "isVerified": true, "role": "supervisor" });
    let answer = json!({ "message": "Login ok", "accessToken": access, "refreshToken": "r-1", "user": user });
    Mock::given(method("POST"))
        .and(path("/api/auth/login"))
        .and(body_json(credentials()))
        .and(header("x-forwarded-for", "127.0.0.1"))
        .and(header("user-agent", "Browser/7"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&app.behind.auth)
        .await;

    for path in [LOGIN, "/chat/authenticate"] {
        let request = app
            .anybody
            .request(reqwest::Method::POST, path)
            .header("user-agent", "Browser/7");
        let mut answer = app.anybody.send(request.json(&credentials())).await.expect(200);

        let expires_in = answer.body["expires_in"].take().as_i64().unwrap();
        assert!((1..=900).contains(&expires_in), "{expires_in}");
        assert_eq!(
            answer.body,
            json!({
                "access_token": access, "refresh_token": "r-1", "token_type": "bearer", "expires_in": null,
                "user": user, "message": "Login ok",
            })
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

#[actix_web::test]
async fn every_refusal_of_a_sign_in_keeps_its_meaning() {
    let foreign = json!({ "message": "ok", "accessToken": "a.b.c", "refreshToken": "r", "user": {} });
    let cases = [
        (
            problem(401, "invalid_credentials", "Invalid credentials"),
            401,
            "invalid_credentials",
            "Invalid credentials",
        ),
        (
            problem(401, "email_not_verified", "Email not verified"),
            401,
            "email_not_verified",
            "Email not verified",
        ),
        (
            ResponseTemplate::new(401).set_body_json(json!({ "error": "Email not verified" })),
            401,
            "email_not_verified",
            "Email not verified",
        ),
        (
            problem(
                403,
                "sign_in_closed",
                "only administrators can sign in at the moment; try again later",
            ),
            403,
            "sign_in_closed",
            "only administrators can sign in at the moment; try again later",
        ),
        (
            problem(
                403,
                "password_sign_in_closed",
                "passwords are not used here; sign in by way of a provider",
            ),
            403,
            "password_sign_in_closed",
            "passwords are not used here; sign in by way of a provider",
        ),
        (
            problem(
                403,
                "approval_pending",
                "your account waits for an administrator's approval; you will get a mail",
            ),
            403,
            "approval_pending",
            "your account waits for an administrator's approval; you will get a mail",
        ),
        (
            ResponseTemplate::new(429).insert_header("retry-after", "7"),
            429,
            "too_many_attempts",
            "too many",
        ),
        (
            problem(503, "busy", "too many sign-ins at once"),
            503,
            "auth_unavailable",
            "not possible",
        ),
        (
            ResponseTemplate::new(500).set_body_string("stack trace"),
            503,
            "auth_unavailable",
            "not possible",
        ),
        (
            ResponseTemplate::new(404).set_body_string("<html>"),
            503,
            "auth_unavailable",
            "not possible",
        ),
        (
            ResponseTemplate::new(200).set_body_raw("<html>", "text/html"),
            503,
            "auth_unavailable",
            "not possible",
        ),
        (
            ResponseTemplate::new(200).set_body_json(json!({})),
            503,
            "auth_unavailable",
            "not possible",
        ),
        (
            ResponseTemplate::new(200).set_body_json(foreign),
            503,
            "auth_unavailable",
            "not possible",
        ),
    ];
    let app = TestApp::spawn().await;
    for (answer, status, code, text) in cases {
        app.behind.auth.reset().await;
        auth_answers(&app, "login", answer).await;

        let refused = app
            .anybody
            .post(LOGIN, &credentials())
            .await
            .expect_problem(status, code);

        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains(text), "{message}");
        match status {
            429 => assert_eq!(refused.headers["retry-after"], "7"),
            503 => assert!(refused.headers.contains_key("retry-after")),
            _ => assert_eq!(refused.headers["www-authenticate"], "Bearer"),
        }
    }
}

#[actix_web::test]
async fn a_second_factor_is_asked_for_and_passed_on() {
    let app = TestApp::spawn().await;
    let needed = json!({
        "message": "needed", "totpRequired": true, "totp_required": true, "pendingToken": "p.q.r",
        "pending_token": "p.q.r", "expiresIn": 300,
    });
    auth_answers(&app, "login", ResponseTemplate::new(200).set_body_json(needed)).await;

    let mut empty = credentials();
    empty["totp_code"] = json!("");
    for body in [credentials(), empty] {
        let refused = app.anybody.post(LOGIN, &body).await;
        let refused = refused.expect_problem(401, "totp_required");
        assert_eq!(refused.body["totp_required"], true);
        assert_eq!(refused.body["pending_token"], "p.q.r");
        assert_eq!(refused.body["expires_in"], 300);
        for member in ["access_token", "refresh_token", "user"] {
            assert!(refused.body.get(member).is_none(), "{member}");
        }
        assert!(!refused.headers.contains_key("set-cookie"));
    }

    let access = app.tokens.access(&Person::new("ada", Role::EndUser));
    let signed_in = json!({ "message": "ok", "accessToken": access, "refreshToken": "r-1", "user": {
        "id": "a".repeat(24), "username": "ada", "email": "ada@example.com", "isVerified": true, "role": "enduser",
    } });
    for (sent, passed_on) in [
        ("totp_code", "totpCode"),
        ("totpCode", "totpCode"),
        ("recovery_code", "recoveryCode"),
    ] {
        app.behind.auth.reset().await;
        let mut expected = credentials();
        expected[passed_on] = json!("482913");
        Mock::given(method("POST"))
            .and(path("/api/auth/login"))
            .and(body_json(expected))
            .respond_with(ResponseTemplate::new(200).set_body_json(signed_in.clone()))
            .mount(&app.behind.auth)
            .await;
        let mut body = credentials();
        body[sent] = json!("482913");
        app.anybody.post(LOGIN, &body).await.expect(200);
    }

    app.behind.auth.reset().await;
    let wrong = problem(401, "invalid_second_factor", "the code is wrong");
    auth_answers(&app, "login", wrong).await;
    let mut body = credentials();
    body["totp_code"] = json!("482913");
    app.anybody
        .post(LOGIN, &body)
        .await
        .expect_problem(401, "invalid_second_factor");
    body["totp_code"] = json!({ "$ne": null });
    app.anybody
        .post(LOGIN, &body)
        .await
        .expect_problem(422, "validation_failed");
}

#[actix_web::test]
async fn whoever_must_change_the_password_is_told_and_can_only_sign_out() {
    let app = TestApp::spawn().await;
    let ada = Person::new("ada", Role::Admin);
    let mut claims = app.tokens.access_claims(&ada);
    claims.must_change_password = true;
    let access = app.tokens.sign(&claims);
    let user =
        json!({ "id": ada.id, "username": "ada", "email": ada.email, "isVerified": true, "role": "admin" });
    let answer = json!({ "message": "ok", "accessToken": access, "refreshToken": "r-1", "user": user, "mustChangePassword": true });
    auth_answers(&app, "login", ResponseTemplate::new(200).set_body_json(answer)).await;

    let signed_in = app.anybody.post(LOGIN, &credentials()).await.expect(200);
    assert_eq!(signed_in.body["mustChangePassword"], true);

    let restricted = app.anybody.with_token(&access);
    for path in [ME, "/api/v1/chat/sessions", "/api/v1/admin/chatflows"] {
        restricted
            .get(path)
            .await
            .expect_problem(403, "password_change_required");
    }
    auth_answers(
        &app,
        "logout",
        ResponseTemplate::new(200).set_body_json(json!({ "message": "ok" })),
    )
    .await;
    restricted.post(REVOKE, &json!({})).await.expect(200);
}

#[actix_web::test]
async fn auth_that_cannot_be_reached_is_not_a_wrong_password() {
    let app = TestApp::spawn_with(|config| config.auth_url = "http://127.0.0.1:1/".parse().unwrap()).await;

    app.anybody
        .post(LOGIN, &credentials())
        .await
        .expect_problem(503, "auth_unavailable");
    let refresh = json!({ "refresh_token": "r" });
    app.anybody
        .post(REFRESH, &refresh)
        .await
        .expect_problem(503, "auth_unavailable");
}

#[actix_web::test]
async fn a_body_that_is_not_valid_never_reaches_auth() {
    let app = TestApp::spawn().await;
    let refused = async |path: &str, body: Value| -> Answer { app.anybody.post(path, &body).await };

    for (path, body, field) in [
        (LOGIN, json!({}), "username"),
        (LOGIN, json!({ "username": "ada" }), "password"),
        (LOGIN, json!({ "username": " ", "password": "x" }), "username"),
        (LOGIN, json!({ "username": "ada", "password": "" }), "password"),
        (
            LOGIN,
            json!({ "username": { "$ne": null }, "password": "x" }),
            "username",
        ),
        (LOGIN, json!({ "username": "ada", "password": ["x"] }), "password"),
        (LOGIN, json!([]), "body"),
        (REFRESH, json!({}), "refresh_token"),
        (REFRESH, json!({ "refresh_token": "" }), "refresh_token"),
        (REFRESH, json!({ "refresh_token": 7 }), "refresh_token"),
    ] {
        let answer = refused(path, body.clone())
            .await
            .expect_problem(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], field, "{path} {body}");
    }
    let post = |body: &'static str| app.anybody.request(reqwest::Method::POST, LOGIN).body(body);
    let malformed = post("{").header("content-type", "application/json");
    app.anybody
        .send(malformed)
        .await
        .expect_problem(400, "malformed_json");
    app.anybody
        .send(post("username=ada"))
        .await
        .expect_problem(415, "unsupported_media_type");
    let long = json!({ "username": "ada", "password": "x".repeat(200_000) });
    refused(LOGIN, long).await.expect_problem(413, "body_too_large");

    assert_eq!(asked(&app, "login").await + asked(&app, "refresh").await, 0);
}

#[actix_web::test]
async fn a_refresh_answers_the_person_as_they_are_now() {
    let app = TestApp::spawn().await;
    let promoted = Person::new("ada", Role::Admin);
    let access = app.tokens.access(&promoted);
    let answer = json!({ "message": "Token refreshed", "accessToken": access, "refreshToken": "r-2" });
    Mock::given(method("POST"))
        .and(path("/api/auth/refresh"))
        .and(body_json(json!({ "refreshToken": "r-1" })))
        .and(header("x-forwarded-for", "127.0.0.1"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&app.behind.auth)
        .await;

    let answer = app
        .anybody
        .post(REFRESH, &json!({ "refresh_token": "r-1" }))
        .await
        .expect(200);

    assert_eq!(answer.body["access_token"], access);
    assert_eq!(answer.body["refresh_token"], "r-2");
    assert_eq!(answer.body["token_type"], "bearer");
    assert!((1..=900).contains(&answer.body["expires_in"].as_i64().unwrap()));
    assert_eq!(
        answer.body["user"],
        json!({ "id": promoted.id, "username": "ada", "email": promoted.email, "isVerified": true, "role": "admin" })
    );
}

#[actix_web::test]
async fn a_refused_refresh_is_401_and_an_outage_is_not() {
    let app = TestApp::spawn().await;
    for (answer, status, code) in [
        (
            problem(401, "invalid_refresh_token", "the refresh token is not valid"),
            401,
            "invalid_refresh_token",
        ),
        (
            problem(400, "refresh_token_missing", "a refresh token is needed"),
            401,
            "invalid_refresh_token",
        ),
        (ResponseTemplate::new(429), 429, "too_many_attempts"),
        (ResponseTemplate::new(502), 503, "auth_unavailable"),
    ] {
        app.behind.auth.reset().await;
        auth_answers(&app, "refresh", answer).await;
        let answer = app.anybody.post(REFRESH, &json!({ "refresh_token": "r" })).await;
        answer.expect_problem(status, code);
    }
}

async fn signed_in(app: &TestApp, person: &Person) -> (Client, String) {
    let token = app.tokens.access(person);
    let client = app.anybody.with_token(&token);
    client.get(ME).await.expect(200);
    (client, token)
}

#[actix_web::test]
async fn revoking_ends_the_session_here_at_once() {
    let app = TestApp::spawn().await;
    for (body, route) in [
        (json!({ "refresh_token": "of this session, opaque" }), "logout"),
        (json!({ "all_tokens": true }), "logout-all"),
        (json!({}), "logout"),
    ] {
        app.behind.auth.reset().await;
        let (ada, token) = signed_in(&app, &Person::new("ada", Role::EndUser)).await;
        Mock::given(method("POST"))
            .and(path(format!("/api/auth/{route}")))
            .and(bearer_token(&token))
            .and(header("x-forwarded-for", "127.0.0.1"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "message": "Logout successful" })))
            .expect(1)
            .mount(&app.behind.auth)
            .await;

        let answer = ada.post(REVOKE, &body).await.expect(200);

        assert_eq!(answer.body["revoked_tokens"], 1);
        assert!(
            answer.body["message"]
                .as_str()
                .unwrap()
                .ends_with("revoked successfully")
        );
        ada.get(ME).await.expect_problem(401, "session_revoked");
        ada.post(REVOKE, &body)
            .await
            .expect_problem(401, "session_revoked");
        app.behind.auth.verify().await;
    }
}

#[actix_web::test]
async fn revoking_hands_the_refresh_token_on() {
    let app = TestApp::spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    let refresh_token = refresh_token_of(&ada.session_id);
    let (client, _) = signed_in(&app, &ada).await;
    Mock::given(method("POST"))
        .and(path("/api/auth/logout"))
        .and(body_json(json!({ "refreshToken": refresh_token })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "message": "Logout successful" })))
        .expect(1)
        .mount(&app.behind.auth)
        .await;

    client
        .post(REVOKE, &json!({ "refresh_token": refresh_token }))
        .await
        .expect(200);

    client.get(ME).await.expect_problem(401, "session_revoked");
}

#[actix_web::test]
async fn revoking_another_device_leaves_this_one_signed_in() {
    let app = TestApp::spawn().await;
    let (ada, _) = signed_in(&app, &Person::new("ada", Role::EndUser)).await;
    let victim = Person::new("bob", Role::EndUser);
    let (bob, _) = signed_in(&app, &victim).await;
    auth_answers(
        &app,
        "logout",
        ResponseTemplate::new(200).set_body_json(json!({})),
    )
    .await;

    let forged = json!({ "refresh_token": refresh_token_of(&victim.session_id) });
    ada.post(REVOKE, &forged).await.expect(200);

    ada.get(ME).await.expect(200);
    // Whether the token was good only auth-service knows; its feed tells us.
    bob.get(ME).await.expect(200);
}

#[actix_web::test]
async fn a_token_id_must_be_the_callers_own() {
    let app = TestApp::spawn().await;
    let person = Person::new("ada", Role::EndUser);
    let (ada, _) = signed_in(&app, &person).await;
    auth_answers(
        &app,
        "logout",
        ResponseTemplate::new(200).set_body_json(json!({})),
    )
    .await;

    let foreign = json!({ "token_id": "somebody-elses" });
    ada.post(REVOKE, &foreign)
        .await
        .expect_problem(404, "token_not_found");
    assert_eq!(asked(&app, "logout").await, 0);
    ada.get(ME).await.expect(200);

    ada.post(REVOKE, &json!({ "token_id": person.session_id }))
        .await
        .expect(200);
    ada.get(ME).await.expect_problem(401, "session_revoked");
}

#[actix_web::test]
async fn nothing_is_revoked_while_auth_is_away() {
    let app = TestApp::spawn().await;
    let (ada, _) = signed_in(&app, &Person::new("ada", Role::EndUser)).await;
    auth_answers(&app, "logout", ResponseTemplate::new(503)).await;

    ada.post(REVOKE, &json!({ "refresh_token": "r" }))
        .await
        .expect_problem(503, "auth_unavailable");

    ada.get(ME).await.expect(200);
}

#[actix_web::test]
async fn the_current_user_is_whom_the_token_speaks_of() {
    let app = TestApp::spawn().await;
    let ada = Person::new("ada", Role::Supervisor);

    let answer = app.client(&ada).get(ME).await.expect(200);

    assert_eq!(
        answer.body,
        json!({ "id": ada.id, "username": "ada", "email": ada.email, "isVerified": true, "role": "supervisor" })
    );
}

#[actix_web::test]
async fn a_token_signed_before_a_rotation_is_good_until_it_expires() {
    const FORMER: &str = "former-0d9c41b7e83f2a5c6d70e18b94fa";
    let app = TestApp::spawn_with(|config| config.jwt_access_secret_previous = Some(FORMER.into())).await;
    let alice = Person::new("alice", Role::EndUser);
    let now_good = app.tokens.access(&alice);
    let former = Forge::with_secret(&now_good, FORMER).under(&json!({ "alg": "HS256", "typ": "at+jwt" }));
    let strange = Forge::with_secret(&now_good, "another-0d9c41b7e83f2a5c6d70e18b94f")
        .under(&json!({ "alg": "HS256", "typ": "at+jwt" }));

    for (token, status) in [(now_good, 200), (former, 200), (strange, 401)] {
        app.anybody.with_token(token).get(ME).await.expect(status);
    }
}
