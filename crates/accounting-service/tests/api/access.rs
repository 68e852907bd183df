//! Who may call what, and which tokens are none.

use std::collections::BTreeMap;

use accounting_service::routes::routes;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_http::{Access, Row, rows};
use common_jwt::{Audience, Role, Signer, SigningKey, TokenType};
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Person, REFRESH_SECRET, SERVICE_SECRET};

use crate::support::TestApp;

/// The access table as it is documented; a route that is added has to be added here.
fn documented() -> BTreeMap<String, Access> {
    let table = [
        ("GET /health", Access::Public),
        ("GET /api/health", Access::Public),
        ("GET /livez", Access::Public),
        ("GET /readyz", Access::Public),
        ("GET /metrics", Access::Public),
        ("GET /openapi.json", Access::Public),
        ("GET /docs", Access::Public),
        ("GET /docs/reader.js", Access::Public),
        ("GET /docs/reader.css", Access::Public),
        ("GET /api/credits/balance", Access::User),
        ("GET /api/credits/balance/{user_id}", Access::SupervisorOrService),
        ("GET /api/credits/total-balance", Access::User),
        ("POST /api/credits/check", Access::User),
        ("POST /api/credits/calculate", Access::UserOrService),
        ("POST /api/credits/deduct", Access::User),
        ("POST /api/credits/allocate", Access::SupervisorOrService),
        ("POST /api/credits/allocate-by-email", Access::Admin),
        ("POST /api/credits/set", Access::Supervisor),
        ("DELETE /api/credits/remove", Access::Supervisor),
        ("PUT /api/credits/adjust", Access::Supervisor),
        ("POST /api/admin/users", Access::Admin),
        ("GET /api/credits/allocations/all", Access::Supervisor),
        ("POST /api/streaming-sessions/initialize", Access::UserOrService),
        ("POST /api/streaming-sessions/finalize", Access::UserOrService),
        ("POST /api/streaming-sessions/abort", Access::UserOrService),
        ("GET /api/streaming-sessions/active", Access::User),
        ("POST /api/usage/record", Access::UserOrService),
        ("GET /api/usage/stats", Access::User),
        ("GET /api/usage/stats/{user_id}", Access::Supervisor),
        ("GET /api/usage/system-stats", Access::Admin),
        ("GET /api/prices", Access::UserOrService),
        ("GET /api/prices/{model}", Access::UserOrService),
        ("POST /api/prices", Access::Admin),
        ("PUT /api/prices/{model}", Access::Admin),
        ("DELETE /api/prices/{model}", Access::Admin),
        ("GET /api/prices/{model}/history", Access::Admin),
        ("GET /api/admin/webhooks/dead-letters", Access::Admin),
        ("POST /api/admin/webhooks/dead-letters/{id}/retry", Access::Admin),
        ("GET /api/admin/credit-rules", Access::Admin),
        ("POST /api/admin/credit-rules", Access::Admin),
        ("GET /api/admin/credit-rules/{id}", Access::Admin),
        ("PUT /api/admin/credit-rules/{id}", Access::Admin),
        ("DELETE /api/admin/credit-rules/{id}", Access::Admin),
        ("PATCH /api/credits/allocations/{id}", Access::Supervisor),
        ("DELETE /api/credits/allocations/{id}", Access::Supervisor),
        ("DELETE /api/users/{id}", Access::Admin),
        ("DELETE /api/credits/user/{id}", Access::Admin),
        ("GET /api/credits/holds", Access::User),
        ("POST /api/credits/holds/{id}/void", Access::Admin),
        ("GET /api/credits/transactions", Access::User),
        ("GET /api/credits/receipts/{session_id}", Access::UserOrService),
        ("GET /api/streaming-sessions/active/all", Access::Supervisor),
        ("GET /api/streaming-sessions/active/{user_id}", Access::Supervisor),
        ("GET /api/streaming-sessions/recent", Access::Supervisor),
        ("GET /api/streaming-sessions/recent/{user_id}", Access::Supervisor),
        ("GET /internal/people/{user_id}/data", Access::Service),
        ("GET /openapi.json", Access::Public),
        ("GET /docs", Access::Public),
        ("GET /docs/reader.js", Access::Public),
        ("GET /docs/reader.css", Access::Public),
    ];
    table
        .into_iter()
        .map(|(route, access)| (route.to_owned(), access))
        .collect()
}

async fn status_of(client: &test_support::Client, row: &Row) -> (u16, String) {
    let path = row
        .path
        .replace("{user_id}", "5f0a1b2c3d4e5f6a7b8c9d0e")
        .replace("{id}", "5f0a1b2c3d4e5f6a7b8c9d0e")
        .replace("{session_id}", "s-1");
    let mut request = client.request(row.method.as_str().parse().unwrap(), &path);
    if row.method != "GET" {
        request = request.json(&json!({}));
    }
    let answer = client.send(request).await;
    (
        answer.status.as_u16(),
        answer.body["code"].as_str().unwrap_or_default().to_owned(),
    )
}

