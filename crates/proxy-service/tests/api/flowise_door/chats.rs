//! Chats by the names that clients give them: one's own, and nobody else's.

use serde_json::{Value, json};
use test_support::Answer;

use super::refused;
use crate::turns::support::{FLOW, TestApp, User, flowise::recording, http::whole};

async fn listed(user: &User, query: &str) -> Vec<Value> {
    let answer = user
        .client
        .get(&format!("/api/v1/chatmessage/{FLOW}{query}"))
        .await
        .expect(200);
    answer.body.as_array().unwrap().clone()
}

fn contents(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_conversation_for_each_person() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.flowise
        .answer(whole(200, "application/json", &recording("predict-chat-json")));
    for (user, question) in [(&alice, "one"), (&alice, "two"), (&bob, "three")] {
        let answer = user
            .predicts(&json!({ "question": question, "chatId": "same" }))
            .await;
        assert_eq!(
            (&answer["chatId"], &answer["sessionId"]),
            (&json!("same"), &json!("same"))
        );
    }
    let asked = app.flowise.predictions();
    assert_eq!(asked[0]["chatId"], asked[1]["chatId"], "one memory");
    assert_ne!(
        asked[0]["chatId"], asked[2]["chatId"],
        "and another one for somebody else"
    );
    assert_eq!(app.count("chat_sessions").await, 2);

    let hers = listed(&alice, "?chatId=same").await;
    assert_eq!(
        contents(&hers),
        [
            "one",
            "Mock reply to: hello world",
            "two",
            "Mock reply to: hello world"
        ]
    );
    assert_eq!(contents(&listed(&bob, "").await)[0], "three");
    assert_eq!(listed(&bob, "").await.len(), 2);
    assert!(listed(&alice, "?sessionId=other").await.is_empty());
    assert_eq!(
        listed(&alice, "?sessionId=same&order=DESC&page=2&limit=1")
            .await
            .len(),
        1
    );
    assert_eq!(hers[0]["role"], "userMessage");
    assert_eq!(
        (&hers[1]["chatId"], &hers[1]["role"]),
        (&json!("same"), &json!("apiMessage"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_given_out_is_gone_on_with_and_nobody_elses_is() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    // A conversation of our own client's is gone on with, too.
    let events = alice.chat(&json!({})).await;
    let session = events[0]["data"].as_str().unwrap();
    app.flowise
        .answer(whole(200, "application/json", &recording("predict-chat-json")));
    let body = json!({ "question": "and now?", "chatId": session });
    assert_eq!(alice.predicts(&body).await["chatId"], session);
    assert_eq!(app.count("chat_sessions").await, 1);
    bob.predicts(&body).await;
    assert_eq!(
        app.count("chat_sessions").await,
        2,
        "the same name is a chat of his own"
    );
    let history = format!("/api/v1/chat/sessions/{session}/history");
    let history = alice.client.get(&history).await;
    assert_eq!(history.expect(200).body["count"], 4);

    let made = alice.predicts(&json!({ "question": "new" })).await;
    let made = made["chatId"].as_str().unwrap().to_owned();
    let again = alice
        .predicts(&json!({ "question": "again", "chatId": made }))
        .await;
    assert_eq!(again["chatId"], made.as_str());
    assert_eq!(app.count("chat_sessions").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_bounded() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for body in [
        json!({ "question": "hi", "chatId": "x".repeat(256) }),
        json!({ "question": "hi", "chatId": 5 }),
        json!({ "question": "hi", "overrideConfig": { "sessionId": "a\u{0}b" } }),
        json!({ "question": "hi", "overrideConfig": { "sessionId": ["s"] } }),
    ] {
        refused(alice.predict(&body).await, 400, "validation_failed");
    }
    assert!(app.flowise.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_thinks_of_an_answer_is_kept_with_it() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.flowise
        .answer(whole(200, "application/json", &recording("predict-chat-json")));
    let answer = alice
        .predicts(&json!({ "question": "hi", "chatId": "same" }))
        .await;
    let body = json!({
        "chatflowid": FLOW, "chatId": "same", "messageId": answer["chatMessageId"],
        "rating": "THUMBS_UP", "content": "good",
    });
    let rated = alice
        .client
        .post("/api/v1/feedback", &body)
        .await
        .expect(200)
        .body;
    assert_eq!(rated["messageId"], answer["chatMessageId"]);
    refused(
        bob.client.post("/api/v1/feedback", &body).await,
        404,
        "message_not_found",
    );

    let path = format!("/api/v1/feedback/{}", rated["id"].as_str().unwrap());
    let change = json!({ "rating": "THUMBS_DOWN", "content": "too long" });
    let by = async |user: &User| -> Answer { user.client.put(&path, &change).await };
    refused(by(&bob).await, 404, "message_not_found");
    assert_eq!(by(&alice).await.expect(200).body, json!({ "status": "OK" }));
    let messages = app.messages().await;
    let rating = messages
        .iter()
        .find_map(|message| message.get_document("rating").ok())
        .unwrap();
    assert!(!rating.get_bool("is_good").unwrap());
    assert_eq!(rating.get_str("content").unwrap(), "too long");
    // The chat window names the chatflow in the path, and says afterwards why.
    let path_of_window = format!("/api/v1/feedback/{FLOW}");
    let again = alice.client.post(&path_of_window, &body).await.expect(200).body;
    let path = format!("/api/v1/feedback/{}", again["id"].as_str().unwrap());
    let why = json!({ "content": "because" });
    alice.client.put(&path, &why).await.expect(200);
    let messages = app.messages().await;
    let rating = messages
        .iter()
        .find_map(|message| message.get_document("rating").ok())
        .unwrap();
    assert!(rating.get_bool("is_good").unwrap());
    assert_eq!(rating.get_str("content").unwrap(), "because");
    let bad = alice.client.put(&path, &json!({ "rating": "MEH" })).await;
    refused(bad, 400, "validation_failed");
}
