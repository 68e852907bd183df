//! Somebody else locks the ledger's rows, crosswise and for long, while people spend: they may be told to come again,
//! never that they have too little, and no sum is wrong.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use common_jwt::Role;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::{StreamExt as _, future::join, stream};
use serde_json::json;
use test_support::{Client, Person, TestPostgres};

use crate::ledger::{Books, Dice, grant, proxy, seed, signed_in, size};

/// Accounts that are locked crosswise.
const ACCOUNTS: usize = 6;

const CREDITS: i64 = 1_000_000;

/// Locks two accounts, the later one first, against the order in which the writer locks them; and sometimes keeps both
/// for longer than anybody waits.
async fn get_in_the_way(books: &Books, people: &[Person], running: &AtomicBool, seed: u64) -> usize {
    let mut outsider = books.connect().await;
    let mut dice = Dice::new(seed, 1_000_000);
    // Others notice the deadlock, and give way.
    outsider
        .batch_execute("SET deadlock_timeout = '1h'; SET lock_timeout = '3s'")
        .await
        .unwrap();
    let mut ids: Vec<_> = people.iter().map(|person| person.id.as_str()).collect();
    ids.sort_unstable();
    let mut storms = 0;
    while running.load(Ordering::Relaxed) {
        let low = usize::try_from(dice.below(i64::try_from(ids.len()).unwrap() - 1)).unwrap();
        let keep = if dice.below(8) == 0 { 1.2 } else { 0.02 };
        let lock = |id: &str| format!("SELECT 1 FROM user_accounts WHERE user_id = '{id}' FOR UPDATE");
        let steps = [
            "BEGIN".to_owned(),
            lock(ids[low + 1]),
            "SELECT pg_sleep(0.02)".to_owned(),
            lock(ids[low]),
            format!("SELECT pg_sleep({keep})"),
        ];
        for step in steps {
            // Also the outsider may be the one who gives way.
            if diesel::sql_query(step).execute(&mut outsider).await.is_err() {
                break;
            }
        }
        outsider.batch_execute("ROLLBACK").await.unwrap();
        storms += 1;
    }
    storms
}

/// How often the writer of a replica had to begin anew.
async fn conflicts(at: &Client) -> u64 {
    let metrics = at.get("/metrics").await.expect(200).text;
    let line = "ledger_reconnects_total{service=\"accounting-service\"} ";
    let counts = metrics
        .lines()
        .filter_map(|found| found.strip_prefix(line)?.parse::<u64>().ok());
    counts.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_deadlocks_never_make_somebody_poor() {
    let (requests, seed) = (size("PROVE_STORMY_REQUESTS", 1_000), seed());
    let database = TestPostgres::create("empty", async |_: &str| {}).await;
    let books = Books { url: database.url };
    books
        .connect()
        .await
        .batch_execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''20ms''', current_database()); END $$")
        .await
        .unwrap();
    let replicas = [books.serve().await, books.serve().await];
    let at = [replicas[0].client(), replicas[1].client()];
    let people: Vec<_> = (0..ACCOUNTS)
        .map(|index| Person::new(&format!("p{index}"), Role::EndUser))
        .collect();
    for person in &people {
        grant(&at[0], person, CREDITS, 30).await;
        signed_in(&at[0], person)
            .get("/api/credits/balance")
            .await
            .expect(200);
    }

    let (running, taken, waited) = (AtomicBool::new(true), AtomicI64::new(0), AtomicI64::new(0));
    let everybody = async {
        let answered = stream::iter(0..requests).map(|index| {
            let (at, person) = (&at[index % 2], &people[index % ACCOUNTS]);
            let (taken, waited) = (&taken, &waited);
            async move {
                let (path, body, client) = if index % 3 == 0 {
                    let body = json!({ "sessionId": format!("s-{index}"), "modelId": "m", "userId": person.id, "credits": 2 });
                    ("/api/streaming-sessions/initialize", body, proxy(at))
                } else {
                    ("/api/credits/deduct", json!({ "credits": 2 }), signed_in(at, person))
                };
                let answer = client.post(path, &body).await;
                match answer.status.as_u16() {
                    200 | 201 => taken.fetch_add(2, Ordering::Relaxed),
                    503 => {
                        assert!(answer.headers.contains_key("retry-after"));
                        waited.fetch_add(1, Ordering::Relaxed)
                    }
                    status => panic!("{status}: {}", answer.text),
                };
            }
        });
        answered.buffer_unordered(24).collect::<Vec<()>>().await;
        running.store(false, Ordering::Relaxed);
    };
    let ((), storms) = join(everybody, get_in_the_way(&books, &people, &running, seed)).await;

    let conflicts = conflicts(&at[0]).await + conflicts(&at[1]).await;
    println!(
        "{storms} storms; the writers began anew {conflicts} times; {} requests were told to come again",
        waited.into_inner()
    );
    assert!(storms > 0);
    let left = "SELECT sum(remaining_credits) FROM credit_allocations";
    let all = CREDITS * i64::try_from(ACCOUNTS).unwrap();
    let gone = all - books.number(left).await;
    let entries = "SELECT -sum(amount) FROM credit_transactions WHERE kind IN ('deduct', 'hold')";
    assert_eq!(books.number(entries).await, gone);
    // A request that was told nobody knows may have been carried out.
    assert!(gone >= taken.into_inner());
    books.assert_sound().await;
}
