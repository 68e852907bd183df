//! A chatflow that costs what its tokens cost, through all three services.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Ending, Rule, chatflow},
    person::{Chat, Person},
    platform::Platform,
    process::Process,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

const MODEL: &str = "amazon.nova-lite-v1:0";

/// 10,000 tokens cost ⌈10,000 × (250 + 800) / 2,000,000⌉ = 6 credits; a fifth more, rounded up, are held.
const ESTIMATE: i64 = 10_000;
const HELD: i64 = 8;

/// 4,000 tokens cost ⌈4,000 × 1,050 / 2,000,000⌉ credits.
const READ: u64 = 3_600;
const WRITTEN: u64 = 400;
const COST: i64 = 3;

/// Everything, with an agentflow that counts its tokens and is paid by them.
async fn platform_with(variables: &[(&str, &str)]) -> Platform {
    let mut platform = Platform::start_with(variables).await;
    chatflow::LLM.clone_into(&mut platform.chatflow_id);
    let price = json!({ "usage_price": { "model_id": MODEL, "estimated_tokens": ESTIMATE } });
    set_price(&platform, &price).await;
    platform
}

async fn set_price(platform: &Platform, price: &Value) {
    let path = format!("/api/v1/admin/chatflows/{}", platform.chatflow_id);
    let set = platform
        .as_admin(&platform.proxy, Method::PATCH, &path, price)
        .await
        .expect(200);
    assert_eq!(set.body["usage_price"], price["usage_price"]);
}

fn counted(ending: Option<(usize, Ending)>) -> Rule {
    Rule::always(Behaviour {
        usage: Some((READ, WRITTEN)),
        ending,
        ..Behaviour::default()
    })
}

/// What somebody has, by allocation: what is left, and until when.
async fn allocations(person: &Person) -> Value {
    let balance = person.accounting.get("/api/credits/balance").await.expect(200);
    let allocations = balance.body["activeAllocations"].as_array().cloned();
    let allocations = allocations.unwrap_or_default().into_iter();
    allocations
        .map(|allocation| json!([allocation["id"], allocation["credits"], allocation["expiresAt"]]))
        .collect()
}

async fn is_closed(address: std::net::SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_err()
}

/// Takes accounting-service away.
async fn stop_accounting(platform: &Platform) {
    platform.accounting.lifecycle.stop();
    let address = platform.accounting.address;
    platform
        .until("accounting is gone", async || is_closed(address).await)
        .await;
}

#[actix_web::test]
async fn the_estimate_is_held_the_tokens_are_paid_and_the_rest_goes_back_where_it_came_from() {
    let platform = platform_with(&[]).await;
    let alice = platform.chatter("alice", 5).await;
    let admin = platform.admin().await;
    let later = json!({ "userId": alice.id, "credits": 20, "expiryDays": 365 });
    admin
        .accounting
        .post("/api/credits/allocate", &later)
        .await
        .expect(201);
    let before = allocations(&alice).await;
    platform.flowise.tell(counted(Some((2, Ending::Hang))));

    let stream = alice.send("", "hello world").await;
    let hanging = platform.flowise.wait_until(|counts| counts.hanging == 1).await;
    hanging.expect("Flowise is in the middle of its answer");
    assert_eq!(alice.balance().await, 25 - HELD, "the estimate and a fifth");
    let rates = json!({ "inputRate": 25_000, "outputRate": 80_000 });
    let path = format!("/api/prices/{MODEL}");
    admin.accounting.put(&path, &rates).await.expect(200);
    platform.flowise.release();
    let chat = Chat::read(stream).await;

    chat.expect_ended();
    assert_eq!(alice.balance().await, 25 - COST, "at the price it was held at");
    let after = allocations(&alice).await;
    let left = |allocation: usize, credits: i64| {
        let mut expected = before[allocation].clone();
        expected[1] = json!(credits);
        expected
    };
    assert_eq!(
        after,
        json!([left(0, 5 - COST), left(1, 20)]),
        "what expires first pays"
    );

    let usage = alice.accounting.get("/api/usage/stats").await.expect(200).body;
    let record = &usage["recentActivity"][0];
    assert_eq!(
        (&record["credits"], &record["operation"]),
        (&json!(COST), &json!(platform.chatflow_id))
    );
    assert_eq!(record["metadata"]["tokens"], READ + WRITTEN);
    assert_eq!(record["metadata"]["price"]["modelId"], MODEL);
    platform
        .until("the report says it too", async || {
            let reported = platform.count_documents("usage_days", "credits", COST).await;
            reported == 1
        })
        .await;
    platform.verify_ledger().await.unwrap();
}

#[actix_web::test]
async fn what_breaks_after_content_costs_what_was_held_and_before_it_nothing() {
    let platform = platform_with(&[]).await;
    let alice = platform.chatter("alice", 100).await;
    for (tokens, paid) in [(0, 0), (2, HELD)] {
        let before = alice.balance().await;
        platform.flowise.tell(counted(Some((tokens, Ending::Cut))));
        let chat = alice.chat("hello world").await;
        chat.expect_ended();
        assert!(chat.first("error").is_some(), "{:?}", chat.events);
        assert_eq!(before - alice.balance().await, paid);
    }
    assert_eq!(platform.open_holds().await, 0);
    platform.verify_ledger().await.unwrap();
}