#[actix_web::test]
async fn every_route_lets_in_whom_it_is_documented_to() {
    let rows = rows(routes);
    let found: BTreeMap<_, _> = rows
        .iter()
        .map(|row| (format!("{} {}", row.method, row.path), row.access))
        .collect();
    assert_eq!(found, documented());

    let app = TestApp::spawn().await;
    for row in &rows {
        let (roles, services) = match row.access {
            Access::Public | Access::Optional => continue,
            Access::User | Access::RestrictedUser => {
                (vec![Role::EndUser, Role::Supervisor, Role::Admin], false)
            }
            Access::UserOrService => (vec![Role::EndUser, Role::Supervisor, Role::Admin], true),
            Access::Supervisor => (vec![Role::Supervisor, Role::Admin], false),
            Access::SupervisorOrService => (vec![Role::Supervisor, Role::Admin], true),
            Access::Admin => (vec![Role::Admin], false),
            Access::AdminOrService => (vec![Role::Admin], true),
            Access::Service => (vec![], true),
        };
        let name = format!("{} {}", row.method, row.path);

        assert_eq!(
            status_of(&app.client, row).await,
            (401, "missing_token".to_owned()),
            "{name} without a token"
        );
        for role in [Role::EndUser, Role::Supervisor, Role::Admin] {
            let (status, code) = status_of(&app.as_role(role), row).await;
            if roles.contains(&role) {
                assert!(
                    ![401, 403].contains(&status),
                    "{name} refuses {role}: {status} {code}"
                );
            } else {
                assert_eq!((status, code.as_str()), (403, "forbidden"), "{name} as {role}");
            }
        }
        let (status, code) = status_of(&app.proxy(), row).await;
        assert_eq!(
            services,
            ![401, 403].contains(&status),
            "{name} as a service: {status} {code}"
        );
    }
}

#[actix_web::test]
async fn tokens_of_every_wrong_kind_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let tokens = app.tokens();
    let claims = tokens.access_claims(&alice);
    let now = app.clock.now().timestamp();
    let good = tokens.access(&alice);
    let bent = |bend: &dyn Fn(&mut common_jwt::AccessClaims)| {
        let mut claims = claims.clone();
        bend(&mut claims);
        tokens.sign(&claims)
    };
    let part = |index: usize| good.split('.').nth(index).unwrap().to_owned();
    let header = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed_with = |secret: &str| {
        Signer::new(SigningKey::hs256(secret.as_bytes()))
            .access(&claims)
            .unwrap()
    };
    let mut elevated: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part(1)).unwrap()).unwrap();
    elevated["role"] = json!("admin");
    let last = if good.ends_with('A') { "B" } else { "A" };

    let bad = [
        ("garbage", "garbage".to_owned()),
        (
            "alg none",
            format!(
                "{}.{}.",
                header(json!({ "alg": "none", "typ": "at+jwt" })),
                part(1)
            ),
        ),
        (
            "alg nOnE",
            format!("{}.{}.{}", header(json!({ "alg": "nOnE" })), part(1), part(2)),
        ),
        (
            "another alg",
            format!("{}.{}.{}", header(json!({ "alg": "RS256" })), part(1), part(2)),
        ),
        (
            "crit",
            format!(
                "{}.{}.{}",
                header(json!({ "alg": "HS256", "crit": ["x"] })),
                part(1),
                part(2)
            ),
        ),
        ("five parts", format!("{good}.x.y")),
        (
            "unknown kid",
            format!(
                "{}.{}.{}",
                header(json!({ "alg": "HS256", "kid": "../../dev/null" })),
                part(1),
                part(2)
            ),
        ),
        ("another secret", signed_with(REFRESH_SECRET)),
        ("the services' secret", signed_with(SERVICE_SECRET)),
        (
            "an edited role",
            format!(
                "{}.{}.{}",
                part(0),
                URL_SAFE_NO_PAD.encode(elevated.to_string()),
                part(2)
            ),
        ),
        (
            "an altered signature",
            format!("{}{last}", &good[..good.len() - 1]),
        ),
        ("expired", bent(&|claims| claims.exp = now - 31)),
        ("not yet valid", bent(&|claims| claims.nbf = now + 31)),
        (
            "another issuer",
            bent(&|claims| claims.iss = "somebody".to_owned()),
        ),
        (
            "another audience",
            bent(&|claims| claims.aud = Audience::One("somebody".to_owned())),
        ),
        (
            "a list of other audiences",
            bent(&|claims| claims.aud = Audience::Many(vec!["a".to_owned(), "b".to_owned()])),
        ),
        (
            "a refresh token",
            bent(&|claims| claims.kind = TokenType::Refresh),
        ),
        (
            "an id that is none",
            bent(&|claims| claims.sub = "root".to_owned()),
        ),
        ("too long", format!("{good}{}", "A".repeat(5_000))),
    ];
    for (kind, token) in bad {
        let answer = app.client.with_token(token).get("/api/credits/balance").await;
        assert_eq!(answer.status, 401, "{kind}: {}", answer.text);
        assert_eq!(answer.body["code"], "invalid_token", "{kind}");
        assert!(answer.headers.contains_key("www-authenticate"), "{kind}");
    }

    app.client
        .get(&format!("/api/credits/balance?access_token={good}"))
        .await
        .expect_problem(401, "missing_token");
    let two = app
        .client
        .with_token(&good)
        .request(reqwest::Method::GET, "/api/credits/balance")
        .header("authorization", "Bearer x");
    app.client
        .send(two)
        .await
        .expect_problem(400, "ambiguous_credentials");
    app.client
        .with_token(good)
        .get("/api/credits/balance")
        .await
        .expect(200);
}

