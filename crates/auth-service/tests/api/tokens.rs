//! Access tokens that are not good, each in one way (RFC 8725).

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_jwt::{Audience, Role};
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Person};

use crate::support::{SignedIn, TestApp};

/// Makes tokens out of the claims of a good one.
struct Forge {
    good: Value,
}

impl Forge {
    fn of(app: &TestApp, user: &SignedIn) -> Self {
        let good = serde_json::to_value(user.claims(app)).unwrap();
        Self { good }
    }

    /// Any header and claims under a good signature of this algorithm.
    fn signed(algorithm: hmac::Algorithm, header: &Value, claims: &Value, secret: &str) -> String {
        let text = format!("{}.{}", encoded(header), encoded(claims));
        let signature = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn with_claims(claims: &Value) -> String {
        Self::signed(hmac::HMAC_SHA256, &header("HS256"), claims, ACCESS_SECRET)
    }

    fn with_header(&self, header: &Value) -> String {
        Self::signed(hmac::HMAC_SHA256, header, &self.good, ACCESS_SECRET)
    }

    fn with_member(&self, member: &str, value: Value) -> String {
        let mut header = header("HS256");
        header[member] = value;
        self.with_header(&header)
    }

    fn bent(&self, member: &str, value: Value) -> String {
        let mut claims = self.good.clone();
        claims[member] = value;
        Self::with_claims(&claims)
    }

    fn without(&self, member: &str) -> String {
        let mut claims = self.good.clone();
        claims.as_object_mut().unwrap().remove(member);
        Self::with_claims(&claims)
    }
}

fn header(alg: &str) -> Value {
    json!({ "alg": alg, "typ": "at+jwt" })
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Each must be refused, by an answer that does not repeat it.
async fn refused(app: &TestApp, tokens: &[(&str, String)]) {
    for (what, token) in tokens {
        let answer = app.client.with_token(token).get("/api/admin/users").await;
        let status = answer.status.as_u16();
        assert!(status == 401 || status == 431, "{what}: {status} {}", answer.text);
        assert!(token.len() < 20 || !answer.text.contains(token), "{what}");
    }
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let forge = Forge::of(&app, &root);
    let parts: Vec<_> = root.access.split('.').collect();
    let mut promoted = forge.good.clone();
    promoted["username"] = json!("somebody else");
    let signed = |algorithm, alg, secret| Forge::signed(algorithm, &header(alg), &forge.good, secret);

    // The control: what is bent below is good before it is bent.
    let control = app.client.with_token(forge.with_header(&header("HS256")));
    control.get("/api/profile").await.expect(200);

    let mut bad = vec![
        ("rubbish", "rubbish".to_owned()),
        ("64 kB", "x".repeat(64_000)),
        ("five parts", "a.b.c.d.e".to_owned()),
        ("refresh token", root.refresh.clone()),
        (
            "service token",
            app.tokens().service("proxy-service", "auth-service"),
        ),
        ("cut signature", format!("{}.{}.", parts[0], parts[1])),
        (
            "edited claims",
            format!("{}.{}.{}", parts[0], encoded(&promoted), parts[2]),
        ),
        ("unknown kid", forge.with_member("kid", json!("another"))),
        ("path as kid", forge.with_member("kid", json!("../../dev/null"))),
        ("SQL as kid", forge.with_member("kid", json!("' OR 1=1--"))),
        ("10 kB kid", forge.with_member("kid", json!("k".repeat(10_000)))),
        ("number as kid", forge.with_member("kid", json!(1))),
        ("crit", forge.with_member("crit", json!(["exp"]))),
        ("b64", forge.with_member("b64", json!(false))),
        ("enc", forge.with_member("enc", json!("A256GCM"))),
        (
            "other secret",
            signed(hmac::HMAC_SHA256, "HS256", "another secret of 32 bytes length"),
        ),
        ("HS384", signed(hmac::HMAC_SHA384, "HS384", ACCESS_SECRET)),
        ("HS512", signed(hmac::HMAC_SHA512, "HS512", ACCESS_SECRET)),
    ];
    for alg in ["none", "None", "nOnE", "RS256", "ES256", "EdDSA", "hs256", ""] {
        bad.push((
            alg,
            format!("{}.{}.", encoded(&header(alg)), encoded(&forge.good)),
        ));
        bad.push((alg, forge.with_header(&header(alg))));
    }
    refused(&app, &bad).await;
}

#[tokio::test]
async fn claims_that_are_not_for_us_or_not_for_now_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let forge = Forge::of(&app, &root);
    let now = app.clock.now().timestamp();

    let mut bad = vec![
        ("type refresh", forge.bent("type", json!("refresh"))),
        ("type service", forge.bent("type", json!("service"))),
        ("iss", forge.bent("iss", json!("somebody else"))),
        ("aud", forge.bent("aud", json!("somebody else"))),
        ("aud list", forge.bent("aud", json!(["a", "b"]))),
        ("expired", forge.bent("exp", json!(now - 31))),
        ("exp text", forge.bent("exp", json!("9999999999"))),
        ("exp float", forge.bent("exp", json!(1e308))),
        ("exp negative", forge.bent("exp", json!(-1))),
        ("nbf ahead", forge.bent("nbf", json!(now + 31))),
        ("empty sub", forge.bent("sub", json!(""))),
        ("sub no id", forge.bent("sub", json!("x"))),
        ("unknown session", forge.bent("sid", json!("another"))),
        ("session of another", forge.bent("sub", json!("a".repeat(24)))),
    ];
    for member in ["exp", "nbf", "iss", "aud", "sub", "sid", "type", "role"] {
        bad.push((member, forge.without(member)));
    }
    refused(&app, &bad).await;
}

#[tokio::test]
async fn headers_that_point_elsewhere_are_not_followed() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let forge = Forge::of(&app, &root);
    let attacker = wiremock::MockServer::start().await;
    for member in ["jku", "x5u"] {
        let header = json!({ "alg": "EdDSA", "kid": "evil", member: format!("{}/keys", attacker.uri()) });
        refused(&app, &[(member, forge.with_header(&header))]).await;
    }
    assert!(attacker.received_requests().await.unwrap().is_empty());
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
