//! What stands behind the proxy goes away and comes back.

use system_tests::{
    flowise::{Behaviour, Ending, Rule},
    link::Link,
    person::Chat,
    platform::Platform,
    process::Process,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

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

#[actix_web::test]
async fn without_its_database_the_proxy_says_so_and_is_well_again_by_itself() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let mut uri: url::Url = platform.mongo().uri.parse().unwrap();
    let database = (uri.host_str().unwrap().to_owned(), uri.port().unwrap_or(27_017));
    let database = tokio::net::lookup_host(database).await.unwrap().next().unwrap();
    let mut link = Link::to(database).unwrap();
    uri.set_port(Some(link.address.port())).unwrap();
    uri.set_query(Some("directConnection=true&serverSelectionTimeoutMS=1000"));
    let variables = platform.proxy_environment_with(&[("MONGODB_URI", uri.as_str())]);
    let proxy = Process::start(PROGRAM, "proxy-service", &variables).await;
    let client = proxy.client().with_token(&alice.access_token);
    let status = async |path: &str| client.get(path).await.status.as_u16();
    platform
        .until("it is ready", async || status("/readyz").await == 200)
        .await;
    assert_eq!(client.get("/health").await.expect(200).body["status"], "healthy");

    link.pull_out().await;
    let sick = client.get("/health").await.expect(503);
    assert_eq!(
        (&sick.body["status"], &sick.body["service"]),
        (&"unhealthy".into(), &"flowise-proxy-service".into())
    );
    assert!(
        !sick.text.contains("127.0.0.1") && !sick.text.contains("mongodb"),
        "{}",
        sick.text
    );
    assert_eq!(status("/readyz").await, 503);
    assert_eq!(status("/livez").await, 200, "starting it anew would not help");
    let refused = client.get("/api/v1/chat/sessions").await;
    let refused = refused.expect_problem(503, "database_unavailable");
    assert!(!refused.text.contains("127.0.0.1"), "{}", refused.text);

    link.put_back().unwrap();
    platform
        .until("it is well again", async || status("/health").await == 200)
        .await;
    client.get("/api/v1/chat/sessions").await.expect(200);
}

/// A restart forgets nothing, also where a variable of the platform before us says that it should.
#[actix_web::test]
async fn a_restart_forgets_nothing_whatever_an_old_variable_says() {
    let platform = Platform::start_with(&[("FORCE_COLLECTION_SETUP", "true")]).await;
    let alice = platform.chatter("alice", 5).await;
    let session = alice.chat("remember me").await.session_id().to_owned();

    let restarted = platform.another_proxy().await;

    let there = restarted.client().with_token(&alice.access_token);
    let history = there
        .get(&format!("/api/v1/chat/sessions/{session}/history"))
        .await
        .expect(200);
    assert_eq!(history.body["count"], 2);
    let mine = there.get("/api/v1/chatflows/my-chatflows").await.expect(200);
    assert_eq!(mine.body[0]["id"], platform.chatflow_id);
    restarted.stop().await;
}
