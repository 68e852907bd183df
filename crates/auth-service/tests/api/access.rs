//! Who may call what, and with which token.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_http::{Access, rows};
use common_jwt::{Audience, Role};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Person};

use crate::support::{SignedIn, TestApp};

fn path_of(template: &str) -> String {
    let path = template
        .replace("{user_id}", &"a".repeat(24))
        .replace("{email}", "nobody@example.com");
    assert!(!path.contains('{'), "{path}");
    path
}

/// The status must be a refusal exactly when the table says so.
async fn check(
    app: &TestApp,
    row: &common_http::Row,
    client: &test_support::Client,
    who: &str,
    expected: Option<u16>,
) {
    let request = client.request(row.method.as_str().parse().unwrap(), &path_of(&row.path));
    let request = if row.method == "GET" {
        request
    } else {
        request.json(&json!({}))
    };
    let answer = app.client.send(request).await;
    let status = answer.status.as_u16();
    match expected {
        Some(expected) => {
            assert_eq!(
                status, expected,
                "{who} {} {}: {}",
                row.method, row.path, answer.text
            );
            assert!(answer.body["code"].is_string() && answer.headers.contains_key("x-request-id"));
        }
        None => assert!(
            !matches!(status, 401 | 403 | 500..),
            "{who} {} {}: {}",
            row.method,
            row.path,
            answer.text
        ),
    }
}

#[tokio::test]
async fn every_route_lets_in_exactly_whom_its_row_names() {
    let app = TestApp::spawn().await;
    for (name, role) in [
        ("enduser1", "enduser"),
        ("super1", "supervisor"),
        ("root1", "admin"),
    ] {
        app.user(name, role).await;
    }
    let table = rows(auth_service::routes);
    assert!(table.len() > 20);
    for row in &table {
        let least = match row.access {
            Access::Public | Access::Optional => None,
            Access::User => Some(Role::EndUser),
            Access::Supervisor => Some(Role::Supervisor),
            Access::Admin => Some(Role::Admin),
            Access::Service => {
                check(&app, row, &app.client, "nobody", Some(401)).await;
                check(&app, row, &app.log_in("root1").await.client, "admin", Some(403)).await;
                check(&app, row, &app.as_service("proxy-service"), "service", None).await;
                continue;
            }
            Access::UserOrService | Access::SupervisorOrService => panic!("not used by this service"),
        };
        check(&app, row, &app.client, "nobody", least.map(|_| 401)).await;
        check(
            &app,
            row,
            &app.as_service("proxy-service"),
            "service",
            least.map(|_| 401),
        )
        .await;
        for (name, role) in [
            ("enduser1", Role::EndUser),
            ("super1", Role::Supervisor),
            ("root1", Role::Admin),
        ] {
            let refused = least.is_some_and(|least| role < least);
            let caller = app.log_in(name).await;
            check(&app, row, &caller.client, role.as_str(), refused.then_some(403)).await;
        }
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(algorithm: hmac::Algorithm, header: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a good token, as JSON to be bent.
fn claims(app: &TestApp, user: &SignedIn) -> Value {
    serde_json::to_value(user.claims(app)).unwrap()
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let good = claims(&app, &root);
    let header = |alg: &str| json!({ "alg": alg, "typ": "at+jwt" });
    let hs256 =
        |header: &Value, claims: &Value| signed(hmac::HMAC_SHA256, header, claims, ACCESS_SECRET.as_bytes());
    let bent = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        hs256(&header("HS256"), &claims)
    };
    let without = |member: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(member);
        hs256(&header("HS256"), &claims)
    };
    let with_header = |member: &str, value: Value| {
        let mut header = header("HS256");
        header[member] = value;
        hs256(&header, &good)
    };
    let now = app.clock.now().timestamp();
    let parts: Vec<_> = root.access.split('.').collect();

    // The control: what is bent below is good before it is bent.
    app.client
        .with_token(hs256(&header("HS256"), &good))
        .get("/api/profile")
        .await
        .expect(200);

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
            format!("{}.{}.{}", parts[0], encoded(&good), parts[2]),
        ),
        ("unknown kid", with_header("kid", json!("another"))),
        ("path as kid", with_header("kid", json!("../../dev/null"))),
        ("SQL as kid", with_header("kid", json!("' OR 1=1--"))),
        ("10 kB kid", with_header("kid", json!("k".repeat(10_000)))),
        ("number as kid", with_header("kid", json!(1))),
        ("crit", with_header("crit", json!(["exp"]))),
        ("b64", with_header("b64", json!(false))),
        ("zip and enc", with_header("enc", json!("A256GCM"))),
        (
            "other secret",
            signed(
                hmac::HMAC_SHA256,
                &header("HS256"),
                &good,
                b"another secret of 32 bytes length",
            ),
        ),
        (
            "HS512",
            signed(
                hmac::HMAC_SHA512,
                &header("HS512"),
                &good,
                ACCESS_SECRET.as_bytes(),
            ),
        ),
        (
            "HS384",
            signed(
                hmac::HMAC_SHA384,
                &header("HS384"),
                &good,
                ACCESS_SECRET.as_bytes(),
            ),
        ),
        ("type refresh", bent("type", json!("refresh"))),
        ("type service", bent("type", json!("service"))),
        ("iss", bent("iss", json!("somebody else"))),
        ("aud", bent("aud", json!("somebody else"))),
        ("aud list", bent("aud", json!(["a", "b"]))),
        ("expired", bent("exp", json!(now - 31))),
        ("exp text", bent("exp", json!("9999999999"))),
        ("exp float", bent("exp", json!(1e308))),
        ("exp negative", bent("exp", json!(-1))),
        ("nbf ahead", bent("nbf", json!(now + 31))),
        ("empty sub", bent("sub", json!(""))),
        ("unknown session", bent("sid", json!("another"))),
        ("session of another", bent("sub", json!("a".repeat(24)))),
    ];
    for member in ["exp", "nbf", "iss", "aud", "sub", "sid", "type"] {
        bad.push((member, without(member)));
    }
    for alg in ["none", "None", "nOnE", "RS256", "ES256", "EdDSA", "hs256", ""] {
        bad.push((alg, format!("{}.{}.", encoded(&header(alg)), encoded(&good))));
        bad.push((alg, hs256(&header(alg), &good)));
    }
    for (what, token) in bad {
        let answer = app.client.with_token(&token).get("/api/admin/users").await;
        assert!(
            answer.status == 401 || answer.status == 431,
            "{what}: {} {}",
            answer.status,
            answer.text
        );
        assert!(token.len() < 20 || !answer.text.contains(&token), "{what}");
    }
}

