//! The same request sent twice is had once and paid once.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Answer;

use super::support::{
    PRICE, STORE, Stream, TestApp, User,
    accounting::HoldState,
    events,
    flowise::{begin_stream, end_stream, recorded_stream, token},
    http::Step,
    names, text_of,
};

const KEY: &str = "7e1f-retry";

async fn send(user: &User, path: &str, key: &str, changes: &Value) -> Answer {
    let request = user.client.request(Method::POST, path).json(&User::body(changes));
    user.client.send(request.header("idempotency-key", key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_turn_is_given_again_in_the_form_that_is_asked_for() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;

    let first = send(&alice, STORE, KEY, &json!({})).await.expect(200);
    let again = send(&alice, STORE, KEY, &json!({})).await.expect(200);

    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let (first, again) = (events(&first.text), events(&again.text));
    assert_eq!(names(&again), ["session_id", "token", "metadata", "end"]);
    assert_eq!(again[0]["data"], first[0]["data"]);
    assert_eq!(text_of(&again), text_of(&first));
    assert_eq!(again[2], first[7]);
    let request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let request = request
        .header("idempotency-key", KEY)
        .header("accept", "text/event-stream");
    let sse = alice.client.send(request).await.expect(200);
    assert!(sse.text.starts_with("event: session_id\ndata: ") && sse.text.contains("event: end\n"));
    assert_eq!(app.flowise.predictions().len(), 1);
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.count("chat_messages").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_for_one_person_one_route_and_one_request() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    send(&alice, STORE, KEY, &json!({})).await.expect(200);

    let other = send(&alice, STORE, KEY, &json!({ "question": "something else" })).await;
    other.expect_problem(422, "idempotency_key_reused");
    let bobs = send(&bob, STORE, KEY, &json!({ "question": "something else" }))
        .await
        .expect(200);
    assert!(!bobs.headers.contains_key("idempotency-replayed"));
    let elsewhere = send(&alice, "/api/v1/chat/predict/stream", KEY, &json!({}))
        .await
        .expect(200);
    assert!(!elsewhere.headers.contains_key("idempotency-replayed"));
    assert_eq!(app.accounting.holds().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_turn_is_not_begun_again() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = alice.chat(&json!({})).await[0]["data"].clone();
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("x")]), end_stream()].concat());
    for changes in [json!({}), json!({ "sessionId": session_id })] {
        let request = alice
            .client
            .request(Method::POST, STORE)
            .json(&User::body(&changes));
        let key = format!("{KEY}{}", changes["sessionId"]).replace('"', "");
        let stream = Stream::new(request.header("idempotency-key", &key).send().await.unwrap());

        let again = send(&alice, STORE, &key, &changes).await;
        again.expect_problem(409, "idempotency_in_progress");

        app.flowise.let_go();
        stream.rest().await;
        send(&alice, STORE, &key, &changes).await.expect(200);
    }
    assert_eq!(app.accounting.holds().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cost_nothing_may_be_tried_again_under_its_key() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("model-fail401-chat-stream"));
    let failed = send(&alice, STORE, KEY, &json!({})).await.expect(200);
    assert!(names(&events(&failed.text)).contains(&"error"));

    app.flowise.answer(recorded_stream("predict-chat-stream"));
    let retried = send(&alice, STORE, KEY, &json!({})).await.expect(200);

    assert!(!retried.headers.contains_key("idempotency-replayed"));
    assert_eq!(text_of(&events(&retried.text)), "Mock reply to: hello world");
    app.is_quiet().await;
    let states: Vec<_> = app
        .accounting
        .holds()
        .into_iter()
        .map(|hold| hold.state)
        .collect();
    assert!(states.contains(&HoldState::Voided) && states.contains(&HoldState::Captured(PRICE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_turn_that_was_paid_for_is_not_paid_for_again() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("a part")]), vec![Step::Close]].concat());
    send(&alice, STORE, KEY, &json!({})).await.expect(200);

    let again = send(&alice, STORE, KEY, &json!({})).await.expect(200);

    assert_eq!(again.headers["idempotency-replayed"], "true");
    let again = events(&again.text);
    assert_eq!(names(&again), ["session_id", "token", "error", "token", "end"]);
    assert_eq!(again[1]["data"], "a part");
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_given_again_too() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let first = send(&alice, "/api/v1/chat/predict", KEY, &json!({}))
        .await
        .expect(200);
    let again = send(&alice, "/chat/predict", KEY, &json!({})).await.expect(200);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.body["response"], first.body["response"]);
    assert_eq!(again.body["metadata"]["cost"], PRICE);
    assert_eq!(app.accounting.holds().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_not_given_again() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    send(&alice, STORE, KEY, &json!({})).await.expect(200);
    app.is_quiet().await;
    alice.client.delete("/api/v1/chat/history").await.expect(200);
    send(&alice, STORE, KEY, &json!({}))
        .await
        .expect_problem(404, "session_not_found");
    let turns = app.mongo.database.collection::<bson::Document>("turns");
    let kept = turns
        .find_one(bson::doc! { "answer": { "$exists": true } })
        .await
        .unwrap();
    assert!(kept.is_none(), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_length() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for key in ["", &"k".repeat(256)] {
        send(&alice, STORE, key, &json!({}))
            .await
            .expect_problem(422, "validation_failed");
    }
    send(&alice, STORE, &"k".repeat(255), &json!({}))
        .await
        .expect(200);
    assert_eq!(app.accounting.holds().len(), 1);
}
