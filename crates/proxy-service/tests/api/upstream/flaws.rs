//! Flaws of the platform we replace that concern Flowise, each impossible here. The names are those of its review.
//!
//! Elsewhere: S1 and S16 in `turns::sessions` and `replay`, M1 in `turns::payment`, A4 in `replay`, A5 in `turns::leaving`,
//! A6 in `turns::payment` and `left_runs`, A9 in `asked`, B19 in `catalog::sync`, B26 in `turns::whole`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::turns::support::{
    PRICE, STORE, TestApp, User,
    accounting::HoldState,
    flowise::{begin_stream, end_stream, event, token},
    http::{Step, chunk, chunked, last_chunk},
    names, text_of,
};

fn upload(data: &str) -> Value {
    json!([{ "type": "file", "name": "笔记.txt", "mime": "text/plain", "data": data }])
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_silent_flowise_blocks_nobody_else() {
    let app = TestApp::spawn_with(|config| config.workers = 1).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.flowise.answer_to("silence", vec![Step::Hang]);
    let _silent = alice.begin(&json!({ "question": "silence" })).await;
    app.flowise.is_asked().await;
    bob.client.get("/api/v1/chat/sessions").await.expect(200);
    assert_eq!(bob.chat(&json!({})).await.last().unwrap()["event"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_and_a8_no_character_is_lost_with_files_and_history() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let said = "你好，世界！😀 naïve ";
    let stream = [event("start", ""), token(said).repeat(20), event("end", "[DONE]")].concat();
    for size in [1, 2, 3, 7, 64] {
        let pieces = stream.chunks(size).map(chunk);
        let steps = [
            vec![chunked("text/event-stream")],
            pieces.collect(),
            vec![last_chunk()],
        ]
        .concat();
        app.flowise.answer(steps);
        for path in [STORE, "/api/v1/chat/predict/stream"] {
            let body = User::body(&json!({
                "uploads": upload("aGk="),
                "history": [{ "role": "userMessage", "content": "早上好" }],
            }));
            let answer = alice.client.post(path, &body).await.expect(200);
            let events = crate::turns::support::events(&answer.text);
            assert_eq!(text_of(&events), said.repeat(20), "{size} bytes at a time");
        }
    }
    let asked = app.flowise.predictions();
    assert!(
        asked
            .iter()
            .all(|asked| asked["history"][0]["content"] == "早上好")
    );
    assert!(
        asked
            .iter()
            .all(|asked| asked["uploads"][0]["name"] == "笔记.txt")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_a_question_is_never_asked_twice() {
    let app = TestApp::spawn_with(|config| config.flowise.header_timeout = Duration::from_millis(200)).await;
    let cases = [
        vec![Step::Close],
        vec![Step::Hang],
        [begin_stream(&[token("half of it")]), vec![Step::Close]].concat(),
    ];
    for (asked_before, steps) in cases.into_iter().enumerate() {
        app.flowise.answer(steps);
        let events = app.user("alice").await.chat(&json!({})).await;
        assert_eq!(names(&events).last(), Some(&"end"));
        assert_eq!(app.flowise.predictions().len(), asked_before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_a_text_that_quotes_the_framing_stays_whole() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let said = "url(data:image/png;base64,AA==) data: data:data:{} message:\ndata:x";
    app.flowise
        .answer([begin_stream(&[token(said)]), end_stream()].concat());
    assert_eq!(text_of(&alice.chat(&json!({})).await), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_file_has_one_prefix_at_flowise() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let once = "data:text/plain;base64,aGk=";
    for data in ["aGk=", once, "data:text/plain;base64,data:text/plain;base64,aGk="] {
        alice.chat(&json!({ "uploads": upload(data) })).await;
        let asked = app.flowise.predictions().pop().unwrap();
        assert_eq!(asked["uploads"][0]["data"], once);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_what_agents_tell_about_themselves_never_costs_the_answer() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // The whole list again after each node: more than a document of the database holds.
    let nodes = event(
        "agentFlowExecutedData",
        json!([{ "data": { "input": "x".repeat(900_000) } }]),
    );
    let mut events = vec![nodes; 20];
    events.push(token("the answer"));
    app.flowise.answer([begin_stream(&events), end_stream()].concat());
    assert_eq!(text_of(&alice.chat(&json!({})).await), "the answer");
    app.is_quiet().await;
    let messages = app.messages().await;
    assert!(messages[1].get_str("content").unwrap().contains("the answer"));
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_nobody_sets_what_an_admin_has_not_opened() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for config in [
        json!({ "systemMessage": "You are free" }),
        json!({ "vars": { "apiKey": "x" } }),
        json!({ "analytics": { "langFuse": {} } }),
        json!({ "temperature": 1, "modelName": "dear" }),
    ] {
        let body = User::body(&json!({ "overrideConfig": config }));
        alice
            .client
            .post(STORE, &body)
            .await
            .expect_problem(422, "validation_failed");
    }
    assert!(app.flowise.asked().is_empty() && app.accounting.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_flowise_fetches_nothing_for_strangers_and_sees_no_refused_file() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (kind, data) in [
        ("url", "http://169.254.169.254/latest/meta-data"),
        ("stored-file", "FILE-STORAGE::[\"secret.txt\"]"),
        ("file:full", "plain"),
        ("file", "http://127.0.0.1/"),
        ("file", "FILE-STORAGE::x"),
    ] {
        let mut uploads = upload(data);
        uploads[0]["type"] = json!(kind);
        let body = User::body(&json!({ "uploads": uploads }));
        alice
            .client
            .post(STORE, &body)
            .await
            .expect_problem(422, "validation_failed");
    }
    assert!(app.flowise.asked().is_empty() && app.accounting.asked().is_empty());
}
