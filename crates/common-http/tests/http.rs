//! The shared rooms through a real server: access, bodies, problems, ids, metrics, the revocation feed, stopping.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails there")]

use std::{net::SocketAddr, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, ResponseError, http::StatusCode, middleware::from_fn, web};
use common_http::{
    Access, Authenticator, Body, Caller, Clock, Contract, CurrentUser, Lifecycle, Metrics, Problem,
    RevocationBody, RevocationFeed, RevocationSet, Routes, ServiceTokens, cors, observe, show_liveness,
    show_metrics,
};
use common_jwt::{AUDIENCE_DEFAULT, ISSUER_DEFAULT, KeyRing, Role, TokenType, Verifier, VerifyingKey};
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use test_support::{ACCESS_SECRET, Client, Person, SERVICE_SECRET, TestTokens};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header_exists, method, path, query_param},
};

const NAME: &str = "test-service";

#[derive(Deserialize)]
struct Allocate {
    credits: i64,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    name: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the source of it all")]
struct Broken;

impl ResponseError for Broken {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        Problem::new(self.status_code(), "internal", "something went wrong on our side").error_response()
    }
}

async fn show_user(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "id": user.id, "role": user.role.as_str() }))
}

async fn show_caller(caller: Caller) -> HttpResponse {
    let name = match caller {
        Caller::User(user) => user.username,
        Caller::Service(service) => service.name,
    };
    HttpResponse::Ok().json(json!({ "caller": name }))
}

async fn maybe_caller(caller: Option<Caller>) -> HttpResponse {
    let role = match &caller {
        Some(Caller::User(user)) => Some(user.role),
        Some(Caller::Service(_)) | None => None,
    };
    HttpResponse::Ok().json(json!({ "known": caller.is_some(), "role": role }))
}

async fn allocate(body: Body<Allocate>) -> HttpResponse {
    let Allocate { credits, lines } = body.into_inner();
    let names: Vec<_> = lines.into_iter().map(|line| line.name).collect();
    HttpResponse::Ok().json(json!({ "credits": credits, "names": names }))
}

async fn fail() -> Result<HttpResponse, Broken> {
    Err(Broken)
}

async fn framed() -> HttpResponse {
    let policy = "default-src 'self'; frame-ancestors 'self' https://school.example";
    HttpResponse::Ok()
        .insert_header(("content-security-policy", policy))
        .finish()
}

fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/framed", Access::Public, framed)
        .get("/livez", Access::Public, show_liveness)
        .get("/metrics", Access::Public, show_metrics)
        .get("/users/{id}", Access::User, show_user)
        .get("/password", Access::RestrictedUser, show_user)
        .get("/reports", Access::Supervisor, show_user)
        .get("/admin", Access::Admin, show_user)
        .get("/internal/feed", Access::Service, show_caller)
        .get("/holds", Access::UserOrService, show_caller)
        .get("/optional", Access::Optional, maybe_caller)
        .post("/allocate", Access::Public, allocate)
        .get("/fail", Access::Public, fail);
    Contract::routes(routes);
}

