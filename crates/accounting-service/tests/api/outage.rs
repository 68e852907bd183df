//! The database goes away and comes back.

use futures_util::{StreamExt as _, stream};
use secrecy::SecretString;
use serde_json::json;

use crate::support::{TestApp, eventually, post_with_key};

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
