//! A process dies in the middle of a turn; another one settles it, once.

use bson::doc;
use chrono::TimeDelta;
use common_http::Clock;
use reqwest::Method;
use serde_json::json;

use super::support::{
    PRICE, Replica, STORE, Stream, TestApp, User,
    accounting::{HoldState, Mode},
    events, eventually,
    flowise::{begin_stream, recorded_stream, token},
    http::Step,
};

async fn with_manual_clock() -> TestApp {
    let now = Clock::System.now();
    TestApp::spawn_with(|config| config.clock = Clock::manual(now)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_of_a_dead_process_is_settled_once_by_the_replicas_that_live() {
    for (tokens, expected) in [
        (vec![], HoldState::Voided),
        (vec![token("a part")], HoldState::Captured(PRICE)),
    ] {
        let app = with_manual_clock().await;
        let alice = app.user("alice").await;
        let living = [
            Replica::start(app.config.clone()).await,
            Replica::start(app.config.clone()).await,
        ];
        let dying = Replica::start(app.config.clone()).await;
        app.flowise
            .answer([begin_stream(&tokens), vec![Step::Hang]].concat());

        let mut stream = app.at(&dying, &alice).begin(&json!({})).await;
        app.flowise.is_asked().await;
        if !tokens.is_empty() {
            stream.until(|text| text.contains("a part")).await;
            let turns = app.mongo.database.collection::<bson::Document>("turns");
            let marked = async || turns.count_documents(doc! { "content": true }).await.unwrap() == 1;
            eventually("the content is noted", marked).await;
        }
        app.question_is_stored().await;
        dying.kill();
        app.config.clock.advance(TimeDelta::seconds(29));
        let again = json!({ "sessionId": app.turn().await.get_str("session_id").unwrap() });
        let body = User::body(&again);
        alice
            .client
            .post(STORE, &body)
            .await
            .expect_problem(409, "turn_running");
        assert_eq!(
            app.accounting.hold().state,
            HoldState::Open,
            "it could still be alive"
        );
        app.config.clock.advance(TimeDelta::seconds(2));
        app.is_quiet().await;

        assert_eq!(app.accounting.hold().state, expected);
        let settled = app.accounting.count("/finalize") + app.accounting.count("/abort");
        assert_eq!(settled, 1, "three processes, one settlement");
        assert_eq!(app.messages().await[0].get_str("status").unwrap(), "failed");
        app.flowise.answer(recorded_stream("predict-chat-stream"));
        let next = app.at(&living[0], &alice).chat(&again).await;
        assert_eq!(next.last().unwrap()["event"], "end", "the session goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_never_stands_without_its_conversation_nor_a_conversation_without_its_question() {
    for (lost, kept) in [("chat_sessions", 1), ("chat_messages", 0)] {
        let app = with_manual_clock().await;
        let alice = app.user("alice").await;
        let dying = Replica::start(app.config.clone()).await;
        app.flowise.answer(vec![Step::Hang]);
        let _stream = app.at(&dying, &alice).begin(&json!({})).await;
        app.flowise.is_asked().await;
        app.question_is_stored().await;
        dying.kill();
        // As if the process had died between the two writes.
        let collection = app.mongo.database.collection::<bson::Document>(lost);
        collection.delete_many(doc! {}).await.unwrap();

        let _next = Replica::start(app.config.clone()).await;
        app.config.clock.advance(TimeDelta::seconds(31));
        app.is_quiet().await;

        assert_eq!(app.accounting.hold().state, HoldState::Voided);
        assert_eq!(app.count("chat_messages").await, kept, "{lost}");
        let sessions = alice.client.get("/api/v1/chat/sessions").await.expect(200).body;
        let sessions = sessions["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), usize::try_from(kept).unwrap(), "{lost}");
        if let Some(session) = sessions.first() {
            let asked = User::body(&json!({}))["question"].clone();
            assert_eq!(session["topic"], asked, "it begins with the question");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_a_process_died_over_is_made_at_the_next_start() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.accounting.on_settle(Mode::Cut);
    let user = app.at(&dying, &alice);
    user.chat(&json!({})).await;
    dying.kill();
    assert_eq!(app.accounting.hold().state, HoldState::Open);

    app.accounting.on_settle(Mode::Normal);
    app.config.clock.advance(TimeDelta::minutes(2));
    let _next = Replica::start(app.config.clone()).await;
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_process_died_between_its_settlement_and_its_answer_waits_no_longer() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.accounting.on_settle(Mode::Cut);
    app.at(&dying, &alice).chat(&json!({})).await;
    eventually("its events are written down", async || {
        app.count("turn_events").await == 1
    })
    .await;
    dying.kill();
    // As if the settlement had been written down and nothing after it.
    let messages = app.mongo.database.collection::<bson::Document>("chat_messages");
    messages.delete_many(doc! { "role": "assistant" }).await.unwrap();
    let pending = doc! { "$set": { "status": "pending" } };
    messages
        .update_many(doc! { "role": "user" }, pending)
        .await
        .unwrap();
    let events = app.mongo.database.collection::<bson::Document>("turn_events");
    let unended = doc! { "$set": { "ends": false } };
    events.update_many(doc! {}, unended).await.unwrap();

    app.accounting.on_settle(Mode::Normal);
    app.config.clock.advance(TimeDelta::minutes(2));
    let _next = Replica::start(app.config.clone()).await;
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    let kept = app.messages().await;
    let of = |index: usize, name: &str| kept[index].get_str(name).unwrap().to_owned();
    assert_eq!((kept.len(), of(0, "status").as_str()), (2, "failed"));
    assert_eq!(of(1, "role"), "assistant");
    assert!(
        of(1, "content").contains("Mock reply"),
        "what was written down is kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_turn_whose_answer_died_is_not_run_again_under_its_key() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.flowise
        .answer([begin_stream(&[token("a part")]), vec![Step::Hang]].concat());
    let user = app.at(&dying, &alice);
    let request = user
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let mut stream = Stream::new(request.header("idempotency-key", "k").send().await.unwrap());
    stream.until(|text| text.contains("a part")).await;
    let turns = app.mongo.database.collection::<bson::Document>("turns");
    let marked = async || turns.count_documents(doc! { "content": true }).await.unwrap() == 1;
    eventually("the content is noted", marked).await;
    dying.kill();
    app.config.clock.advance(TimeDelta::seconds(31));
    app.is_quiet().await;

    let request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let again = alice
        .client
        .send(request.header("idempotency-key", "k"))
        .await
        .expect(200);

    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert!(events(&again.text).iter().any(|event| event["event"] == "error"));
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.flowise.predictions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_process_keeps_its_turns_however_long_they_take() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let _other = Replica::start(app.config.clone()).await;
    app.flowise
        .answer([begin_stream(&[token("a part")]), vec![Step::Hang]].concat());
    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("a part")).await;
    let turns = app.mongo.database.collection::<bson::Document>("turns");
    let due_at = async || app.turn().await.get_datetime("due_at").unwrap().to_chrono();
    let first = due_at().await;
    app.config.clock.advance(TimeDelta::seconds(20));
    eventually("the lease is renewed", async || due_at().await > first).await;
    assert_eq!(
        turns.count_documents(doc! { "state": "running" }).await.unwrap(),
        1
    );
    assert_eq!(app.accounting.hold().state, HoldState::Open);
}
