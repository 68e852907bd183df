//! Everybody spends from one account at once, over two replicas: nobody overspends and every sum is exact.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use common_jwt::Role;
use futures_util::{StreamExt as _, future::join, stream};
use serde_json::json;
use test_support::{Person, TestPostgres};

use crate::ledger::{Books, Dice, grant, seed, signed_in, size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deducts_on_one_account_over_two_replicas_are_exact_and_never_overdraw() {
    let (deducts, clients) = (size("PROVE_DEDUCTS", 2_000), size("PROVE_CLIENTS", 64));
    let (samples_wanted, seed) = (size("PROVE_SAMPLES", 50), seed());
    let database = TestPostgres::create("empty", async |_: &str| {}).await;
    let books = Books { url: database.url };
    let replicas = [books.serve().await, books.serve().await];
    let at = [replicas[0].client(), replicas[1].client()];
    let alice = Person::new("alice", Role::EndUser);
    // Nine in ten deducts find enough: refusals have to be exact as well.
    let credits = i64::try_from(deducts).unwrap() * 4 * 9 / 10;
    for part in [credits / 3, credits / 3, credits - 2 * (credits / 3)] {
        grant(&at[0], &alice, part, 1 + part % 7).await;
    }

    let (total, running) = (AtomicI64::new(0), AtomicBool::new(true));
    let everybody = async {
        let answers = stream::iter(0..deducts).map(|index| {
            let (at, alice, total) = (&at[index % 2], &alice, &total);
            async move {
                let credits = Dice::new(seed, index).between(1, 7);
                let client = signed_in(at, alice);
                let answer = client
                    .post("/api/credits/deduct", &json!({ "credits": credits }))
                    .await;
                match answer.status.as_u16() {
                    200 => {
                        total.fetch_add(credits, Ordering::Relaxed);
                        true
                    }
                    400 => {
                        let refused = answer.expect_problem(400, "insufficient_credits");
                        assert!(refused.body["available"].as_i64().unwrap() < credits);
                        false
                    }
                    status => panic!("{status}: {}", answer.text),
                }
            }
        });
        let done: Vec<bool> = answers.buffer_unordered(clients).collect().await;
        running.store(false, Ordering::Relaxed);
        done.iter().filter(|done| **done).count()
    };
    let watch = async {
        let mut samples = 0;
        let negative = "SELECT count(*) FROM credit_allocations WHERE remaining_credits < 0";
        while running.load(Ordering::Relaxed) || samples < samples_wanted {
            let balance = signed_in(&at[samples % 2], &alice)
                .get("/api/credits/total-balance")
                .await
                .expect(200);
            assert!((0..=credits).contains(&balance.body["totalCredits"].as_i64().unwrap()));
            assert_eq!(books.number(negative).await, 0);
            samples += 1;
        }
        samples
    };
    let (done, samples) = join(everybody, watch).await;

    let spent = total.into_inner();
    println!("{done} of {deducts} deducts spent {spent} of {credits}; {samples} samples");
    let rows = "SELECT count(*) FROM credit_transactions WHERE kind = 'deduct'";
    assert_eq!(books.number(rows).await, i64::try_from(done).unwrap());
    let sum = "SELECT -sum(amount) FROM credit_transactions WHERE kind = 'deduct'";
    assert_eq!(books.number(sum).await, spent);
    let left = "SELECT sum(remaining_credits) FROM credit_allocations";
    assert_eq!(books.number(left).await, credits - spent);
    assert!(credits - spent < 7, "only what could not cover a deduct is left");
    books.assert_sound().await;
}
