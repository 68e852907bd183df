//! `POST /api/v1/chat/predict/stream/store`: what a client sees of a turn that goes well.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    FLOW, PRICE, STORE, Stream, TestApp, User,
    accounting::HoldState,
    events, eventually,
    flowise::{begin_stream, end_stream, event, recorded_stream, recording, token},
    http::{Step, chunk, whole},
    names, text_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_streamed_stored_and_paid_for() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;

    let stream = alice.begin(&json!({})).await;
    let headers = stream.response.headers().clone();
    let events = stream.rest().await;

    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(!headers.contains_key("x-frame-options") || headers["x-frame-options"] == "DENY");
    assert_eq!(
        names(&events),
        [
            "session_id",
            "start",
            "token",
            "token",
            "token",
            "token",
            "token",
            "metadata",
            "end"
        ]
    );
    let session_id = events[0]["data"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(session_id).unwrap().get_version_num(), 4);
    assert_eq!(events[0]["chatflow_id"], FLOW);
    assert_eq!(events[0]["status"], "streaming_started");
    assert!(events[0]["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(text_of(&events), "Mock reply to: hello world");
    assert_eq!(
        events[7]["data"]["sessionId"], session_id,
        "Flowise's own ids stay inside"
    );
    assert_eq!(events[8], json!({ "event": "end", "data": "[DONE]" }));

    let hold = app.accounting.hold();
    assert_eq!((hold.credits, hold.state), (PRICE, HoldState::Captured(PRICE)));
    assert_eq!(
        (hold.user_id, hold.model_id),
        (alice.person.id.clone(), FLOW.to_owned())
    );
    let finalize = app.accounting.asked().pop().unwrap();
    assert_eq!(finalize.body["usage"]["service"], "chat");
    assert_eq!(finalize.body["usage"]["operation"], FLOW);
    assert_eq!(finalize.body["success"], true);

    let sessions = alice.client.get("/api/v1/chat/sessions").await.expect(200).body;
    assert_eq!(sessions["count"], 1);
    let session = &sessions["sessions"][0];
    assert_eq!(session["session_id"], session_id);
    assert_eq!(session["topic"], "hello world");
    assert_eq!(session["first_message"], "hello world");
    let path = format!("/api/v1/chat/sessions/{session_id}/history");
    let history = alice.client.get(&path).await.expect(200).body;
    assert_eq!(history["count"], 2);
    assert_eq!(history["history"][0]["role"], "user");
    assert_eq!(history["history"][0]["content"], "hello world");
    assert_eq!(history["history"][1]["role"], "assistant");
    let content: Value = serde_json::from_str(history["history"][1]["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        content,
        json!([{ "event": "token", "data": "Mock reply to: hello world" }])
    );
    app.is_quiet().await;
    assert_eq!(app.metric("turns_total", "completed").await, 1);
    assert_eq!(app.metric("turn_credits_total", "captured").await, PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn flowise_is_asked_with_ids_of_ours_and_with_what_is_allowed() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let upload = json!({ "type": "file", "name": "a.txt", "mime": "text/plain", "data": "data:text/plain;base64,aGk=" });
    let config = json!({ "temperature": 0, "sessionId": "smuggled", "chatId": "smuggled" });

    let events = alice
        .chat(&json!({
            "overrideConfig": config,
            "uploads": [upload],
            "history": [{ "role": "apiMessage", "content": "earlier" }],
            "streaming": false,
            "chatId": "smuggled",
        }))
        .await;
    let session_id = events[1]["data"].clone();
    alice.chat(&json!({ "sessionId": session_id })).await;
    alice.chat(&json!({})).await;

    let asked = app.flowise.predictions();
    let chat_id = asked[0]["chatId"].as_str().unwrap();
    assert_eq!(
        asked[0],
        json!({
            "question": "hello world",
            "chatId": chat_id,
            "streaming": true,
            "overrideConfig": { "temperature": 0, "sessionId": chat_id },
            "uploads": [upload],
            "history": [{ "role": "apiMessage", "content": "earlier" }],
        })
    );
    assert_ne!(chat_id, session_id);
    assert_eq!(asked[1]["chatId"], chat_id, "one session, one memory");
    assert_ne!(asked[2]["chatId"], chat_id);
    let request = app
        .flowise
        .asked()
        .into_iter()
        .find(|asked| asked.method == "POST")
        .unwrap();
    assert_eq!(request.path, format!("/api/v1/prediction/{FLOW}"));
    assert_eq!(request.headers["authorization"], "Bearer flowise-key");
    assert!(request.headers.contains_key("traceparent"));
    assert!(!request.headers.contains_key("x-request-from"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_stream_ends_and_shows_nothing_of_the_inside() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for case in [
        "predict-chat-stream",
        "predict-direct-stream",
        "predict-llm-stream",
        "predict-stream-long",
        "predict-stream-flag-string",
        "keyed-right-key-stream",
        "keyed-no-key-stream",
        "abort-stream-chat",
        "abort-stream-llm",
        "model-fail401-chat-stream",
        "model-fail401-llm-stream",
        "model-fail429-chat-stream",
        "model-fail429-llm-stream",
        "model-fail500-chat-stream",
        "model-fail500-llm-stream",
    ] {
        app.flowise.answer(recorded_stream(case));
        let events = alice.chat(&json!({})).await;
        assert_eq!(
            names(&events).iter().filter(|name| **name == "end").count(),
            1,
            "{case}"
        );
        assert_eq!(events.last().unwrap()["event"], "end", "{case}");
        let failed = recording(case).contains("\"event\":\"error\"");
        assert_eq!(names(&events).contains(&"error"), failed, "{case}");
        let seen = Value::from(events).to_string();
        for inside in [
            "predictionsServices",
            "basepath",
            "credential",
            "Unauthorized",
            "agentFlowExecutedData",
            "mock 500",
        ] {
            assert!(!seen.contains(inside), "{case}: {inside}");
        }
    }
    app.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_server_sent_events_gets_them() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("a\n\nevent: end\ndata: x")]), end_stream()].concat());

    let request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let response = request
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let text = response.text().await.unwrap();

    let blocks: Vec<&str> = text.split("\n\n").filter(|block| !block.is_empty()).collect();
    assert_eq!(blocks.len(), 4, "{text}");
    let turn_id = app.turn().await.get_str("_id").unwrap().to_owned();
    for (index, (block, name)) in blocks
        .iter()
        .zip(["session_id", "token", "metadata", "end"])
        .enumerate()
    {
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(lines[0], format!("event: {name}"));
        assert_eq!(lines[1], format!("id: {turn_id}:{}", index + 1));
        let event: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event["event"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_flowise_is_bridged_by_heartbeats_from_the_first_moment() {
    let app = TestApp::spawn_with(|config| config.heartbeat = std::time::Duration::from_millis(20)).await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("late")]), end_stream()].concat());

    let mut stream = alice.begin(&json!({})).await;
    stream
        .until(|text| text.contains("session_id") && text.ends_with("\n\n\n"))
        .await;
    app.flowise.is_asked().await;
    app.flowise.let_go();
    let events = stream.rest().await;

    assert_eq!(names(&events), ["session_id", "token", "metadata", "end"]);

    let request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    let mut stream = Stream::new(
        request
            .header("accept", "text/event-stream")
            .send()
            .await
            .unwrap(),
    );
    stream
        .until(|text| text.contains("}\n\n: ping\n\n: ping\n\n"))
        .await;
    app.flowise.let_go();
    stream.until(|text| text.contains("event: end\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_does_not_wait_for_flowise_and_tokens_do_not_wait_for_each_other() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let rest = [vec![Step::Gate, chunk(&token("two")), Step::Gate], end_stream()].concat();
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("one")]), rest].concat());

    let mut stream = alice.begin(&json!({})).await;
    for seen in ["session_id", "one", "two"] {
        stream.until(|text| text.contains(seen)).await;
        assert!(stream.text.contains(seen));
        app.flowise.let_go();
    }
    assert_eq!(stream.rest().await.last().unwrap()["event"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_characters_may_be_cut_anywhere() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let stream = [
        event("start", ""),
        token("你好 "),
        token("😀é"),
        event("end", "[DONE]"),
    ]
    .concat();
    let bytes: Vec<Vec<u8>> = stream.iter().map(|byte| vec![*byte]).collect();
    app.flowise
        .answer([begin_stream(&bytes), vec![super::support::http::last_chunk()]].concat());

    // The two members that made the platform before us take another way, on which text was lost.
    let upload = json!({ "type": "file", "name": "a.txt", "mime": "text/plain", "data": "aGk=" });
    let history = json!([{ "role": "userMessage", "content": "earlier" }]);
    let events = alice
        .chat(&json!({ "uploads": [upload], "history": history }))
        .await;

    assert_eq!(text_of(&events), "你好 😀é");
    assert_eq!(
        names(&events),
        ["files_uploaded", "session_id", "start", "token", "token", "end"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_cannot_stream_is_answered_in_the_same_events() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(whole(
        200,
        "application/json; charset=utf-8",
        &recording("predict-tool-json"),
    ));

    let asked_for_a_stream = alice.chat(&json!({})).await;
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.cannot_stream();
    app.flowise
        .answer(whole(200, "application/json", &recording("predict-tool-json")));
    let known_not_to = alice.chat(&json!({})).await;

    for events in [asked_for_a_stream, known_not_to] {
        assert_eq!(
            names(&events),
            ["session_id", "token", "usedTools", "metadata", "end"]
        );
        assert_eq!(text_of(&events), "The tool said 5");
        assert_eq!(events[3]["data"]["chatId"], events[0]["data"]);
    }
    let prediction = app.flowise.predictions().pop().unwrap();
    assert_eq!(
        prediction.get("streaming"),
        None,
        "where it is asked in vain, errors are swallowed"
    );
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_path_serves_the_same() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let request = alice.client.request(Method::POST, "/chat/predict/stream/store");
    let text = request
        .json(&User::body(&json!({})))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(events(&text).last().unwrap()["event"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_stored_leaves_no_trace_in_the_history() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let request = alice.client.request(Method::POST, "/api/v1/chat/predict/stream");
    let upload = json!({ "type": "file", "name": "a.txt", "mime": "text/plain", "data": "aGk=" });
    let history = json!([{ "role": "userMessage", "content": "earlier" }]);
    let text = request
        .json(&User::body(&json!({ "uploads": [upload], "history": history })))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();

    let events = events(&text);
    assert_eq!(events[0]["event"], "start");
    assert_eq!(events.last().unwrap()["event"], "end");
    assert_eq!(
        app.count("chat_messages").await + app.count("chat_sessions").await,
        0
    );
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_hangs_holds_up_nobody_else() {
    let app = TestApp::spawn_with(|config| config.workers = 1).await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("one")]), vec![Step::Hang]].concat());
    let mut hanging = Vec::new();
    for _ in 0..3 {
        let mut stream = alice.begin(&json!({})).await;
        stream.until(|text| text.contains("one")).await;
        hanging.push(stream);
    }

    app.flowise.answer(recorded_stream("predict-chat-stream"));
    let bob = app.user("bob").await;
    let events = bob.chat(&json!({})).await;
    assert_eq!(text_of(&events), "Mock reply to: hello world");
    bob.client.get("/api/v1/chat/sessions").await.expect(200);
    eventually("only the hanging ones run", async || {
        app.metric("turns_active", "").await == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_flowise_gets_none() {
    let app = TestApp::spawn_with(|config| config.flowise.api_key = None).await;
    let alice = app.user("alice").await;
    alice.chat(&json!({})).await;
    let asked = app.flowise.asked();
    assert!(asked.iter().any(|asked| asked.method == "POST"));
    for asked in asked {
        assert!(!asked.headers.contains_key("authorization"), "{}", asked.path);
    }
}
