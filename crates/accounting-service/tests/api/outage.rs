//! The database goes away and comes back.

use futures_util::{StreamExt as _, stream};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    relay::{Relay, Side},
    support::{TestApp, eventually, post_with_key},
};

const DEDUCT: &str = "/api/credits/deduct";

/// Ends every connection to the test's own database but the one that asks.
const END_CONNECTIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[actix_web::test]
async fn broken_connections_are_replaced_without_a_restart() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;

    for round in 1..=3 {
        app.number(END_CONNECTIONS).await;
        let client = app.sign_in(&alice);
        eventually("an answer", async || {
            client.get("/api/credits/total-balance").await.status == 200
        })
        .await;
        client.post(DEDUCT, &json!({ "credits": 10 })).await.expect(200);
        assert_eq!(app.balance(&alice).await, 100 - 10 * round);
    }
    app.assert_sound().await;
}

#[actix_web::test]
async fn connections_that_break_under_load_lose_nothing_and_repeat_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1_000_000).await;
    let client = app.sign_in(&alice);

    let spend = stream::iter(0..400_usize)
        .map(|index| {
            let client = &client;
            async move {
                let key = format!("k-{index}");
                loop {
                    let answer = post_with_key(client, DEDUCT, &key, &json!({ "credits": 1 })).await;
                    if answer.status == 200 {
                        return;
                    }
                    assert_eq!(answer.status, 503, "{}", answer.text);
                }
            }
        })
        .buffer_unordered(32)
        .collect::<Vec<_>>();
    let interrupt = async {
        for _ in 0..8 {
            app.number(END_CONNECTIONS).await;
            app.client.get("/livez").await;
        }
    };
    futures_util::join!(spend, interrupt);

    assert_eq!(
        app.number("SELECT count(*) FROM credit_transactions WHERE kind = 'deduct'")
            .await,
        400
    );
    eventually("an answer", async || {
        client.get("/api/credits/total-balance").await.status == 200
    })
    .await;
    assert_eq!(app.balance(&alice).await, 999_600);
    app.assert_sound().await;
}

/// What PostgreSQL answers to a commit, and what a commit looks like when it is sent for the first time.
const COMMIT: &[u8] = b"COMMIT\0";

