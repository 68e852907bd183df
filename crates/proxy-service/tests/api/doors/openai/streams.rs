//! `stream: true`: chunk by chunk, and who leaves.

use serde_json::{Value, json};

use super::{PRICE, TestApp, ask, begin, frames, text_of};
use crate::turns::support::{
    Stream,
    accounting::HoldState,
    eventually,
    flowise::{begin_stream, end_stream, event, recorded_stream, token},
    http::{Step, chunk},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_chunks_and_done() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;

    let response = begin(&alice, &json!({})).await;
    let headers = response.headers().clone();
    let mut stream = Stream::new(response);
    stream.until(|_| false).await;

    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    let turn_id = headers["x-turn-id"].to_str().unwrap();
    let frames = frames(&stream.text);
    assert_eq!(
        frames.len(),
        8,
        "a role, five tokens, the end, [DONE]: {}",
        stream.text
    );
    let (last, chunks) = frames.split_last().unwrap();
    assert_eq!(last, "[DONE]");
    for chunk in chunks {
        assert_eq!(chunk["id"], format!("chatcmpl-{turn_id}"));
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
        assert!(chunk.get("usage").is_none(), "nobody asked for it");
    }
    let delta = |index: usize| &chunks[index]["choices"][0]["delta"];
    assert_eq!(delta(0)["role"], "assistant");
    assert_eq!(*delta(1), json!({ "content": "Mock " }));
    assert_eq!(
        (delta(6), &chunks[6]["choices"][0]["finish_reason"]),
        (&json!({}), &json!("stop"))
    );
    assert_eq!(text_of(chunks), "Mock reply to: hello world");
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.count("chat_messages").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_goes_out_when_it_comes() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let rest = [vec![Step::Gate, chunk(&token("second"))], end_stream()].concat();
    app.flowise
        .answer([begin_stream(&[token("first ")]), rest].concat());

    let mut stream = Stream::new(begin(&alice, &json!({})).await);
    stream.until(|text| text.contains("first ")).await;
    assert_eq!(
        text_of(&frames(&stream.text)),
        "first ",
        "the rest waits at the gate"
    );
    app.flowise.let_go();
    stream.until(|_| false).await;
    assert_eq!(text_of(&frames(&stream.text)), "first second");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_the_last_chunk_of_those_who_want_it() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("predict-llm-stream"));

    let wish = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let frames = frames(&ask(&alice, &wish).await.expect(200).text);

    let [.., end, usage, done] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!(done, "[DONE]");
    let tokens = json!({ "prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7 });
    assert_eq!((&usage["usage"], &usage["choices"]), (&tokens, &json!([])));
    assert_eq!(
        (&end["usage"], &end["choices"][0]["finish_reason"]),
        (&Value::Null, &json!("stop"))
    );
    let inside = Value::from(frames.clone()).to_string();
    for word in ["basepath", "agentFlowExecutedData", "mock-1"] {
        assert!(!inside.contains(word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sequence_ends_the_text_wherever_it_is_cut() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let tokens = ["one E", "N", "D two", " three"].map(token);
    app.flowise.answer([begin_stream(&tokens), end_stream()].concat());
    let text = ask(&alice, &json!({ "stream": true, "stop": "END" }))
        .await
        .expect(200)
        .text;
    let frames = frames(&text);
    assert_eq!(text_of(&frames), "one ");
    assert_eq!(frames[frames.len() - 2]["choices"][0]["finish_reason"], "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_shown_in_a_stream_only_when_asked_for() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let used = event(
        "usedTools",
        json!([{ "tool": "clock", "toolInput": {}, "toolOutput": "noon" }]),
    );
    app.flowise
        .answer([begin_stream(&[token("noon")]), vec![chunk(&used)], end_stream()].concat());
    let calls = async |changes: Value| {
        let frames = frames(&ask(&alice, &changes).await.expect(200).text);
        let calls = frames
            .iter()
            .map(|frame| frame["choices"][0]["delta"]["tool_calls"].clone());
        calls.filter(Value::is_array).collect::<Vec<_>>()
    };
    assert!(calls(json!({ "stream": true })).await.is_empty());
    let shown = calls(json!({ "stream": true, "metadata": { "tool_calls": "true" } })).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(
        shown[0][0]["function"],
        json!({ "name": "clock", "arguments": "{}" })
    );
    assert_eq!(shown[0][0]["index"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_on_the_way_says_so_and_ends() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("half")]), vec![Step::Close]].concat());
    let frames = frames(&ask(&alice, &json!({ "stream": true })).await.expect(200).text);
    let [.., error, done] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!(
        (&error["error"]["type"], &error["error"]["code"]),
        (&json!("server_error"), &json!("upstream_broken"))
    );
    assert_eq!(done, "[DONE]");
    assert_eq!(text_of(&frames), "half", "the apology is for people who read");
    app.is_quiet().await;
    assert_eq!(
        app.accounting.hold().state,
        HoldState::Captured(PRICE),
        "as on every route"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_broken_by_comments() {
    let app = TestApp::spawn_with(|config| config.heartbeat = std::time::Duration::from_millis(5)).await;
    let alice = app.user("alice").await;
    let rest = [vec![Step::Gate], end_stream()].concat();
    app.flowise
        .answer([begin_stream(&[token("first")]), rest].concat());
    let mut stream = Stream::new(begin(&alice, &json!({})).await);
    stream
        .until(|text| text.contains("first") && text.ends_with(": ping\n\n"))
        .await;
    app.flowise.let_go();
    stream.until(|_| false).await;
    assert_eq!(frames(&stream.text).last().unwrap(), "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_leaves_a_turn_that_comes_to_its_end() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let rest = [vec![Step::Gate, chunk(&token("second"))], end_stream()].concat();
    app.flowise
        .answer([begin_stream(&[token("first ")]), rest].concat());

    let changes = json!({ "metadata": { "session_id": "homework" } });
    let mut stream = Stream::new(begin(&alice, &changes).await);
    stream.until(|text| text.contains("first")).await;
    drop(stream);
    eventually("the service knows", async || {
        app.metric("turns_active", "").await == 1
    })
    .await;
    app.flowise.let_go();
    app.is_quiet().await;

    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    let messages = app.messages().await;
    assert!(messages[1].get_str("content").unwrap().contains("first second"));
    assert_eq!(app.metric("turns_total", "completed").await, 1);
}
