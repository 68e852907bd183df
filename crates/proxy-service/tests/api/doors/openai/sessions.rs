//! Sessions that clients name: whose they are, and what is kept.

use serde_json::{Value, json};

use super::{FLOW, TestApp, ask, expect_fault, other_chatflow};
use crate::turns::support::{
    User,
    flowise::{begin_stream, end_stream, token},
    http::Step,
};

async fn sessions(user: &User) -> Vec<Value> {
    let list = user.client.get("/api/v1/chat/sessions").await.expect(200);
    list.body["sessions"].as_array().unwrap().clone()
}

fn named(name: &str) -> Value {
    json!({ "metadata": { "session_id": name } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_is_kept_and_goes_on() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut second = named("homework");
    second["messages"] = json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": "hello world" },
        { "role": "assistant", "content": "Mock reply to: hello world" },
        { "role": "user", "content": "and now?" },
    ]);
    second["stream"] = json!(true);

    ask(&alice, &named("homework")).await.expect(200);
    ask(&alice, &second).await.expect(200);
    ask(&alice, &json!({ "user": "homework" })).await.expect(200);
    ask(&alice, &named("other")).await.expect(200);

    let asked = app.flowise.predictions();
    assert_eq!(asked[1]["question"], "and now?");
    let history = json!([{ "role": "userMessage", "content": "be brief" }]);
    assert_eq!(asked[1]["history"], history, "the rest was said there already");
    assert_eq!(asked[0]["chatId"], asked[1]["chatId"]);
    assert_eq!(
        asked[0]["chatId"], asked[2]["chatId"],
        "by whichever member it is named"
    );
    assert_ne!(asked[0]["chatId"], asked[3]["chatId"]);
    app.is_quiet().await;
    assert_eq!(
        (app.count("chat_sessions").await, app.count("chat_messages").await),
        (2, 8)
    );
    let first = app.messages().await[0].get_str("session_id").unwrap().to_owned();
    assert!(
        sessions(&alice)
            .await
            .iter()
            .any(|one| one["session_id"] == first)
    );
    let path = format!("/api/v1/chat/sessions/{first}/history");
    let history = alice.client.get(&path).await.expect(200).body;
    assert_eq!(history["count"], 6);
    assert_eq!(history["history"][2]["content"], "and now?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_the_callers_own() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let other = other_chatflow(&app, "Other", &[&alice]).await;

    ask(&alice, &named("homework")).await.expect(200);
    ask(&bob, &named("homework")).await.expect(200);
    let mut elsewhere = named("homework");
    elsewhere["model"] = json!(other);
    ask(&alice, &elsewhere).await.expect(200);
    app.is_quiet().await;
    let hers = sessions(&alice).await;
    let id = hers.iter().find(|one| one["chatflow_id"] == FLOW).unwrap()["session_id"].clone();

    // Whoever learns the id of her session calls one of their own so.
    ask(&bob, &named(id.as_str().unwrap())).await.expect(200);
    // She herself means that one.
    ask(&alice, &named(id.as_str().unwrap())).await.expect(200);
    app.is_quiet().await;

    let ids: Vec<_> = app
        .flowise
        .predictions()
        .iter()
        .map(|asked| asked["chatId"].clone())
        .collect();
    assert_eq!(ids[4], ids[0], "her own conversation by its id");
    let mut different = [&ids[0], &ids[1], &ids[2], &ids[3]]
        .map(ToString::to_string)
        .to_vec();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 4, "{ids:?}");
    assert_eq!((sessions(&alice).await.len(), sessions(&bob).await.len()), (2, 2));
    assert_eq!(app.count("chat_messages").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turn_of_a_session_runs_at_a_time() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("x")]), end_stream()].concat());
    let first = super::begin(&alice, &named("homework")).await;
    app.flowise.is_asked().await;
    let second = ask(&alice, &named("homework")).await;
    expect_fault(second, 409, "invalid_request_error", "turn_running");
    app.flowise.let_go();
    assert!(first.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    app.is_quiet().await;
    assert_eq!(app.flowise.predictions().len(), 1);
}
