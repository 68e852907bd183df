//! An administrator gives credits, looks at them, and nobody else can.

use reqwest::Method;
use serde_json::json;
use system_tests::platform::Platform;

#[actix_web::test]
async fn an_admin_gives_credits_and_sees_what_is_left() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;
    let admin = platform.admin().await;
    assert_eq!(
        alice.balance().await,
        3,
        "her first look tells accounting her address"
    );

    let grant = json!({ "email": alice.email, "credits": 4, "expiryDays": 1, "notes": "for the exam" });
    let made = admin
        .accounting
        .post("/api/credits/allocate-by-email", &grant)
        .await
        .expect(201);
    assert_eq!(made.body["totalCredits"], 4);
    alice.chat("hello").await.expect_ended();

    for key in [alice.id.as_str(), "alice%40example.com"] {
        let balance = admin
            .accounting
            .get(&format!("/api/credits/balance/{key}"))
            .await
            .expect(200);
        assert_eq!(balance.body["totalCredits"], 6, "{}", balance.text);
        let allocations = balance.body["activeAllocations"].as_array().unwrap();
        let left: Vec<_> = allocations
            .iter()
            .map(|one| one["credits"].as_i64().unwrap())
            .collect();
        assert_eq!(left, [3, 3], "what expires first is spent first");
    }
    let all = admin
        .accounting
        .get("/api/credits/allocations/all")
        .await
        .expect(200);
    assert_eq!(all.body["allocations"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn users_manage_nobodys_credits() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;
    let grant = json!({ "userId": alice.id, "credits": 1_000 });
    alice
        .accounting
        .post("/api/credits/allocate", &grant)
        .await
        .expect_problem(403, "forbidden");
    alice
        .accounting
        .post("/api/credits/allocate-by-email", &grant)
        .await
        .expect_problem(403, "forbidden");
    alice
        .accounting
        .get("/api/credits/balance/alice")
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(alice.balance().await, 3);
}

#[actix_web::test]
async fn a_user_cannot_settle_the_hold_of_their_own_chat() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;
    platform.flowise.tell(system_tests::flowise::Rule::always(
        system_tests::flowise::Behaviour {
            hang_before_head: true,
            ..Default::default()
        },
    ));
    let stream = alice.send("", "hello").await;
    platform
        .flowise
        .wait_until(|counts| counts.hanging > 0)
        .await
        .expect("the turn hangs");
    let hold = platform.open_hold().await;

    let path = "/api/streaming-sessions/finalize";
    let answer = alice
        .accounting
        .post(path, &json!({ "sessionId": hold, "actualTokens": 0 }))
        .await;
    assert!(matches!(answer.status.as_u16(), 403 | 404), "{}", answer.text);
    let abort = alice
        .accounting
        .request(Method::POST, "/api/streaming-sessions/abort");
    let answer = alice
        .accounting
        .send(abort.json(&json!({ "sessionId": hold })))
        .await;
    assert!(matches!(answer.status.as_u16(), 403 | 404), "{}", answer.text);
    assert_eq!(alice.balance().await, 2, "the hold stands");

    platform.flowise.release();
    system_tests::person::Chat::read(stream).await.expect_ended();
    assert_eq!(alice.balance().await, 2);
}
