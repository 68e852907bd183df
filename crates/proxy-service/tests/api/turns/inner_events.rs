//! What tells about a chatflow's inside reaches people only where an administrator wants it to.

use bson::doc;
use serde_json::{Value, json};

use super::support::{
    TestApp,
    flowise::{begin_stream, end_stream, event, recorded_stream, recording},
    http::whole,
    names,
};

/// Words that stand in the recorded stream and are nobody's business.
const INSIDE: [&str; 4] = [
    "basepath",
    "llmModelConfig",
    "agentFlowExecutedData",
    "agentReasoning",
];

async fn seen(app: &TestApp, user: &super::support::User) -> Vec<Vec<Value>> {
    let reasoning = event(
        "agentReasoning",
        json!([{ "agentName": "a", "instructions": "basepath" }]),
    );
    let mut answer: Value = serde_json::from_str(&recording("predict-llm-json")).unwrap();
    answer["agentReasoning"] = json!([{ "agentName": "a" }]);
    let mut all = Vec::new();
    for steps in [
        recorded_stream("predict-llm-stream"),
        [begin_stream(&[reasoning, event("token", "x")]), end_stream()].concat(),
        whole(200, "application/json", &answer.to_string()),
    ] {
        app.flowise.answer(steps);
        all.push(user.chat(&json!({})).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_hidden_unless_the_chatflow_shows_them() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for events in seen(&app, &alice).await {
        let text = Value::from(events).to_string();
        for inside in INSIDE {
            assert!(!text.contains(inside), "{inside} in {text}");
        }
    }
    for message in app.messages().await {
        let text = message.to_string();
        for inside in INSIDE {
            assert!(!text.contains(inside), "{inside} in {text}");
        }
    }

    app.set_chatflow(doc! { "show_inner_events": true }).await;
    let bob = app.user("bob").await;
    let shown = seen(&app, &bob).await;
    assert!(names(&shown[0]).contains(&"agentFlowExecutedData"));
    assert!(names(&shown[1]).contains(&"agentReasoning"));
    assert!(
        names(&shown[2]).contains(&"agentFlowExecutedData") && names(&shown[2]).contains(&"agentReasoning")
    );
}
