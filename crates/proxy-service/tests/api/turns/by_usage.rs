//! Chatflows that cost what their tokens cost: an estimate is held, the tokens are told to accounting-service, and what it
//! says was paid is what everybody else is told.

use bson::{Document, doc};
use chrono::TimeDelta;
use common_http::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    FLOW, Replica, STORE, Stream, TestApp, User,
    accounting::{BALANCE, HoldState, Mode, cost, hold_for},
    eventually,
    flowise::{begin_stream, event, recording, token},
    http::{Step, last_chunk, whole},
    text_of,
};

const PREDICT: &str = "/api/v1/chat/predict";
const MODEL: &str = "vendor/nova:1";
const ESTIMATE: i64 = 20_000;

/// 7 credits for the estimate, and a fifth more.
const HELD: i64 = 9;

/// What the answers below take, and cost.
const TOKENS: i64 = 8_000;
const COST: i64 = 3;

async fn by_usage(app: &TestApp) {
    let price = doc! { "model_id": MODEL, "estimated_tokens": ESTIMATE };
    app.set_chatflow(doc! { "usage_price": price }).await;
}

fn usage(tokens: impl Into<Value>) -> Value {
    json!({ "input_tokens": 1, "output_tokens": 1, "total_tokens": tokens.into() })
}

/// A whole answer with these events after its text.
fn answer(after: &[Vec<u8>]) -> Vec<Step> {
    let text = [event("start", ""), token("an answer")];
    let end = [event("end", "[DONE]")];
    let frames = [&text[..], after, &end].concat();
    [begin_stream(&frames), vec![last_chunk()]].concat()
}

fn counted_answer() -> Vec<Step> {
    answer(&[event("usageMetadata", usage(TOKENS))])
}

/// What accounting-service was asked at the end of this path.
fn asked(app: &TestApp, path: &str) -> Vec<Value> {
    let asked = app.accounting.asked().into_iter();
    let asked = asked.filter(|asked| asked.path.ends_with(path));
    asked.map(|asked| asked.body).collect()
}

