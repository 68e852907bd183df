//! `POST /v1/responses`.

use serde_json::{Value, json};
use test_support::Answer;

use super::{FLOW, PRICE, TestApp, User, expect_fault};
use crate::turns::support::{
    accounting::HoldState,
    flowise::{begin_stream, end_stream, event, recorded_stream, token},
    http::{Step, chunk},
};

async fn respond(user: &User, changes: &Value) -> Answer {
    let mut body = json!({ "model": FLOW, "input": "hello world" });
    let members = body.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    user.client.post("/v1/responses", &body).await
}

/// The events of a stream, each of the name it says.
fn events(text: &str) -> Vec<Value> {
    let frames = text.split_terminator("\n\n").map(|frame| {
        let (name, data) = frame.split_once("\ndata: ").unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
        event
    });
    frames.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_a_turn_too() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("predict-llm-stream"));
    let input = json!([
        { "role": "user", "content": "hi" },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "hello" }] },
        { "role": "user", "content": [{ "type": "input_text", "text": "what now?" }] },
    ]);

    let changes = json!({ "input": input, "instructions": "be brief", "metadata": { "a": "b" } });
    let answer = respond(&alice, &changes).await.expect(200);

    let turn_id = answer.headers["x-turn-id"].to_str().unwrap();
    assert_eq!(answer.body["id"], format!("resp_{turn_id}"));
    assert_eq!(
        (&answer.body["status"], &answer.body["metadata"]),
        (&json!("completed"), &json!({ "a": "b" }))
    );
    let text = answer.body["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Mock reply"), "{text}");
    assert_eq!(
        (
            &answer.body["usage"]["input_tokens"],
            &answer.body["usage"]["output_tokens"]
        ),
        (&json!(2), &json!(5))
    );
    let asked = &app.flowise.predictions()[0];
    assert_eq!(asked["question"], "what now?");
    assert_eq!(
        asked["history"],
        json!([
            { "role": "userMessage", "content": "be brief" },
            { "role": "userMessage", "content": "hi" },
            { "role": "apiMessage", "content": "hello" },
        ])
    );
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.count("chat_messages").await, 0);
    respond(&alice, &json!({ "user": "homework" })).await.expect(200);
    assert_eq!(app.count("chat_sessions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_stream_has_named_events_from_created_to_completed() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let used = event(
        "usedTools",
        json!([{ "tool": "clock", "toolInput": {}, "toolOutput": "noon" }]),
    );
    let tokens = ["it is ", "noon"].map(token);
    app.flowise
        .answer([begin_stream(&tokens), vec![chunk(&used)], end_stream()].concat());

    let events = events(&respond(&alice, &json!({ "stream": true })).await.expect(200).text);

    let names: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let response = &events[11]["response"];
    assert_eq!(response["output"][0]["content"][0]["text"], "it is noon");
    assert_eq!(
        (&response["output"][1]["name"], &response["output"][1]["output"]),
        (&json!("clock"), &json!("noon"))
    );
    let contract = test_support::PublishedContract::read(proxy_service::CONTRACT);
    let schema = json!({ "$ref": "#/components/schemas/Response" });
    for event in [&events[0], &events[11]] {
        assert_eq!(
            contract.check_value(&schema, &event["response"], "response"),
            Ok(())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_stream_tells_of_a_failure() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token("half")]), vec![Step::Close]].concat());
    let events = events(&respond(&alice, &json!({ "stream": true })).await.expect(200).text);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["status"]),
        (&json!("response.failed"), &json!("failed"))
    );
    assert_eq!(last["response"]["error"]["code"], "server_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_do_is_said() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (changes, param) in [
        (
            json!({ "previous_response_id": "resp_1" }),
            "previous_response_id",
        ),
        (json!({ "background": true }), "background"),
        (json!({ "input": [] }), "input"),
        (json!({ "input": 7 }), "input"),
        (json!({ "input": "x".repeat(1_001) }), "input"),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image" }] }] }),
            "input[0].content[0].image_url",
        ),
    ] {
        let error = expect_fault(
            respond(&alice, &changes).await,
            400,
            "invalid_request_error",
            "invalid_value",
        );
        assert_eq!(error["param"], param, "{error}");
    }
    assert_eq!(app.count("turns").await, 0);
}
