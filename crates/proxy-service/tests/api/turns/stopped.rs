//! A person stops the answer to their question.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    PRICE, Replica, Stream, TestApp, User,
    accounting::{HoldState, Mode},
    events, eventually,
    flowise::{begin_stream, recorded_stream, token},
    http::{Step, chunk},
    names, text_of,
};

async fn stop(user: &User, turn_id: &Value) -> Value {
    let path = format!("/api/v1/chat/turns/{}/stop", turn_id.as_str().unwrap());
    user.client.post(&path, &json!({})).await.expect(200).body
}

#[tokio::test(flavor = "multi_thread")]
async fn here_or_on_another_replica_what_was_said_is_kept_and_paid_for() {
    for elsewhere in [false, true] {
        let app = TestApp::spawn().await;
        let alice = app.user("alice").await;
        let other = Replica::start(app.config.clone()).await;
        let there = if elsewhere {
            app.at(&other, &alice)
        } else {
            alice.clone()
        };
        app.flowise
            .answer([begin_stream(&[token("one ")]), vec![Step::Hang]].concat());
        let mut stream = alice.begin(&json!({})).await;
        stream.until(|text| text.contains("one ")).await;
        let first = events(&stream.text)[0].clone();

        let stopped = stop(&there, &first["turn_id"]).await;
        assert_eq!(stopped["status"], "ended");
        assert_eq!(stopped["session_id"], first["data"]);
        let events = stream.rest().await;
        app.flowise.is_left().await;
        app.flowise.is_aborted(1).await;
        app.is_quiet().await;

        assert_eq!(names(&events), ["session_id", "token", "abort", "end"]);
        assert_eq!(text_of(&events), "one ");
        assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
        let messages = app.messages().await;
        assert_eq!(messages[0].get_str("status").unwrap(), "stopped");
        assert!(messages[1].get_str("content").unwrap().contains("one "));
        assert_eq!(app.metric("turns_total", "stopped").await, 1);

        assert_eq!(
            stop(&there, &first["turn_id"]).await["status"],
            "ended",
            "a second time changes nothing"
        );
        assert_eq!(app.accounting.count("/finalize"), 1);
        app.flowise.answer(recorded_stream("predict-chat-stream"));
        let next = there.chat(&json!({ "sessionId": first["data"] })).await;
        assert_eq!(
            next.last().unwrap()["event"],
            "end",
            "the conversation goes on at once"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_pauses_is_stopped_like_any_other() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Step::Send(flood) = chunk(&token("one ")) else {
        unreachable!()
    };
    app.flowise
        .answer([begin_stream(&[]), vec![Step::Flood(flood)]].concat());
    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("one ")).await;
    let first = events(stream.text.lines().next().unwrap())[0].clone();
    let reading = tokio::spawn(stream.rest());

    assert_eq!(stop(&alice, &first["turn_id"]).await["status"], "ended");
    let events = reading.await.unwrap();
    app.flowise.is_left().await;
    app.is_quiet().await;
    assert_eq!(names(&events)[events.len() - 2..], ["abort", "end"]);
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_word_it_costs_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("")]), vec![Step::Hang]].concat());
    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("\"token\"")).await;
    stop(&alice, &events(&stream.text)[0]["turn_id"]).await;
    let events = stream.rest().await;
    app.is_quiet().await;
    assert_eq!(names(&events), ["session_id", "token", "abort", "end"]);
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
    assert_eq!(app.messages().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_credits_are_being_held_it_costs_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.accounting.on_hold(Mode::Gate);
    app.flowise.answer(vec![Step::Hang]);
    let begun = tokio::spawn({
        let alice = alice.clone();
        async move { alice.begin(&json!({})).await }
    });
    eventually("the hold is asked for", async || {
        app.accounting.count("/initialize") == 1
    })
    .await;
    let turns = alice.client.get("/api/v1/chat/turns").await.expect(200).body;
    let turn_id = turns["turns"][0]["turn_id"].clone();
    let stopping = tokio::spawn({
        let alice = alice.clone();
        async move { stop(&alice, &turn_id).await }
    });
    app.accounting.let_go();

    let events = begun.await.unwrap().rest().await;
    assert_eq!(stopping.await.unwrap()["status"], "ended");
    app.is_quiet().await;
    assert_eq!(names(&events)[events.len() - 2..], ["abort", "end"]);
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_whole_answer_is_told() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("one")]), vec![Step::Hang]].concat());
    let waiting = tokio::spawn({
        let alice = alice.clone();
        async move {
            alice
                .client
                .post("/api/v1/chat/predict", &User::body(&json!({})))
                .await
        }
    });
    app.flowise.is_asked().await;
    let turns = alice.client.get("/chat/turns").await.expect(200).body;
    assert_eq!(turns["turns"][0]["delivery"], "whole");
    stop(&alice, &turns["turns"][0]["turn_id"]).await;
    waiting.await.unwrap().expect_problem(409, "stopped");
    app.is_quiet().await;
    assert_eq!(
        app.accounting.hold().state,
        HoldState::Voided,
        "nothing was given"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_again_and_again_at_the_first_word_is_paid_for_like_answers() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for _ in 0..20 {
        app.flowise
            .answer([begin_stream(&[token("one ")]), vec![Step::Hang]].concat());
        let request = alice.client.request(Method::POST, "/api/v1/chat/predict/stream");
        let request = request.json(&User::body(&json!({})));
        let mut stream = Stream::new(request.send().await.unwrap());
        let turn_id = json!(stream.response.headers()["x-turn-id"].to_str().unwrap());
        stream.until(|text| text.contains("one ")).await;
        stop(&alice, &turn_id).await;
        assert_eq!(names(&stream.rest().await), ["token", "abort", "end"]);
    }
    app.is_quiet().await;
    let holds = app.accounting.holds();
    assert_eq!(holds.len(), 20);
    assert!(
        holds.iter().all(|hold| hold.state == HoldState::Captured(PRICE)),
        "{holds:?}"
    );
}
