//! Conversations that are older than they are to be kept.

use std::time::Duration;

use bson::{Document, doc};
use serde_json::json;

use super::support::{
    TestApp, User, eventually,
    files::upload,
    flowise::{begin_stream, end_stream, token},
    http::Step,
};

const DAY_MS: i64 = 86_400_000;

fn days_ago(days: i64) -> bson::DateTime {
    bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - days * DAY_MS)
}

/// Lets everything of a session have happened so many days ago.
async fn age(app: &TestApp, session_id: &str, days: i64, last_activity_at: impl Into<bson::Bson>) {
    let session = doc! { "session_id": session_id };
    let sessions = app.mongo.database.collection::<Document>("chat_sessions");
    let set = doc! { "created_at": days_ago(days), "last_activity_at": last_activity_at.into() };
    sessions
        .update_one(session.clone(), doc! { "$set": set })
        .await
        .unwrap();
    let messages = app.mongo.database.collection::<Document>("chat_messages");
    let set = doc! { "$set": { "created_at": days_ago(days) } };
    messages.update_many(session, set).await.unwrap();
}

async fn new_session(user: &User) -> String {
    user.chat(&json!({})).await[0]["data"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_conversations_go_with_their_files_and_younger_ones_stay() {
    let mut app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let (old, _) = alice.chat_with(&upload("a.txt", "text/plain", b"old")).await;
    let (young, older_service, revived) = (
        new_session(&alice).await,
        new_session(&alice).await,
        new_session(&alice).await,
    );
    age(&app, &old, 40, days_ago(31)).await;
    age(&app, &young, 29, days_ago(29)).await;
    age(&app, &older_service, 31, bson::Bson::Null).await;
    // Begun long ago by an older service, which did not note that it goes on.
    age(&app, &revived, 50, bson::Bson::Null).await;
    let messages = app.mongo.database.collection::<Document>("chat_messages");
    let reply = doc! {
        "session_id": &revived, "user_id": &alice.person.id, "chatflow_id": "x", "role": "user", "content": "still here",
        "created_at": days_ago(1),
    };
    messages.insert_one(reply).await.unwrap();

    // Nothing is removed where nothing is set: the first replica has looked already.
    assert_eq!(app.count("chat_sessions").await, 4);
    app.config.history_retention = Some(Duration::from_hours(30 * 24));
    app.mongo
        .database
        .collection::<Document>("leases")
        .drop()
        .await
        .unwrap();
    let _replica = super::support::Replica::start(app.config.clone()).await;
    eventually("old conversations are gone", async || {
        app.count("chat_sessions").await == 2
    })
    .await;
    let left = alice.client.get("/api/v1/chat/sessions").await.expect(200).body;
    let left: Vec<_> = left["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| &left["session_id"])
        .collect();
    assert!(
        left.contains(&&json!(young)) && left.contains(&&json!(revived)),
        "{left:?}"
    );
    // A conversation goes before what belongs to it.
    eventually("their messages and files are gone too", async || {
        app.count("chat_messages").await == 5 && app.stored().await == [0, 0, 0, 0]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_being_held_is_not_removed() {
    let mut app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let (talking, silent) = (new_session(&alice).await, new_session(&alice).await);
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("x")]), end_stream()].concat());
    let stream = alice.begin(&json!({ "sessionId": talking })).await;
    age(&app, &talking, 40, days_ago(40)).await;
    age(&app, &silent, 40, days_ago(40)).await;
    app.config.history_retention = Some(Duration::from_hours(30 * 24));
    app.mongo
        .database
        .collection::<Document>("leases")
        .drop()
        .await
        .unwrap();
    let _replica = super::support::Replica::start(app.config.clone()).await;
    eventually("the silent one is gone", async || {
        app.count("chat_sessions").await == 1
    })
    .await;
    app.flowise.let_go();
    assert_eq!(stream.rest().await.last().unwrap()["event"], "end");
    assert_eq!(
        app.only("chat_sessions").await.get_str("session_id").unwrap(),
        talking
    );
}