#[actix_web::test]
async fn service_tokens_of_every_wrong_kind_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let body = json!({ "sessionId": "s", "modelId": "m", "userId": alice.id, "credits": 1 });
    let path = "/api/streaming-sessions/initialize";
    let now = app.clock.now();
    let signed = |secret: &str, audience: &str, expires_in: i64| {
        let claims = common_jwt::ServiceClaims {
            aud: audience.into(),
            sub: "proxy-service".to_owned(),
            iat: now.timestamp(),
            exp: now.timestamp() + expires_in,
            kind: TokenType::Service,
        };
        Signer::new(SigningKey::hs256(secret.as_bytes()))
            .service(&claims)
            .unwrap()
    };
    for token in [
        signed(ACCESS_SECRET, "accounting-service", 60),
        signed(SERVICE_SECRET, "auth-service", 60),
        signed(SERVICE_SECRET, "accounting-service", -31),
    ] {
        app.client
            .with_token(token)
            .post(path, &body)
            .await
            .expect_problem(401, "invalid_token");
    }
    app.client
        .with_token(signed(SERVICE_SECRET, "accounting-service", 60))
        .post(path, &body)
        .await
        .expect(201);
}

#[actix_web::test]
async fn a_token_signed_before_a_rotation_is_good_until_it_expires() {
    const FORMER: &str = "former-0d9c41b7e83f2a5c6d70e18b94fa";
    let app = TestApp::spawn_with(|config| config.jwt_access_secret_previous = Some(FORMER.into())).await;
    let alice = Person::new("alice", Role::EndUser);
    let claims = app.tokens().access_claims(&alice);
    let former = Signer::new(SigningKey::hs256(FORMER.as_bytes()))
        .access(&claims)
        .unwrap();

    app.client
        .with_token(former)
        .get("/api/credits/balance")
        .await
        .expect(200);
    app.sign_in(&alice).get("/api/credits/balance").await.expect(200);
}

#[actix_web::test]
async fn a_session_that_auth_has_ended_is_over_here_too() {
    let auth = wiremock::MockServer::start().await;
    let app_url = auth.uri();
    let alice = Person::new("alice", Role::EndUser);
    let feed =
        json!({ "cursor": "1", "revocations": [{ "sid": alice.session_id, "expiresAt": 1_900_000_000 }] });
    wiremock::Mock::given(wiremock::matchers::path("/internal/revocations"))
        .and(wiremock::matchers::header_regex("authorization", "^Bearer .+"))
        .respond_with(wiremock::ResponseTemplate::new(200).set_body_json(feed))
        .mount(&auth)
        .await;
    let app = TestApp::spawn_with(|config| config.auth_url = app_url).await;
    let client = app.sign_in(&alice);

    crate::support::eventually("the revocation", async || {
        client.get("/api/credits/balance").await.status == 401
    })
    .await;

    client
        .get("/api/credits/balance")
        .await
        .expect_problem(401, "session_revoked");
}

#[actix_web::test]
async fn people_act_on_their_own_account_whatever_the_body_says() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    let client = app.sign_in(&alice);

    let deduct = json!({ "credits": 10, "userId": bob.id });
    client.post("/api/credits/deduct", &deduct).await.expect(200);
    let open = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 10_000, "userId": bob.id, "credits": 50 });
    client
        .post("/api/streaming-sessions/initialize", &open)
        .await
        .expect(201);

    assert_eq!((app.balance(&alice).await, app.balance(&bob).await), (85, 100));
}
