//! API keys on the whole platform: what they open, what they do not, what they may spend, and how fast they die.

use common_http::{Access, rows};
use futures_util::{StreamExt as _, future::join_all, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use system_tests::{
    person::{Chat, Person},
    platform::Platform,
};
use test_support::{Answer, Client};

use crate::secrets_change::{call, tables};

const PREDICT: &str = "/api/v1/chat/predict/stream/store";

/// A key of this person's, as it is shown once.
pub(crate) async fn key_of(person: &Person, wish: Value) -> (String, String) {
    let made = person.auth.post("/api/keys", &wish).await.expect(201).body;
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

pub(crate) async fn revoke(person: &Person, id: &str) {
    let request = person.auth.request(Method::DELETE, &format!("/api/keys/{id}"));
    person.auth.send(request).await.expect(200);
}

async fn ask(client: &Client, chatflow_id: &str) -> reqwest::Response {
    let body = json!({ "chatflow_id": chatflow_id, "sessionId": "", "question": "hello world" });
    let request = client.request(Method::POST, PREDICT).json(&body);
    request.send().await.unwrap()
}

async fn refused(client: &Client, chatflow_id: &str) -> Answer {
    let body = json!({ "chatflow_id": chatflow_id, "sessionId": "", "question": "hello world" });
    client.post(PREDICT, &body).await
}

#[actix_web::test]
async fn a_key_chats_and_reads_for_its_owner() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let (key, _) = key_of(&alice, json!({ "name": "Notebook" })).await;
    let proxy = platform.proxy.client().with_token(&key);
    let accounting = platform.accounting.client().with_token(&key);

    let chat = Chat::read(ask(&proxy, &alice.chatflow_id).await).await;
    assert_eq!(chat.expect_ended().text(), "Mock reply to: hello world");
    assert_eq!(alice.balance().await, 4);
    let history = format!("/api/v1/chat/sessions/{}/history", chat.session_id());
    assert_eq!(proxy.get(&history).await.expect(200).body["count"], 2);
    assert_eq!(
        proxy.get("/api/v1/chat/sessions").await.expect(200).body["count"],
        1
    );
    let mine = proxy.get("/api/v1/chatflows/my-chatflows").await.expect(200);
    assert_eq!(mine.body[0]["id"], alice.chatflow_id.as_str());
    let left = accounting.get("/api/credits/total-balance").await.expect(200);
    assert_eq!(left.body["totalCredits"], 4);
    accounting.get("/api/credits/transactions").await.expect(200);
    assert_eq!(
        proxy.get("/api/v1/chat/credits").await.expect(200).body["credits"],
        4
    );
}

#[actix_web::test]
async fn scopes_and_chatflows_are_kept() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let said = alice.chat("hello world").await;
    let history = format!("/api/v1/chat/sessions/{}/history", said.session_id());

    let (key, _) = key_of(&alice, json!({ "name": "Reader", "scopes": ["read"] })).await;
    let reader = platform.proxy.client().with_token(&key);
    reader.get(&history).await.expect(200);
    refused(&reader, &alice.chatflow_id)
        .await
        .expect_problem(403, "api_key_not_admitted");

    let (key, _) = key_of(&alice, json!({ "name": "Chatter", "scopes": ["chat"] })).await;
    let accounting = platform.accounting.client().with_token(&key);
    accounting
        .get("/api/credits/balance")
        .await
        .expect_problem(403, "api_key_not_admitted");

    let elsewhere = json!({ "name": "Elsewhere", "chatflows": ["another-flow"] });
    let (key, _) = key_of(&alice, elsewhere).await;
    let bound = platform.proxy.client().with_token(&key);
    refused(&bound, &alice.chatflow_id)
        .await
        .expect_problem(403, "chatflow_access_denied");
    assert_eq!(
        bound.get("/api/v1/chatflows/my-chatflows").await.expect(200).body,
        json!([])
    );
    bound.get(&history).await.expect_problem(404, "session_not_found");
    bound
        .get("/api/v1/chat/sessions")
        .await
        .expect_problem(403, "api_key_not_admitted");

    let here = json!({ "name": "Here", "chatflows": [alice.chatflow_id] });
    let (key, _) = key_of(&alice, here).await;
    let bound = platform.proxy.client().with_token(&key);
    Chat::read(ask(&bound, &alice.chatflow_id).await)
        .await
        .expect_ended();
    bound.get(&history).await.expect(200);
    assert_eq!(alice.balance().await, 3, "what was refused cost nothing");
}

