//! The client leaves at each stage: history and payment are right all the same, and no hold stays open.

use futures_util::StreamExt as _;
use system_tests::{
    flowise::{Behaviour, Ending, Rule},
    person::Person,
    platform::Platform,
};
use tokio::io::AsyncWriteExt as _;

/// What is left when nothing has been paid.
const CREDITS: i64 = 10;

/// Sends a whole chat request and leaves without reading a byte.
async fn ask_and_leave(platform: &Platform, person: &Person) {
    let body =
        serde_json::json!({ "chatflow_id": platform.chatflow_id, "question": "hello world" }).to_string();
    let request = format!(
        "POST /api/v1/chat/predict/stream/store HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        person.access_token,
        body.len()
    );
    let mut connection = tokio::net::TcpStream::connect(platform.proxy.address)
        .await
        .unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    platform
        .flowise
        .wait_until(|counts| counts.hanging > 0)
        .await
        .expect("the turn reaches Flowise and hangs");
}

#[actix_web::test]
async fn leaving_before_the_first_token_lets_the_turn_finish_and_cost_its_price() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::once(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));

    ask_and_leave(&platform, &alice).await;
    platform.flowise.release();

    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 1);
    let sessions = alice.proxy.get("/api/v1/chat/sessions").await.expect(200);
    let session = sessions.body["sessions"][0]["session_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let history = alice.history(&session).await;
    assert_eq!(history[1].1, "Mock reply to: hello world", "{history:?}");
}

#[actix_web::test]
async fn leaving_in_the_middle_keeps_the_whole_answer() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::once(Behaviour {
        ending: Some((2, Ending::Hang)),
        ..Behaviour::default()
    }));

    let response = alice.send("", "hello world").await;
    let session = read_until_token(response).await;
    platform
        .flowise
        .wait_until(|counts| counts.hanging > 0)
        .await
        .expect("the stream hangs");
    platform.flowise.release();

    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 1);
    assert_eq!(alice.history(&session).await[1].1, "Mock reply to: hello world");
}

/// Reads until content has arrived, then drops the connection; tells the session.
async fn read_until_token(response: reqwest::Response) -> String {
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    while !text.contains("\"event\":\"token\"") {
        let chunk = stream
            .next()
            .await
            .expect("content arrives")
            .expect("the stream is whole so far");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    first["data"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn when_the_drain_is_over_flowise_is_told_to_stop() {
    let platform = Platform::start_with(&[("ABANDONED_TURN_DRAIN_SECS", "0")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::always(Behaviour {
        ending: Some((2, Ending::Hang)),
        ..Behaviour::default()
    }));

    let response = alice.send("", "hello world").await;
    read_until_token(response).await;

    platform
        .flowise
        .wait_until(|counts| counts.abort_calls > 0)
        .await
        .expect("Flowise is told");
    platform.until_all_is_settled().await;
    assert_eq!(
        alice.balance().await,
        CREDITS - 1,
        "content was delivered: what was held is paid"
    );
}

#[actix_web::test]
async fn leaving_before_content_without_a_drain_costs_nothing() {
    let platform = Platform::start_with(&[("ABANDONED_TURN_DRAIN_SECS", "0")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::always(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));

    ask_and_leave(&platform, &alice).await;

    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS);
}

#[actix_web::test]
async fn leaving_before_the_settlement_is_settled_all_the_same() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let response = alice.send("", "hello world").await;
        sessions.push(read_until_token(response).await);
    }
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 5);
    for session in sessions {
        assert_eq!(alice.history(&session).await.len(), 2);
    }
}