struct TestServer {
    client: Client,
    address: SocketAddr,
    revocations: RevocationSet,
    lifecycle: Lifecycle,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    fn start() -> Self {
        let revocations = RevocationSet::default();
        let ring = |secret: &str| KeyRing::new([VerifyingKey::hs256(secret.as_bytes())]);
        let authenticator = web::Data::new(Authenticator {
            people: Verifier::new(ring(ACCESS_SECRET), ISSUER_DEFAULT, AUDIENCE_DEFAULT),
            key_feed: None,
            services: Verifier::for_services(ring(SERVICE_SECRET), NAME),
            revocations: revocations.clone(),
            clock: Clock::System,
            older_cookie: Some("accessToken"),
            session_check: None,
            api_keys: None,
        });
        let metrics = web::Data::new(Metrics::new(NAME).unwrap());
        let lifecycle = Lifecycle::default();
        let shared_lifecycle = web::Data::new(lifecycle.clone());
        let contract = web::Data::new(Contract::from_yaml("openapi: 3.1.0\npaths: {}\n").unwrap());
        let origins = vec!["https://chat.example.com".to_owned()];
        let server = HttpServer::new(move || {
            App::new()
                .app_data(authenticator.clone())
                .app_data(metrics.clone())
                .app_data(shared_lifecycle.clone())
                .app_data(contract.clone())
                .configure(|config| {
                    let mut table = Routes::new(config);
                    routes(&mut table);
                    table.finish();
                })
                .wrap(cors(&origins, true))
                .wrap(from_fn(observe))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let address = server.addrs()[0];
        let life = lifecycle.clone();
        let server = server.run();
        let running =
            tokio::spawn(async move { life.run(server, Duration::ZERO, Duration::from_secs(5)).await });
        Self {
            client: Client::new(format!("http://{address}")),
            address,
            revocations,
            lifecycle,
            running,
        }
    }
}

fn tokens() -> TestTokens {
    TestTokens::at(Clock::System.now())
}

#[actix_web::test]
async fn each_route_admits_whom_its_row_names() {
    let server = TestServer::start();
    let tokens = tokens();
    let as_role = |role| {
        server
            .client
            .with_token(tokens.access(&Person::new("alice", role)))
    };
    let (user, supervisor, admin) = (
        as_role(Role::EndUser),
        as_role(Role::Supervisor),
        as_role(Role::Admin),
    );
    let service = server.client.with_token(tokens.service("proxy-service", NAME));

    for route in ["/users/1", "/reports", "/admin", "/internal/feed", "/holds"] {
        let answer = server
            .client
            .get(route)
            .await
            .expect_problem(401, "missing_token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    user.get("/users/1").await.expect(200);
    user.get("/reports").await.expect_problem(403, "forbidden");
    user.get("/admin").await.expect_problem(403, "forbidden");
    user.get("/internal/feed").await.expect_problem(403, "forbidden");
    assert_eq!(user.get("/holds").await.expect(200).body["caller"], "alice");
    supervisor.get("/reports").await.expect(200);
    supervisor.get("/admin").await.expect_problem(403, "forbidden");
    admin.get("/admin").await.expect(200);
    assert_eq!(
        service.get("/internal/feed").await.expect(200).body["caller"],
        "proxy-service"
    );
    assert_eq!(
        service.get("/holds").await.expect(200).body["caller"],
        "proxy-service"
    );
    service.get("/users/1").await.expect_problem(401, "invalid_token");

    assert_eq!(
        server.client.get("/optional").await.expect(200).body["known"],
        false
    );
    assert_eq!(
        server
            .client
            .with_token("rubbish")
            .get("/optional")
            .await
            .expect(200)
            .body["known"],
        false
    );
    assert_eq!(user.get("/optional").await.expect(200).body["known"], true);
}

#[actix_web::test]
async fn whoever_must_change_the_password_can_do_nothing_else() {
    let server = TestServer::start();
    let tokens = tokens();
    let mut claims = tokens.access_claims(&Person::new("alice", Role::Admin));
    claims.must_change_password = true;
    let alice = server.client.with_token(tokens.sign(&claims));

    for route in ["/users/1", "/reports", "/admin", "/holds"] {
        alice
            .get(route)
            .await
            .expect_problem(403, "password_change_required");
    }
    alice.get("/internal/feed").await.expect_problem(403, "forbidden");
    alice.get("/password").await.expect(200);
    let known = alice.get("/optional").await.expect(200).body;
    assert_eq!(
        (&known["known"], &known["role"]),
        (&json!(true), &json!("enduser"))
    );

    server
        .client
        .get("/password")
        .await
        .expect_problem(401, "missing_token");
    let service = server.client.with_token(tokens.service("proxy-service", NAME));
    service
        .get("/password")
        .await
        .expect_problem(401, "invalid_token");
}

#[actix_web::test]
async fn tokens_that_are_not_for_us_are_refused() {
    let server = TestServer::start();
    let tokens = tokens();
    let alice = Person::new("alice", Role::Admin);
    let claims = tokens.access_claims(&alice);
    let now = claims.iat;

    let bent = [
        tokens.sign(&common_jwt::AccessClaims {
            exp: now - 31,
            ..claims.clone()
        }),
        tokens.sign(&common_jwt::AccessClaims {
            nbf: now + 120,
            ..claims.clone()
        }),
        tokens.sign(&common_jwt::AccessClaims {
            iss: "evil".into(),
            ..claims.clone()
        }),
        tokens.sign(&common_jwt::AccessClaims {
            aud: "other".into(),
            ..claims.clone()
        }),
        tokens.sign(&common_jwt::AccessClaims {
            kind: TokenType::Refresh,
            ..claims.clone()
        }),
        tokens.sign(&common_jwt::AccessClaims {
            sub: String::new(),
            ..claims.clone()
        }),
        tokens.service("proxy-service", "another-service"),
        format!("{}x", tokens.access(&alice)),
        "a".repeat(6_000),
    ];
    for token in bent {
        server
            .client
            .with_token(&token)
            .get("/admin")
            .await
            .expect_problem(401, "invalid_token");
    }

    let token = tokens.access(&alice);
    let twice = server
        .client
        .request(Method::GET, "/admin")
        .bearer_auth(&token)
        .bearer_auth(&token);
    server
        .client
        .send(twice)
        .await
        .expect_problem(400, "ambiguous_credentials");
    let query = server.client.get(&format!("/admin?access_token={token}")).await;
    query.expect_problem(401, "missing_token");
    let cookie = server
        .client
        .request(Method::GET, "/admin")
        .header("cookie", format!("accessToken={token}"));
    server.client.send(cookie).await.expect(200);
    let lower = server
        .client
        .request(Method::GET, "/admin")
        .header("authorization", format!("bearer {token}"));
    server.client.send(lower).await.expect(200);

    server.revocations.extend(
        [RevocationBody {
            sid: alice.session_id,
            expires_at: now + 900,
        }],
        now,
    );
    server
        .client
        .with_token(&token)
        .get("/admin")
        .await
        .expect_problem(401, "session_revoked");
    server.revocations.extend([], now + 900 + 31);
    assert!(server.revocations.is_empty(), "what has expired is forgotten");
}

/// The cookie of the session in a browser is worth something on our own pages, and where nobody else sent the request.
#[actix_web::test]
async fn the_cookie_of_our_pages_is_taken_from_our_pages_only() {
    let server = TestServer::start();
    let own = format!("http://{}", server.address);
    let cookie = format!(
        "flowgateAccess={}",
        tokens().access(&Person::new("alice", Role::EndUser))
    );
    let asked = async |headers: &[(&str, &str)]| {
        let mut request = server
            .client
            .request(Method::GET, "/holds")
            .header("cookie", &cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.client.send(request).await
    };
    for headers in [
        &[][..],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("origin", &own)],
    ] {
        let answer = asked(headers).await.expect(200);
        assert_eq!(answer.body["caller"], "alice", "{headers:?}");
    }
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        // Listed for clients that hold a token; a cookie of ours is none of theirs.
        &[("origin", "https://chat.example.com")],
        // What another would be, had the proxy been one we trust.
        &[
            ("origin", "https://elsewhere"),
            ("x-forwarded-host", "elsewhere"),
            ("x-forwarded-proto", "https"),
        ],
    ] {
        asked(headers).await.expect_problem(401, "missing_token");
    }
    // A header counts before the cookie, also when it is worth nothing.
    asked(&[("authorization", "Bearer rubbish")])
        .await
        .expect_problem(401, "invalid_token");
    asked(&[("authorization", "Basic YTpi")])
        .await
        .expect_problem(401, "missing_token");
    let bob = format!("Bearer {}", tokens().access(&Person::new("bob", Role::EndUser)));
    let answer = asked(&[("authorization", &bob), ("sec-fetch-site", "cross-site")])
        .await
        .expect(200);
    assert_eq!(answer.body["caller"], "bob");
}

#[actix_web::test]
async fn bad_bodies_are_named_and_never_repeated() {
    let server = TestServer::start();
    let post = async |body: serde_json::Value| server.client.post("/allocate", &body).await;

    post(json!({ "credits": 5 })).await.expect(200);
    let cases = [
        (json!({}), "credits", "is required"),
        (json!({ "credits": "hunter2" }), "credits", "must be i64"),
        (json!({ "credits": 1.5 }), "credits", "must be i64"),
        (
            json!({ "credits": 1, "lines": [{ "name": "a" }, {}] }),
            "lines[1].name",
            "is required",
        ),
        (
            json!({ "credits": 1, "lines": [{ "name": ["hunter2"] }] }),
            "lines[0].name",
            "must be a string",
        ),
        (json!([1]), "body", ""),
    ];
    for (body, field, message) in cases {
        let answer = post(body).await.expect_problem(400, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], field, "{}", answer.text);
        assert!(
            answer.body["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains(message),
            "{}",
            answer.text
        );
        assert!(
            !answer.text.contains("hunter2"),
            "what was sent may be a secret: {}",
            answer.text
        );
    }
    let raw = |body: &'static str, kind: &'static str| {
        server
            .client
            .request(Method::POST, "/allocate")
            .header("content-type", kind)
            .body(body)
    };
    let send = async |request| server.client.send(request).await;
    send(raw("{\"credits\":", "application/json"))
        .await
        .expect_problem(400, "malformed_json");
    send(raw("{\"credits\":1} {}", "application/json"))
        .await
        .expect_problem(400, "malformed_json");
    send(raw("{\"credits\":1}", "text/plain"))
        .await
        .expect_problem(415, "unsupported_media_type");
    send(raw("", "application/json"))
        .await
        .expect_problem(400, "malformed_json");
    let large = server
        .client
        .request(Method::POST, "/allocate")
        .header("content-type", "application/json");
    send(large.body(" ".repeat(200_000)))
        .await
        .expect_problem(413, "body_too_large");
}

#[actix_web::test]
async fn a_compressed_bomb_is_counted_unpacked() {
    // 300 kB of spaces in gzip: small on the wire, over the limit when read.
    let server = TestServer::start();
    let bomb = include_bytes!("spaces.json.gz");
    let request = server
        .client
        .request(Method::POST, "/allocate")
        .header("content-type", "application/json");
    let request = request.header("content-encoding", "gzip").body(bomb.to_vec());
    server
        .client
        .send(request)
        .await
        .expect_problem(413, "body_too_large");
}

#[actix_web::test]
async fn unknown_addresses_and_methods_are_problems_too() {
    let server = TestServer::start();
    server
        .client
        .get("/nowhere")
        .await
        .expect_problem(404, "not_found");
    let answer = server
        .client
        .delete("/users/7")
        .await
        .expect_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET");
    let answer = server.client.get("/fail").await.expect_problem(500, "internal");
    assert!(
        !answer.text.contains("source"),
        "the inside stays inside: {}",
        answer.text
    );
}

#[actix_web::test]
async fn every_answer_carries_its_id_and_the_security_headers() {
    let server = TestServer::start();
    let request = server
        .client
        .request(Method::GET, "/nowhere")
        .header("x-request-id", "from-the-gateway:1");
    let answer = server.client.send(request).await.expect_problem(404, "not_found");
    assert_eq!(answer.headers["x-request-id"], "from-the-gateway:1");
    assert_eq!(answer.body["request_id"], "from-the-gateway:1");

    let forged = server
        .client
        .request(Method::GET, "/livez")
        .header("x-request-id", "a b\"c");
    let answer = server.client.send(forged).await.expect(200);
    assert_ne!(answer.headers["x-request-id"], "a b\"c");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(!answer.headers.contains_key("server"));
}

#[actix_web::test]
async fn only_listed_origins_may_read() {
    let server = TestServer::start();
    let from = |origin: &'static str| {
        server
            .client
            .request(Method::GET, "/livez")
            .header("origin", origin)
    };
    let answer = server
        .client
        .send(from("https://chat.example.com"))
        .await
        .expect(200);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://chat.example.com"
    );
    for origin in [
        "https://evil.example",
        "null",
        "https://chat.example.com.evil.example",
    ] {
        let answer = server.client.send(from(origin)).await.expect(200);
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{origin}"
        );
    }
}