#[actix_web::test]
async fn no_other_route_takes_a_key() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let wish = json!({ "name": "All", "scopes": ["chat", "read", "admin"] });
    let (key, _) = key_of(&admin, wish).await;
    let (mut closed, mut open) = (0, 0);
    for (service, table) in tables() {
        for row in rows(table) {
            if matches!(row.access, Access::Public | Access::Optional) {
                continue;
            }
            if !row.keys.scopes.is_empty() {
                open += 1;
                continue;
            }
            let answer = call(&platform, service, &row, &key).await;
            // Pages send browsers to sign in.
            let is_refused = matches!(answer.status.as_u16(), 401 | 403 | 303);
            assert!(
                is_refused,
                "{service} {} {}: {}",
                row.method, row.path, answer.text
            );
            closed += 1;
        }
    }
    assert!(closed > 150 && open > 30, "{closed} {open}");
    assert_eq!(
        admin.auth.get("/api/keys").await.expect(200).body["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// Two hundred at once over two replicas; whoever comes too fast for a person's slots comes again.
#[actix_web::test]
async fn a_key_capped_at_five_credits_gets_exactly_five_turns() {
    let platform = Platform::start().await;
    let replica = platform.another_proxy().await;
    let alice = platform.chatter("alice", 100).await;
    let (key, _) = key_of(&alice, json!({ "name": "Capped", "creditCap": 5 })).await;
    let clients = [&platform.proxy, &replica].map(|service| service.client().with_token(&key));
    let attempt = async |index: usize| loop {
        let response = ask(&clients[index % 2], &alice.chatflow_id).await;
        match response.status() {
            StatusCode::OK => {
                Chat::read(response).await.expect_ended();
                return true;
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
            status => {
                assert_eq!(status, StatusCode::PAYMENT_REQUIRED);
                let problem: Value = response.json().await.unwrap();
                assert_eq!(problem["code"], "api_key_cap_reached");
                return false;
            }
        }
    };
    let answered: Vec<bool> = stream::iter(0..200)
        .map(attempt)
        .buffer_unordered(200)
        .collect()
        .await;
    assert_eq!(answered.iter().filter(|answered| **answered).count(), 5);
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, 95);
    assert_eq!(platform.flowise.predictions().len(), 5);
    // The owner's own chats are theirs.
    alice.chat("hello world").await.expect_ended();
    replica.stop().await;
}

#[actix_web::test]
async fn what_a_failed_turn_took_of_the_cap_is_given_back() {
    let mut platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let (key, _) = key_of(&alice, json!({ "name": "Capped", "creditCap": 1 })).await;
    let client = platform.proxy.client().with_token(&key);
    platform.stop_flowise().await;
    let failed = ask(&client, &alice.chatflow_id).await;
    failed.text().await.unwrap();
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, 5);
    let counters = platform.count_documents("daily_turns", "count", 0_i64).await;
    assert_eq!(counters, 1, "the credit is given back to the key");
}

#[actix_web::test]
async fn a_revoked_key_dies_on_every_replica() {
    let platform = Platform::start().await;
    let (proxy, accounting) = (
        platform.another_proxy().await,
        platform.another_accounting().await,
    );
    let alice = platform.chatter("alice", 5).await;
    let (key, id) = key_of(&alice, json!({ "name": "Lost" })).await;
    let (other, _) = key_of(&alice, json!({ "name": "Kept" })).await;
    let places = [
        (platform.proxy.client(), "/api/v1/chat/sessions"),
        (proxy.client(), "/api/v1/chat/sessions"),
        (platform.accounting.client(), "/api/credits/balance"),
        (accounting.client(), "/api/credits/balance"),
    ];
    let statuses = async |key: &str| {
        let asked = places.iter().map(async |(client, path)| {
            let answer = client.with_token(key).get(path).await;
            answer.status.as_u16()
        });
        join_all(asked).await
    };
    assert_eq!(statuses(&key).await, [200; 4], "and everybody remembers it now");
    assert_eq!(statuses(&other).await, [200; 4]);

    revoke(&alice, &id).await;

    platform
        .until("the feed tells of the key", async || {
            statuses(&key).await == [401; 4]
        })
        .await;
    assert_eq!(statuses(&other).await, [200; 4]);
    let client = platform.proxy.client().with_token(&key);
    client
        .get("/api/v1/chat/sessions")
        .await
        .expect_problem(401, "invalid_api_key");
    proxy.stop().await;
    accounting.stop().await;
}

#[actix_web::test]
async fn a_key_dies_with_its_owners_account_and_lives_again_with_it() {
    let platform = Platform::start().await;
    let (alice, admin) = (platform.chatter("alice", 5).await, platform.admin().await);
    let (key, _) = key_of(&alice, json!({ "name": "Notebook" })).await;
    let client = platform.accounting.client().with_token(&key);
    let set_active = async |is_active: bool| {
        let path = format!("/api/admin/users/{}", alice.id);
        let request = admin.auth.request(Method::PATCH, &path);
        let request = request.json(&json!({ "isActive": is_active }));
        admin.auth.send(request).await.expect(200);
    };
    let answers = async |status: u16| client.get("/api/credits/balance").await.status == status;
    assert!(answers(200).await);
    set_active(false).await;
    platform
        .until("the key is dead", async || answers(401).await)
        .await;
    set_active(true).await;
    platform
        .until("the key is good again", async || answers(200).await)
        .await;
}

#[actix_web::test]
async fn without_auth_service_known_keys_go_on_and_others_are_not_judged() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let (known, _) = key_of(&alice, json!({ "name": "Known" })).await;
    let (unknown, _) = key_of(&alice, json!({ "name": "Unknown" })).await;
    let at = |key: &str| platform.accounting.client().with_token(key);
    at(&known).get("/api/credits/balance").await.expect(200);
    let never = format!("fg-{}", "A".repeat(43));
    at(&never)
        .get("/api/credits/balance")
        .await
        .expect_problem(401, "invalid_api_key");
    at("fg-too-short")
        .get("/api/credits/balance")
        .await
        .expect_problem(401, "invalid_api_key");

    platform.auth.lifecycle.stop();
    platform
        .until("auth-service is away", async || {
            let client = platform.auth.client();
            let request = client.request(Method::GET, "/livez");
            request.send().await.is_err()
        })
        .await;

    at(&known).get("/api/credits/balance").await.expect(200);
    at(&unknown)
        .get("/api/credits/balance")
        .await
        .expect_problem(503, "auth_unavailable");
}

