//! What fails behind the service stays behind it: no answer names a host, a port, a driver or a library.

use common_http::{Access, Row, rows};
use common_jwt::Role;
use proxy_service::routes;
use serde_json::json;
use test_support::Person;

use super::support::{FLOWISE_KEY, TestApp};

/// What the errors of our libraries and databases are made of.
const INSIDE: [&str; 12] = [
    "127.0.0.1",
    "localhost:",
    "mongodb",
    "os error",
    "Connection refused",
    "error sending request",
    "reqwest",
    "hyper",
    "Kind:",
    "src/",
    "panicked",
    FLOWISE_KEY,
];

/// A body that gets as far as possible into whatever route it is sent to.
fn body() -> serde_json::Value {
    json!({
        "username": "ada", "password": "correct horse", "refresh_token": "r", "question": "hello",
        "chatflow_id": "26806ff8-5cd7-41b2-8a3d-5dd901f928d0", "email": "ada@example.com",
        "emails": ["ada@example.com"], "name": "1A", "topic": "x", "role": "enduser",
    })
}

#[actix_web::test]
async fn no_answer_tells_where_the_others_are() {
    let nowhere: url::Url = "http://127.0.0.1:1/".parse().unwrap();
    let app = TestApp::spawn_with(|config| {
        config.auth_url = nowhere.clone();
        config.accounting_url = nowhere.clone();
        config.flowise.url = nowhere.clone();
    })
    .await;
    let admin = app.client(&Person::new("admin", Role::Admin));
    let is_told =
        |row: &Row| row.access != Access::Service && !matches!(row.path.as_str(), "/docs" | "/metrics");
    let mut asked = 0;
    for row in rows(routes).into_iter().filter(is_told) {
        let path = row.path.replace(['{', '}'], "");
        // Documents, and pages that name their own address.
        if ["/openapi", "/docs", "/widget"]
            .iter()
            .any(|known| path.starts_with(known))
        {
            continue;
        }
        let request = admin.request(row.method.as_str().parse().unwrap(), &path);
        let answer = admin.send(request.json(&body())).await;
        for inside in INSIDE {
            assert!(
                !answer.text.contains(inside),
                "{row:?} says {inside}: {}",
                answer.text
            );
        }
        asked += 1;
    }
    assert!(asked > 100, "the whole table is asked: {asked}");
    for (path, status, code) in [
        ("/api/v1/chat/authenticate", 503, "auth_unavailable"),
        ("/api/v1/chat/refresh", 503, "auth_unavailable"),
        ("/api/v1/admin/users/sync-by-email", 503, "auth_unavailable"),
    ] {
        admin.post(path, &body()).await.expect_problem(status, code);
    }
    admin
        .get("/api/v1/chat/credits")
        .await
        .expect_problem(503, "accounting_unavailable");
}