#[tokio::test]
async fn headers_that_point_elsewhere_are_not_followed() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let attacker = wiremock::MockServer::start().await;
    for member in ["jku", "x5u"] {
        let header = json!({ "alg": "EdDSA", "kid": "evil", member: format!("{}/keys", attacker.uri()) });
        let token = format!("{}.{}.AAAA", encoded(&header), encoded(&claims(&app, &root)));
        app.client
            .with_token(token)
            .get("/api/profile")
            .await
            .expect_problem(401, "invalid_token");
    }
    assert!(attacker.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn tokens_are_read_from_header_or_cookie_and_nowhere_else() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let bob = app.user("bob", "enduser").await;
    let get = |client: &test_support::Client| client.request(Method::GET, "/api/dashboard");
    let cookie = format!("accessToken={}", bob.access);

    let by_cookie = app
        .client
        .send(get(&app.client).header("cookie", &cookie))
        .await
        .expect(200);
    assert_eq!(by_cookie.body["user"]["username"], "bob");
    let both = app
        .client
        .send(get(&ada.client).header("cookie", &cookie))
        .await
        .expect(200);
    assert_eq!(both.body["user"]["username"], "ada", "the header counts first");
    let basic = get(&app.client)
        .header("authorization", "Basic YTpi")
        .header("cookie", &cookie);
    app.client.send(basic).await.expect(200);

    let twice = get(&ada.client).header("authorization", format!("Bearer {}", bob.access));
    app.client
        .send(twice)
        .await
        .expect_problem(400, "ambiguous_credentials");
    for query in ["token", "access_token", "accessToken"] {
        let path = format!("/api/dashboard?{query}={}", ada.access);
        app.client.get(&path).await.expect_problem(401, "missing_token");
    }
}

