//! `/v1`: chatflows for clients of OpenAI's API.

mod refusals;
mod responses;
mod sessions;
mod streams;

use bson::{doc, oid::ObjectId};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::Answer;

use crate::turns::support::{
    FLOW, PRICE, TestApp, User,
    accounting::HoldState,
    files::png,
    flowise::{begin_stream, end_stream, event, recorded_stream, recording, token},
    http::whole,
};

const CHAT: &str = "/v1/chat/completions";

/// A request with these members changed.
fn body(changes: &Value) -> Value {
    let mut body = json!({ "model": FLOW, "messages": [{ "role": "user", "content": "hello world" }] });
    let members = body.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    body
}

async fn ask(user: &User, changes: &Value) -> Answer {
    user.client.post(CHAT, &body(changes)).await
}

/// Begins a stream.
async fn begin(user: &User, changes: &Value) -> Response {
    let mut body = body(changes);
    body["stream"] = json!(true);
    user.client
        .request(Method::POST, CHAT)
        .json(&body)
        .send()
        .await
        .unwrap()
}

/// What stands in each `data:` of a stream; the last one is no JSON.
fn frames(text: &str) -> Vec<Value> {
    let frames = text
        .split_terminator("\n\n")
        .filter(|frame| !frame.starts_with(':'));
    let data = |frame: &str| {
        frame
            .strip_prefix("data: ")
            .unwrap_or_else(|| panic!("{frame}"))
            .to_owned()
    };
    frames
        .map(|frame| serde_json::from_str(&data(frame)).unwrap_or_else(|_| Value::from(data(frame))))
        .collect()
}

/// The text of all chunks.
fn text_of(frames: &[Value]) -> String {
    let pieces = frames
        .iter()
        .filter_map(|frame| frame["choices"][0]["delta"]["content"].as_str());
    pieces.collect()
}

/// Fails unless this is an error object, whole in every member.
#[track_caller]
fn expect_fault(answer: Answer, status: u16, kind: &str, code: &str) -> Value {
    let answer = answer.expect(status);
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    let error = answer.body["error"].clone();
    assert_eq!(
        (error["type"].as_str(), error["code"].as_str()),
        (Some(kind), Some(code)),
        "{error}"
    );
    assert!(
        error["message"].as_str().is_some_and(|text| !text.is_empty()),
        "{error}"
    );
    assert!(error.as_object().unwrap().contains_key("param") && answer.body.as_object().unwrap().len() == 1);
    error
}