#[actix_web::test]
async fn whoever_waits_is_told_what_was_paid_and_who_cannot_pay_the_estimate_is_refused() {
    let platform = platform_with(&[]).await;
    let alice = platform.chatter("alice", HELD).await;
    platform.flowise.tell(counted(None));
    let body = json!({ "chatflow_id": platform.chatflow_id, "question": "hello world" });

    let answer = alice.proxy.post("/api/v1/chat/predict", &body).await.expect(200);

    let told = &answer.body["metadata"];
    assert_eq!(
        (&told["cost"], &told["remaining_credits"]),
        (&json!(COST), &json!(HELD - COST))
    );
    let refused = alice.chat_refused("again").await;
    let refused = refused.expect_problem(402, "insufficient_credits");
    assert_eq!(
        (&refused.body["required"], &refused.body["available"]),
        (&json!(HELD), &json!(HELD - COST))
    );
    assert_eq!(platform.flowise.predictions().len(), 1);
    platform.verify_ledger().await.unwrap();
}

/// While a turn runs its hold counts against the cap, afterwards what it cost.
#[actix_web::test]
async fn a_capped_key_spends_what_the_tokens_cost() {
    let platform = platform_with(&[]).await;
    let mut alice = platform.chatter("alice", 100).await;
    platform.flowise.tell(counted(None));
    let wish = json!({ "name": "Capped", "creditCap": COST + HELD });
    let made = alice.auth.post("/api/keys", &wish).await.expect(201).body;
    alice.proxy = platform.proxy.client().with_token(made["key"].as_str().unwrap());
    for spent in [COST, 2 * COST] {
        alice.chat("hello world").await.expect_ended();
        platform
            .until(
                "what was held and not paid is given back to the key",
                async || platform.count_documents("daily_turns", "count", spent).await == 1,
            )
            .await;
    }

    let refused = alice.chat_refused("hello world").await;

    refused.expect_problem(402, "api_key_cap_reached");
    platform.until_all_is_settled().await;
    assert_eq!(platform.flowise.predictions().len(), 2);
    assert_eq!(alice.balance().await, 100 - 2 * COST);
    let counters = platform.count_documents("daily_turns", "count", 2 * COST).await;
    assert_eq!(counters, 1, "what was refused took nothing of the cap");
    platform.verify_ledger().await.unwrap();
}

#[actix_web::test]
async fn a_model_without_a_price_and_an_accounting_that_is_away_change_no_price() {
    let platform = platform_with(&[]).await;
    let admin = platform.admin().await;
    let path = format!("/api/v1/admin/chatflows/{}", platform.chatflow_id);
    let patch = async |model: &str| {
        let body = json!({ "usage_price": { "model_id": model } });
        let request = admin.proxy.request(Method::PATCH, &path).json(&body);
        admin.proxy.send(request).await
    };
    patch("nobody").await.expect_problem(422, "validation_failed");
    patch("default").await.expect(200);
    stop_accounting(&platform).await;
    patch(MODEL).await.expect_problem(503, "accounting_unavailable");
    let kept = admin.proxy.get(&path).await.expect(200).body;
    assert_eq!(kept["usage_price"]["model_id"], "default");
}

/// The replica that ran the turn found accounting-service away and died as well; the one that lives settles it.
#[actix_web::test]
async fn tokens_that_nobody_could_be_told_of_are_paid_once_by_the_replica_that_lives() {
    let platform = platform_with(&[("TURN_LEASE_SECS", "2")]).await;
    let alice = platform.chatter("alice", 100).await;
    platform.flowise.tell(counted(Some((2, Ending::Hang))));
    let dying = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;
    let there = dying.client().with_token(&alice.access_token);
    let body = json!({ "chatflow_id": platform.chatflow_id, "question": "hello world" });
    let request = there
        .request(Method::POST, "/api/v1/chat/predict/stream/store")
        .json(&body);
    let stream = request.send().await.expect("the turn begins");
    let hanging = platform.flowise.wait_until(|counts| counts.hanging == 1).await;
    hanging.expect("Flowise is in the middle of its answer");
    stop_accounting(&platform).await;
    platform.flowise.release();
    let chat = Chat::read(stream).await;
    chat.expect_ended();
    assert_eq!(
        chat.text(),
        "Mock reply to: hello world",
        "the answer is not withheld"
    );
    dying.kill().await;

    let back = platform.restart_accounting().await;
    platform.until_all_is_settled().await;
    platform
        .until("the turn leaves the outbox", async || {
            platform.count_documents("turns", "state", "settled").await == 1
        })
        .await;

    let alice_there = back.client().with_token(&alice.access_token);
    let balance = alice_there.get("/api/credits/total-balance").await.expect(200);
    assert_eq!(balance.body["totalCredits"], 100 - COST, "by tokens, and once");
    let paid = platform
        .count_documents("turns", "settlement.credits", COST)
        .await;
    assert_eq!(paid, 1);
    platform
        .until("the report says it too", async || {
            platform.count_documents("usage_days", "credits", COST).await == 1
        })
        .await;
    platform.verify_ledger().await.unwrap();
    back.stop().await;
}