async fn paid_as_it_is_kept(app: &TestApp) -> i64 {
    let turn = app.turn().await;
    let settlement = turn.get_document("settlement").unwrap();
    settlement.get_i64("credits").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_costs_its_tokens_and_never_more_than_is_held() {
    assert_eq!(
        (hold_for(ESTIMATE), cost(TOKENS)),
        (HELD, COST),
        "the fake counts as accounting-service does"
    );
    let nodes = json!([
        { "nodeId": "one", "data": { "output": { "usageMetadata": usage(4_000) } } },
        { "nodeId": "two", "data": { "output": { "usageMetadata": usage(12_000) } } },
        { "nodeId": "three", "data": { "output": { "content": "nothing was counted" } } },
    ]);
    let last_node = event("usageMetadata", usage(12_000));
    let cases = [
        ("one node", counted_answer(), TOKENS, COST),
        (
            "the sum of all nodes, not the last one",
            answer(&[last_node, event("agentFlowExecutedData", nodes)]),
            16_000,
            6,
        ),
        ("nothing is counted", answer(&[]), ESTIMATE, 7),
        (
            "nothing is counted, and that as nothing",
            answer(&[event(
                "usageMetadata",
                json!({ "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 }),
            )]),
            ESTIMATE,
            7,
        ),
        (
            "dearer than the hold",
            answer(&[event("usageMetadata", usage(1_000_000))]),
            1_000_000,
            HELD,
        ),
        (
            "more than can be",
            answer(&[event("usageMetadata", usage(u64::MAX))]),
            1_000_000_000,
            HELD,
        ),
    ];
    for (what, steps, tokens, paid) in cases {
        let app = TestApp::spawn().await;
        by_usage(&app).await;
        let alice = app.user("alice").await;
        app.flowise.answer(steps);

        let events = alice.chat(&json!({})).await;

        assert_eq!(text_of(&events), "an answer", "{what}");
        assert_eq!(
            app.accounting.hold().state,
            HoldState::Captured(paid),
            "{what}: `end` comes after the settlement"
        );
        let hold = app.accounting.hold();
        assert_eq!((hold.credits, hold.model_id.as_str()), (HELD, MODEL), "{what}");
        let [opened] = &asked(&app, "/initialize")[..] else {
            panic!("{what}: not one hold")
        };
        assert_eq!(opened["estimatedTokens"], ESTIMATE);
        let [ended] = &asked(&app, "/finalize")[..] else {
            panic!("{what}: not one capture")
        };
        assert_eq!(
            (&ended["actualTokens"], &ended["success"]),
            (&json!(tokens), &json!(true)),
            "{what}"
        );
        assert_eq!(ended["usage"]["operation"], FLOW, "{what}");
        app.is_quiet().await;
        assert_eq!(paid_as_it_is_kept(&app).await, paid, "{what}");
        assert_eq!(app.metric("turn_credits_total", "held").await, HELD, "{what}");
        assert_eq!(app.metric("turn_credits_total", "captured").await, paid, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_is_paid_for_as_the_payment_table_says() {
    let begun = |more: &[Vec<u8>]| begin_stream(&[&[token("a part")], more].concat());
    let counted = event("usageMetadata", usage(TOKENS));
    let cases = [
        (
            "before content, although tokens are known",
            [begin_stream(std::slice::from_ref(&counted)), vec![Step::Close]].concat(),
            HoldState::Voided,
        ),
        (
            "an error",
            whole(500, "application/json", "{}"),
            HoldState::Voided,
        ),
        (
            "after content, tokens unknown",
            [begun(&[]), vec![Step::Close]].concat(),
            HoldState::Captured(HELD),
        ),
        (
            "after content, tokens known",
            [begun(&[counted]), vec![Step::Close]].concat(),
            HoldState::Captured(COST),
        ),
    ];
    for (what, steps, expected) in cases {
        let app = TestApp::spawn().await;
        by_usage(&app).await;
        let alice = app.user("alice").await;
        app.flowise.answer(steps);

        let events = alice.chat(&json!({})).await;

        assert_eq!(events.last().unwrap()["event"], "end", "{what}");
        assert_eq!(
            text_of(&events).contains("No credits were used"),
            expected == HoldState::Voided,
            "{what}"
        );
        app.is_quiet().await;
        assert_eq!(app.accounting.hold().state, expected, "{what}");
        let paid = match expected {
            HoldState::Captured(credits) => credits,
            HoldState::Voided | HoldState::Open => 0,
        };
        assert_eq!(paid_as_it_is_kept(&app).await, paid, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_the_whole_answer_is_told_what_was_paid() {
    let app = TestApp::spawn().await;
    by_usage(&app).await;
    let alice = app.user("alice").await;
    for (steps, paid) in [
        (counted_answer(), COST),
        (whole(200, "application/json", &recording("predict-llm-json")), 1),
    ] {
        app.flowise.answer(steps);
        let answer = alice
            .client
            .post(PREDICT, &User::body(&json!({})))
            .await
            .expect(200);
        assert_eq!(answer.body["metadata"]["cost"], paid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_accounting_is_away_nobody_knows_the_cost_and_then_it_is_paid_once() {
    for broken in [Mode::Status(500), Mode::Cut, Mode::LoseAnswer] {
        let app = TestApp::spawn().await;
        by_usage(&app).await;
        let alice = app.user("alice").await;
        app.flowise.answer(counted_answer());
        app.accounting.on_settle(broken);
        let ask = async || {
            let body = User::body(&json!({}));
            let request = alice.client.request(Method::POST, PREDICT).json(&body);
            let answer = alice.client.send(request.header("idempotency-key", "k")).await;
            answer.expect(200).body["metadata"]["cost"].clone()
        };
        assert_eq!(ask().await, Value::Null, "the answer is not withheld");
        assert_eq!(ask().await, Value::Null, "nor when it is given again");
        let told = app.accounting.count("/finalize");
        let retried = async || app.accounting.count("/finalize") > told;
        eventually("it has been retried", retried).await;

        app.accounting.on_settle(Mode::Normal);
        app.is_quiet().await;

        assert_eq!(app.accounting.hold().state, HoldState::Captured(COST));
        assert_eq!(ask().await, COST);
        let told = asked(&app, "/finalize");
        assert!(told.iter().all(|body| *body == told[0]), "the same every time");
        let keys = app.accounting.asked().into_iter();
        let keys = keys.filter(|asked| asked.path.ends_with("/finalize"));
        let mut keys: Vec<_> = keys
            .map(|asked| asked.headers["idempotency-key"].clone())
            .collect();
        keys.dedup();
        assert_eq!(keys.len(), 1);
        let days = app.mongo.database.collection::<Document>("usage_days");
        let reported =
            doc! { "user_id": &alice.person.id, "credits": COST, "tokens": TOKENS, "turns": 1_i64 };
        let is_reported = async || days.count_documents(reported.clone()).await.unwrap() == 1;
        eventually("the report says what was paid", is_reported).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_pay_the_estimate_is_told_what_is_held() {
    let app = TestApp::spawn().await;
    let estimate = 400_000_i64;
    let price = doc! { "model_id": MODEL, "estimated_tokens": estimate };
    app.set_chatflow(doc! { "usage_price": price }).await;
    let alice = app.user("alice").await;

    let refused = alice.client.post(STORE, &User::body(&json!({}))).await;

    let refused = refused.expect_problem(402, "insufficient_credits");
    assert_eq!(refused.body["required"], hold_for(estimate));
    assert_eq!(refused.body["available"], BALANCE);
    assert_eq!(app.count("turns").await, 0);
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_size_nobody_said_is_voided() {
    let app = TestApp::spawn().await;
    by_usage(&app).await;
    let alice = app.user("alice").await;
    app.accounting.on_hold(Mode::LoseAnswer);

    let refused = alice.client.post(STORE, &User::body(&json!({}))).await;

    refused.expect_problem(503, "accounting_unavailable");
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_keeps_the_price_it_began_with() {
    let app = TestApp::spawn().await;
    by_usage(&app).await;
    let alice = app.user("alice").await;
    app.flowise.answer([vec![Step::Gate], counted_answer()].concat());
    let stream = alice.begin(&json!({})).await;
    app.flowise.is_asked().await;

    app.set_chatflow(doc! { "usage_price": null, "price": 50_i64 })
        .await;
    app.flowise.let_go();
    stream.rest().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(COST));
}

async fn with_manual_clock() -> TestApp {
    let now = Clock::System.now();
    let app = TestApp::spawn_with(|config| config.clock = Clock::manual(now)).await;
    by_usage(&app).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_died_before_it_knew_its_hold_costs_nothing() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.accounting.on_hold(Mode::Gate);
    let user = app.at(&dying, &alice);
    let asking = tokio::spawn(async move {
        let body = User::body(&json!({}));
        user.client.request(Method::POST, STORE).json(&body).send().await
    });
    eventually("the credits are held", async || {
        !app.accounting.holds().is_empty()
    })
    .await;
    assert_eq!(app.turn().await.get_i64("held").unwrap(), 0, "nobody has said it");

    dying.kill();
    app.config.clock.advance(TimeDelta::seconds(31));
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Voided);
    assert!(app.flowise.predictions().is_empty());
    asking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_died_after_content_costs_what_was_held() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    let counted = event("usageMetadata", usage(TOKENS));
    app.flowise
        .answer([begin_stream(&[token("a part"), counted]), vec![Step::Hang]].concat());
    let request = app.at(&dying, &alice).client.request(Method::POST, STORE);
    let request = request.json(&User::body(&json!({})));
    let mut stream = Stream::new(request.send().await.unwrap());
    stream.until(|text| text.contains("a part")).await;
    let turns = app.mongo.database.collection::<Document>("turns");
    let noted = doc! { "content": true, "held": HELD };
    eventually("the content and the hold are noted", async || {
        turns.count_documents(noted.clone()).await.unwrap() == 1
    })
    .await;

    dying.kill();
    app.config.clock.advance(TimeDelta::seconds(31));
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(HELD));
    assert_eq!(paid_as_it_is_kept(&app).await, HELD);
    assert_eq!(app.accounting.count("/finalize"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_settles_by_tokens_what_one_died_over() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let _living = Replica::start(app.config.clone()).await;
    let dying = Replica::start(app.config.clone()).await;
    app.flowise.answer(counted_answer());
    app.accounting.on_settle(Mode::Cut);
    app.at(&dying, &alice).chat(&json!({})).await;
    dying.kill();
    assert_eq!(app.accounting.hold().state, HoldState::Open);

    app.accounting.on_settle(Mode::Normal);
    app.config.clock.advance(TimeDelta::minutes(2));
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(COST));
    assert_eq!(paid_as_it_is_kept(&app).await, COST);
}

/// A process tells accounting-service, and dies before it could write anything down. Whoever takes the turn over knows
/// less, and would have it paid otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_is_what_was_told_first() {
    let app = with_manual_clock().await;
    let alice = app.user("alice").await;
    let dying = Replica::start(app.config.clone()).await;
    app.flowise.answer(counted_answer());
    app.accounting.on_settle(Mode::LoseAnswer);
    app.at(&dying, &alice).chat(&json!({})).await;
    dying.kill();
    assert_eq!(app.accounting.hold().state, HoldState::Captured(COST));
    let turns = app.mongo.database.collection::<Document>("turns");
    let as_it_was = doc! {
        "$set": { "state": "running", "content": true, "held": HELD },
        "$unset": { "settlement": "", "success": "", "total_tokens": "" },
    };
    turns.update_one(doc! {}, as_it_was).await.unwrap();

    app.accounting.on_settle(Mode::Normal);
    app.config.clock.advance(TimeDelta::minutes(2));
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(COST));
    assert_eq!(
        paid_as_it_is_kept(&app).await,
        COST,
        "not what would have been paid"
    );
    let told = asked(&app, "/finalize");
    assert_eq!(told.last().unwrap()["actualCredits"], HELD);
}
