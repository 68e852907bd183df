//! A client that lost the connection, or loaded the page again, reads on where it was.

use bson::doc;
use chrono::TimeDelta;
use common_http::Clock;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::Answer;

use super::support::{
    FLOW, PRICE, Replica, STORE, Stream, TestApp, User,
    accounting::HoldState,
    events, eventually,
    flowise::{begin_stream, end_stream, token},
    http::{Step, chunk},
    names, text_of,
};

/// An answer that says one thing, waits for the test, then says another.
fn two_parts() -> Vec<Step> {
    let rest = [vec![Step::Gate, chunk(&token("two"))], end_stream()].concat();
    [begin_stream(&[token("one ")]), rest].concat()
}

/// Begins a turn and reads its first part; gives the turn's id and the stream.
async fn begin(user: &User) -> (String, Stream) {
    let mut stream = user.begin(&json!({})).await;
    let turn_id = stream.response.headers()["x-turn-id"]
        .to_str()
        .unwrap()
        .to_owned();
    stream.until(|text| text.contains("one ")).await;
    (turn_id, stream)
}

fn follow(user: &User, turn_id: &str, query: &str) -> RequestBuilder {
    let path = format!("/api/v1/chat/turns/{turn_id}/events{query}");
    user.client.request(Method::GET, &path)
}

