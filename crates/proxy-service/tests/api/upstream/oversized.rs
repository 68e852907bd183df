//! Answers without an end, and texts that would like to be events.

use std::sync::atomic::Ordering;

use proxy_service::domain::sse::Parser;
use reqwest::Method;
use serde_json::{Value, json};

use crate::turns::support::{
    PRICE, STORE, TestApp, User,
    accounting::HoldState,
    flowise::{begin_stream, end_stream, event, token},
    http::{Step, chunk, chunked},
    names, text_of,
};

const PIECE: usize = 64 << 10;
const HUNDRED_MB: usize = 100 << 20;

#[test]
fn a_line_of_100_mb_is_refused_at_the_limit_and_never_held() {
    let limit = 8 << 20;
    let mut parser = Parser::new(limit);
    let piece = vec![b'x'; PIECE];
    parser.push(b"data:", |_| panic!("no event")).unwrap();
    let mut taken = 0;
    while taken < HUNDRED_MB && parser.push(&piece, |_| panic!("no event")).is_ok() {
        taken += PIECE;
    }
    assert!(taken <= limit, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_left_at_the_limit() {
    let app = TestApp::spawn().await;
    let endless = || vec![b'x'; PIECE];
    let Step::Send(flood) = chunk(&endless()) else {
        unreachable!()
    };
    let line = vec![
        chunked("text/event-stream"),
        chunk(b"data:"),
        Step::Flood(flood.clone()),
    ];
    let begun = [
        begin_stream(&[token("Once")]),
        vec![
            chunk(b"data:{\"event\":\"token\",\"data\":\""),
            Step::Flood(flood.clone()),
        ],
    ]
    .concat();
    let json = vec![
        chunked("application/json"),
        chunk(b"{\"text\":\""),
        Step::Flood(flood),
    ];
    for (steps, state) in [
        (line, HoldState::Voided),
        (begun, HoldState::Captured(PRICE)),
        (json, HoldState::Voided),
    ] {
        let user = app.user("alice").await;
        let before = app.flowise.server.sent.load(Ordering::SeqCst);
        app.flowise.answer(steps);
        let events = user.chat(&json!({})).await;
        app.is_quiet().await;
        assert_eq!(events[events.len() - 3]["code"], "upstream_too_large");
        let hold = app.accounting.hold_of(events[0]["turn_id"].as_str().unwrap());
        assert_eq!(hold.unwrap().state, state);
        let sent = app.flowise.server.sent.load(Ordering::SeqCst) - before;
        assert!(
            sent < 32 << 20,
            "the limit is 1 MiB; sockets hold the rest of {sent}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_becomes_an_event() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let evil = [
        "a\n\nevent: end\ndata: {\"event\":\"end\",\"data\":\"[DONE]\"}\n\n",
        "b\r\rdata: x\r\r",
        "c\r\n\r\nid: 9\r\nretry: 1\r\n\r\n",
        "d\u{2028}\u{2029}\u{85}\u{0}\u{feff}",
        "e</script><img src=x onerror=alert(1)>",
        "{\"event\":\"end\"}",
    ];
    let said = evil.concat();
    for accept in ["*/*", "text/event-stream"] {
        let tokens: Vec<Vec<u8>> = evil.iter().map(|text| token(text)).collect();
        app.flowise.answer([begin_stream(&tokens), end_stream()].concat());
        let request = alice
            .client
            .request(Method::POST, STORE)
            .json(&User::body(&json!({})));
        let response = request.header("accept", accept).send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let text = response.text().await.unwrap();
        let events: Vec<Value> = if accept == "*/*" {
            crate::turns::support::events(&text)
        } else {
            let blocks = text.split("\n\n").filter(|block| !block.is_empty());
            blocks.map(|block| data_of(block, &text)).collect()
        };
        let tokens = vec!["token"; evil.len()];
        assert_eq!(
            names(&events),
            [vec!["session_id"], tokens, vec!["metadata", "end"]].concat()
        );
        assert_eq!(text_of(&events), said);
    }
}

/// The data of one server-sent event, which has exactly the three lines it should have.
fn data_of(block: &str, text: &str) -> Value {
    assert!(!block.contains('\r'), "{text:?}");
    let lines: Vec<&str> = block.split('\n').collect();
    assert!(
        lines.len() == 3 && lines[0].starts_with("event: ") && lines[1].starts_with("id: "),
        "{block:?}"
    );
    serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_line_breaks_inside_an_event_are_no_events_of_flowises() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // As a Flowise would send it that forgot to escape, or somebody in its place.
    let raw =
        |text: &str| format!("message:\ndata:{{\"event\":\"token\",\"data\":\"{text}\"}}\n\n").into_bytes();
    let bad_name = event("to\r\nken", "x");
    let events = [
        raw("a\rdata:{\"event\":\"end\",\"data\":1}"),
        raw("b\r\rdata: c"),
        bad_name,
        token("good"),
    ];
    app.flowise.answer([begin_stream(&events), end_stream()].concat());
    let events = alice.chat(&json!({})).await;
    assert_eq!(text_of(&events), "good");
    assert_eq!(names(&events), ["session_id", "token", "metadata", "end"]);
    assert!(app.metric("upstream_events_unread_total", "").await >= 3);
}
