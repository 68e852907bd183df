//! Who gets in, what they may see, and what is refused how.

use bson::doc;
use proxy_service::CONTRACT;
use reqwest::Method;
use serde_json::json;
use test_support::Client;

use super::{frames, prediction, refused};
use crate::turns::support::{
    FLOW, PRICE, TestApp,
    accounting::{BALANCE, HoldState},
    flowise::{begin_stream, end_stream, recorded_stream, token},
    http::{Step, chunk, whole},
};

const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_open_without_a_token() {
    let app = TestApp::spawn().await;
    let nobody = Client::new(&app.replica.base).checking(CONTRACT);
    for path in ["public-chatbotConfig", "chatflows-uploads", "chatmessage"] {
        let answer = nobody.get(&format!("/api/v1/{path}/{FLOW}")).await;
        refused(answer, 401, "missing_token");
    }
    for path in [
        "ping",
        "version",
        "get-upload-file?chatflowId=a&chatId=b&fileName=c",
    ] {
        refused(nobody.get(&format!("/api/v1/{path}")).await, 401, "missing_token");
    }
    // A client that leaves its key out here learns nothing.
    for flow in [FLOW, NOBODYS] {
        let answer = nobody
            .get(&format!("/api/v1/chatflows-streaming/{flow}"))
            .await
            .expect(200);
        assert_eq!(answer.body, json!({ "isStreaming": true }));
    }
    let wrong = nobody.with_token("wrong");
    refused(
        wrong.post(&prediction(), &json!({ "question": "hi" })).await,
        401,
        "invalid_token",
    );
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatflow_of_somebody_else_is_not_there() {
    let app = TestApp::spawn().await;
    let stranger = app.stranger("mallory");
    for flow in [FLOW, NOBODYS] {
        for streaming in [true, false] {
            let body = json!({ "question": "hi", "streaming": streaming });
            let answer = stranger
                .client
                .post(&format!("/api/v1/prediction/{flow}"), &body)
                .await;
            refused(answer, 404, "chatflow_access_denied");
        }
        for path in [
            "public-chatbotConfig",
            "chatflows-streaming",
            "chatflows-uploads",
            "chatmessage",
        ] {
            let answer = stranger.client.get(&format!("/api/v1/{path}/{flow}")).await;
            refused(answer, 404, "chatflow_access_denied");
        }
    }
    let bad = stranger
        .client
        .post("/api/v1/prediction/not-a-uuid", &json!({ "question": "hi" }))
        .await;
    refused(bad, 400, "validation_failed");
    assert!(app.flowise.asked().is_empty() && app.accounting.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_flowises_api_does_not_exist() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (method, path) in [
        (Method::POST, format!("/api/v1/internal-prediction/{FLOW}")),
        (Method::POST, format!("/api/v1/vector/upsert/{FLOW}")),
        (Method::GET, "/api/v1/executions".to_owned()),
        (Method::GET, "/api/v1/credentials".to_owned()),
        (Method::GET, format!("/api/v1/public-chatflows/{FLOW}")),
        (Method::GET, "/api/v1/chatflows/apikey/some-key".to_owned()),
        (Method::POST, "/api/v1/node-custom-function".to_owned()),
        (Method::GET, format!("/api/v1/feedback/{FLOW}/all")),
    ] {
        let answer = alice.client.send(alice.client.request(method, &path)).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_pay_is_told_in_flowises_form() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.set_chatflow(doc! { "price": BALANCE + 1 }).await;
    for streaming in [true, false] {
        let body = json!({ "question": "hi", "streaming": streaming });
        refused(alice.predict(&body).await, 402, "insufficient_credits");
    }
    assert!(app.flowise.predictions().is_empty());
}

/// Asks as Flowise's chat window does, which accepts events and nothing else.
async fn ask_as_window(client: &Client, path: &str, body: &serde_json::Value) -> test_support::Answer {
    let request = client
        .request(Method::POST, path)
        .header("accept", "text/event-stream");
    client.send(request.json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_refused_in_words_that_it_shows() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let body = json!({ "question": "hi", "streaming": true });
    app.set_chatflow(doc! { "price": BALANCE + 1 }).await;
    let told = ask_as_window(&alice.client, &prediction(), &body)
        .await
        .expect(200);
    assert_eq!(told.headers["content-type"], "text/event-stream");
    let told = frames(&told.text);
    assert!(
        told[0].starts_with("message:\ndata:{\"event\":\"error\",\"data\":\"") && told[0].contains("credits"),
        "{told:?}"
    );
    assert_eq!(
        told[1..],
        ["message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}"]
    );

    let nobodys = format!("/api/v1/prediction/{NOBODYS}");
    let told = ask_as_window(&alice.client, &nobodys, &body).await.expect(200);
    assert!(told.text.contains("\"Chatflow not found\""), "{}", told.text);
    let told = ask_as_window(
        &alice.client,
        &prediction(),
        &json!({ "streaming": true, "chatId": 5 }),
    )
    .await;
    assert!(told.expect(200).text.contains("\"event\":\"error\""));

    // Of these it shows the body as it is.
    let wrong = Client::new(&app.replica.base)
        .checking(CONTRACT)
        .with_token("wrong");
    let told = ask_as_window(&wrong, &prediction(), &body).await.expect(401);
    assert_eq!(told.headers["content-type"], "text/plain; charset=utf-8");
    assert!(!told.text.is_empty() && !told.text.contains('{'), "{}", told.text);
    assert!(app.flowise.predictions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_uploaded_is_what_flowise_says_but_for_its_documents() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let rules = json!({
        "isSpeechToTextEnabled": true, "isImageUploadAllowed": true, "isRAGFileUploadAllowed": true,
        "imgUploadSizeAndTypes": [{ "fileTypes": ["image/png"], "maxUploadSize": 5 }],
        "fileUploadSizeAndTypes": [{ "fileTypes": [".pdf"], "maxUploadSize": 50 }],
    });
    app.flowise
        .answer(whole(200, "application/json", &rules.to_string()));
    let path = format!("/api/v1/chatflows-uploads/{FLOW}");
    let mut expected = rules;
    expected["isRAGFileUploadAllowed"] = json!(false);
    expected["fileUploadSizeAndTypes"] = json!([]);
    assert_eq!(alice.client.get(&path).await.expect(200).body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_paid_kept_and_counted_as_every_other() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let streamed = json!({ "question": "hello world", "streaming": "true", "chatId": "lesson" });
    let answer = alice.predict(&streamed).await.expect(200);
    assert_eq!(
        frames(&answer.text).last(),
        Some(&"message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}")
    );
    assert!(answer.headers.contains_key("x-turn-id"));
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    assert_eq!(app.messages().await.len(), 2);
    assert_eq!(app.metric("turns_total", "door=\"flowise\"").await, 1);
    let asked = &app.flowise.predictions()[0];
    assert_ne!(asked["chatId"], "lesson", "ids that Flowise sees are ours");
    assert_eq!(asked["streaming"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_within_a_stream_is_one_error_and_the_end() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("keyed-no-key-stream"));
    let body = json!({ "question": "hi", "streaming": true });
    let answer = alice.predict(&body).await.expect(200);
    let expected = [
        "message:\ndata:{\"event\":\"error\",\"data\":\"The assistant could not answer. Please try again later.\"}",
        "message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}",
    ];
    assert_eq!(frames(&answer.text), expected);
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_twice_is_one_turn() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(whole(
        200,
        "application/json",
        &crate::turns::support::flowise::recording("predict-chat-json"),
    ));
    let ask = |chat_id: &str| {
        let request = alice.client.request(Method::POST, &prediction());
        let request = request
            .header("idempotency-key", "k")
            .json(&json!({ "question": "hello world", "chatId": chat_id }));
        alice.client.send(request)
    };
    let first = ask("one").await.expect(200);
    let second = ask("one").await.expect(200);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(first.body["text"], second.body["text"]);
    assert_eq!(first.body["chatMessageId"], second.body["chatMessageId"]);
    refused(ask("another").await, 400, "idempotency_key_reused");
    assert_eq!(app.flowise.predictions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_pass_the_list_of_the_chatflow() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let config =
        |member: &str| json!({ "question": "hi", "overrideConfig": { member: 1, "sessionId": "s" } });
    refused(
        alice.predict(&config("systemMessage")).await,
        400,
        "validation_failed",
    );
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    alice.predicts(&config("temperature")).await;
    assert_eq!(app.flowise.predictions()[0]["overrideConfig"]["temperature"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_stops_the_answer_of_ones_own_chat() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let rest = [vec![Step::Gate, chunk(&token("two"))], end_stream()].concat();
    app.flowise.answer([begin_stream(&[token("one")]), rest].concat());
    let request = alice.client.request(Method::POST, &prediction());
    let body = json!({ "question": "hi", "streaming": true, "chatId": "same" });
    let mut stream = crate::turns::support::Stream::new(request.json(&body).send().await.unwrap());
    stream.until(|text| text.contains("one")).await;

    let abort = format!("/api/v1/chatmessage/abort/{FLOW}/same");
    let by = async |user: &crate::turns::support::User| {
        let request = user.client.request(Method::PUT, &abort);
        user.client.send(request).await.expect(200).body
    };
    let done = json!({ "status": 200, "message": "Chat message aborted" });
    assert_eq!(by(&bob).await, done, "says so, and does nothing");
    assert_eq!(app.flowise.aborts().len(), 0);
    assert_eq!(by(&alice).await, done);
    stream.until(|_| false).await;
    let last = [
        "message:\ndata:{\"event\":\"abort\",\"data\":\"[DONE]\"}",
        "message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}",
    ];
    assert!(frames(&stream.text).ends_with(&last), "{}", stream.text);
    app.flowise.is_aborted(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_a_chat_window_keep_the_inside_inside() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.set_chatflow(doc! {
        "chatbot_config": { "welcomeMessage": "Hi", "postProcessing": { "customFunction": "secret" } },
        "flow_data": { "nodes": [{ "id": "n", "data": { "name": "chatOpenAI", "inputs": { "basepath": "http://secret" } } }] },
    })
    .await;
    let answer = alice
        .client
        .get(&format!("/api/v1/public-chatbotConfig/{FLOW}"))
        .await
        .expect(200);
    assert_eq!(answer.body["welcomeMessage"], "Hi");
    assert_eq!(answer.body["uploads"]["isImageUploadAllowed"], false);
    assert!(!answer.text.contains("secret"), "{}", answer.text);

    let streams = alice
        .client
        .get(&format!("/api/v1/chatflows-streaming/{FLOW}"))
        .await
        .expect(200);
    assert_eq!(streams.body, json!({ "isStreaming": true }));
    let flows = alice.client.get("/api/v1/chatflows").await.expect(200);
    assert_eq!(flows.body[0]["id"], FLOW);
    assert!(flows.body[0].get("flowData").is_none());
    let page = alice
        .client
        .get("/api/v1/chatflows?page=1&limit=10")
        .await
        .expect(200);
    assert_eq!(page.body["total"], 1);
    assert_eq!(alice.client.get("/api/v1/ping").await.expect(200).text, "pong");
    assert_eq!(
        alice.client.get("/api/v1/version").await.expect(200).body,
        json!({ "version": "3.1.4" })
    );
}