#[actix_web::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let relay = Relay::start(&app.database.url).await;
    let behind = app.replica_at(&relay.url).await;
    let client = behind.sign_in(&alice);
    client.post(DEDUCT, &json!({ "credits": 1 })).await.expect(200);

    relay.cut_after(Side::Server, COMMIT);
    let answer = client.post(DEDUCT, &json!({ "credits": 10 })).await.expect(200);

    assert!(relay.has_cut(), "the answer to the commit was withheld");
    assert_eq!(answer.body["remainingBalance"], 89);
    assert_eq!(app.balance(&alice).await, 89);
    assert_eq!(
        app.number("SELECT count(*) FROM credit_transactions WHERE amount = -10")
            .await,
        1
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_commit_that_never_arrived_is_done_again() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let relay = Relay::start(&app.database.url).await;
    let behind = app.replica_at(&relay.url).await;

    relay.cut_after(Side::Client, COMMIT);
    let answer = behind
        .sign_in(&alice)
        .post(DEDUCT, &json!({ "credits": 10 }))
        .await
        .expect(200);

    assert!(relay.has_cut(), "the commit was withheld");
    assert_eq!(answer.body["remainingBalance"], 90);
    assert_eq!(app.balance(&alice).await, 90);
    assert_eq!(
        app.number("SELECT count(*) FROM credit_transactions WHERE amount = -10")
            .await,
        1
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn nobody_waits_until_a_database_that_went_away_in_a_commit_is_back() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let relay = Relay::start(&app.database.url).await;
    let behind = app.replica_at(&relay.url).await;
    let client = behind.sign_in(&alice);
    let body = json!({ "credits": 10 });
    post_with_key(&client, DEDUCT, "k-0", &body).await.expect(200);

    relay.shut(true);
    relay.cut_after(Side::Server, COMMIT);
    let doubtful = post_with_key(&client, DEDUCT, "k-1", &body).await;

    assert!(relay.has_cut(), "the answer to the commit was withheld");
    let doubtful = doubtful.expect_problem(503, "unavailable");
    let detail = doubtful.body["detail"].as_str().unwrap();
    assert!(detail.contains("same Idempotency-Key"), "{detail}");
    let twin = post_with_key(&client, DEDUCT, "k-1", &body).await;
    twin.expect_problem(409, "idempotency_in_progress");

    relay.shut(false);
    eventually("the answer", async || {
        post_with_key(&client, DEDUCT, "k-1", &body).await.status == 200
    })
    .await;
    let told = post_with_key(&client, DEDUCT, "k-1", &body).await.expect(200);
    assert_eq!(told.body["remainingBalance"], 80);
    assert_eq!(app.balance(&alice).await, 80, "once");
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_deadlock_is_lost_tried_again_and_tells_nobody_they_are_poor() {
    let app = TestApp::spawn().await;
    let people = [app.person_with(100).await, app.person_with(100).await];
    let mut ids = [people[0].id.clone(), people[1].id.clone()];
    ids.sort_unstable();
    let shy = format!(
        "ALTER DATABASE {} SET deadlock_timeout = '10ms'",
        app.database.name
    );
    app.execute(&shy).await;
    let replica = app.replica().await;
    let clients = people.each_ref().map(|person| replica.sign_in(person));
    for client in &clients {
        client.get("/api/credits/balance").await.expect(200);
    }
    let mut outsider = app.database.connect().await;
    let lock = |id: &str| format!("SELECT 1 FROM user_accounts WHERE user_id = '{id}' FOR UPDATE");
    // The outsider is patient, so that the service's writer is the one who is asked to give way.
    for sql in ["SET deadlock_timeout = '1h'", "BEGIN", &lock(&ids[1])] {
        diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut outsider)
            .await
            .unwrap();
    }

    let body = json!({ "credits": 60 });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let spend = async {
        let (first, second) =
            futures_util::join!(clients[0].post(DEDUCT, &body), clients[1].post(DEDUCT, &body));
        [first, second]
    };
    let interfere = async {
        eventually("the writer waits", async || app.number(waiting).await > 0).await;
        let crosswise = diesel::sql_query(lock(&ids[0]));
        diesel_async::RunQueryDsl::execute(crosswise, &mut outsider)
            .await
            .unwrap();
        diesel_async::RunQueryDsl::execute(diesel::sql_query("ROLLBACK"), &mut outsider)
            .await
            .unwrap();
    };
    let (answers, ()) = futures_util::join!(spend, interfere);

    for answer in answers {
        answer.expect(200);
    }
    assert_eq!(
        (app.balance(&people[0]).await, app.balance(&people[1]).await),
        (40, 40)
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_unreachable_database_is_said_to_be() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let (client, name) = (app.sign_in(&alice), app.database.name.clone());
    let mut server = test_support::TestPostgres::server().await;
    for sql in [
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    ] {
        diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut server)
            .await
            .unwrap();
    }

    for path in ["/health", "/readyz", "/api/credits/balance"] {
        let answer = client.get(path).await.expect_problem(503, "unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
    client
        .post(DEDUCT, &json!({ "credits": 1 }))
        .await
        .expect_problem(503, "unavailable");
    client.get("/livez").await.expect(200);

    let back = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    diesel_async::RunQueryDsl::execute(diesel::sql_query(back), &mut server)
        .await
        .unwrap();
    eventually("readiness", async || client.get("/readyz").await.status == 200).await;
    client.post(DEDUCT, &json!({ "credits": 1 })).await.expect(200);
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_account_that_somebody_else_has_locked_does_not_lock_the_service() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    let mut outsider = app.database.connect().await;
    let lock = format!(
        "SELECT * FROM user_accounts WHERE user_id = '{}' FOR UPDATE",
        alice.id
    );
    for sql in ["BEGIN", &lock] {
        diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut outsider)
            .await
            .unwrap();
    }

    let (locked, free) = (app.sign_in(&alice), app.sign_in(&bob));
    let body = json!({ "credits": 1 });
    let (locked, free) = futures_util::join!(locked.post(DEDUCT, &body), free.post(DEDUCT, &body));

    locked.expect_problem(503, "unavailable");
    free.expect(200);
    diesel_async::RunQueryDsl::execute(diesel::sql_query("ROLLBACK"), &mut outsider)
        .await
        .unwrap();
    app.sign_in(&alice).post(DEDUCT, &body).await.expect(200);
    app.assert_sound().await;
}

#[actix_web::test]
async fn more_commands_than_may_wait_are_sent_away() {
    let app = TestApp::spawn_with(|config| config.ledger_queue_max = 4).await;
    let alice = app.person_with(1_000).await;
    let client = app.sign_in(&alice);

    let one = json!({ "credits": 1 });
    let sent = (0..200).map(|_| client.post(DEDUCT, &one));
    let answers = futures_util::future::join_all(sent).await;

    let done = answers.iter().filter(|answer| answer.status == 200).count();
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        let answer = answer.clone().expect_problem(503, "overloaded");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    assert!(done > 0);
    assert_eq!(app.balance(&alice).await, 1_000 - i64::try_from(done).unwrap());
    app.assert_sound().await;
}

#[actix_web::test]
async fn migrations_run_once_however_many_start_together() {
    let app = TestApp::spawn().await;
    let url = SecretString::from(app.database.url.as_str());
    let starts = (0..4).map(|_| accounting_service::store::migrate(&url));
    for migrated in futures_util::future::join_all(starts).await {
        migrated.unwrap();
    }
}

#[actix_web::test]
async fn a_start_waits_for_a_database_that_is_not_there_yet() {
    let app = TestApp::spawn().await;
    let relay = Relay::start(&app.database.url).await;
    relay.cut_after(Side::Server, b"server_version");

    let url = SecretString::from(relay.url.as_str());
    accounting_service::store::migrate(&url).await.unwrap();

    assert!(relay.has_cut());
}
