//! The proxy is killed in the middle of streams: each turn is settled exactly once after a restart.

use futures_util::{StreamExt as _, future::join_all};
use reqwest::Method;
use serde_json::json;
use system_tests::{
    flowise::{Behaviour, Ending, Rule},
    person::Person,
    platform::Platform,
    process::Process,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

/// Asks through a given proxy and reads until the answer contains `wanted`, keeping the connection open.
async fn ask(
    proxy: &Process,
    person: &Person,
    chatflow_id: &str,
    wanted: &'static str,
) -> impl Sized + use<> {
    let client = proxy.client().with_token(&person.access_token);
    let body = json!({ "chatflow_id": chatflow_id, "question": "hello world" });
    let request = client
        .request(Method::POST, "/api/v1/chat/predict/stream/store")
        .json(&body);
    let mut stream = request.send().await.expect("the turn begins").bytes_stream();
    let mut text = String::new();
    while !text.contains(wanted) {
        let chunk = stream
            .next()
            .await
            .expect("more arrives")
            .expect("the stream is whole so far");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    stream
}

#[actix_web::test]
async fn turns_with_content_are_paid_once_and_turns_without_are_free() {
    let platform = Platform::start_with(&[("TURN_LEASE_SECS", "2")]).await;
    let talker = platform.chatter("talker", 100).await;
    let waiter = platform.chatter("waiter", 100).await;
    platform.flowise.tell(Rule {
        question_contains: Some("hello".to_owned()),
        behaviour: Behaviour {
            ending: Some((2, Ending::Hang)),
            ..Behaviour::default()
        },
        times: Some(10),
        ..Rule::default()
    });
    let proxy = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;
    let talking = join_all((0..10).map(|_| ask(&proxy, &talker, &platform.chatflow_id, "\"token\""))).await;
    platform.flowise.forget_rules();
    platform.flowise.tell(Rule::always(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));
    let waiting = join_all((0..10).map(|_| ask(&proxy, &waiter, &platform.chatflow_id, "session_id"))).await;
    platform
        .flowise
        .wait_until(|counts| counts.predictions >= 20)
        .await
        .expect("all turns run");
    assert_eq!((talker.balance().await, waiter.balance().await), (90, 90), "held");

    proxy.kill().await;
    drop((talking, waiting));
    let restarted = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;

    platform.until_all_is_settled().await;
    assert_eq!(talker.balance().await, 90, "content was delivered: paid, once");
    assert_eq!(waiter.balance().await, 100, "nothing was delivered: free");
    let verified = platform.verify_ledger().await;
    assert!(verified.is_ok(), "{verified:?}");
    drop(restarted);
}
