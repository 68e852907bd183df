//! What is refused before anything is held, asked or written.

use bson::doc;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{STORE, TestApp, User};

const PATHS: [&str; 3] = [
    "/api/v1/chat/predict",
    "/api/v1/chat/predict/stream",
    "/api/v1/chat/predict/stream/store",
];

async fn nothing_happened(app: &TestApp) {
    for collection in ["turns", "chat_sessions", "chat_messages"] {
        assert_eq!(app.count(collection).await, 0, "{collection}");
    }
    assert!(app.flowise.asked().is_empty());
    assert!(app.accounting.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_not_valid_are_named() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let upload = |member: &str, value: Value| {
        let mut upload = json!({ "data": "aGk=", "type": "file", "name": "a", "mime": "a/b" });
        upload[member] = value;
        json!({ "uploads": [upload] })
    };
    let cases = [
        (json!({ "question": "x".repeat(1_001) }), "question"),
        (json!({ "question": 1 }), "question"),
        (json!({ "question": null }), "question"),
        (json!({ "chatflow_id": "../etc" }), "chatflow_id"),
        (json!({ "chatflow_id": 7 }), "chatflow_id"),
        (
            json!({ "overrideConfig": { "model": "expensive" } }),
            "overrideConfig.model",
        ),
        (json!({ "overrideConfig": "x" }), "overrideConfig"),
        (
            json!({ "history": [{ "role": "system", "content": "x" }] }),
            "history[0].role",
        ),
        (json!({ "history": "x" }), "history"),
        (upload("type", json!("url")), "uploads.0.type"),
        (upload("data", json!("%%%")), "uploads.0.data"),
        (upload("name", json!("a/b")), "uploads.0.name"),
        (upload("mime", json!("x")), "uploads.0.mime"),
        (upload("mime", json!(null)), "uploads[0].mime"),
    ];
    for path in PATHS {
        for (changes, field) in &cases {
            let answer = alice.client.post(path, &User::body(changes)).await;
            let answer = answer.expect_problem(422, "validation_failed");
            assert_eq!(answer.body["errors"][0]["field"], *field, "{}", answer.text);
        }
        let answer = alice
            .client
            .post(path, &User::body(&json!({ "sessionId": "not-a-uuid" })))
            .await;
        let answer = answer.expect_problem(400, "invalid_session_id");
        assert_eq!(
            answer.body["detail"],
            "Invalid sessionId format. Must be a valid UUID."
        );
    }
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_requests_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (content_type, body, status, code) in [
        ("application/json", "", 400, "malformed_json"),
        ("application/json", "{\"question\":", 400, "malformed_json"),
        ("application/json", "[]", 422, "validation_failed"),
        ("application/json", "{}", 422, "validation_failed"),
        ("text/plain", "hello", 415, "unsupported_media_type"),
        (
            "application/x-www-form-urlencoded",
            "question=x",
            415,
            "unsupported_media_type",
        ),
    ] {
        let request = alice
            .client
            .request(Method::POST, STORE)
            .header("content-type", content_type);
        alice
            .client
            .send(request.body(body))
            .await
            .expect_problem(status, code);
    }
    let large = User::body(&json!({ "question": "x".repeat(31 << 20) }));
    alice
        .client
        .post(STORE, &large)
        .await
        .expect_problem(413, "body_too_large");
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_people_with_an_assignment_may_ask() {
    let app = TestApp::spawn().await;
    let (alice, stranger) = (app.user("alice").await, app.stranger("stranger"));
    let unknown = json!({ "chatflow_id": uuid::Uuid::new_v4().to_string() });
    for path in PATHS {
        let answer = stranger.client.post(path, &User::body(&json!({}))).await;
        let answer = answer.expect_problem(403, "chatflow_access_denied");
        assert_eq!(answer.body["detail"], "Access denied to this chatflow");
        let answer = alice.client.post(path, &User::body(&unknown)).await;
        answer.expect_problem(403, "chatflow_access_denied");
        let nobody = test_support::Client::new(&app.replica.base);
        nobody
            .post(path, &User::body(&json!({})))
            .await
            .expect_problem(401, "missing_token");
    }
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_taken_away_during_a_stream_ends_after_it() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(
        [
            super::support::flowise::begin_stream(&[super::support::flowise::token("x")]),
            vec![super::support::http::Step::Gate],
            super::support::flowise::end_stream(),
        ]
        .concat(),
    );
    let stream = alice.begin(&json!({})).await;
    let assignments = app.mongo.database.collection::<bson::Document>("UserChatflow");
    assignments
        .update_many(doc! {}, doc! { "$set": { "is_active": false } })
        .await
        .unwrap();
    app.flowise.let_go();
    assert_eq!(stream.rest().await.last().unwrap()["event"], "end");
    super::support::eventually("the next turn is refused", async || {
        app.flowise.let_go();
        let answer = alice.client.post(STORE, &User::body(&json!({}))).await;
        answer.body["code"] == "chatflow_access_denied"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_conversations_needs_a_token() {
    let app = TestApp::spawn().await;
    let nobody = test_support::Client::new(&app.replica.base);
    for path in ["/api/v1/chat/sessions", "/api/v1/chat/sessions/x/history"] {
        nobody.get(path).await.expect_problem(401, "missing_token");
    }
    for path in ["/api/v1/chat/sessions/x", "/api/v1/chat/history"] {
        nobody.delete(path).await.expect_problem(401, "missing_token");
    }
}

/// What somebody was once given is worth nothing when any of it has ended: the grant, the chatflow, or the account.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_shut_out_may_not_ask_whatever_they_were_given() {
    for (collection, ended) in [
        ("UserChatflow", doc! { "is_active": false }),
        ("Chatflow", doc! { "sync_status": "deleted" }),
        ("Chatflow", doc! { "sync_status": "error" }),
        ("users", doc! { "is_active": false }),
    ] {
        let app = TestApp::spawn().await;
        let alice = app.user("alice").await;
        let known = doc! {
            "external_id": &alice.person.id, "username": "alice", "email": &alice.person.email, "role": "enduser",
            "is_active": true,
        };
        let people = app.mongo.database.collection("users");
        people.insert_one(known).await.unwrap();
        let rows = app.mongo.database.collection::<bson::Document>(collection);
        rows.update_many(doc! {}, doc! { "$set": &ended }).await.unwrap();

        for path in PATHS {
            let answer = alice.client.post(path, &User::body(&json!({}))).await;
            let answer = answer.expect_problem(403, "chatflow_access_denied");
            assert_eq!(
                answer.body["message"], "Access denied to this chatflow",
                "{collection} {ended}"
            );
        }
        nothing_happened(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_bomb_is_refused_when_it_has_grown_to_the_limit() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // 64 MiB of spaces that weigh 64 kB on the wire.
    let bomb = include_bytes!("spaces.json.gz");
    for path in PATHS {
        let request = alice
            .client
            .request(Method::POST, path)
            .header("content-type", "application/json")
            .header("content-encoding", "gzip");
        let answer = alice.client.send(request.body(bomb.to_vec())).await;
        answer.expect_problem(413, "body_too_large");
    }
    nothing_happened(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_only_so_many_files() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let files: Vec<_> = (0..11)
        .map(|number| json!({ "data": "aGk=", "type": "file", "name": format!("{number}.txt"), "mime": "text/plain" }))
        .collect();
    for path in PATHS {
        let answer = alice
            .client
            .post(path, &User::body(&json!({ "uploads": files })))
            .await
            .expect_problem(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], "uploads");
    }
    nothing_happened(&app).await;
}
