//! accounting-service refuses, is away, or loses its answers. There is never free chat, and nothing is settled twice.

use common_http::Clock;
use reqwest::Method;
use serde_json::json;

use super::support::{
    NOWHERE, PRICE, STORE, TestApp, User,
    accounting::{BALANCE, HoldState, Mode},
    eventually,
    flowise::{begin_stream, end_stream, token},
    http::{Step, chunk},
    text_of,
};

async fn refused(user: &User, status: u16, code: &str) -> test_support::Answer {
    let answer = user.client.post(STORE, &User::body(&json!({}))).await;
    answer.expect_problem(status, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_pay_is_told_and_nothing_happens() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.set_chatflow(bson::doc! { "price": BALANCE + 1 }).await;

    let answer = refused(&alice, 402, "insufficient_credits").await;

    assert_eq!(answer.body["detail"], "Insufficient credits");
    assert_eq!(answer.body["required"], BALANCE + 1);
    assert_eq!(answer.body["available"], BALANCE);
    for collection in ["turns", "chat_sessions", "chat_messages"] {
        assert_eq!(app.count(collection).await, 0, "{collection}");
    }
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_accounting_there_is_no_chat() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for mode in [Mode::Status(500), Mode::Status(401), Mode::Cut] {
        app.accounting.on_hold(mode);
        let answer = refused(&alice, 503, "accounting_unavailable").await;
        assert!(answer.headers.contains_key("retry-after"));
    }
    app.accounting.on_hold(Mode::Status(429));
    refused(&alice, 429, "too_many_open_holds").await;
    app.is_quiet().await;
    assert!(app.flowise.asked().is_empty());
    assert!(app.accounting.holds().is_empty());

    app.accounting.on_hold(Mode::Normal);
    assert!(
        !text_of(&alice.chat(&json!({})).await).is_empty(),
        "nobody has to restart"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_answer_was_lost_is_voided() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.accounting.on_hold(Mode::LoseAnswer);

    refused(&alice, 503, "accounting_unavailable").await;
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Voided);
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_fails_is_retried_until_it_succeeds() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // 409: an earlier attempt with the same key is still being worked on.
    for (broken, times) in [
        (Mode::Status(500), 2),
        (Mode::Status(409), 2),
        (Mode::Cut, 2),
        (Mode::LoseAnswer, 2),
    ] {
        let told = app.accounting.count("/finalize");
        app.accounting.on_settle(broken);
        let events = alice.chat(&json!({})).await;
        assert_eq!(
            events.last().unwrap()["event"],
            "end",
            "the reader does not wait for it"
        );
        let retried = async || app.accounting.count("/finalize") >= told + times;
        eventually("it has been retried", retried).await;
        app.accounting.on_settle(Mode::Normal);
        app.is_quiet().await;
    }
    let holds = app.accounting.holds();
    assert_eq!(holds.len(), 4);
    assert!(holds.iter().all(|hold| hold.state == HoldState::Captured(PRICE)));
    let keys = app
        .accounting
        .asked()
        .into_iter()
        .filter(|asked| asked.path.ends_with("/finalize"));
    let keys: std::collections::HashSet<_> = keys
        .map(|asked| asked.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), 4, "each retry carries the key of the first attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_settled_otherwise_leaves_the_outbox() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(vec![Step::Gate, Step::Close]);
    let stream = alice.begin(&json!({})).await;
    app.flowise.is_asked().await;
    app.accounting.expire_holds();
    app.flowise.let_go();
    drop(stream);
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounting_service_that_does_not_listen_is_no_hold_at_all() {
    let app = TestApp::spawn_with(|config| {
        config.accounting_url = format!("http://127.0.0.1:{NOWHERE}").parse().unwrap();
    })
    .await;
    let alice = app.user("alice").await;
    refused(&alice, 503, "accounting_unavailable").await;
    assert_eq!(app.count("turns").await, 0, "there is nothing to be voided");
    let body = User::body(&json!({}));
    let request = alice
        .client
        .request(Method::POST, "/api/v1/chat/predict")
        .json(&body);
    alice
        .client
        .send(request)
        .await
        .expect_problem(503, "accounting_unavailable");
    assert!(app.flowise.asked().is_empty());
}

/// An answer may take longer than the token of whoever asked is good for: it is paid for with a token of our own.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_during_the_answer_is_not_missed() {
    let clock = Clock::manual(Clock::System.now());
    let app = TestApp::spawn_with(|config| config.clock = clock.clone()).await;
    let alice = app.user("alice").await;
    app.flowise.answer(
        [
            begin_stream(&[token("long ")]),
            vec![Step::Gate, chunk(&token("answer"))],
            end_stream(),
        ]
        .concat(),
    );

    let mut stream = alice.begin(&json!({})).await;
    stream.until(|text| text.contains("long ")).await;
    clock.advance(chrono::Duration::minutes(20));
    alice
        .client
        .get("/api/v1/chat/sessions")
        .await
        .expect_problem(401, "invalid_token");
    app.flowise.let_go();
    let events = stream.rest().await;

    assert_eq!(text_of(&events), "long answer");
    assert_eq!(events.last().unwrap()["event"], "end");
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.accounting.count("/finalize"), 1);
    assert_eq!(app.messages().await.len(), 2);
}