/// Another chatflow, which these people may use.
async fn other_chatflow(app: &TestApp, name: &str, users: &[&User]) -> String {
    let (id, flowise_id) = (ObjectId::new(), uuid::Uuid::new_v4().to_string());
    let chatflow = doc! { "_id": id, "flowise_id": &flowise_id, "name": name, "sync_status": "active" };
    let database = &app.mongo.database;
    database
        .collection("Chatflow")
        .insert_one(chatflow)
        .await
        .unwrap();
    for user in users {
        let assignment =
            doc! { "external_user_id": &user.person.id, "chatflow_id": id.to_hex(), "is_active": true };
        database
            .collection("UserChatflow")
            .insert_one(assignment)
            .await
            .unwrap();
    }
    flowise_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_completion_is_a_turn_that_stands_alone() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let messages = json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "hello" },
        { "role": "user", "content": [{ "type": "text", "text": "what now?" }] },
    ]);

    let answer = ask(
        &alice,
        &json!({ "messages": messages, "temperature": 2, "unknown": [] }),
    )
    .await
    .expect(200);

    let turn_id = answer.headers["x-turn-id"].to_str().unwrap();
    assert_eq!(answer.body["id"], format!("chatcmpl-{turn_id}"));
    assert_eq!(
        (&answer.body["object"], &answer.body["model"]),
        (&json!("chat.completion"), &json!(FLOW))
    );
    let choice = &answer.body["choices"][0];
    assert_eq!(choice["message"]["content"], "Mock reply to: hello world");
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(answer.body["usage"]["total_tokens"], 0, "a chatflow tells none");
    let asked = app.flowise.predictions();
    assert_eq!(asked[0]["question"], "what now?");
    assert_eq!(
        asked[0]["history"],
        json!([
            { "role": "userMessage", "content": "be brief" },
            { "role": "userMessage", "content": "hi" },
            { "role": "apiMessage", "content": "hello" },
        ])
    );
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.turn().await.get_str("_id").unwrap(), turn_id);
    assert_eq!(
        app.count("chat_sessions").await + app.count("chat_messages").await,
        0
    );
    assert_eq!(app.metric("turns_total", "door=\"openai\"").await, 1);

    ask(&alice, &json!({})).await.expect(200);
    let asked = app.flowise.predictions();
    assert_ne!(
        asked[0]["chatId"], asked[1]["chatId"],
        "one turn knows nothing of another"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_told_where_the_chatflow_tells() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("predict-llm-stream"));
    let answer = ask(&alice, &json!({})).await.expect(200);
    let expected = json!({ "prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7 });
    assert_eq!(answer.body["usage"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_shown_where_nobody_would_run_them() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer(whole(200, "application/json", &recording("predict-tool-json")));
    app.flowise.cannot_stream();
    let tools = json!([{ "type": "function", "function": { "name": "mine" } }]);
    for (changes, shown) in [
        (json!({}), true),
        (json!({ "tools": [] }), true),
        (json!({ "tools": tools }), false),
        (
            json!({ "tools": tools, "metadata": { "tool_calls": "true" } }),
            true,
        ),
        (json!({ "metadata": { "tool_calls": "false" } }), false),
    ] {
        let answer = ask(&alice, &changes).await.expect(200);
        let choice = &answer.body["choices"][0];
        assert_eq!(choice["message"]["content"], "The tool said 5");
        assert_eq!(choice["finish_reason"], "stop", "the tools were run");
        let calls = &choice["message"]["tool_calls"];
        assert_eq!(calls.is_array(), shown, "{changes}");
        if shown {
            let function = json!({ "name": "calculator", "arguments": "{\"input\":\"2+3\"}" });
            assert_eq!(calls[0]["function"], function);
            assert_eq!(
                (&calls[0]["type"], calls.as_array().unwrap().len()),
                (&json!("function"), 1)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sequence_cuts_what_is_shown_and_not_the_turn() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let answer = ask(&alice, &json!({ "stop": ["hello", "!"] })).await.expect(200);
    assert_eq!(answer.body["choices"][0]["message"]["content"], "Mock reply to: ");
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.metric("turns_total", "completed").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_files_become_uploads() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let picture = format!("data:image/png;base64,{}", STANDARD.encode(png()));
    let stored = alice
        .send_file("notes.txt", "text/plain", b"stored", "")
        .await
        .expect(200);
    let content = json!([
        { "type": "text", "text": "what is this?" },
        { "type": "image_url", "image_url": { "url": picture, "detail": "low" } },
        { "type": "file", "file": { "file_data": "data:text/plain;base64,aGk=", "filename": "a.txt" } },
        { "type": "file", "file": { "file_id": stored.body["file_id"] } },
    ]);

    ask(
        &alice,
        &json!({ "messages": [{ "role": "user", "content": content }] }),
    )
    .await
    .expect(200);

    let asked = app.flowise.predictions();
    assert_eq!(asked[0]["question"], "what is this?");
    assert_eq!(
        asked[0]["uploads"],
        json!([
            { "type": "file", "name": "image-1.png", "mime": "image/png", "data": picture },
            { "type": "file", "name": "a.txt", "mime": "text/plain", "data": "data:text/plain;base64,aGk=" },
            { "type": "file", "name": "notes.txt", "mime": "text/plain", "data": "data:text/plain;base64,c3RvcmVk" },
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_the_callers_chatflows_by_id_or_by_name() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let secret = other_chatflow(&app, "Secret", &[&bob]).await;
    for name in ["Twice", "Twice"] {
        other_chatflow(&app, name, &[&alice]).await;
    }

    let models = alice.client.get("/v1/models").await.expect(200).body;
    assert_eq!(models["object"], "list");
    let names: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["A chatflow", "Twice", "Twice"]);
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][0]["object"]),
        (&json!(FLOW), &json!("model"))
    );

    for model in [FLOW, "A%20chatflow", &FLOW.to_uppercase()] {
        let shown = alice
            .client
            .get(&format!("/v1/models/{model}"))
            .await
            .expect(200)
            .body;
        assert_eq!(shown, models["data"][0], "{model}");
    }
    let answer = ask(&alice, &json!({ "model": "A chatflow" })).await.expect(200);
    assert_eq!(answer.body["model"], "A chatflow", "as the client calls it");
    assert_eq!(
        app.flowise.asked().last().unwrap().path,
        format!("/api/v1/prediction/{FLOW}")
    );

    for model in ["Secret", &secret, "nothing", &uuid::Uuid::new_v4().to_string()] {
        let shown = alice.client.get(&format!("/v1/models/{model}")).await;
        expect_fault(shown, 404, "invalid_request_error", "model_not_found");
        let answer = ask(&alice, &json!({ "model": model })).await;
        expect_fault(answer, 404, "invalid_request_error", "model_not_found");
    }
    let error = expect_fault(
        ask(&alice, &json!({ "model": "Twice" })).await,
        400,
        "invalid_request_error",
        "invalid_value",
    );
    assert_eq!(error["param"], "model");
    assert_eq!(app.flowise.predictions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_gets_the_same_answer() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let send = async |body: Value| {
        let request = alice
            .client
            .request(Method::POST, CHAT)
            .header("idempotency-key", "k")
            .json(&body);
        alice.client.send(request).await
    };
    let first = send(body(&json!({}))).await.expect(200);
    app.is_quiet().await;
    let second = send(body(&json!({}))).await.expect(200);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(
        (&second.body["id"], &second.body["choices"]),
        (&first.body["id"], &first.body["choices"])
    );
    let other = send(body(
        &json!({ "messages": [{ "role": "user", "content": "else" }] }),
    ))
    .await;
    expect_fault(other, 422, "invalid_request_error", "idempotency_key_reused");
    assert_eq!(app.flowise.predictions().len(), 1);

    let stream = send(body(&json!({ "stream": true }))).await.expect(200);
    app.is_quiet().await;
    let again = send(body(&json!({ "stream": true }))).await.expect(200);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let (stream, again) = (frames(&stream.text), frames(&again.text));
    assert_eq!(
        (text_of(&again), &again[0]["id"]),
        (text_of(&stream), &stream[0]["id"])
    );
    assert_eq!(again.last().unwrap(), "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_has_a_status_and_costs_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("model-fail500-llm-stream"));
    let error = expect_fault(
        ask(&alice, &json!({})).await,
        502,
        "server_error",
        "upstream_error",
    );
    assert!(!error.to_string().contains("mock 500"), "{error}");
    let broken = [begin_stream(&[event("start", ""), token("half")]), vec![]].concat();
    app.flowise
        .answer([broken, vec![crate::turns::support::http::Step::Close]].concat());
    expect_fault(
        ask(&alice, &json!({})).await,
        502,
        "server_error",
        "upstream_broken",
    );
    app.flowise
        .answer([begin_stream(&[token("fine")]), end_stream()].concat());
    ask(&alice, &json!({})).await.expect(200);
    app.is_quiet().await;
    let paid: Vec<_> = app
        .accounting
        .holds()
        .into_iter()
        .map(|hold| hold.state)
        .collect();
    assert_eq!(
        paid.iter().filter(|state| **state == HoldState::Voided).count(),
        2,
        "{paid:?}"
    );
}
