//! SIGTERM: open streams go on for a while, then end properly; nothing stays unsettled.

use std::time::Duration;

use serde_json::json;

use super::support::{
    PRICE, TestApp,
    accounting::{HoldState, Mode},
    flowise::{begin_stream, end_stream, token},
    http::{Step, chunk},
    names, text_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_in_time_is_not_disturbed() {
    let mut app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let rest = [vec![Step::Gate, chunk(&token("two"))], end_stream()].concat();
    app.flowise
        .answer([begin_stream(&[token("one ")]), rest].concat());
    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("one")).await;

    app.replica.lifecycle.stop();
    app.flowise.let_go();
    let events = stream.rest().await;
    app.replica.has_stopped().await;

    assert_eq!(
        names(&events),
        ["session_id", "token", "token", "metadata", "end"]
    );
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.turn().await.get_str("state").unwrap(), "settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_end_is_ended_with_an_error_and_settled() {
    let mut app = TestApp::spawn_with(|config| config.shutdown_grace = Duration::from_secs(4)).await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("one")]), vec![Step::Hang]].concat());
    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("one")).await;

    app.replica.lifecycle.stop();
    let events = stream.rest().await;
    app.replica.has_stopped().await;

    assert_eq!(names(&events), ["session_id", "token", "error", "token", "end"]);
    assert_eq!(events[2]["code"], "service_stopping");
    assert!(text_of(&events).starts_with("one\n\n"));
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.turn().await.get_str("state").unwrap(), "settled");
    app.flowise.is_aborted(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_flushed_before_the_end() {
    let mut app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.accounting.on_settle(Mode::Cut);
    // Tried a few times, it waits seconds for its next attempt.
    alice.chat(&json!({})).await;
    super::support::eventually("it waits", async || app.accounting.count("/finalize") >= 3).await;
    app.accounting.on_settle(Mode::Normal);

    app.replica.lifecycle.stop();
    app.replica.has_stopped().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.turn().await.get_str("state").unwrap(), "settled");
}