#[actix_web::test]
async fn metrics_count_by_route_template() {
    let server = TestServer::start();
    for number in 0..20 {
        server.client.get(&format!("/users/{number}")).await.expect(401);
        server.client.get(&format!("/random/{number}")).await.expect(404);
    }
    let text = server.client.get("/metrics").await.expect(200).text;
    let series = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(series("http_requests_total{"), 2, "{text}");
    let line = "http_requests_total{method=\"GET\",route=\"/users/{id}\",status=\"401\",service=\"test-service\"} 20";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("route=\"unmatched\""), "{text}");
}

#[actix_web::test]
async fn the_feed_fills_the_set_and_continues_at_its_cursor() {
    let auth = MockServer::start().await;
    let feed = |since: &str, body: serde_json::Value| {
        Mock::given(method("GET"))
            .and(path("/internal/revocations"))
            .and(query_param("since", since))
            .and(header_exists("authorization"))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
    };
    let now = Clock::System.now().timestamp();
    let ended = |sid: &str| json!({ "sid": sid, "expiresAt": now + 900 });
    feed("", json!({ "cursor": "c1", "revocations": [ended("s-1")] }))
        .mount(&auth)
        .await;
    feed("c1", json!({ "cursor": "c2", "revocations": [ended("s-2")] }))
        .mount(&auth)
        .await;
    Mock::given(query_param("since", "c2"))
        .respond_with(ResponseTemplate::new(500))
        .mount(&auth)
        .await;

    let set = RevocationSet::default();
    let metrics = Metrics::new(NAME).unwrap();
    let tokens = ServiceTokens::new(NAME, &SecretString::from(SERVICE_SECRET));
    let follower = RevocationFeed::new(&auth.uri(), tokens, set.clone(), Clock::System, &metrics).unwrap();
    let lifecycle = Lifecycle::default();
    let following = tokio::spawn(follower.follow(lifecycle.cancelled()));
    let reached = async {
        while !(set.contains("s-1") && set.contains("s-2")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .expect("the feed is followed");
    lifecycle.stop();
    following.await.unwrap();
    assert!(!set.contains("s-3"));
}

#[actix_web::test]
async fn the_contract_is_served_with_a_reader_that_loads_only_from_here() {
    let client = TestServer::start().client;
    let contract = client.get("/openapi.json").await.expect(200);
    assert_eq!(contract.headers["content-type"], "application/json");
    assert_eq!(contract.body["openapi"], "3.1.0");

    let page = client.get("/docs").await.expect(200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let parts = [
        ("docs/reader.js", "text/javascript; charset=utf-8"),
        ("docs/reader.css", "text/css; charset=utf-8"),
    ];
    for (part, content_type) in parts {
        assert!(
            page.text.contains(&format!("\"{part}\"")),
            "the page names {part}"
        );
        let answer = client.get(&format!("/{part}")).await.expect(200);
        assert_eq!(answer.headers["content-type"], content_type);
        let policy = &answer.headers["content-security-policy"];
        assert_eq!(
            policy, "default-src 'none'; frame-ancestors 'none'",
            "only the page itself may load"
        );
    }
}

#[actix_web::test]
async fn only_an_answer_that_names_its_frames_may_be_framed() {
    let client = TestServer::start().client;
    let framed = client.get("/framed").await.expect(200);
    assert!(!framed.headers.contains_key("x-frame-options"));
    for path in ["/docs", "/livez", "/nowhere"] {
        let answer = client.get(path).await;
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
    }
}

#[actix_web::test]
async fn an_announced_stop_still_answers_but_keeps_no_connection() {
    let server = TestServer::start();
    let connection = async || {
        let answer = server.client.get("/livez").await.expect(200);
        answer.headers.get("connection").cloned()
    };
    assert_eq!(connection().await, None, "connections are kept open");

    server.lifecycle.announce_stop();

    assert!(server.lifecycle.is_stopping());
    assert_eq!(connection().await.unwrap(), "close");
}

#[actix_web::test]
async fn stopping_waits_for_tracked_work() {
    let server = TestServer::start();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let done = server
        .lifecycle
        .tasks()
        .spawn(async move { finished.await.is_ok() });

    server.lifecycle.stop();
    assert!(server.lifecycle.is_stopping());
    assert!(!server.running.is_finished(), "work is still open");
    finish.send(()).unwrap();

    assert!(done.await.unwrap());
    server.running.await.unwrap().unwrap();
    assert!(
        tokio::net::TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
}
