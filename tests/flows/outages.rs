//! What stands behind the proxy goes away and comes back.

use system_tests::{
    flowise::{Behaviour, Ending, Rule},
    person::Chat,
    platform::Platform,
};

#[actix_web::test]
async fn without_accounting_nobody_chats_for_free() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let Platform { accounting, .. } = &platform;
    accounting.lifecycle.stop();
    platform
        .until("accounting is gone", async || is_closed(accounting.address).await)
        .await;

    alice
        .chat_refused("hello")
        .await
        .expect_problem(503, "accounting_unavailable");
    alice
        .proxy
        .get("/api/v1/chat/credits")
        .await
        .expect_problem(503, "accounting_unavailable");
    assert_eq!(platform.flowise.predictions().len(), 0, "Flowise is not asked");
}

async fn is_closed(address: std::net::SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_err()
}

#[actix_web::test]
async fn without_flowise_a_turn_fails_readably_and_costs_nothing() {
    let mut platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    platform.stop_flowise().await;

    let chat = alice.chat("hello").await;

    chat.expect_ended();
    assert!(
        chat.first("error").is_some() && !chat.text().is_empty(),
        "{:?}",
        chat.events
    );
    assert_eq!(alice.balance().await, 5);
}

#[actix_web::test]
async fn a_settlement_that_finds_accounting_away_is_made_later() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    platform.flowise.tell(Rule::once(Behaviour {
        ending: Some((2, Ending::Hang)),
        ..Behaviour::default()
    }));
    let stream = alice.send("", "hello world").await;
    let hanging = platform.flowise.wait_until(|counts| counts.hanging == 1).await;
    hanging.expect("Flowise is in the middle of its answer");
    platform.accounting.lifecycle.stop();
    platform
        .until("accounting is gone", async || {
            is_closed(platform.accounting.address).await
        })
        .await;
    platform.flowise.release();

    let chat = Chat::read(stream).await;
    chat.expect_ended();
    assert_eq!(
        chat.text(),
        "Mock reply to: hello world",
        "the answer is not withheld"
    );

    let back = platform.restart_accounting().await;
    let alice_there = back.client().with_token(&alice.access_token);
    platform
        .until("the outbox settles the turn", async || {
            let active = alice_there
                .get("/api/streaming-sessions/active")
                .await
                .expect(200);
            active.body.as_array().is_some_and(Vec::is_empty)
        })
        .await;
    let balance = alice_there.get("/api/credits/total-balance").await.expect(200);
    assert_eq!(balance.body["totalCredits"], 4, "paid once");
    back.stop().await;
}