/// However often it is sent, a key that is nobody's costs auth-service one question.
#[actix_web::test]
async fn a_key_that_is_nobodys_is_asked_about_once() {
    let platform = Platform::start().await;
    let never = format!("fg-{}", "E".repeat(43));
    let client = platform.accounting.client().with_token(&never);
    let answers = join_all((0..50).map(|_| client.get("/api/credits/balance"))).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    let metrics = platform
        .accounting
        .client()
        .get("/metrics")
        .await
        .expect(200)
        .text;
    let asked = metrics
        .lines()
        .find(|line| line.starts_with("api_key_questions_total") && line.contains("refused"))
        .unwrap();
    assert!(asked.ends_with(" 1"), "{asked}");
}

#[actix_web::test]
async fn a_key_has_a_pace_of_its_own() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let (slow, _) = key_of(&alice, json!({ "name": "Slow", "rate": 2 })).await;
    let client = platform.proxy.client().with_token(&slow);
    let answers = join_all((0..6).map(|_| client.get("/api/v1/chat/sessions"))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(429)), (2, 4));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.body["code"], "rate_limited");
    assert!(
        refused.headers["ratelimit-policy"]
            .to_str()
            .unwrap()
            .contains("\"api-key\";q=2;w=60")
    );
    alice.proxy.get("/api/v1/chat/sessions").await.expect(200);
}
