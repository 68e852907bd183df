//! Sessions that a service opens for somebody, and holds that nobody settles.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::Person;

use crate::support::{TestApp, eventually, post_with_key};

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const ABORT: &str = "/api/streaming-sessions/abort";

/// What the proxy sends for a turn of `person` at a flat price.
fn flat(person: &Person, session: &str, credits: i64) -> Value {
    json!({
        "sessionId": session, "modelId": "flow-1", "credits": credits,
        "userId": person.id, "username": person.username, "email": person.email, "role": person.role,
    })
}

#[actix_web::test]
async fn a_service_holds_exactly_what_it_says_for_whom_it_names() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;

    let opened = app
        .proxy()
        .post(INITIALIZE, &flat(&alice, "s-1", 7))
        .await
        .expect(201);
    assert_eq!(
        opened.body,
        json!({ "sessionId": "s-1", "allocatedCredits": 7, "status": "active" })
    );
    assert_eq!(app.balance(&alice).await, 93);

    let usage = json!({ "service": "chat", "operation": "flow-1", "metadata": { "turn": "t-1" } });
    let body = json!({ "sessionId": "s-1", "userId": alice.id, "actualCredits": 4, "usage": usage });
    let settled = app.proxy().post(FINALIZE, &body).await.expect(200);
    assert_eq!(
        settled.body,
        json!({ "sessionId": "s-1", "actualCredits": 4, "refund": 3 })
    );
    assert_eq!(app.balance(&alice).await, 96);

    let logged =
        "SELECT count(*) FROM usage_logs WHERE service = 'chat' AND operation = 'flow-1' AND credits = 4
        AND metadata = '{\"turn\": \"t-1\", \"sessionId\": \"s-1\", \"streamingDuration\": 0.0}'";
    assert_eq!(app.number(logged).await, 1);
    assert_eq!(
        app.number("SELECT count(*) FROM credit_transactions WHERE actor = 'service:proxy-service'")
            .await,
        2
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_service_need_not_name_the_owner_to_settle() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    for session in ["captured", "voided", "partly"] {
        app.proxy()
            .post(INITIALIZE, &flat(&alice, session, 10))
            .await
            .expect(201);
    }

    app.proxy()
        .post(FINALIZE, &json!({ "sessionId": "captured", "actualCredits": 99 }))
        .await
        .expect(200);
    app.proxy()
        .post(ABORT, &json!({ "sessionId": "voided" }))
        .await
        .expect(200);
    let partly = app
        .proxy()
        .post(ABORT, &json!({ "sessionId": "partly", "credits": 4 }))
        .await
        .expect(200);

    assert_eq!(
        partly.body,
        json!({ "sessionId": "partly", "partialCredits": 4, "refund": 6 })
    );
    assert_eq!(app.balance(&alice).await, 86, "never more than was held");
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_service_may_estimate_by_tokens_as_people_do() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let body = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 10_000, "userId": alice.id });
    app.proxy().post(INITIALIZE, &body).await.expect(201);

    let settled = app
        .proxy()
        .post(FINALIZE, &json!({ "sessionId": "s", "actualTokens": 1_000 }))
        .await
        .expect(200);

    assert_eq!(
        settled.body,
        json!({ "sessionId": "s", "actualCredits": 1, "refund": 4 })
    );
}

#[actix_web::test]
async fn nobody_settles_what_a_service_has_opened_but_the_service() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    app.proxy()
        .post(INITIALIZE, &flat(&alice, "s-1", 10))
        .await
        .expect(201);
    let before = app.rows().await;

    for person in [&alice, &Person::new("root", Role::Admin)] {
        let client = app.sign_in(person);
        let finalize =
            json!({ "sessionId": "s-1", "actualTokens": 0, "userId": alice.id, "actualCredits": 0 });
        client
            .post(FINALIZE, &finalize)
            .await
            .expect_problem(404, "session_not_found");
        client
            .post(ABORT, &json!({ "sessionId": "s-1" }))
            .await
            .expect_problem(404, "session_not_found");
    }
    let other = app
        .client
        .with_token(app.tokens().service("auth-service", "accounting-service"));
    other
        .post(ABORT, &json!({ "sessionId": "s-1" }))
        .await
        .expect_problem(404, "session_not_found");

    assert_eq!(app.rows().await, before);
    assert_eq!(app.balance(&alice).await, 90);
}

