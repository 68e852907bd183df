//! Daily caps: exact over replicas, by the configured day, given back by turns that fail.

use bson::doc;
use chrono::{TimeDelta, Utc};
use common_http::Clock;
use futures_util::future::join_all;
use serde_json::json;
use test_support::Answer;

use crate::turns::support::{
    FLOW, PRICE, Replica, STORE, TestApp, User,
    flowise::begin_stream,
    http::{Step, whole},
};

/// A clock at noon (UTC) of some day, which a test moves.
fn noon() -> (Clock, Clock) {
    let clock = Clock::manual("2046-11-20T12:00:00Z".parse::<chrono::DateTime<Utc>>().unwrap());
    (clock.clone(), clock)
}

async fn ask(user: &User) -> Answer {
    user.client
        .post("/api/v1/chat/predict", &User::body(&json!({})))
        .await
}

fn admitted(answers: &[Answer]) -> usize {
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(
            (answer.status.as_u16(), &answer.body["code"]),
            (429, &json!("daily_cap_reached")),
            "{}",
            answer.text
        );
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_is_exact_when_two_replicas_are_asked_at_once() {
    let app = TestApp::spawn_with(|config| config.running_turns_per_user_max = 100).await;
    app.set_chatflow(doc! { "daily_turns_max": 7_i64, "price": 1_i64 })
        .await;
    let second = Replica::start(app.config.clone()).await;
    let mut people = Vec::new();
    for number in 0..8 {
        let here = app.user(&format!("person-{number}")).await;
        people.push(app.at(&second, &here));
        people.push(here);
    }

    let answers = join_all(people.iter().map(ask)).await;

    assert_eq!(admitted(&answers), 7);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(
        (&refused.body["scope"], &refused.body["limit"]),
        (&json!("chatflow"), &json!(7))
    );
    assert!(refused.headers.contains_key("retry-after"));
    app.is_quiet().await;
    assert_eq!(app.accounting.holds().len(), 7, "who is refused holds nothing");
    assert_eq!(app.count("turns").await, 7, "and leaves no turn");
    app.user("late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_person_has_a_cap_of_their_own_on_each_chatflow_and_on_all() {
    let (clock, hands) = noon();
    let app = TestApp::spawn_with(|config| {
        config.clock = clock;
        config.daily_turns_per_user_max = 3;
    })
    .await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.set_chatflow(doc! { "daily_turns_per_user_max": 2_i64 }).await;
    let users = app.mongo.database.collection::<bson::Document>("users");
    users
        .insert_one(doc! { "external_id": &bob.person.id, "username": "bob", "email": "bob@example.com", "is_active": true, "daily_turns_max": 1_i64 })
        .await
        .unwrap();

    let mut alices = Vec::new();
    for _ in 0..3 {
        alices.push(ask(&alice).await);
    }
    assert_eq!(admitted(&alices), 2);
    assert_eq!(alices[2].body["scope"], "user_chatflow");
    assert_eq!(alices[2].body["resets_at"], "2046-11-21T00:00:00.000Z");
    assert_eq!(alices[2].headers["retry-after"], "43201");
    let bobs = [ask(&bob).await, ask(&bob).await];
    assert_eq!(admitted(&bobs), 1);
    assert_eq!(
        (&bobs[1].body["scope"], &bobs[1].body["limit"]),
        (&json!("user"), &json!(1))
    );

    // What the refused turn had been counted in first is given back: on another day the count begins anew anyway.
    let counters = app.mongo.database.collection::<bson::Document>("daily_turns");
    let all = counters
        .find_one(doc! { "_id": format!("2046-11-20/user/{}", alice.person.id) })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(all.get_i64("count").unwrap(), 2);
    hands.advance(TimeDelta::hours(13));
    let alice = app.at(&app.replica, &alice);
    assert_eq!(ask(&alice).await.status, 200, "a new day");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_is_the_one_of_the_configured_zone() {
    let (clock, hands) = noon();
    let app = TestApp::spawn_with(|config| {
        config.clock = clock;
        config.day_zone = "Asia/Hong_Kong".parse().unwrap();
    })
    .await;
    app.set_chatflow(doc! { "daily_turns_max": 1_i64 }).await;
    let alice = app.user("alice").await;

    // 20:00 and 23:59 in Hong Kong, then midnight, while it is still the same day in UTC.
    assert_eq!(ask(&alice).await.status, 200);
    hands.advance(TimeDelta::minutes(239));
    let refused = ask(&app.at(&app.replica, &alice))
        .await
        .expect_problem(429, "daily_cap_reached");
    assert_eq!(refused.body["resets_at"], "2046-11-20T16:00:00.000Z");
    hands.advance(TimeDelta::minutes(1));
    assert_eq!(ask(&app.at(&app.replica, &alice)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_before_any_content_is_not_counted() {
    let app = TestApp::spawn().await;
    app.set_chatflow(doc! { "daily_turns_max": 1_i64 }).await;
    let alice = app.user("alice").await;
    let good = crate::turns::support::flowise::recorded_stream("predict-chat-stream");

    app.flowise.answer(whole(500, "application/json", "{}"));
    alice.chat(&json!({})).await;
    app.is_quiet().await;
    app.accounting
        .on_hold(crate::turns::support::accounting::Mode::Status(503));
    ask(&alice).await.expect_problem(503, "accounting_unavailable");
    app.accounting
        .on_hold(crate::turns::support::accounting::Mode::Normal);

    let broken: Vec<Step> = begin_stream(&[crate::turns::support::flowise::token("half")]);
    app.flowise.answer(broken);
    alice.chat(&json!({})).await;
    app.is_quiet().await;
    app.flowise.answer(good);
    ask(&alice).await.expect_problem(429, "daily_cap_reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_counted_once() {
    let app = TestApp::spawn().await;
    app.set_chatflow(doc! { "daily_turns_max": 1_i64 }).await;
    let alice = app.user("alice").await;
    let request = || {
        let request = alice.client.request(reqwest::Method::POST, STORE);
        request
            .header("idempotency-key", "once")
            .json(&User::body(&json!({})))
    };
    assert_eq!(alice.client.send(request()).await.status, 200);
    app.is_quiet().await;
    let again = alice.client.send(request()).await;
    assert_eq!(
        (again.status.as_u16(), &again.headers["idempotency-replayed"]),
        (200, &"true".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_is_changed_is_what_the_next_turn_holds() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    ask(&alice).await.expect(200);
    assert_eq!(app.accounting.hold().credits, PRICE);
    let admin = test_support::Person::new("admin", common_jwt::Role::Admin);
    let token = test_support::TestTokens::at(app.config.clock.now()).access(&admin);
    let admin = alice.client.with_token(token);
    let path = format!("/api/v1/admin/chatflows/{FLOW}");
    let change = admin.request(reqwest::Method::PATCH, &path);
    admin
        .send(change.json(&json!({ "price": 9, "daily_turns_per_user_max": 1 })))
        .await
        .expect(200);

    let answer = ask(&alice).await.expect(200);

    assert_eq!(answer.body["metadata"]["cost"], 9);
    let mut held: Vec<_> = app.accounting.holds().iter().map(|hold| hold.credits).collect();
    held.sort_unstable();
    assert_eq!(held, [PRICE, 9]);
    ask(&alice).await.expect_problem(429, "daily_cap_reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_out_of_bounds_are_refused() {
    let app = TestApp::spawn().await;
    let admin = test_support::Person::new("admin", common_jwt::Role::Admin);
    let token = test_support::TestTokens::at(app.config.clock.now()).access(&admin);
    let admin = app.stranger("anybody").client.with_token(token);
    for (path, body) in [
        (
            format!("/api/v1/admin/chatflows/{FLOW}"),
            json!({ "daily_turns_max": -1 }),
        ),
        (
            format!("/api/v1/admin/chatflows/{FLOW}"),
            json!({ "daily_turns_per_user_max": 1_000_001 }),
        ),
        (
            format!("/api/v1/admin/chatflows/{FLOW}"),
            json!({ "daily_turns_max": "7" }),
        ),
        (
            "/api/v1/admin/users/aaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
            json!({ "daily_turns_max": -1 }),
        ),
        (
            "/api/v1/admin/users/aaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
            json!({}),
        ),
    ] {
        let change = admin.request(reqwest::Method::PATCH, &path).json(&body);
        admin.send(change).await.expect_problem(422, "validation_failed");
    }
    let unknown = admin.request(
        reqwest::Method::PATCH,
        "/api/v1/admin/users/aaaaaaaaaaaaaaaaaaaaaaaa",
    );
    admin
        .send(unknown.json(&json!({ "daily_turns_max": 1 })))
        .await
        .expect_problem(404, "user_not_found");
}