#[tokio::test]
async fn a_retired_secret_still_verifies_and_an_expired_token_does_not() {
    let app = TestApp::spawn_with(|config| {
        config.jwt_access_secret_previous = Some(ACCESS_SECRET.into());
        config.jwt_access_secret = "another-6b1f0d9ae27c4583b6e0197cd42f".into();
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

#[tokio::test]
async fn foreign_pages_cannot_use_our_cookies() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let cookie = format!("accessToken={}; refreshToken={}", ada.access, ada.refresh);
    let send = async |path: &str, origin: &str| {
        let request = app.client.request(Method::POST, path).header("cookie", &cookie);
        app.client.send(request.header("origin", origin)).await
    };

    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
        "http://app.example.com",
    ] {
        for path in ["/api/auth/refresh", "/api/auth/logout", "/api/auth/logout-all"] {
            send(path, origin).await.expect_problem(403, "foreign_origin");
        }
    }
    let text = app
        .client
        .request(Method::PUT, "/api/profile")
        .header("cookie", &cookie);
    let text = text
        .header("content-type", "text/plain")
        .body(r#"{"username":"stolen"}"#);
    app.client
        .send(text)
        .await
        .expect_problem(415, "unsupported_media_type");

    for origin in ["https://app.example.com", "https://chat.example.com", &app.base] {
        send("/api/auth/refresh", origin).await.expect(200);
    }
    let bearer = ada
        .client
        .request(Method::PUT, "/api/profile")
        .header("origin", "https://evil.example");
    ada.client.send(bearer.json(&json!({}))).await.expect(200);
}

#[tokio::test]
async fn only_listed_pages_read_our_answers() {
    let app = TestApp::spawn().await;
    let get = async |origin: &str| {
        let request = app
            .client
            .request(Method::GET, "/api/profile")
            .header("origin", origin);
        app.client.send(request).await.expect(401)
    };

    let listed = get("https://app.example.com").await;
    assert_eq!(
        listed.headers["access-control-allow-origin"],
        "https://app.example.com"
    );
    assert_eq!(listed.headers["access-control-allow-credentials"], "true");
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
    ] {
        assert!(
            !get(origin)
                .await
                .headers
                .contains_key("access-control-allow-origin"),
            "{origin}"
        );
    }
    let preflight = app.client.request(Method::OPTIONS, "/api/auth/login");
    let preflight = preflight
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type, authorization");
    app.client.send(preflight).await.expect(200);
}

#[tokio::test]
async fn other_spellings_of_a_path_open_nothing() {
    let app = TestApp::spawn().await;
    for path in [
        "//api/admin/users",
        "/api//admin/users",
        "/api/admin/users/",
        "/api/admin/users;x=1",
        "/API/admin/users",
        "/api/admin/users.",
        "/api/%61dmin/users",
        "/api/profile/%2e%2e/admin/users",
        "/internal/revocations/",
    ] {
        let answer = app.client.get(path).await;
        assert!(
            matches!(answer.status.as_u16(), 401 | 404),
            "{path}: {}",
            answer.status
        );
        assert!(answer.body["code"].is_string(), "{path}");
    }
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-original-url", "/health"),
        ("x-rewrite-url", "/health"),
    ] {
        let request = app
            .client
            .request(Method::GET, "/api/admin/users")
            .header(name, value);
        app.client
            .send(request)
            .await
            .expect_problem(401, "missing_token");
    }
    for method in [Method::DELETE, Method::TRACE, Method::PATCH] {
        let answer = app.client.send(app.client.request(method, "/api/profile")).await;
        assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
        answer.expect_problem(405, "method_not_allowed");
    }
    app.client.get("/nowhere").await.expect_problem(404, "not_found");
}
