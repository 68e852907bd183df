//! The client leaves: before the head, before the first token, in the middle, before the settlement.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::support::{
    PRICE, STORE, TestApp, User,
    accounting::{HoldState, Mode},
    eventually,
    flowise::{begin_stream, end_stream, token},
    http::{Step, chunk},
};

fn content(message: &bson::Document) -> &str {
    message.get_str("content").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_head_nothing_is_asked_and_nothing_paid() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.accounting.on_hold(Mode::Gate);

    let request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let request = tokio::spawn(request.send());
    eventually("the hold is asked for", async || {
        app.accounting.count("/initialize") == 1
    })
    .await;
    request.abort();
    let _ = request.await;
    eventually("the service knows", async || {
        app.metric("turns_active", "").await == 1
    })
    .await;
    app.accounting.let_go();
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Voided);
    assert!(app.flowise.predictions().is_empty());
    assert_eq!(
        app.count("chat_messages").await + app.count("chat_sessions").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_token_the_answer_is_still_had_stored_and_paid() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(
        [
            vec![Step::Gate],
            begin_stream(&[token("the answer")]),
            end_stream(),
        ]
        .concat(),
    );

    let stream = alice.begin(&json!({})).await;
    app.flowise.is_asked().await;
    drop(stream);
    app.flowise.let_go();
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    let messages = app.messages().await;
    assert_eq!(messages[0].get_str("status").unwrap(), "answered");
    assert!(content(&messages[1]).contains("the answer"));
    assert!(app.flowise.aborts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_the_rest_is_still_had() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let rest = [vec![Step::Gate, chunk(&token("second"))], end_stream()].concat();
    app.flowise
        .answer([begin_stream(&[token("first ")]), rest].concat());

    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("first")).await;
    drop(stream);
    app.flowise.let_go();
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert!(content(&app.messages().await[1]).contains("first second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_settlement_it_is_settled_all_the_same() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.accounting.on_settle(Mode::Gate);

    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("metadata")).await;
    eventually("it is being settled", async || {
        app.accounting.count("/finalize") == 1
    })
    .await;
    assert!(
        !stream.text.contains("\"end\""),
        "the end waits for the settlement"
    );
    drop(stream);
    app.accounting.let_go();
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.accounting.count("/finalize"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_nobody_waits_for_is_aborted_when_its_time_is_over() {
    for (tokens, expected) in [
        (vec![], HoldState::Voided),
        (vec![token("first")], HoldState::Captured(PRICE)),
    ] {
        let app = TestApp::spawn_with(|config| config.abandoned_turn_drain = Duration::ZERO).await;
        let alice = app.user("alice").await;
        app.flowise
            .answer([begin_stream(&tokens), vec![Step::Hang]].concat());

        let mut stream = alice.begin(&json!({})).await;
        app.flowise.is_asked().await;
        if !tokens.is_empty() {
            stream.until(|text| text.contains("first")).await;
        }
        drop(stream);
        app.flowise.is_left().await;
        app.is_quiet().await;
        app.flowise.is_aborted(1).await;

        assert_eq!(app.accounting.hold().state, expected);
        let chat_id = app.flowise.predictions()[0]["chatId"].clone();
        assert!(app.flowise.aborts()[0].ends_with(&format!("/{}", chat_id.as_str().unwrap())));
        let messages = app.messages().await;
        assert_eq!(messages[0].get_str("status").unwrap(), "failed");
        assert_eq!(messages.len(), 1 + tokens.len(), "what was delivered is kept");
        assert_eq!(app.metric("turns_total", "client_left").await, 1);
        assert_eq!(app.metric("turns_active", "").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_does_not_read_stops_flowise_instead_of_filling_our_memory() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let large = token(&"x".repeat(60_000));
    let Step::Send(flood) = chunk(&large) else {
        unreachable!()
    };
    app.flowise
        .answer([begin_stream(&[]), vec![Step::Flood(flood)]].concat());

    let stream = alice.begin(&json!({})).await;
    let sent = || app.flowise.server.sent.load(std::sync::atomic::Ordering::SeqCst);
    eventually("Flowise can send no more", async || {
        let before = sent();
        tokio::time::sleep(Duration::from_millis(300)).await;
        before > 1 << 20 && sent() == before
    })
    .await;
    assert!(
        sent() < 32 << 20,
        "the sockets' buffers and ours hold only so much: {}",
        sent()
    );
    drop(stream);
}
