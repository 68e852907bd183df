//! What is refused, in the form that clients of this API read.

use bson::doc;
use common_jwt::Role;
use proxy_service::{LimitsConfig, domain::pace::Pace};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Client, Person, TestTokens};

use super::{CHAT, FLOW, TestApp, ask, body, expect_fault};
use crate::turns::support::{
    accounting::{BALANCE, Mode},
    no_limits,
};

const INVALID: &str = "invalid_request_error";

async fn nothing_happened(app: &TestApp) {
    for collection in ["turns", "chat_sessions", "chat_messages"] {
        assert_eq!(app.count(collection).await, 0, "{collection}");
    }
    assert!(app.flowise.asked().is_empty() && app.accounting.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_not_valid_are_named() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let say = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let image = |url: &str| say(json!([{ "type": "image_url", "image_url": { "url": url } }]));
    let file = |data: &str, name: &str| {
        say(json!([
            { "type": "text", "text": "look" },
            { "type": "file", "file": { "file_data": data, "filename": name } },
        ]))
    };
    for (changes, param) in [
        (json!({ "model": 7 }), "model"),
        (json!({ "model": null }), "model"),
        (json!({ "messages": "hi" }), "messages"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": [{ "content": "x" }] }), "messages[0].role"),
        (
            json!({ "messages": [{ "role": "bot", "content": "x" }] }),
            "messages[0].role",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": "x" }] }),
            "messages[0].role",
        ),
        (say(json!(7)), "messages[0].content"),
        (
            say(json!([{ "type": "hologram" }])),
            "messages[0].content[0].type",
        ),
        (say(json!("x".repeat(1_001))), "messages"),
        (
            image("http://169.254.169.254/latest"),
            "messages[0].content[0].image_url",
        ),
        (image("data:image/png;base64,%%%"), "messages[0].content[0]"),
        (
            file(
                "data:application/pdf;base64,TVqQAAMAAAAEAAAA//8AALgAAAA=",
                "a.exe",
            ),
            "messages[0].content[1]",
        ),
        (json!({ "n": 2 }), "n"),
        (json!({ "n": "one" }), "n"),
        (json!({ "stream": "yes" }), "stream"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop"),
        (json!({ "stop": "" }), "stop"),
        (json!({ "user": "x".repeat(256) }), "user"),
        (json!({ "metadata": { "session_id": 7 } }), "metadata.session_id"),
        (
            json!({ "metadata": { "tool_calls": "maybe" } }),
            "metadata.tool_calls",
        ),
        (json!({ "metadata": { "long": "x".repeat(513) } }), "metadata"),
    ] {
        let error = expect_fault(ask(&alice, &changes).await, 400, INVALID, "invalid_value");
        assert_eq!(error["param"], param, "{error}");
    }
    let earlier = json!([
        { "role": "user", "content": "x".repeat(400_001) },
        { "role": "user", "content": "x" },
    ]);
    let error = expect_fault(
        ask(&alice, &json!({ "messages": earlier })).await,
        400,
        INVALID,
        "invalid_value",
    );
    assert_eq!(error["param"], "messages");
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_requests_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (content_type, body, status, code) in [
        ("application/json", "", 400, "malformed_json"),
        ("application/json", "{\"model\":", 400, "malformed_json"),
        ("application/json", "[]", 400, "invalid_value"),
        ("application/json", "{}", 400, "invalid_value"),
        ("text/plain", "{}", 415, "unsupported_media_type"),
    ] {
        for path in [CHAT, "/v1/responses"] {
            let request = alice.client.request(Method::POST, path);
            let request = request.header("content-type", content_type).body(body);
            expect_fault(alice.client.send(request).await, status, INVALID, code);
        }
    }
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_let_in_is_told_in_their_words() {
    let app = TestApp::spawn().await;
    let now = app.config.clock.now();
    let client = |token: Option<String>| {
        let client = Client::new(&app.replica.base).checking(proxy_service::CONTRACT);
        token.map_or_else(|| client.clone(), |token| client.with_token(token))
    };
    let tokens = TestTokens::at(now);
    let person = Person::new("alice", Role::Admin);
    let old = TestTokens::at(now - chrono::TimeDelta::hours(1)).access(&person);
    let service = tokens.service("auth-service", "proxy-service");
    for token in [None, Some("sk-wrong".to_owned()), Some(old), Some(service)] {
        let client = client(token);
        for (method, path) in [
            (Method::GET, "/v1/models"),
            (Method::GET, "/v1/models/x"),
            (Method::POST, CHAT),
        ] {
            let request = client.request(method.clone(), path);
            let request = if method == Method::POST {
                request.json(&body(&json!({})))
            } else {
                request
            };
            let answer = client.send(request).await;
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert!(answer.headers.contains_key("x-request-id"));
            expect_fault(answer, 401, INVALID, "invalid_api_key");
        }
    }
    let mut claims = tokens.access_claims(&person);
    claims.must_change_password = true;
    let answer = client(Some(tokens.sign(&claims))).get("/v1/models").await;
    expect_fault(answer, 403, "permission_error", "password_change_required");
    nothing_happened(&app).await;
}

/// A role opens no chatflow, and whether there is one is not told.
#[tokio::test(flavor = "multi_thread")]
async fn a_chatflow_of_others_is_no_model() {
    let app = TestApp::spawn().await;
    app.user("alice").await;
    let admin = Person::new("root", Role::Admin);
    let token = TestTokens::at(app.config.clock.now()).access(&admin);
    let client = Client::new(&app.replica.base)
        .checking(proxy_service::CONTRACT)
        .with_token(token);
    let unknown = "99999999-9999-4999-8999-999999999999";
    let mut seen = Vec::new();
    for model in [FLOW, unknown, "A chatflow"] {
        let answer = client.post(CHAT, &body(&json!({ "model": model }))).await;
        seen.push(expect_fault(answer, 404, INVALID, "model_not_found"));
    }
    assert_eq!(
        (&seen[0], &seen[1]),
        (&seen[1], &seen[2]),
        "the three are not told apart"
    );
    assert_eq!(client.get("/v1/models").await.expect(200).body["data"], json!([]));
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_pay_is_told_so_and_not_asked_to_try_again() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.set_chatflow(doc! { "price": BALANCE + 1 }).await;
    for stream in [false, true] {
        let answer = ask(&alice, &json!({ "stream": stream })).await;
        assert!(!answer.headers.contains_key("retry-after"));
        expect_fault(answer, 402, "insufficient_quota", "insufficient_quota");
    }
    app.accounting.on_hold(Mode::Status(503));
    let answer = ask(&alice, &json!({})).await;
    assert_eq!(answer.headers["retry-after"], "1");
    expect_fault(answer, 503, "server_error", "accounting_unavailable");
    assert!(app.flowise.predictions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_fast_is_told_when_to_come_back() {
    let slow = Pace { per_sec: 1, burst: 2 };
    let app = TestApp::spawn_with(|config| {
        config.limits = LimitsConfig {
            user: slow,
            ..no_limits()
        };
    })
    .await;
    let alice = app.user("alice").await;
    let first = alice.client.get("/v1/models").await.expect(200);
    assert_eq!(first.headers["x-ratelimit-limit-requests"], "2");
    assert_eq!(first.headers["x-ratelimit-remaining-requests"], "1");
    let mut refused = alice.client.get("/v1/models").await;
    // A second gives one back, however long this takes.
    while refused.status == 200 {
        refused = alice.client.get("/v1/models").await;
    }
    assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "0");
    assert!(
        refused.headers["x-ratelimit-reset-requests"]
            .to_str()
            .unwrap()
            .ends_with('s')
    );
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(!refused.headers.contains_key("x-should-retry"));
    expect_fault(refused, 429, "rate_limit_error", "rate_limit_exceeded");
    let native = alice.client.get("/api/v1/chat/my-assigned-chatflows").await;
    assert!(
        !native.headers.contains_key("x-ratelimit-limit-requests"),
        "of this door only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_wait_until_tomorrow_is_told_not_to_try() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.set_chatflow(doc! { "daily_turns_per_user_max": 1_i64 }).await;
    ask(&alice, &json!({})).await.expect(200);
    app.is_quiet().await;
    let answer = ask(&alice, &json!({})).await;
    let secs: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let told = answer
        .headers
        .get("x-should-retry")
        .is_some_and(|value| value == "false");
    assert_eq!(told, secs > 60, "a minute before midnight it is worth it");
    expect_fault(answer, 429, "rate_limit_error", "daily_cap_reached");
    assert_eq!(app.flowise.predictions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_has_their_form_too_and_only_there() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // No contract speaks of these paths.
    let token = TestTokens::at(app.config.clock.now()).access(&alice.person);
    let client = Client::new(&app.replica.base).with_token(token);
    for path in ["/v1", "/v1/embeddings"] {
        expect_fault(client.post(path, &json!({})).await, 404, INVALID, "not_found");
    }
    expect_fault(
        client.delete("/v1/models").await,
        405,
        INVALID,
        "method_not_allowed",
    );
    for path in ["/v12/models", "/v1x"] {
        client.get(path).await.expect_problem(404, "not_found");
    }
}