#[actix_web::test]
async fn a_person_cannot_take_the_names_that_a_service_uses() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let own = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 1_000 });
    app.sign_in(&alice).post(INITIALIZE, &own).await.expect(201);

    app.proxy()
        .post(INITIALIZE, &flat(&alice, "s-1", 10))
        .await
        .expect(201);

    let bob = app.person_with(100).await;
    app.proxy()
        .post(INITIALIZE, &flat(&bob, "s-1", 10))
        .await
        .expect_problem(409, "session_exists");
    let wrong_account = json!({ "sessionId": "s-1", "userId": bob.id, "actualCredits": 1 });
    app.proxy()
        .post(FINALIZE, &wrong_account)
        .await
        .expect_problem(404, "session_not_found");
    assert_eq!(app.balance(&bob).await, 100);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_service_that_settles_twice_the_same_way_is_told_the_same() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    app.proxy()
        .post(INITIALIZE, &flat(&alice, "s-1", 10))
        .await
        .expect(201);
    app.proxy()
        .post(INITIALIZE, &flat(&alice, "s-2", 10))
        .await
        .expect(201);
    let finalize = json!({ "sessionId": "s-1", "actualCredits": 4 });
    let (first, void) = (
        app.proxy().post(FINALIZE, &finalize).await.expect(200),
        app.proxy()
            .post(ABORT, &json!({ "sessionId": "s-2" }))
            .await
            .expect(200),
    );
    let before = app.rows().await;

    assert_eq!(
        app.proxy().post(FINALIZE, &finalize).await.expect(200).text,
        first.text
    );
    assert_eq!(
        app.proxy()
            .post(ABORT, &json!({ "sessionId": "s-2" }))
            .await
            .expect(200)
            .text,
        void.text
    );
    let differently = json!({ "sessionId": "s-1", "actualCredits": 5 });
    app.proxy()
        .post(FINALIZE, &differently)
        .await
        .expect_problem(409, "session_settled");
    app.proxy()
        .post(ABORT, &json!({ "sessionId": "s-1" }))
        .await
        .expect_problem(409, "session_settled");
    app.proxy()
        .post(FINALIZE, &json!({ "sessionId": "s-2", "actualCredits": 1 }))
        .await
        .expect_problem(409, "session_settled");

    assert_eq!(app.rows().await, before);
    post_with_key(&app.proxy(), FINALIZE, "late-key", &finalize)
        .await
        .expect(200);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_service_has_to_say_whose_and_how_much() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let before = app.rows().await;
    for (member, value) in [
        ("userId", json!(null)),
        ("userId", json!("alice")),
        ("userId", json!("5f0a1b2c3d4e5f6a7b8c9d0g")),
        ("credits", json!(null)),
        ("credits", json!(0)),
        ("credits", json!("7")),
        ("credits", json!(1.5)),
        ("email", json!("nonsense")),
        ("username", json!("")),
    ] {
        let mut body = flat(&alice, "s-1", 7);
        body[member] = value;
        app.proxy()
            .post(INITIALIZE, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    for credits in [json!(-1), json!(1.5), json!("1"), json!(1e18)] {
        let body = json!({ "sessionId": "s-1", "actualCredits": credits });
        app.proxy()
            .post(FINALIZE, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn a_turn_makes_the_account_of_somebody_new() {
    let app = TestApp::spawn().await;
    let bob = Person::new("bob", Role::EndUser);

    app.proxy()
        .post(INITIALIZE, &flat(&bob, "s-1", 1))
        .await
        .expect_problem(402, "insufficient_credits");

    let known = "SELECT count(*) FROM user_accounts WHERE username = 'bob' AND email = 'bob@example.com'";
    assert_eq!(app.number(known).await, 1);
}

#[actix_web::test]
async fn a_hold_that_nobody_settles_expires() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    app.proxy()
        .post(INITIALIZE, &flat(&alice, "s-1", 60))
        .await
        .expect(201);

    app.advance_secs(899);
    let kept = "SELECT count(*) FROM streaming_sessions WHERE status = 'open'";
    assert_eq!(app.number(kept).await, 1);
    app.advance_secs(1);
    eventually("the expiry", async || app.balance(&alice).await == 100).await;

    let late = json!({ "sessionId": "s-1", "actualCredits": 1 });
    app.proxy()
        .post(FINALIZE, &late)
        .await
        .expect_problem(409, "session_settled");
    app.proxy()
        .post(ABORT, &json!({ "sessionId": "s-1" }))
        .await
        .expect_problem(409, "session_settled");
    assert_eq!(
        app.number("SELECT count(*) FROM credit_transactions WHERE kind = 'expire' AND amount = 60")
            .await,
        1
    );
    let metrics = app.client.get("/metrics").await.text;
    assert!(
        metrics.contains("holds_expired_total{service=\"accounting-service\"} 1"),
        "{metrics}"
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn two_replicas_expire_a_hold_once() {
    let app = TestApp::spawn().await;
    let _replica = app.replica().await;
    let alice = app.person_with(100).await;
    for index in 0..80 {
        app.proxy()
            .post(INITIALIZE, &flat(&alice, &format!("s-{index}"), 1))
            .await
            .expect(201);
    }

    app.advance_secs(900);
    eventually("the expiry", async || app.balance(&alice).await == 100).await;

    assert_eq!(
        app.number("SELECT count(*) FROM credit_transactions WHERE kind = 'expire'")
            .await,
        80
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_account_has_a_limited_number_of_open_holds() {
    let app = TestApp::spawn_with(|config| config.open_holds_max = 3).await;
    let alice = app.person_with(100).await;

    let opened = (0..10).map(|index| {
        let (proxy, body) = (app.proxy(), flat(&alice, &format!("s-{index}"), 1));
        async move { proxy.post(INITIALIZE, &body).await }
    });
    let answers = futures_util::future::join_all(opened).await;

    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(granted.len(), 3);
    for answer in refused {
        let answer = answer.expect_problem(429, "too_many_open_holds");
        assert_eq!(answer.body["limit"], 3);
        assert!(answer.headers.contains_key("retry-after"));
    }
    let session = granted[0].body["sessionId"].clone();
    app.proxy()
        .post(ABORT, &json!({ "sessionId": session }))
        .await
        .expect(200);
    app.proxy()
        .post(INITIALIZE, &flat(&alice, "next", 1))
        .await
        .expect(201);
}
