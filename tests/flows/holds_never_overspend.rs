//! A thousand holds at once over two replicas: exactly as many as the credits cover.

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use system_tests::platform::Platform;
use test_support::{Person, TestTokens};

#[actix_web::test]
async fn a_thousand_holds_of_ten_against_five_hundred_give_exactly_fifty() {
    let platform = Platform::start().await;
    let replica = platform.another_accounting().await;
    let alice = platform.chatter("alice", 500).await;
    let service =
        TestTokens::at(common_http::Clock::System.now()).service("proxy-service", "accounting-service");
    let clients = [&platform.accounting, &replica].map(|service_at| service_at.client().with_token(&service));

    let hold = async |index: usize| {
        let body = json!({
            "sessionId": format!("race-{index}"), "userId": alice.id, "username": "alice", "email": alice.email,
            "role": "enduser", "modelId": "m", "credits": 10,
        });
        clients[index % 2]
            .post("/api/streaming-sessions/initialize", &body)
            .await
    };
    let answers: Vec<_> = stream::iter(0..1_000)
        .map(hold)
        .buffer_unordered(200)
        .collect()
        .await;

    let count = |status: u16| {
        answers
            .iter()
            .filter(|answer| answer.status.as_u16() == status)
            .count()
    };
    assert_eq!(
        (count(201), count(402)),
        (50, 950),
        "{:?}",
        answers.iter().map(|a| a.status).collect::<Vec<_>>()
    );
    assert_eq!(alice.balance().await, 0);
    assert_eq!(platform.open_holds().await, 50);
    let verified = platform.verify_ledger().await;
    assert!(verified.is_ok(), "{verified:?}");
    replica.stop().await;
}

#[actix_web::test]
async fn a_person_is_who_the_token_says() {
    let platform = Platform::start().await;
    let forged = Person::new("alice", common_jwt::Role::Admin);
    let mut tokens = TestTokens::at(common_http::Clock::System.now() - chrono::Duration::hours(1));
    let client = platform.accounting.client().with_token(tokens.access(&forged));
    client
        .get("/api/credits/balance")
        .await
        .expect_problem(401, "invalid_token");
    tokens = TestTokens::at(common_http::Clock::System.now());
    let client = platform.accounting.client().with_token(tokens.access(&forged));
    client.get("/api/credits/balance").await.expect(200);
}

/// Between looking at a balance and taking from it nobody can come in: what is there is held, or the question is refused.
#[actix_web::test]
async fn of_many_questions_at_once_only_as_many_are_asked_as_can_be_paid() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;

    let asked = futures_util::future::join_all((0..12).map(|_| alice.send("", "hello world"))).await;

    let mut answered = 0;
    for response in asked {
        match response.status().as_u16() {
            200 => {
                let chat = system_tests::person::Chat::read(response).await;
                assert_eq!(chat.expect_ended().text(), "Mock reply to: hello world");
                answered += 1;
            }
            status => assert_eq!(status, 402, "{}", response.text().await.unwrap()),
        }
    }
    assert_eq!(answered, 3);
    assert_eq!(
        platform.flowise.predictions().len(),
        3,
        "Flowise is asked nothing that is not paid for"
    );
    assert_eq!(alice.balance().await, 0);
    assert_eq!(platform.open_holds().await, 0);
}