async fn rest(request: RequestBuilder) -> Vec<Value> {
    Stream::new(request.send().await.unwrap()).rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_the_rest_comes_once_and_in_order() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(two_parts());
    let (turn_id, stream) = begin(&alice).await;
    assert_eq!(events(&stream.text)[0]["turn_id"], *turn_id);
    drop(stream);

    let last = format!("{turn_id}:2");
    let by_header = follow(&alice, &turn_id, "").header("last-event-id", &last);
    let by_query = follow(&alice, &turn_id, "?after=2");
    let from_the_first = follow(&alice, &turn_id, "");
    let asked_again = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})))
        .header("last-event-id", &last);
    let reading =
        [by_header, by_query, from_the_first, asked_again].map(|request| tokio::spawn(rest(request)));
    let watched = async || {
        app.mongo
            .database
            .collection::<bson::Document>("turn_events")
            .count_documents(doc! {})
            .await
            .unwrap()
            > 0
    };
    eventually("the events are written down for who reads them", watched).await;
    app.flowise.let_go();
    let mut read = Vec::new();
    for reading in reading {
        read.push(reading.await.unwrap());
    }

    for events in [&read[0], &read[1], &read[3]] {
        assert_eq!(names(events), ["token", "metadata", "end"]);
        assert_eq!(text_of(events), "two");
    }
    assert_eq!(
        names(&read[2]),
        ["session_id", "token", "token", "metadata", "end"]
    );
    assert_eq!(text_of(&read[2]), "one two");
    app.is_quiet().await;
    assert_eq!(app.flowise.predictions().len(), 1, "a reader begins nothing");
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.count("chat_messages").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_have_the_same_ids_again() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let answer = alice
        .client
        .send(request.header("accept", "text/event-stream"))
        .await;
    let first = answer.expect(200).text;
    let turn_id = app.turn().await.get_str("_id").unwrap().to_owned();
    app.is_quiet().await;

    let ids = |text: &str| -> Vec<String> {
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.map(str::to_owned).collect()
    };
    let request = || follow(&alice, &turn_id, "").header("accept", "text/event-stream");
    assert_eq!(alice.client.send(request()).await.expect(200).text, first);
    assert_eq!(ids(&first).len(), 9);
    for (seen, id) in ids(&first).iter().enumerate() {
        let answer = alice.client.send(request().header("last-event-id", id)).await;
        if seen == 8 {
            answer.expect(204);
            continue;
        }
        let again = answer.expect(200).text;
        assert!(first.ends_with(&again) && !again.is_empty());
        assert_eq!(ids(&again), ids(&first)[seen + 1..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_gives_the_rest_while_the_turn_runs_and_after() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let other = Replica::start(app.config.clone()).await;
    let there = app.at(&other, &alice);
    app.flowise.answer(two_parts());
    let (turn_id, stream) = begin(&alice).await;
    drop(stream);

    let listed = there
        .client
        .get("/api/v1/chat/turns?status=running")
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&listed["count"], &listed["turns"][0]["turn_id"]),
        (&json!(1), &json!(turn_id))
    );
    assert_eq!(listed["turns"][0]["chatflow_id"], FLOW);
    assert_eq!(listed["turns"][0]["delivery"], "stored");
    let mut stream = Stream::new(follow(&there, &turn_id, "").send().await.unwrap());
    stream.until(|text| text.contains("one ")).await;
    assert!(!stream.text.contains("\"end\""));
    app.flowise.let_go();
    let events = stream.rest().await;
    app.is_quiet().await;
    let after = rest(follow(&there, &turn_id, "?after=1")).await;

    assert_eq!(
        names(&events),
        ["session_id", "token", "token", "metadata", "end"]
    );
    assert_eq!(after, events[1..]);
    let none = there.client.get("/api/v1/chat/turns").await.expect(200).body;
    assert_eq!(none, json!({ "turns": [], "count": 0 }));
    let shown = there
        .client
        .get(&format!("/api/v1/chat/turns/{turn_id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (shown["status"].as_str(), shown["ended_at"].is_string()),
        (Some("ended"), true)
    );
    there
        .client
        .get("/api/v1/chat/turns?status=ended")
        .await
        .expect_problem(422, "validation_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_came_back_keeps_the_turn_from_being_abandoned() {
    let app =
        TestApp::spawn_with(|config| config.abandoned_turn_drain = std::time::Duration::from_secs(1)).await;
    let alice = app.user("alice").await;
    let other = Replica::start(app.config.clone()).await;
    app.flowise.answer(two_parts());
    let (turn_id, stream) = begin(&alice).await;
    let mut again = Stream::new(
        follow(&app.at(&other, &alice), &turn_id, "")
            .send()
            .await
            .unwrap(),
    );
    again.until(|text| text.contains("one ")).await;
    drop(stream);

    let since = std::time::Instant::now();
    eventually("the drain would be over", async || since.elapsed().as_secs() >= 3).await;
    assert_eq!(app.turn().await.get_str("state").unwrap(), "running");
    drop(again);
    app.flowise.is_left().await;
    app.is_quiet().await;
    assert_eq!(app.metric("turns_total", "client_left").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_finds_or_stops_another_ones_turn() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    app.flowise.answer(two_parts());
    let (turn_id, stream) = begin(&alice).await;

    let none = mallory.client.get("/api/v1/chat/turns").await.expect(200).body;
    assert_eq!(none["count"], 0);
    for id in [
        turn_id.as_str(),
        "0193a5f0-7c1e-7d11-9d4c-3b0f2a6c1e55",
        "x",
        "%27",
    ] {
        for path in ["", "/events"] {
            let path = format!("/api/v1/chat/turns/{id}{path}");
            mallory
                .client
                .get(&path)
                .await
                .expect_problem(404, "turn_not_found");
        }
        let path = format!("/api/v1/chat/turns/{id}/stop");
        mallory
            .client
            .post(&path, &json!({}))
            .await
            .expect_problem(404, "turn_not_found");
    }
    let last = format!("{turn_id}:1");
    let ask = |user: &User, changes: &Value| {
        let request = user
            .client
            .request(Method::POST, STORE)
            .json(&User::body(changes));
        request.header("last-event-id", &last)
    };
    let send = async |user: &User, request| -> Answer { user.client.send(request).await };
    send(&mallory, ask(&mallory, &json!({})))
        .await
        .expect_problem(404, "turn_not_found");
    let elsewhere = json!({ "sessionId": "0193a5f0-7c1e-4d11-9d4c-3b0f2a6c1e55" });
    send(&alice, ask(&alice, &elsewhere))
        .await
        .expect_problem(404, "turn_not_found");
    let other_flow = json!({ "chatflow_id": "0193a5f0-7c1e-4d11-9d4c-3b0f2a6c1e55" });
    send(&alice, ask(&alice, &other_flow))
        .await
        .expect_problem(404, "turn_not_found");
    let foreign =
        follow(&alice, &turn_id, "").header("last-event-id", "0193a5f0-7c1e-7d11-9d4c-3b0f2a6c1e55:1");
    send(&alice, foreign).await.expect_problem(404, "turn_not_found");
    for bad in ["x", "", &format!("{turn_id}:-1"), &format!("{turn_id}:1\u{e9}")] {
        let request = follow(&alice, &turn_id, "").header("last-event-id", bad);
        send(&alice, request)
            .await
            .expect_problem(422, "validation_failed");
    }
    let unsigned = test_support::Client::new(&app.replica.base);
    unsigned
        .get(&format!("/api/v1/chat/turns/{turn_id}/events"))
        .await
        .expect(401);

    assert_eq!(app.turn().await.get_str("state").unwrap(), "running");
    app.flowise.let_go();
    assert_eq!(stream.rest().await.last().unwrap()["event"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_told_which_turn_to_follow() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(two_parts());
    let send = || {
        let request = alice
            .client
            .request(Method::POST, STORE)
            .json(&User::body(&json!({})));
        request.header("idempotency-key", "k")
    };
    let mut stream = Stream::new(send().send().await.unwrap());
    stream.until(|text| text.contains("one ")).await;
    let turn_id = events(&stream.text)[0]["turn_id"].clone();
    let session_id = events(&stream.text)[0]["data"].clone();

    let refused = alice.client.send(send()).await;
    assert_eq!(refused.body["turn_id"], turn_id);
    refused.expect_problem(409, "idempotency_in_progress");
    let body = User::body(&json!({ "sessionId": session_id }));
    let refused = alice.client.post(STORE, &body).await;
    assert_eq!(refused.body["turn_id"], turn_id);
    refused.expect_problem(409, "turn_running");
    app.flowise.let_go();
    stream.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_any_more_is_said_so() {
    let app = TestApp::spawn_with(|config| config.clock = Clock::manual(Clock::System.now())).await;
    let alice = app.user("alice").await;
    let whole = alice
        .client
        .post("/api/v1/chat/predict", &User::body(&json!({})))
        .await;
    whole.expect(200);
    let turn_id = app.turn().await.get_str("_id").unwrap().to_owned();
    alice
        .client
        .get(&format!("/api/v1/chat/turns/{turn_id}/events"))
        .await
        .expect_problem(410, "turn_events_gone");

    alice.chat(&json!({})).await;
    app.is_quiet().await;
    let turns = app.mongo.database.collection::<bson::Document>("turns");
    let stored = turns
        .find_one(doc! { "delivery": "stored" })
        .await
        .unwrap()
        .unwrap();
    let path = format!("/api/v1/chat/turns/{}/events", stored.get_str("_id").unwrap());
    alice.client.get(&path).await.expect(200);
    // As the database does by itself after half an hour.
    let pieces = app.mongo.database.collection::<bson::Document>("turn_events");
    let kept_until = pieces.find_one(doc! {}).await.unwrap().unwrap();
    let kept_until = kept_until.get_datetime("expires_at").unwrap().to_chrono();
    assert_eq!((kept_until - app.config.clock.now()).num_minutes(), 30);
    pieces.delete_many(doc! {}).await.unwrap();
    app.config.clock.advance(TimeDelta::minutes(31));
    let later = app.at(&app.replica, &alice);
    later
        .client
        .get(&path)
        .await
        .expect_problem(410, "turn_events_gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_go_with_their_conversation() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.chat(&json!({})).await;
    app.is_quiet().await;
    eventually("the events are written down", async || {
        app.count("turn_events").await == 1
    })
    .await;
    alice.client.delete("/api/v1/chat/history").await.expect(200);
    assert_eq!(app.count("turn_events").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_leaves_what_was_said_to_the_history_and_to_readers() {
    let app = TestApp::spawn_with(|config| config.clock = Clock::manual(Clock::System.now())).await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.flowise
        .answer([begin_stream(&[token("one ")]), vec![Step::Hang]].concat());
    let (turn_id, stream) = begin(&app.at(&dying, &alice)).await;
    let session_id = events(&stream.text)[0]["data"].as_str().unwrap().to_owned();
    let mut reader = Stream::new(follow(&alice, &turn_id, "?after=1").send().await.unwrap());
    reader.until(|text| text.contains("one ")).await;
    let turns = app.mongo.database.collection::<bson::Document>("turns");
    let marked = async || turns.count_documents(doc! { "content": true }).await.unwrap() == 1;
    eventually("the content is noted", marked).await;
    dying.kill();
    app.config.clock.advance(TimeDelta::seconds(31));
    let events = reader.rest().await;
    app.is_quiet().await;

    assert_eq!(names(&events), ["token", "error", "token", "end"]);
    assert_eq!(events[1]["code"], "upstream_broken");
    let request = follow(&alice, &turn_id, "").header("last-event-id", format!("{turn_id}:77"));
    let late = rest(request).await;
    assert_eq!(
        names(&late),
        ["error", "token", "end"],
        "also to who had seen more than was kept"
    );
    let path = format!("/api/v1/chat/sessions/{session_id}/history");
    let history = alice.client.get(&path).await.expect(200).body;
    assert_eq!(history["count"], 2);
    assert_eq!(
        history["history"][1]["content"],
        r#"[{"data":"one ","event":"token"}]"#
    );
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}
