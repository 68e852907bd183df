//! Access tokens that are not good, each in one way (RFC 8725), and secrets that are changed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_jwt::{Audience, Role};
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Forge, Person};

use crate::support::TestApp;

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let forge = Forge::with_secret(&root.access, ACCESS_SECRET);
    let attacker = wiremock::MockServer::start().await;

    // The control: what is bent is good before it is bent.
    let control = forge.under(&json!({ "alg": "HS256", "typ": "at+jwt" }));
    app.client
        .with_token(control)
        .get("/api/admin/users")
        .await
        .expect(200);

    let attacks = forge.attacks(app.clock.now().timestamp(), &attacker.uri());
    assert!(attacks.len() > 100);
    for attack in attacks {
        let answer = app.client.with_token(&attack.token).get("/api/admin/users").await;
        let (what, status) = (attack.what, answer.status.as_u16());
        assert!(status == 401 || status == 431, "{what}: {status} {}", answer.text);
        let repeats = attack.token.len() > 20 && answer.text.contains(&attack.token);
        assert!(!repeats, "{what}: {}", answer.text);
    }
    assert!(attacker.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_of_another_kind_person_or_session_opens_nothing() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let forge = Forge::with_secret(&root.access, ACCESS_SECRET);
    let tokens = app.tokens();
    for (what, token) in [
        ("refresh token", root.refresh.clone()),
        ("service token", tokens.service("proxy-service", "auth-service")),
        ("sub no id", forge.claim("sub", json!("x"))),
        ("session of another", forge.claim("sub", json!("a".repeat(24)))),
        ("unknown session", forge.claim("sid", json!("another"))),
    ] {
        let answer = app.client.with_token(token).get("/api/admin/users").await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
    }
    for (what, token) in [("access token", root.access.as_str()), ("rubbish", "a.b.c")] {
        let answer = app.refresh(token).await;
        assert_eq!(answer.status, 401, "{what} as a refresh token");
        assert_eq!(answer.body["code"], "invalid_refresh_token");
    }
    app.refresh(&root.refresh).await.expect(200);
}

#[tokio::test]
async fn a_retired_secret_still_verifies_and_an_expired_token_does_not() {
    let app = TestApp::spawn_with(|config| {
        config.jwt_access_secret_previous = Some(ACCESS_SECRET.into());
        config.jwt_access_secret = Some("another-6b1f0d9ae27c4583b6e0197cd42f".into());
    })
    .await;
    let ada = app.user("ada", "enduser").await;
    let new = ada.client.get("/api/dashboard").await.expect(200);
    assert_eq!(new.body["user"]["username"], "ada");

    let (_, payload) = ada.access.split_once('.').unwrap();
    let payload = URL_SAFE_NO_PAD
        .decode(payload.split('.').next().unwrap())
        .unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    let mut person = Person::new("ada", Role::EndUser);
    (person.id, person.session_id) = (ada.id.clone(), payload["sid"].as_str().unwrap().to_owned());
    let old = app.client.with_token(app.tokens().access(&person));
    old.get("/api/dashboard").await.expect(200);

    let mut claims = app.tokens().access_claims(&person);
    claims.aud = Audience::Many(vec!["x".to_owned(), "flowgate".to_owned()]);
    app.client
        .with_token(app.tokens().sign(&claims))
        .get("/api/dashboard")
        .await
        .expect(200);

    app.advance_secs(15 * 60 + 31);
    for client in [&ada.client, &old] {
        client
            .get("/api/dashboard")
            .await
            .expect_problem(401, "invalid_token");
    }
}
