//! A run that was left behind goes on writing at Flowise; nobody is given its `chatId` again.

use std::time::Duration;

use chrono::TimeDelta;
use common_http::Clock;
use serde_json::{Value, json};

use crate::turns::support::{
    Replica, TestApp, User, eventually,
    flowise::{begin_stream, recorded_stream, token},
    http::Step,
};

/// The names of stream and memory of the newest prediction.
fn ids(app: &TestApp) -> (String, String) {
    let asked = app.flowise.predictions().pop().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        text(&asked["chatId"]),
        text(&asked["overrideConfig"]["sessionId"]),
    )
}

async fn leave_in_the_middle(app: &TestApp, user: &User, changes: &Value) -> Value {
    app.flowise
        .answer([begin_stream(&[token("Once")]), vec![Step::Hang]].concat());
    let mut stream = user.begin(changes).await;
    stream.until(|text| text.contains("Once")).await;
    let session = crate::turns::support::events(&stream.text)[0]["data"].clone();
    drop(stream);
    app.is_quiet().await;
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_turn_of_a_conversation_has_another_stream_and_the_same_memory() {
    let app = TestApp::spawn_with(|config| config.abandoned_turn_drain = Duration::ZERO).await;
    let alice = app.user("alice").await;
    let session = leave_in_the_middle(&app, &alice, &json!({})).await;
    let (left, memory) = ids(&app);
    assert_eq!(left, memory);
    assert!(app.flowise.aborts()[0].ends_with(&left));

    let again = json!({ "sessionId": session });
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    let mut streams = vec![left];
    for _ in 0..2 {
        alice.chat(&again).await;
        assert_eq!(ids(&app).1, memory);
        streams.push(ids(&app).0);
    }
    assert_ne!(streams[1], streams[0]);
    assert_eq!(streams[2], streams[1], "it stays until another run is left");

    leave_in_the_middle(&app, &alice, &again).await;
    assert!(
        app.flowise.aborts().last().unwrap().ends_with(&streams[1]),
        "the run that goes on is told"
    );
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    alice.chat(&again).await;
    let (newest, same_memory) = ids(&app);
    assert_eq!(same_memory, memory);
    assert!(!streams.contains(&newest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_came_to_its_end_leaves_no_run() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("model-fail401-chat-stream"));
    let events = alice.chat(&json!({})).await;
    let first = ids(&app);
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    alice.chat(&json!({ "sessionId": events[0]["data"] })).await;
    assert_eq!(ids(&app), first);
    assert!(app.flowise.aborts().is_empty());
    assert_eq!(app.count("left_runs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_that_are_not_kept_are_guarded_as_well() {
    let app = TestApp::spawn_with(|config| config.flowise.idle_timeout = Duration::from_millis(300)).await;
    let alice = app.user("alice").await;
    let body = User::body(&json!({ "sessionId": uuid::Uuid::new_v4().to_string() }));
    let path = "/api/v1/chat/predict";
    app.flowise
        .answer([begin_stream(&[token("Once")]), vec![Step::Hang]].concat());
    alice
        .client
        .post(path, &body)
        .await
        .expect_problem(504, "upstream_idle_timeout");
    let left = ids(&app).0;
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    alice.client.post(path, &body).await.expect(200);
    assert_ne!(ids(&app).0, left);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_of_a_process_that_died_is_stopped_and_its_stream_given_up() {
    let now = Clock::System.now();
    let app = TestApp::spawn_with(|config| config.clock = Clock::manual(now)).await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.flowise.answer([begin_stream(&[]), vec![Step::Hang]].concat());
    let mut stream = app.at(&dying, &alice).begin(&json!({})).await;
    stream.until(|text| text.contains("session_id")).await;
    app.flowise.is_asked().await;
    app.question_is_stored().await;
    dying.kill();
    app.config.clock.advance(TimeDelta::seconds(31));
    app.is_quiet().await;
    let (left, memory) = ids(&app);
    eventually("it is told to stop", async || {
        app.flowise.aborts().iter().any(|path| path.ends_with(&left))
    })
    .await;

    app.flowise.answer(recorded_stream("predict-chat-stream"));
    let session = crate::turns::support::events(&stream.text)[0]["data"].clone();
    alice.chat(&json!({ "sessionId": session })).await;
    let (next, same_memory) = ids(&app);
    assert_ne!(next, left);
    assert_eq!(same_memory, memory);
}
