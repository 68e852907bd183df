//! The bulkhead: so many turns at Flowise, so many that wait, in their order, for so long.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use test_support::Client;

use crate::turns::support::{
    PRICE, STORE, Stream, TestApp, User,
    accounting::HoldState,
    eventually,
    flowise::{begin_stream, end_stream, recorded_stream, token},
    http::Step,
    names,
};

async fn app(queue_max: usize, queue_timeout: Duration) -> TestApp {
    TestApp::spawn_with(|config| {
        config.flowise.admission.turns_max = 1;
        config.flowise.admission.queue_max = queue_max;
        config.flowise.admission.queue_timeout = queue_timeout;
    })
    .await
}

/// A turn that has the only place until the gate opens.
async fn occupy(app: &TestApp) -> Stream {
    let steps = [begin_stream(&[token("one")]), vec![Step::Gate], end_stream()].concat();
    app.flowise.answer_to("occupy", steps);
    let first = app.user("first").await;
    let mut stream = first.begin(&json!({ "question": "occupy" })).await;
    stream.until(|text| text.contains("one")).await;
    stream
}

async fn standing(app: &TestApp) -> (u64, u64) {
    let answer = Client::new(&app.replica.base)
        .get("/readyz?verbose=1")
        .await
        .expect(200);
    let flowise = &answer.body["upstreams"]["flowise"];
    (
        flowise["running"].as_u64().unwrap(),
        flowise["waiting"].as_u64().unwrap(),
    )
}

async fn are_waiting(app: &TestApp, count: u64) {
    eventually("they wait", async || standing(app).await == (1, count)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_wait_for_a_place_in_their_order_and_no_more_than_may() {
    let app = app(2, Duration::from_mins(1)).await;
    let first = occupy(&app).await;
    let mut waiting = Vec::new();
    for name in ["second", "third"] {
        let user = app.user(name).await;
        waiting.push(tokio::spawn(async move {
            user.chat(&json!({ "question": name })).await
        }));
        are_waiting(&app, u64::try_from(waiting.len()).unwrap()).await;
    }
    let fourth = app.user("fourth").await;
    let refused = fourth.client.post(STORE, &User::body(&json!({}))).await;
    let refused = refused.expect_problem(503, "upstream_busy");
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(app.accounting.holds().len(), 1, "only who has a place pays");
    assert_eq!(app.metric("upstream_turns{", "waiting").await, 2);

    app.flowise.let_go();
    assert_eq!(first.rest().await.last().unwrap()["event"], "end");
    for turn in waiting {
        assert_eq!(turn.await.unwrap().last().unwrap()["event"], "end");
    }
    app.is_quiet().await;
    let asked: Vec<_> = app.flowise.predictions();
    let asked: Vec<_> = asked
        .iter()
        .map(|asked| asked["question"].as_str().unwrap())
        .collect();
    assert_eq!(asked, ["occupy", "second", "third"]);
    assert!(
        app.accounting
            .holds()
            .iter()
            .all(|hold| hold.state == HoldState::Captured(PRICE))
    );
    assert_eq!(standing(&app).await, (0, 0));
    assert_eq!(app.metric("upstream_turned_away_total", "busy").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever() {
    let app = app(5, Duration::from_millis(1)).await;
    let first = occupy(&app).await;
    let second = app.user("second").await;
    for path in [STORE, "/api/v1/chat/predict"] {
        let refused = second.client.post(path, &User::body(&json!({}))).await;
        refused.expect_problem(503, "upstream_busy");
    }
    assert_eq!(app.accounting.holds().len(), 1);
    assert_eq!(app.count("turns").await, 1, "who was turned away left nothing");
    app.flowise.let_go();
    first.rest().await;
    assert_eq!(second.chat(&json!({})).await.last().unwrap()["event"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_the_queue_leaves_nothing_behind() {
    let app = app(1, Duration::from_mins(1)).await;
    let first = occupy(&app).await;
    let second = app.user("second").await;
    let request = second
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let waiting = tokio::spawn(request.send());
    are_waiting(&app, 1).await;
    waiting.abort();
    are_waiting(&app, 0).await;
    eventually("its turn is gone", async || app.count("turns").await == 1).await;
    assert_eq!(app.accounting.holds().len(), 1);

    app.flowise.let_go();
    first.rest().await;
    app.is_quiet().await;
    assert_eq!(app.flowise.predictions().len(), 1);
    assert_eq!(app.metric("turns_total", "client_left_early").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_service_that_stops() {
    let app = app(1, Duration::from_mins(1)).await;
    let first = occupy(&app).await;
    let second = app.user("second").await;
    let waiting = tokio::spawn(async move { second.client.post(STORE, &User::body(&json!({}))).await });
    are_waiting(&app, 1).await;
    app.replica.lifecycle.stop();
    waiting.await.unwrap().expect_problem(503, "service_stopping");
    app.flowise.let_go();
    assert_eq!(first.rest().await.last().unwrap()["event"], "end");
    assert_eq!(app.accounting.holds().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_or_is_left_gives_its_place_back() {
    let app = TestApp::spawn_with(|config| {
        config.flowise.admission.turns_max = 1;
        config.flowise.admission.queue_timeout = Duration::from_mins(1);
        config.abandoned_turn_drain = Duration::ZERO;
        config.flowise.header_timeout = Duration::from_millis(200);
    })
    .await;
    for (question, steps) in [
        ("broken", vec![Step::Close]),
        ("silent", vec![Step::Hang]),
        ("half", [begin_stream(&[token("x")]), vec![Step::Close]].concat()),
    ] {
        app.flowise.answer_to(question, steps);
        let user = app.user(question).await;
        let events = user.chat(&json!({ "question": question })).await;
        assert_eq!(names(&events).last(), Some(&"end"));
    }
    app.flowise
        .answer_to("left", [begin_stream(&[token("x")]), vec![Step::Hang]].concat());
    let leaver = app.user("leaver").await;
    let mut stream = leaver.begin(&json!({ "question": "left" })).await;
    stream.until(|text| text.contains('x')).await;
    drop(stream);

    app.flowise.answer(recorded_stream("predict-chat-stream"));
    let events = app.user("next").await.chat(&json!({})).await;
    assert_eq!(names(&events).last(), Some(&"end"));
    app.is_quiet().await;
    assert_eq!(standing(&app).await, (0, 0));
}
