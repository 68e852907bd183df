//! The circuit: a Flowise that does not answer is left alone, and asked again by one.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Client;

use crate::turns::support::{
    NOWHERE, PRICE, STORE, Stream, TestApp, User,
    accounting::HoldState,
    eventually,
    flowise::{begin_stream, end_stream, recorded_stream, recording, token},
    http::{Step, whole},
    names,
};

async fn circuit(app: &TestApp) -> Value {
    let anybody = Client::new(&app.replica.base).checking(proxy_service::CONTRACT);
    let answer = anybody.get("/readyz?verbose").await.expect(200);
    answer.body["upstreams"]["flowise"].clone()
}

/// A service whose circuit stays open for as long as a test takes, or for no time at all.
async fn app(open_for: Duration) -> TestApp {
    TestApp::spawn_with(|config| {
        config.flowise.admission.breaker.open_for = open_for;
        config.abandoned_turn_drain = Duration::ZERO;
    })
    .await
}

async fn fail(app: &TestApp, times: usize) {
    app.flowise.answer(vec![Step::Close]);
    for number in 0..times {
        let user = app.user(&format!("failing-{number}")).await;
        let events = user.chat(&json!({})).await;
        assert_eq!(events[1]["code"], "upstream_broken");
    }
    app.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_failures_nobody_asks_and_nothing_is_held() {
    let app = app(Duration::from_mins(10)).await;
    let alice = app.user("alice").await;
    fail(&app, 4).await;
    assert_eq!(circuit(&app).await["circuit"], "closed");
    fail(&app, 1).await;
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    // Broken turns may still be telling Flowise to stop; nobody asks it anything.
    let (asked, holds) = (
        app.flowise.predictions().len(),
        app.accounting.count("/initialize"),
    );

    for path in [STORE, "/api/v1/chat/predict/stream", "/api/v1/chat/predict"] {
        let answer = alice.client.post(path, &User::body(&json!({}))).await;
        let answer = answer.expect_problem(503, "upstream_circuit_open");
        let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=600).contains(&wait), "{wait}");
    }

    assert_eq!(app.flowise.predictions().len(), asked);
    assert_eq!(app.accounting.count("/initialize"), holds);
    assert_eq!(
        app.count("turns").await,
        5,
        "those who were turned away left nothing"
    );
    assert_eq!(app.count("chat_messages").await, 5);
    let standing = json!({ "circuit": "open", "running": 0, "waiting": 0, "places": 1_000 });
    assert_eq!(circuit(&app).await, standing);
    assert_eq!(app.metric("upstream_circuit_state", "flowise").await, 2);
    assert_eq!(app.metric("upstream_turned_away_total", "circuit_open").await, 3);
    assert_eq!(app.metric("upstream_circuit_changes_total", "open").await, 1);
    // Everything else goes on.
    alice.client.get("/api/v1/chat/sessions").await.expect(200);
    let short = Client::new(&app.replica.base).get("/readyz").await.expect(200);
    assert_eq!(short.body, json!({ "status": "ready" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turn_tries_and_the_others_wait_for_its_outcome() {
    let app = app(Duration::ZERO).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    fail(&app, 5).await;
    assert_eq!(circuit(&app).await["circuit"], "half_open");
    let answer = [vec![Step::Gate], begin_stream(&[token("back")]), end_stream()].concat();
    app.flowise.answer(answer);
    let probe = alice.begin(&json!({})).await;
    let refused = bob.client.post(STORE, &User::body(&json!({}))).await;
    refused.expect_problem(503, "upstream_circuit_open");

    app.flowise.let_go();
    assert_eq!(
        names(&probe.rest().await),
        ["session_id", "token", "metadata", "end"]
    );
    assert_eq!(circuit(&app).await["circuit"], "closed");
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    assert_eq!(bob.chat(&json!({})).await.last().unwrap()["event"], "end");
    assert_eq!(app.metric("upstream_circuit_state", "flowise").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_finds_out_nothing_leaves_its_place_to_the_next() {
    let app = app(Duration::ZERO).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    fail(&app, 5).await;
    app.flowise.answer(vec![Step::Hang]);
    let asked = app.flowise.predictions().len();
    let probe = alice.begin(&json!({})).await;
    eventually("it tries", async || app.flowise.predictions().len() > asked).await;
    drop(probe);
    app.is_quiet().await;

    app.flowise.answer(recorded_stream("predict-chat-stream"));
    assert_eq!(bob.chat(&json!({})).await.last().unwrap()["event"], "end");
    assert_eq!(circuit(&app).await["circuit"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_cannot_be_paid_leaves_its_place_to_the_next() {
    let app = app(Duration::ZERO).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    fail(&app, 5).await;
    app.accounting
        .on_hold(crate::turns::support::accounting::Mode::Status(503));
    alice
        .client
        .post(STORE, &User::body(&json!({})))
        .await
        .expect_problem(503, "accounting_unavailable");
    app.accounting
        .on_hold(crate::turns::support::accounting::Mode::Normal);
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    assert_eq!(bob.chat(&json!({})).await.last().unwrap()["event"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_people_nor_chatflows_can_open_it() {
    let app = TestApp::spawn_with(|config| {
        config.flowise.admission.breaker.failures = 1;
        config.flowise.admission.breaker.open_for = Duration::from_mins(10);
    })
    .await;
    let failing = |case: &str| recording(case);
    for (code, steps) in [
        (
            "upstream_failed",
            whole(500, "application/json", &failing("human-resume-nothing")),
        ),
        (
            "upstream_failed",
            whole(500, "application/json", &failing("upload-inline-bad-data")),
        ),
        (
            "upstream_failed",
            whole(500, "application/json", &failing("model-fail500-chat-json")),
        ),
        (
            "upstream_failed",
            whole(500, "application/json", &failing("keyed-wrong-key-json")),
        ),
        (
            "upstream_refused",
            whole(413, "application/json", &failing("bad-too-large-stream")),
        ),
        (
            "upstream_refused",
            whole(404, "application/json", &failing("bad-unknown-flow-json")),
        ),
        (
            "upstream_rate_limited",
            whole(429, "text/html", &failing("limited-3")),
        ),
        ("upstream_error", recorded_stream("model-fail429-llm-stream")),
        (
            "upstream_empty",
            whole(200, "application/json", "{\"text\":\"\"}"),
        ),
        (
            "upstream_broken",
            [begin_stream(&[token("Once")]), vec![Step::Close]].concat(),
        ),
    ] {
        let user = app.user(code).await;
        app.flowise.answer(steps);
        let events = user.chat(&json!({})).await;
        assert_eq!(events[events.len() - 3]["code"], code);
        assert_eq!(circuit(&app).await["circuit"], "closed", "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_not_to_answer_counts() {
    let page = recording("unknown-route-key");
    for (code, steps) in [
        ("upstream_header_timeout", vec![Step::Hang]),
        ("upstream_broken", vec![Step::Close]),
        (
            "upstream_unavailable",
            whole(502, "text/html", "<h1>Bad Gateway</h1>"),
        ),
        ("upstream_unavailable", whole(503, "application/json", "{}")),
        ("upstream_not_an_answer", whole(200, "text/html", &page)),
    ] {
        let app = TestApp::spawn_with(|config| {
            config.flowise.header_timeout = Duration::from_millis(300);
            config.flowise.admission.breaker.failures = 1;
            config.flowise.admission.breaker.open_for = Duration::from_mins(10);
        })
        .await;
        app.flowise.answer(steps);
        let events = app.user("alice").await.chat(&json!({})).await;
        assert_eq!(events[1]["code"], code);
        assert_eq!(circuit(&app).await["circuit"], "open", "{code}");
        app.is_quiet().await;
        assert_eq!(app.accounting.hold().state, HoldState::Voided, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flowise_that_is_not_there_opens_it_for_the_whole_answer_too() {
    let nowhere = format!("http://127.0.0.1:{NOWHERE}");
    let app = TestApp::spawn_with(|config| {
        config.flowise.url = nowhere.parse().unwrap();
        config.flowise.admission.breaker.failures = 2;
        config.flowise.admission.breaker.open_for = Duration::from_mins(10);
    })
    .await;
    let alice = app.user("alice").await;
    for code in [
        "upstream_unreachable",
        "upstream_unreachable",
        "upstream_circuit_open",
    ] {
        let answer = alice
            .client
            .post("/api/v1/chat/predict", &User::body(&json!({})))
            .await;
        answer.expect_problem(503, code);
    }
    assert_eq!(app.accounting.holds().len(), 2);
    app.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_is_known_is_given_again_while_the_circuit_is_open() {
    let app = app(Duration::from_mins(10)).await;
    let alice = app.user("alice").await;
    let send = async || {
        let request = alice
            .client
            .request(Method::POST, STORE)
            .json(&User::body(&json!({})));
        Stream::new(request.header("idempotency-key", "k").send().await.unwrap())
            .rest()
            .await
    };
    let first = send().await;
    fail(&app, 5).await;
    let again = send().await;
    assert_eq!(again[0]["data"], first[0]["data"]);
    let hold = app.accounting.hold_of(first[0]["turn_id"].as_str().unwrap());
    assert_eq!(hold.unwrap().state, HoldState::Captured(PRICE));
}
