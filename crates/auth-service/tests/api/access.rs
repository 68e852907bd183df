//! Who may call what, and from where.

use common_http::{Access, rows};
use common_jwt::Role;
use reqwest::Method;
use serde_json::json;

use crate::support::TestApp;

fn path_of(template: &str) -> String {
    let named = |part: &str| match part {
        "{user_id}" => "a".repeat(24),
        "{session_id}" => "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6".to_owned(),
        "{email}" => "nobody@example.com".to_owned(),
        "{type}" => "email".to_owned(),
        "{version}" => "0".to_owned(),
        part if part.starts_with('{') => "none".to_owned(),
        part => part.to_owned(),
    };
    template.split('/').map(named).collect::<Vec<_>>().join("/")
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
        // Pages say so where another service is away; here all are.
        None => assert!(
            !matches!(status, 401 | 403 | 500..)
                || (status == 503 && answer.text.starts_with("<!doctype html>")),
            "{who} {} {}: {}",
            row.method,
            row.path,
            answer.text
        ),
    }
}

#[tokio::test]
async fn every_route_lets_in_exactly_whom_its_row_names() {
    let app = TestApp::spawn_with(|config| config.testing_endpoints = true).await;
    for (name, role) in [
        ("enduser1", "enduser"),
        ("super1", "supervisor"),
        ("root1", "admin"),
    ] {
        app.user(name, role).await;
    }
    let table = rows(|routes| {
        auth_service::routes(routes);
        auth_service::testing_routes(routes);
    });
    assert!(table.len() > 20);
    // These two judge the browser's cookie themselves.
    for row in table.iter().filter(|row| !row.path.starts_with("/session/")) {
        let least = match row.access {
            Access::Public | Access::Optional => None,
            Access::User | Access::RestrictedUser => Some(Role::EndUser),
            Access::Supervisor => Some(Role::Supervisor),
            Access::Admin | Access::AdminOrService => Some(Role::Admin),
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
            least
                .filter(|_| row.access != Access::AdminOrService)
                .map(|_| 401),
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
    // The contract is looked up by the path as it is sent, the routes by the path as it is meant.
    let unchecked = test_support::Client::new(&app.base);
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
        let answer = unchecked.get(path).await;
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
    for method in [Method::POST, Method::TRACE, Method::PATCH] {
        let answer = app.client.send(app.client.request(method, "/api/profile")).await;
        assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
        answer.expect_problem(405, "method_not_allowed");
    }
    app.client.get("/nowhere").await.expect_problem(404, "not_found");
}
