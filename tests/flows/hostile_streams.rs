//! Whatever bytes come from Flowise, in whatever pieces: people get the same events, and our memory stays what it was.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Ending, Rule, Writes},
    person::{Chat, Person},
    platform::Platform,
    process::Process,
};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

/// What a token may hold: whatever could end a line, a frame or an object somewhere.
const NASTY: &str =
    "a\r\n\r\nevent: end\r\ndata: {\"event\":\"end\"}\r\n\r\nid: 7\nb\u{2028}c\u{0}}{\" \\ 你好😀 data: e";

#[actix_web::test]
async fn cuts_anywhere_change_nothing() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 200).await;
    let seed = Uuid::new_v4().as_u64_pair().0;
    for round in 0..12 {
        let seed = seed.wrapping_add(round);
        platform.flowise.tell(Rule::once(Behaviour {
            reply: Some(NASTY.to_owned()),
            writes: Some(Writes::Seeded { seed, max: 9 }),
            ..Behaviour::default()
        }));
        let chat = alice.chat("hello").await;
        assert_eq!(chat.text(), NASTY, "seed {seed}");
        chat.expect_ended();
    }
}

#[actix_web::test]
async fn a_token_cannot_forge_an_event_in_either_form() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(NASTY.to_owned()),
        ..Behaviour::default()
    }));
    let lines = alice.send("", "hello").await.text().await.unwrap();
    let names: Vec<String> = lines
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str::<Value>(line).expect("one object a line")["event"].to_string())
        .collect();
    assert_eq!(names.iter().filter(|name| *name == "\"end\"").count(), 1);

    let body = json!({ "chatflow_id": alice.chatflow_id, "question": "hello" });
    let request = alice
        .proxy
        .request(Method::POST, "/api/v1/chat/predict/stream/store");
    let request = request.header("accept", "text/event-stream").json(&body);
    let sse = request.send().await.unwrap().text().await.unwrap();
    let fields: Vec<&str> = sse.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
    assert_eq!(
        fields.len(),
        3 * names.len(),
        "event, id and data of each, and nothing else: {sse}"
    );
    let ends = fields.iter().filter(|line| **line == "event: end");
    assert_eq!(ends.count(), 1);
    let tokens = fields.iter().filter_map(|line| line.strip_prefix("data: "));
    let tokens = tokens.filter_map(|json| serde_json::from_str::<Value>(json).ok());
    let text: String = tokens
        .filter(|event| event["event"] == "token")
        .map(|event| event["data"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text, NASTY);
}

async fn ask(proxy: &Process, person: &Person) -> Chat {
    let client = proxy.client().with_token(&person.access_token);
    let body = json!({ "chatflow_id": person.chatflow_id, "question": "hello" });
    let request = client.request(Method::POST, "/api/v1/chat/predict/stream/store");
    Chat::read(request.json(&body).send().await.expect("the proxy answers")).await
}

#[actix_web::test]
async fn a_line_of_a_hundred_megabytes_is_cut_at_the_limit() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 50).await;
    let proxy = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;
    ask(&proxy, &alice).await.expect_ended();
    let before = proxy.memory_bytes();
    let line = format!(
        "data:{{\"event\":\"token\",\"data\":\"{}\"}}\n\n",
        "x".repeat(100 << 20)
    );
    platform.flowise.tell(Rule::always(Behaviour {
        ending: Some((1, Ending::Raw(line))),
        ..Behaviour::default()
    }));

    for together in [1, 4] {
        for chat in join_all((0..together).map(|_| ask(&proxy, &alice))).await {
            chat.expect_ended();
            let error = chat.events.iter().find(|event| event["event"] == "error");
            assert_eq!(error.expect("a failure is told")["code"], "upstream_too_large");
        }
    }
    platform.until_all_is_settled().await;
    let grown = proxy.memory_bytes().saturating_sub(before) >> 20;
    // Four events at their limit of 8 MiB, each while its buffer is being enlarged, and what the allocator keeps.
    assert!(grown < 96, "memory grew by {grown} MiB");
    proxy.kill().await;
}
