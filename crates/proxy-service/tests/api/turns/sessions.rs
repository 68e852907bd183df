//! Conversations belong to one person and one chatflow.

use bson::doc;
use reqwest::Method;
use serde_json::json;

use super::support::{
    FLOW, STORE, TestApp, User,
    flowise::{begin_stream, end_stream, token},
    http::Step,
};

async fn new_session(user: &User) -> String {
    user.chat(&json!({})).await[0]["data"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn history(user: &User, session_id: &str) -> test_support::Answer {
    user.client
        .get(&format!("/api/v1/chat/sessions/{session_id}/history"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_in_its_session() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = new_session(&alice).await;
    let events = alice
        .chat(&json!({ "sessionId": session_id.to_uppercase(), "question": "and then?" }))
        .await;
    assert_eq!(events[0]["data"], session_id);

    let body = history(&alice, &session_id).await.expect(200).body;
    let said: Vec<_> = body["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert_eq!(said, ["user", "assistant", "user", "assistant"]);
    assert_eq!(body["history"][2]["content"], "and then?");
    for member in [
        "id",
        "created_at",
        "session_id",
        "file_ids",
        "has_files",
        "uploads",
    ] {
        assert!(body["history"][0].get(member).is_some(), "{member}");
    }
    let sessions = alice.client.get("/chat/sessions").await.expect(200).body;
    assert_eq!(sessions["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_continues_or_deletes_the_conversation_of_somebody_else() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let session_id = new_session(&alice).await;
    let random = uuid::Uuid::new_v4().to_string();

    let mut answers = Vec::new();
    for id in [&session_id, &random] {
        let path = format!("/api/v1/chat/sessions/{id}");
        answers.push(
            history(&mallory, id)
                .await
                .expect_problem(404, "session_not_found"),
        );
        answers.push(
            mallory
                .client
                .delete(&path)
                .await
                .expect_problem(404, "session_not_found"),
        );
        let body = User::body(&json!({ "sessionId": id }));
        answers.push(
            mallory
                .client
                .post(STORE, &body)
                .await
                .expect_problem(404, "session_not_found"),
        );
    }
    for answer in answers {
        assert_eq!(answer.body["detail"], "Chat session not found or access denied");
    }
    assert_eq!(mallory.client.get("/api/v1/chat/sessions").await.body["count"], 0);
    assert_eq!(
        mallory
            .client
            .delete("/api/v1/chat/history")
            .await
            .expect(200)
            .body["messages_deleted"],
        0
    );
    assert_eq!(history(&alice, &session_id).await.body["count"], 2);
    assert_eq!(app.accounting.holds().len(), 1, "a refused turn holds nothing");
    assert_eq!(app.count("turns").await, 1);
    assert_eq!(app.flowise.predictions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_name_the_same_unstored_session_never_meet() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let same = json!({ "sessionId": uuid::Uuid::new_v4().to_string() });
    for user in [&alice, &mallory] {
        user.client
            .post("/api/v1/chat/predict/stream", &User::body(&same))
            .await
            .expect(200);
    }
    let asked = app.flowise.predictions();
    assert_ne!(asked[0]["chatId"], asked[1]["chatId"]);
    assert_ne!(
        asked[0]["overrideConfig"]["sessionId"],
        asked[1]["overrideConfig"]["sessionId"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_with_its_chatflow() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = new_session(&alice).await;
    let other = uuid::Uuid::new_v4().to_string();
    app.set_chatflow(doc! { "flowise_id": &other }).await;

    let body = User::body(&json!({ "sessionId": session_id, "chatflow_id": other }));
    alice
        .client
        .post(STORE, &body)
        .await
        .expect_problem(404, "session_not_found");
    assert_ne!(other, FLOW);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turn_at_a_time_runs_in_a_session_and_so_many_for_a_person() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = new_session(&alice).await;
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("x")]), end_stream()].concat());

    let first = alice.begin(&json!({ "sessionId": session_id })).await;
    let body = User::body(&json!({ "sessionId": session_id }));
    alice
        .client
        .post(STORE, &body)
        .await
        .expect_problem(409, "turn_running");
    let path = format!("/api/v1/chat/sessions/{session_id}");
    alice
        .client
        .delete(&path)
        .await
        .expect_problem(409, "turn_running");
    alice
        .client
        .delete("/api/v1/chat/history")
        .await
        .expect_problem(409, "turn_running");
    let others = [alice.begin(&json!({})).await, alice.begin(&json!({})).await];
    let refused = alice.client.post(STORE, &User::body(&json!({}))).await;
    assert!(
        refused
            .expect_problem(429, "too_many_turns")
            .headers
            .contains_key("retry-after")
    );
    let bob = app.user("bob").await;
    let bobs = bob.begin(&json!({})).await;

    for _ in 0..4 {
        app.flowise.let_go();
    }
    for stream in others.into_iter().chain([first, bobs]) {
        assert_eq!(stream.rest().await.last().unwrap()["event"], "end");
    }
    app.flowise.let_go();
    let next = alice.chat(&json!({ "sessionId": session_id })).await;
    assert_eq!(
        next.last().unwrap()["event"],
        "end",
        "after `end` the session is free at once"
    );
    assert_eq!(app.accounting.holds().len(), 6, "refused turns held nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_takes_away_what_is_the_callers_and_nothing_else() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (first, second) = (new_session(&alice).await, new_session(&alice).await);
    let bobs = new_session(&bob).await;

    let deleted = alice
        .client
        .delete(&format!("/api/v1/chat/sessions/{first}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        deleted,
        json!({
            "message": format!("Session {first} and its messages have been deleted."),
            "session_id": first,
            "messages_deleted": 2,
            "user_id": alice.person.id,
        })
    );
    history(&alice, &first)
        .await
        .expect_problem(404, "session_not_found");
    assert_eq!(history(&alice, &second).await.body["count"], 2);

    let deleted = alice.client.delete("/api/v1/chat/history").await.expect(200).body;
    assert_eq!(deleted["message"], "All chat history has been deleted.");
    assert_eq!(
        (&deleted["sessions_deleted"], &deleted["messages_deleted"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(history(&bob, &bobs).await.body["count"], 2);
    let gone = User::body(&json!({ "sessionId": second }));
    alice
        .client
        .post(STORE, &gone)
        .await
        .expect_problem(404, "session_not_found");
    app.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_older_deployments_stored_is_read() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = uuid::Uuid::new_v4().to_string();
    let now = bson::DateTime::now();
    let earlier = bson::DateTime::from_millis(now.timestamp_millis() - 1);
    let session = doc! {
        "session_id": &session_id, "user_id": &alice.person.id, "chatflow_id": FLOW, "topic": "old",
        "is_active": true, "created_at": now, "last_activity_at": bson::Bson::Null,
    };
    let message = doc! {
        "chatflow_id": FLOW, "session_id": &session_id, "user_id": &alice.person.id, "role": "assistant",
        "content": "[]", "metadata": [{ "event": "end" }], "file_ids": bson::Bson::Null, "has_files": false, "created_at": now,
    };
    app.mongo
        .database
        .collection("chat_sessions")
        .insert_one(session)
        .await
        .unwrap();
    let mut question = message.clone();
    question.extend(doc! { "role": "user", "content": "an old question", "created_at": earlier });
    app.mongo
        .database
        .collection("chat_messages")
        .insert_many([message, question])
        .await
        .unwrap();

    assert_eq!(
        history(&alice, &session_id).await.expect(200).body["history"][1]["content"],
        "[]"
    );
    let sessions = alice.client.get("/api/v1/chat/sessions").await.expect(200).body;
    assert_eq!(sessions["sessions"][0]["first_message"], "an old question");
    let events = alice.chat(&json!({ "sessionId": session_id })).await;
    assert_eq!(events[0]["data"], session_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_begin_together_get_exactly_the_slots_there_are() {
    let app = TestApp::spawn_with(|config| config.running_turns_per_user_max = 8).await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([vec![Step::Gate], begin_stream(&[token("x")]), end_stream()].concat());

    let begin = || {
        alice
            .client
            .request(Method::POST, STORE)
            .json(&User::body(&json!({})))
            .send()
    };
    let responses = futures_util::future::join_all((0..12).map(|_| begin())).await;
    let (streams, refused): (Vec<_>, Vec<_>) = responses
        .into_iter()
        .map(|response| response.unwrap())
        .partition(|response| response.status() == 200);

    assert_eq!((streams.len(), refused.len()), (8, 4));
    assert!(refused.iter().all(|response| response.status() == 429));
    for stream in streams {
        app.flowise.let_go();
        drop(stream);
    }
    app.is_quiet().await;
    assert_eq!(app.accounting.holds().len(), 8);
}
