//! Requests that are sent several times with the same key, at once and after time-outs, through two replicas: each has
//! one effect.

use std::time::Duration;

use common_jwt::Role;
use futures_util::{StreamExt as _, future::join_all, stream};
use reqwest::Method;
use serde_json::json;
use test_support::{Client, Person, TestPostgres};

use crate::ledger::{Books, Dice, grant, proxy, seed, send_once, signed_in, size};

const PATIENCE: Duration = Duration::from_secs(30);

/// Shorter than many an answer takes: the client gives up and the request may have been carried out.
const IMPATIENCE: Duration = Duration::from_millis(2);

/// Sends one request `times` times with one key and returns once it was answered.
async fn send_repeatedly(at: &[Client; 2], alice: &Person, seed: u64, index: usize) {
    let mut dice = Dice::new(seed, index);
    let times = dice.between(1, 5);
    let (key, by_proxy) = (format!("k-{index}"), dice.below(2) == 0);
    let client = |replica: usize| {
        if by_proxy {
            proxy(&at[replica % 2])
        } else {
            signed_in(&at[replica % 2], alice)
        }
    };
    let (path, status, body) = if by_proxy {
        let body =
            json!({ "sessionId": format!("s-{index}"), "modelId": "m", "userId": alice.id, "credits": 1 });
        ("/api/streaming-sessions/initialize", 201, body)
    } else {
        ("/api/credits/deduct", 200, json!({ "credits": 1 }))
    };
    let mut early = Vec::new();
    for time in 1..times {
        let patience = if dice.below(3) == 0 { IMPATIENCE } else { PATIENCE };
        let client = client(usize::try_from(time).unwrap());
        let (key, body) = (&key, &body);
        early.push(async move { send_once(&client, (Method::POST, path), key, body, patience).await });
    }
    let at_once = dice.below(2) == 0;
    if at_once {
        join_all(early).await;
    } else {
        for request in early {
            request.await;
        }
    }
    // The last one asks until it is told what became of the first.
    loop {
        let answer = send_once(&client(index), (Method::POST, path), &key, &body, PATIENCE).await;
        let answer = answer.expect("the service answers in time");
        match answer.status.as_u16() {
            409 => drop(answer.expect_problem(409, "idempotency_in_progress")),
            _ => break drop(answer.expect(status)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_one_effect_however_often_it_is_sent() {
    let (requests, seed) = (size("PROVE_REQUESTS", 600), seed());
    let database = TestPostgres::create("empty", async |_: &str| {}).await;
    let books = Books { url: database.url };
    let replicas = [books.serve().await, books.serve().await];
    let at = [replicas[0].client(), replicas[1].client()];
    let alice = Person::new("alice", Role::EndUser);
    let credits = i64::try_from(requests).unwrap() + 10;
    grant(&at[0], &alice, credits, 30).await;

    stream::iter(0..requests)
        .map(|index| send_repeatedly(&at, &alice, seed, index))
        .buffer_unordered(32)
        .collect::<Vec<()>>()
        .await;

    let effects = "SELECT count(*) FROM credit_transactions WHERE kind IN ('deduct', 'hold')";
    assert_eq!(books.number(effects).await, i64::try_from(requests).unwrap());
    let left = "SELECT sum(remaining_credits) FROM credit_allocations";
    assert_eq!(books.number(left).await, 10);
    books.assert_sound().await;
}
