//! Large requests share one budget of memory: who finds no room is told so, and nothing of it is ever lost.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::TestTokens;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::support::{
    STORE, TestApp, User, eventually,
    files::upload,
    flowise::{begin_stream, end_stream, recorded_stream, recording, token},
    http::{Step, whole},
    text_of,
};

const SET_ASIDE: &str = "upload_memory_bytes";

/// Room for one message with [`large`] and not for two.
async fn app_with_room_for_one() -> TestApp {
    TestApp::spawn_with(|config| config.upload_memory_bytes_max = 4 << 20).await
}

fn large() -> Value {
    json!({ "uploads": [upload("a.txt", "text/plain", &vec![b'a'; 1 << 20])] })
}

impl TestApp {
    async fn has_all_memory_again(&self, what: &str) {
        eventually(what, async || self.metric(SET_ASIDE, "").await == 0).await;
    }
}

impl User {
    async fn finds_no_room(&self, app: &TestApp, body: &Value) {
        let refused = app.metric("upload_memory_refused_total", "").await;
        let answer = self.client.post(STORE, &Self::body(body)).await;
        let answer = answer.expect_problem(503, "overloaded");
        assert!(answer.headers.contains_key("retry-after"));
        assert_eq!(app.metric("upload_memory_refused_total", "").await, refused + 1);
    }

    /// The beginning of a chat request that is written by hand.
    async fn write(&self, app: &TestApp, headers: &str) -> TcpStream {
        let token = TestTokens::at(app.config.clock.now()).access(&self.person);
        let address = app.replica.base.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {STORE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{headers}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_has_its_memory_until_flowise_begins_to_answer() {
    let app = app_with_room_for_one().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let first = begin_stream(&[token("Once")]);
    app.flowise
        .answer([vec![Step::Gate], first, vec![Step::Gate], end_stream()].concat());
    app.flowise
        .answer_to("small", recorded_stream("predict-chat-stream"));
    let mut hers = alice.begin(&large()).await;
    app.flowise.is_asked().await;
    let body = User::body(&large()).to_string().len();
    assert_eq!(app.metric(SET_ASIDE, "").await, i64::try_from(2 * body).unwrap());

    bob.finds_no_room(&app, &large()).await;
    assert_eq!(app.flowise.predictions().len(), 1);
    assert_eq!(app.accounting.holds().len(), 1);
    assert_eq!(app.count("turns").await, 1);
    assert_eq!(app.messages().await.len(), 1);
    let small = bob.chat(&json!({ "question": "small" })).await;
    assert!(!text_of(&small).is_empty(), "small ones need no room");

    app.flowise.let_go();
    hers.until(|text| text.contains("Once")).await;
    app.has_all_memory_again("it is free while the answer goes on")
        .await;
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    assert!(!text_of(&bob.chat(&large()).await).is_empty());
    app.flowise.let_go();
    assert_eq!(text_of(&hers.rest().await), "Once");
    app.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_file_that_is_named_needs_room_like_one_that_is_sent() {
    let app = app_with_room_for_one().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = bob
        .send_file("a.txt", "text/plain", &vec![b'b'; 1 << 20], "")
        .await
        .expect(200);
    assert_eq!(app.metric(SET_ASIDE, "").await, 0, "it passes in pieces");
    let named = json!({ "uploads": [{ "type": "stored-file", "data": sent.body["file_id"] }] });
    app.flowise
        .answer([vec![Step::Gate], recorded_stream("predict-chat-stream")].concat());
    let hers = alice.begin(&large()).await;
    app.flowise.is_asked().await;

    bob.finds_no_room(&app, &named).await;

    app.flowise.let_go();
    hers.rest().await;
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    assert!(!text_of(&bob.chat(&named).await).is_empty());
    app.has_all_memory_again("the stored file is gone too").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_takes_room_as_it_comes() {
    let app = app_with_room_for_one().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = alice.write(&app, "Transfer-Encoding: chunked").await;
    let spaces = vec![b' '; 0x1_0000];
    let piece = [b"10000\r\n".as_slice(), &spaces, b"\r\n"].concat();
    for _ in 0..24 {
        socket.write_all(&piece).await.unwrap();
    }
    let taken = 2 * 24 * 0x1_0000;
    eventually("all of it has come", async || {
        app.metric(SET_ASIDE, "").await == taken
    })
    .await;
    bob.finds_no_room(&app, &large()).await;

    // It goes on until there is no room for more of it.
    let mut answer = Vec::new();
    let (mut reader, mut writer) = socket.split();
    let writing = async { while writer.write_all(&piece).await.is_ok() {} };
    let reading = async {
        let mut buffer = [0; 1024];
        while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            match reader.read(&mut buffer).await {
                Ok(length) if length > 0 => answer.extend_from_slice(&buffer[..length]),
                _ => return,
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
    drop(socket);
    if !answer.is_empty() {
        assert!(
            answer.starts_with(b"HTTP/1.1 503"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    app.has_all_memory_again("a refused body leaves nothing").await;
    assert_eq!(app.metric("upload_memory_refused_total", "").await, 2);
    assert!(!text_of(&bob.chat(&large()).await).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_way_out_gives_the_memory_back() {
    let app = TestApp::spawn_with(|config| {
        config.upload_memory_bytes_max = 4 << 20;
        config.abandoned_turn_drain = Duration::from_millis(100);
    })
    .await;
    let (alice, stranger) = (app.user("alice").await, app.stranger("stranger"));
    let refused = async |user: &User, body: &Value, status: u16, code: &str| {
        let answer = user.client.post(STORE, &User::body(body)).await;
        answer.expect_problem(status, code);
        app.has_all_memory_again(code).await;
    };
    refused(&stranger, &large(), 403, "chatflow_access_denied").await;
    let mut body = large();
    body["uploads"][0]["type"] = json!("url");
    refused(&alice, &body, 422, "validation_failed").await;
    body = large();
    body["sessionId"] = json!("b52b7ff2-36ff-4a2e-8a3c-3ed1c9a4be0c");
    refused(&alice, &body, 404, "session_not_found").await;
    body = large();
    body["question"] = json!(7);
    refused(&alice, &body, 422, "validation_failed").await;
    app.accounting
        .on_hold(super::support::accounting::Mode::Status(500));
    refused(&alice, &large(), 503, "accounting_unavailable").await;
    app.accounting.on_hold(super::support::accounting::Mode::Normal);

    // It breaks off while it is read.
    let mut socket = alice.write(&app, "Content-Length: 1500000").await;
    socket.write_all(b"{\"question\":\"").await.unwrap();
    eventually("it has room before it has come", async || {
        app.metric(SET_ASIDE, "").await == 3_000_000
    })
    .await;
    drop(socket);
    app.has_all_memory_again("the body broke off").await;

    // Flowise fails, and the client leaves while Flowise is silent.
    app.flowise
        .answer(whole(500, "application/json", &recording("keyed-wrong-key-json")));
    alice.chat(&large()).await;
    app.has_all_memory_again("Flowise failed").await;
    app.flowise.answer(vec![Step::Hang]);
    let request = alice.client.request(Method::POST, "/api/v1/chat/predict");
    let request = request.json(&User::body(&large())).send();
    let asked = app.flowise.predictions().len();
    tokio::select! {
        answer = request => panic!("{answer:?}"),
        () = eventually("Flowise is asked", async || app.flowise.predictions().len() > asked) => {}
    }
    app.has_all_memory_again("the client left").await;
    app.is_quiet().await;
}
