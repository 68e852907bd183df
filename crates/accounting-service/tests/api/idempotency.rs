//! Requests that are sent more than once.

use common_jwt::Role;
use diesel_async::RunQueryDsl as _;
use serde_json::{Value, json};
use test_support::{Answer, Client, Person};

use crate::support::{TestApp, eventually, post_with_key};

const DEDUCT: &str = "/api/credits/deduct";

#[actix_web::test]
async fn a_repeated_request_gets_the_same_bytes_and_changes_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);

    let first = post_with_key(&client, DEDUCT, "k-1", &json!({ "credits": 30 }))
        .await
        .expect(200);
    let again = post_with_key(
        &client,
        DEDUCT,
        "k-1",
        &json!({ "credits": 30, "comment": "ignored" }),
    )
    .await
    .expect(200);

    assert_eq!(again.text, first.text);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(app.balance(&alice).await, 70);
    app.assert_sound().await;
}

#[actix_web::test]
async fn twins_that_arrive_together_have_one_effect() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let alice = app.person_with(1_000).await;
    let clients = [app.sign_in(&alice), replica.sign_in(&alice)];

    let sent = (0..60).map(|index: usize| {
        let (client, key) = (&clients[index % 2], format!("k-{}", index % 3));
        async move { until_answered(client, &key, &json!({ "credits": 10 })).await }
    });
    let answers = futures_util::future::join_all(sent).await;
    let first_time = |answer: &&Answer| !answer.headers.contains_key("idempotency-replayed");
    assert_eq!(answers.iter().filter(first_time).count(), 3);

    assert_eq!(app.balance(&alice).await, 970);
    app.assert_sound().await;
}

/// How many connections of the test's own database wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Sends the same deduction until it is not being worked on any more.
async fn until_answered(client: &Client, key: &str, body: &Value) -> Answer {
    loop {
        let answer = post_with_key(client, DEDUCT, key, body).await;
        if answer.status != 409 {
            return answer.expect(200);
        }
        let answer = answer.expect_problem(409, "idempotency_in_progress");
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[actix_web::test]
async fn a_request_that_is_still_being_worked_on_is_not_waited_for() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let body = json!({ "credits": 10 });
    assert_eq!(app.balance(&alice).await, 100, "her name is known from now on");
    let mut outsider = app.database.connect().await;
    let lock = format!(
        "SELECT * FROM user_accounts WHERE user_id = '{}' FOR UPDATE",
        alice.id
    );
    for sql in ["BEGIN", &lock] {
        diesel::sql_query(sql).execute(&mut outsider).await.unwrap();
    }

    let first = post_with_key(&client, DEDUCT, "k-1", &body);
    let others = async {
        eventually("the first waits for the lock", async || {
            app.number(WAITING).await > 0
        })
        .await;
        let twin = post_with_key(&client, DEDUCT, "k-1", &body).await;
        diesel::sql_query("ROLLBACK")
            .execute(&mut outsider)
            .await
            .unwrap();
        twin
    };
    let (first, twin) = futures_util::join!(first, others);

    twin.expect_problem(409, "idempotency_in_progress");
    first.expect(200);
    let again = until_answered(&client, "k-1", &body).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(app.balance(&alice).await, 90);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_key_stands_for_one_request_of_one_caller_at_one_route() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    let body = json!({ "credits": 30 });
    post_with_key(&app.sign_in(&alice), DEDUCT, "k-1", &body)
        .await
        .expect(200);
    let before = app.rows().await;

    let other = json!({ "credits": 31 });
    let refused = post_with_key(&app.sign_in(&alice), DEDUCT, "k-1", &other).await;
    refused.expect_problem(422, "idempotency_key_reused");
    assert_eq!(app.rows().await, before);

    post_with_key(&app.sign_in(&bob), DEDUCT, "k-1", &body)
        .await
        .expect(200);
    let session = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 1 });
    let elsewhere = post_with_key(
        &app.sign_in(&alice),
        "/api/streaming-sessions/initialize",
        "k-1",
        &session,
    )
    .await;
    elsewhere.expect(201);
    assert_eq!((app.balance(&alice).await, app.balance(&bob).await), (68, 70));
}

#[actix_web::test]
async fn a_refusal_leaves_the_key_free() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let body = json!({ "credits": 30 });
    let refused = post_with_key(&app.sign_in(&alice), DEDUCT, "k-1", &body).await;
    refused.expect_problem(400, "insufficient_credits");

    app.grant(&alice, 100, 30).await;
    let done = post_with_key(&app.sign_in(&alice), DEDUCT, "k-1", &body)
        .await
        .expect(200);

    assert!(!done.headers.contains_key("idempotency-replayed"));
    assert_eq!(app.balance(&alice).await, 80);
}

#[actix_web::test]
async fn grants_and_sessions_are_repeated_safely_too() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.balance(&alice).await;
    let (admin, client) = (app.as_role(Role::Admin), app.sign_in(&alice));
    let session = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 });

    for (who, path, body, status) in [
        (
            &admin,
            "/api/credits/allocate",
            json!({ "userId": alice.id, "credits": 50 }),
            201,
        ),
        (
            &admin,
            "/api/credits/allocate-by-email",
            json!({ "email": alice.email, "credits": 50 }),
            201,
        ),
        (&client, "/api/streaming-sessions/initialize", session, 201),
        (
            &client,
            "/api/streaming-sessions/finalize",
            json!({ "sessionId": "s-1", "actualTokens": 5_000 }),
            200,
        ),
    ] {
        let first = post_with_key(who, path, "k-1", &body).await.expect(status);
        let again = post_with_key(who, path, "k-1", &body).await.expect(status);
        assert_eq!(first.text, again.text, "{path}");
        assert_eq!(again.headers["idempotency-replayed"], "true", "{path}");
    }

    assert_eq!(app.balance(&alice).await, 98);
    app.assert_sound().await;
}

#[actix_web::test]
async fn keys_that_are_no_keys_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let before = app.rows().await;

    for key in ["", &"k".repeat(256)] {
        let refused = post_with_key(&client, DEDUCT, key, &json!({ "credits": 1 })).await;
        refused.expect_problem(400, "validation_failed");
    }
    let two = client
        .request(reqwest::Method::POST, DEDUCT)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b")
        .json(&json!({ "credits": 1 }));
    client.send(two).await.expect_problem(400, "validation_failed");

    assert_eq!(app.rows().await, before);
    post_with_key(&client, DEDUCT, &"k".repeat(255), &json!({ "credits": 1 }))
        .await
        .expect(200);
}

#[actix_web::test]
async fn answers_are_forgotten_after_a_day_and_not_before() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let body = json!({ "credits": 30 });
    let post = async || {
        post_with_key(&app.sign_in(&alice), DEDUCT, "k-1", &body)
            .await
            .expect(200)
    };
    post().await;

    app.advance_secs(86_399);
    assert!(post().await.headers.contains_key("idempotency-replayed"));
    app.advance_secs(2);
    eventually("the sweep", async || {
        app.number("SELECT count(*) FROM idempotency_keys").await == 0
    })
    .await;

    assert!(!post().await.headers.contains_key("idempotency-replayed"));
    assert_eq!(app.balance(&alice).await, 40);
}
