//! A database that an earlier version has filled.

use common_jwt::Role;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;
use test_support::{Person, TestPostgres};

use crate::support::{TestApp, eventually};

const FIRST_STEP: &str = include_str!("../../migrations/00000000000001_create_ledger/up.sql");

/// What the first version left: ten credits that expired unused, a hold that returned four of them too late, and twenty
/// that can be spent. Its `balance_after` said what could be spent.
const FILLED: &str = "
    CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT now());
    INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000001');
    INSERT INTO user_accounts (user_id, username, role, created_at, updated_at)
    VALUES ('aaaaaaaaaaaaaaaaaaaaaaaa', 'alice', 'enduser', '2026-01-01', '2026-01-01');
    INSERT INTO credit_allocations
        (id, user_id, total_credits, remaining_credits, allocated_by, allocated_at, expires_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 'aaaaaaaaaaaaaaaaaaaaaaaa', 10, 10, 'x', '2026-01-01', '2026-02-01'),
           ('00000000-0000-0000-0000-000000000002', 'aaaaaaaaaaaaaaaaaaaaaaaa', 20, 20, 'x', '2026-01-01', '2036-01-01');
    INSERT INTO streaming_sessions
        (id, owner, session_id, user_id, model_id, estimated_credits, held_credits, status, succeeded, draws, started_at,
         expires_at, settled_at)
    VALUES ('00000000-0000-0000-0000-000000000003', 'service:proxy-service', 's', 'aaaaaaaaaaaaaaaaaaaaaaaa', 'm', 4, 4,
            'voided', false, '[{\"allocation\": \"00000000-0000-0000-0000-000000000001\", \"credits\": 4,
            \"expiresAt\": \"2026-02-01T00:00:00Z\"}]', '2026-01-31', '2026-01-31', '2026-02-02');
    INSERT INTO credit_transactions
        (id, user_id, kind, amount, balance_after, actor, request_id, hold_id, draws, created_at)
    VALUES (gen_random_uuid(), 'aaaaaaaaaaaaaaaaaaaaaaaa', 'allocate', 10, 10, 'x', 'r', NULL,
            '[{\"allocation\": \"00000000-0000-0000-0000-000000000001\", \"credits\": 10}]', '2026-01-01'),
           (gen_random_uuid(), 'aaaaaaaaaaaaaaaaaaaaaaaa', 'allocate', 20, 30, 'x', 'r', NULL,
            '[{\"allocation\": \"00000000-0000-0000-0000-000000000002\", \"credits\": 20}]', '2026-01-01'),
           (gen_random_uuid(), 'aaaaaaaaaaaaaaaaaaaaaaaa', 'hold', -4, 26, 'x', 'r',
            '00000000-0000-0000-0000-000000000003',
            '[{\"allocation\": \"00000000-0000-0000-0000-000000000001\", \"credits\": -4}]', '2026-01-31'),
           (gen_random_uuid(), 'aaaaaaaaaaaaaaaaaaaaaaaa', 'void', 4, 20, 'x', 'r',
            '00000000-0000-0000-0000-000000000003',
            '[{\"allocation\": \"00000000-0000-0000-0000-000000000001\", \"credits\": 4}]', '2026-02-02');";

#[actix_web::test]
async fn what_an_earlier_version_left_is_brought_into_order() {
    let database = TestPostgres::create("empty", async |_: &str| {}).await;
    let mut connection = database.connect().await;
    connection.batch_execute(FIRST_STEP).await.unwrap();
    connection.batch_execute(FILLED).await.unwrap();

    let app = TestApp::spawn_on(database).await;

    let written_off = "SELECT coalesce(-sum(amount), 0) FROM credit_transactions WHERE kind = 'write_off'";
    eventually("the sweep", async || app.number(written_off).await == 10).await;
    app.assert_sound().await;
    let alice = Person {
        id: "a".repeat(24),
        ..Person::new("alice", Role::EndUser)
    };
    let spent = app
        .sign_in(&alice)
        .post("/api/credits/deduct", &json!({ "credits": 5 }))
        .await
        .expect(200);
    assert_eq!(spent.body["remainingBalance"], 15);
    let statement = app
        .sign_in(&alice)
        .get("/api/credits/transactions")
        .await
        .expect(200);
    assert_eq!(statement.body["transactions"][0]["balanceAfter"], 15);
    app.assert_sound().await;
}
