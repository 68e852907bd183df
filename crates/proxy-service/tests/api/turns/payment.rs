//! Every line of the payment table, and every way Flowise can fail.

use std::time::Duration;

use bson::doc;
use serde_json::json;

use super::support::{
    NOWHERE, PRICE, TestApp,
    accounting::HoldState,
    flowise::{begin_stream, event, recorded_stream, recording, token},
    http::{Step, chunk, chunked, last_chunk, whole},
    names, text_of,
};

/// Runs one turn per answer of Flowise's and compares what was told, paid and stored.
async fn check(app: &TestApp, expected: HoldState, cases: Vec<(&str, Vec<Step>)>) {
    for (code, steps) in cases {
        let user = app.user("alice").await;
        app.flowise.answer(steps);
        let asked = app.flowise.predictions().len();
        let events = user.chat(&json!({})).await;
        app.is_quiet().await;
        let again = app.flowise.predictions().len().saturating_sub(asked);
        assert!(again <= 1, "{code}: the question is never asked twice");

        let last: Vec<&str> = names(&events).into_iter().rev().take(3).collect();
        assert_eq!(last, ["end", "token", "error"], "{code}");
        let error = &events[events.len() - 3];
        assert_eq!(error["code"], code);
        let told = events[events.len() - 2]["data"].as_str().unwrap();
        assert!(told.contains(error["data"].as_str().unwrap()));
        assert_eq!(
            told.contains("No credits were used"),
            expected == HoldState::Voided,
            "{code}"
        );
        let hold = app
            .accounting
            .holds()
            .into_iter()
            .find(|hold| hold.user_id == user.person.id);
        assert_eq!(hold.unwrap().state, expected, "{code}");
        let stored = app.messages().await;
        let stored: Vec<_> = stored
            .iter()
            .filter(|message| message.get_str("user_id").unwrap() == user.person.id)
            .collect();
        assert_eq!(stored[0].get_str("status").unwrap(), "failed", "{code}");
        assert_eq!(
            stored.len() == 2,
            expected != HoldState::Voided,
            "{code}: a part of an answer is kept"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_the_first_content_costs_nothing() {
    let app = TestApp::spawn().await;
    let start = || begin_stream(&[event("start", ""), token("")]);
    let cases = vec![
        (
            "upstream_failed",
            whole(500, "application/json", &recording("keyed-wrong-key-json")),
        ),
        (
            "upstream_rate_limited",
            whole(429, "text/html; charset=utf-8", &recording("limited-3")),
        ),
        (
            "upstream_refused",
            whole(404, "application/json", &recording("bad-unknown-flow-json")),
        ),
        (
            "upstream_not_an_answer",
            whole(200, "text/html; charset=UTF-8", &recording("unknown-route-key")),
        ),
        ("upstream_not_an_answer", whole(200, "application/json", "[1]")),
        (
            "upstream_not_an_answer",
            whole(200, "application/json", "{\"text\":"),
        ),
        (
            "upstream_empty",
            whole(200, "application/json", "{\"text\":\"\"}"),
        ),
        (
            "upstream_error",
            whole(200, "application/json", &recording("model-fail401-chat-json")),
        ),
        ("upstream_refused", whole(302, "text/plain", "")),
        ("upstream_broken", vec![Step::Close]),
        ("upstream_broken", [start(), vec![last_chunk()]].concat()),
        ("upstream_broken", [start(), vec![Step::Close]].concat()),
        (
            "upstream_broken",
            vec![
                Step::Send(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
                        .to_vec(),
                ),
                Step::Close,
            ],
        ),
        (
            "upstream_empty",
            [begin_stream(&[event("end", "[DONE]")]), vec![last_chunk()]].concat(),
        ),
        ("upstream_error", recorded_stream("keyed-no-key-stream")),
        ("upstream_error", recorded_stream("model-fail500-llm-stream")),
        (
            "upstream_too_large",
            [start(), vec![chunk(&vec![b'x'; (1 << 20) + 1]), Step::Hang]].concat(),
        ),
        (
            "upstream_too_large",
            whole(200, "application/json", &"x".repeat((1 << 20) + 1)),
        ),
    ];
    check(&app, HoldState::Voided, cases).await;
    assert_eq!(app.metric("upstream_errors_total", "upstream_broken").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_content_is_paid_for() {
    let app = TestApp::spawn().await;
    let begun = || begin_stream(&[event("start", ""), token("Once upon")]);
    let large = json!({ "event": "token", "data": "x".repeat(1 << 20) }).to_string();
    let cases = vec![
        ("upstream_broken", [begun(), vec![Step::Close]].concat()),
        ("upstream_broken", [begun(), vec![last_chunk()]].concat()),
        (
            "upstream_error",
            [begun(), vec![chunk(&event("error", "inside")), last_chunk()]].concat(),
        ),
        ("upstream_error", recorded_stream("abort-stream-llm")),
        (
            "upstream_too_large",
            [
                begun(),
                vec![chunk(format!("data:{large}\n\n").as_bytes()), Step::Hang],
            ]
            .concat(),
        ),
    ];
    check(&app, HoldState::Captured(PRICE), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_waited_for_for_ever() {
    let begun = || begin_stream(&[token("Once upon")]);
    let heartbeats = Step::Flood(b"c\r\n:heartbeat\n\n\r\n".to_vec());

    let app = TestApp::spawn_with(|config| config.flowise.header_timeout = Duration::from_millis(100)).await;
    check(
        &app,
        HoldState::Voided,
        vec![("upstream_header_timeout", vec![Step::Hang])],
    )
    .await;
    app.flowise.is_aborted(1).await;

    let app = TestApp::spawn_with(|config| config.flowise.idle_timeout = Duration::from_millis(500)).await;
    let silent = vec![chunked("text/event-stream"), Step::Hang];
    check(&app, HoldState::Voided, vec![("upstream_idle_timeout", silent)]).await;
    let stuck = vec![("upstream_idle_timeout", [begun(), vec![Step::Hang]].concat())];
    check(&app, HoldState::Captured(PRICE), stuck).await;
    app.flowise.is_aborted(2).await;

    let app = TestApp::spawn_with(|config| config.streaming_max = Duration::from_secs(2)).await;
    let endless = vec![("turn_too_long", [begun(), vec![heartbeats]].concat())];
    check(&app, HoldState::Captured(PRICE), endless).await;
    app.flowise.is_aborted(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flowise_that_is_not_there_costs_nothing() {
    let nowhere = format!("http://127.0.0.1:{NOWHERE}");
    let app = TestApp::spawn_with(|config| config.flowise.url = nowhere.parse().unwrap()).await;
    check(
        &app,
        HoldState::Voided,
        vec![("upstream_unreachable", Vec::new())],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_answer_without_a_token_is_paid_for() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let metadata = event("metadata", json!({ "chatId": "x" }));
    app.flowise.answer(
        [
            begin_stream(&[metadata, event("end", "[DONE]")]),
            vec![last_chunk()],
        ]
        .concat(),
    );

    let events = alice.chat(&json!({})).await;

    assert_eq!(names(&events), ["session_id", "metadata", "end"]);
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_chatflow_needs_no_accounting() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.set_chatflow(doc! { "price": 0_i64 }).await;

    let events = alice.chat(&json!({})).await;

    assert_eq!(text_of(&events), "Mock reply to: hello world");
    app.is_quiet().await;
    assert_eq!(app.accounting.asked().len(), 0);
}
