//! `POST /api/v1/chat/predict`: one turn, answered whole.

use std::time::Duration;

use serde_json::json;

use super::support::{
    FLOW, NOWHERE, PRICE, TestApp, User,
    accounting::HoldState,
    files::upload,
    flowise::{begin_stream, recorded_stream, recording, token},
    http::{Step, whole},
};

const PREDICT: &str = "/api/v1/chat/predict";

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_text_and_tells_what_it_cost() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for steps in [
        recorded_stream("predict-llm-stream"),
        whole(200, "application/json", &recording("predict-llm-json")),
    ] {
        app.flowise.answer(steps);
        let answer = alice
            .client
            .post(PREDICT, &User::body(&json!({})))
            .await
            .expect(200)
            .body;
        assert_eq!(answer["response"], "Mock reply to: hello world");
        assert_eq!(answer["metadata"]["chatflow_id"], FLOW);
        assert_eq!(answer["metadata"]["cost"], PRICE);
        assert_eq!(answer["metadata"]["user"], "alice");
        assert_eq!(answer["metadata"]["streaming"], true);
        assert!(answer["metadata"].get("remaining_credits").is_some());
    }
    app.is_quiet().await;
    assert!(
        app.accounting
            .holds()
            .iter()
            .all(|hold| hold.state == HoldState::Captured(PRICE))
    );
    assert_eq!(app.count("chat_messages").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_a_status_and_costs_nothing_even_after_content() {
    let app = TestApp::spawn_with(|config| config.flowise.idle_timeout = Duration::from_millis(200)).await;
    let part = begin_stream(&[token("a part")]);
    for (status, code, steps) in [
        (
            502,
            "upstream_failed",
            whole(500, "application/json", &recording("model-fail401-chat-json")),
        ),
        (502, "upstream_error", recorded_stream("abort-stream-llm")),
        (502, "upstream_broken", [part.clone(), vec![Step::Close]].concat()),
        (502, "upstream_not_an_answer", whole(200, "text/html", "<html>")),
        (
            503,
            "upstream_rate_limited",
            whole(429, "text/html", "Slow down please"),
        ),
        (504, "upstream_idle_timeout", [part, vec![Step::Hang]].concat()),
    ] {
        let alice = app.user("alice").await;
        app.flowise.answer(steps);
        let answer = alice
            .client
            .post(PREDICT, &User::body(&json!({})))
            .await
            .expect_problem(status, code);
        assert!(!answer.text.contains("API key"), "{}", answer.text);
        let holds = app.accounting.holds();
        let hold = holds.iter().find(|hold| hold.user_id == alice.person.id).unwrap();
        assert_eq!(hold.state, HoldState::Voided, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flowise_that_is_not_there_is_503() {
    let nowhere = format!("http://127.0.0.1:{NOWHERE}");
    let app = TestApp::spawn_with(|config| config.flowise.url = nowhere.parse().unwrap()).await;
    let alice = app.user("alice").await;
    let answer = alice.client.post(PREDICT, &User::body(&json!({}))).await;
    answer.expect_problem(503, "upstream_unreachable");
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_earlier_messages_and_the_conversation_are_not_dropped() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = uuid::Uuid::new_v4().to_string();
    let history =
        json!([{ "role": "userMessage", "content": "earlier" }, { "role": "apiMessage", "content": "說過" }]);
    let file = upload("筆記.txt", "text/plain", b"notes");
    let with_all = json!({ "sessionId": session_id, "history": history, "uploads": [file] });

    let answer = alice
        .client
        .post(PREDICT, &User::body(&with_all))
        .await
        .expect(200);
    alice
        .client
        .post(PREDICT, &User::body(&json!({ "sessionId": session_id })))
        .await
        .expect(200);
    alice
        .client
        .post(PREDICT, &User::body(&json!({})))
        .await
        .expect(200);

    assert_eq!(answer.body["metadata"]["session_id"], session_id);
    let asked = app.flowise.predictions();
    assert_eq!(
        (&asked[0]["history"], &asked[0]["uploads"]),
        (&history, &json!([file]))
    );
    assert_eq!(
        asked[0]["chatId"], asked[1]["chatId"],
        "one conversation, one memory"
    );
    assert_ne!(asked[0]["chatId"], asked[2]["chatId"]);
}
