//! What operators see, and how the framework's own refusals look.

use common_jwt::Role;
use serde_json::json;

use crate::support::TestApp;

#[actix_web::test]
async fn health_has_the_documented_body() {
    let app = TestApp::spawn().await;
    for path in ["/health", "/api/health"] {
        let answer = app.client.get(path).await.expect(200);
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(answer.body, { ".version" => "[version]" }, @r#"
            {
              "service": "accounting-service",
              "status": "ok",
              "timestamp": "2027-01-15T08:00:00.000Z",
              "version": "[version]"
            }
            "#);
        }
    }
    app.client.get("/livez").await.expect(200);
    app.client.get("/readyz").await.expect(200);
}

#[actix_web::test]
async fn metrics_tell_of_the_ledger() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    client
        .post("/api/credits/deduct", &json!({ "credits": 30 }))
        .await
        .expect(200);
    client
        .post("/api/credits/deduct", &json!({ "credits": 300 }))
        .await
        .expect(400);
    let hold = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 10_000 });
    client
        .post("/api/streaming-sessions/initialize", &hold)
        .await
        .expect(201);
    app.advance_secs(60);
    let open = "holds_open{service=\"accounting-service\"} 1";
    crate::support::eventually("the gauge", async || {
        let metrics = app.client.get("/metrics").await.text;
        metrics.contains(open)
            && metrics.contains("holds_oldest_age_seconds{service=\"accounting-service\"} 60")
    })
    .await;

    let answer = app.client.get("/metrics").await.expect(200);

    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        "ledger_commands_total{kind=\"allocate\",outcome=\"done\",service=\"accounting-service\"} 1",
        "ledger_commands_total{kind=\"deduct\",outcome=\"done\",service=\"accounting-service\"} 1",
        "ledger_commands_total{kind=\"deduct\",outcome=\"refused\",service=\"accounting-service\"} 1",
        "ledger_credits_total{kind=\"deduct\",service=\"accounting-service\"} 30",
        "ledger_credits_total{kind=\"hold\",service=\"accounting-service\"} 5",
        "ledger_queue_length{service=\"accounting-service\"} 0",
        "route=\"/api/credits/deduct\"",
        "revocation_feed_up{service=\"accounting-service\"} 0",
    ] {
        assert!(
            answer.text.contains(line),
            "{line} is missing in\n{}",
            answer.text
        );
    }
    assert!(!answer.text.contains(&alice.id), "no ids in labels");
}

#[actix_web::test]
async fn what_is_no_route_is_a_problem() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::Admin);
    for path in [
        "/",
        "/api",
        "/api/credits",
        "/api/credits/balance/",
        "//api/credits/balance",
        "/api/CREDITS/balance",
        "/api/credits/allocation/7",
        "/api/user/7",
        "/api/../api/credits/balance2",
        "/api/credits/balance;x=1",
    ] {
        client.get(path).await.expect_problem(404, "not_found");
    }
    for (path, code) in [
        ("/api/credits/allocations/7", "allocation_not_found"),
        ("/api/users/7", "user_not_found"),
        ("/api/credits/user/7", "user_not_found"),
    ] {
        client.delete(path).await.expect_problem(404, code);
    }
    let answer = client
        .delete("/api/credits/balance")
        .await
        .expect_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET");
}

#[actix_web::test]
async fn bodies_that_cannot_be_read_are_problems() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let before = app.rows().await;
    let send = async |content_type: &str, body: String| {
        let client = app.sign_in(&alice);
        let request = client.request(reqwest::Method::POST, "/api/credits/deduct");
        client
            .send(request.header("content-type", content_type).body(body))
            .await
    };

    send("application/json", "{\"credits\": 1".to_owned())
        .await
        .expect_problem(400, "malformed_json");
    send("application/json", "{\"credits\": 1}{}".to_owned())
        .await
        .expect_problem(400, "malformed_json");
    send("application/json", String::new())
        .await
        .expect_problem(400, "malformed_json");
    send(
        "application/json",
        "{\"credits\": 18446744073709551616}".to_owned(),
    )
    .await
    .expect_problem(400, "validation_failed");
    send("text/plain", "{\"credits\": 1}".to_owned())
        .await
        .expect_problem(415, "unsupported_media_type");
    let padded = format!("{{\"credits\": 1, \"x\": \"{}\"}}", "x".repeat(110_000));
    send("application/json", padded)
        .await
        .expect_problem(413, "body_too_large");

    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn every_answer_carries_the_security_headers_and_its_request_id() {
    let app = TestApp::spawn().await;
    let request = app
        .client
        .request(reqwest::Method::GET, "/api/credits/balance")
        .header("x-request-id", "r-1");
    let answer = app
        .client
        .send(request)
        .await
        .expect_problem(401, "missing_token");

    assert_eq!(answer.headers["x-request-id"], "r-1");
    assert_eq!(answer.body["request_id"], "r-1");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(!answer.headers.contains_key("server"));
}

#[actix_web::test]
async fn only_listed_pages_may_read_answers() {
    let app = TestApp::spawn().await;
    let ask = async |origin: &str| {
        let request = app
            .client
            .request(reqwest::Method::GET, "/health")
            .header("origin", origin);
        app.client
            .send(request)
            .await
            .headers
            .get("access-control-allow-origin")
            .cloned()
    };
    assert_eq!(ask("https://chat.example").await.unwrap(), "https://chat.example");
    assert_eq!(ask("https://evil.example").await, None);
    assert_eq!(ask("null").await, None);
}

#[actix_web::test]
async fn the_ledger_remembers_which_request_it_was() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let request = client
        .request(reqwest::Method::POST, "/api/credits/deduct")
        .header("x-request-id", "req-77");
    client
        .send(request.json(&json!({ "credits": 1 })))
        .await
        .expect(200);

    let rows = format!(
        "SELECT count(*) FROM credit_transactions WHERE request_id = 'req-77' AND actor = 'user:{}'",
        alice.id
    );
    assert_eq!(app.number(&rows).await, 1);
}
