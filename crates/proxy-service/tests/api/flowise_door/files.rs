//! Files of a chat: read by Flowise under names of ours, and given back to their owner.

use reqwest::Method;
use serde_json::json;
use test_support::Answer;

use super::refused;
use crate::turns::support::{FLOW, TestApp, User, flowise::recording, http::whole};

const BOUNDARY: &str = "----fixture7b1";

async fn attach(user: &User, name: &str, content: &str) -> Answer {
    let form = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
         Content-Type: text/plain\r\n\r\n{content}\r\n--{BOUNDARY}--\r\n"
    );
    let request = user
        .client
        .request(Method::POST, &format!("/api/v1/attachments/{FLOW}/lesson"))
        .header(
            "content-type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        );
    user.client.send(request.body(form)).await
}

fn wanted(name: &str) -> String {
    format!("/api/v1/get-upload-file?chatflowId={FLOW}&chatId=lesson&fileName={name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_file_is_read_kept_and_given_back_to_its_owner_only() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.flowise
        .answer(whole(200, "application/json", &recording("attachment-ok")));
    let answer = attach(&alice, "note.txt", "The quick brown fox.\n")
        .await
        .expect(200);
    assert_eq!(answer.text, recording("attachment-ok"));
    let asked = app.flowise.asked();
    let asked = asked
        .iter()
        .find(|asked| asked.path.contains("attachments"))
        .unwrap();
    assert!(!asked.path.contains("lesson"), "{}", asked.path);

    let given = alice.client.get(&wanted("note.txt")).await.expect(200);
    assert_eq!(given.text, "The quick brown fox.\n");
    refused(
        alice.client.get(&wanted("other.txt")).await,
        404,
        "file_not_found",
    );
    refused(
        alice.client.get(&wanted("..%2Fnote.txt")).await,
        404,
        "file_not_found",
    );
    refused(bob.client.get(&wanted("note.txt")).await, 404, "file_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_flowise_does_not_take_is_not_kept() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let no = recording("attachment-flow-without-upload");
    app.flowise.answer(whole(500, "application/json", &no));
    refused(attach(&alice, "note.txt", "text").await, 415, "file_type_refused");
    assert_eq!(app.count("file_uploads").await, 0);
    refused(
        app.stranger("mallory").client.get(&wanted("note.txt")).await,
        404,
        "file_not_found",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_read_goes_along_as_text() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer(whole(200, "application/json", &recording("predict-chat-json")));
    let upload =
        json!({ "type": "file:full", "name": "note.txt", "mime": "text/plain", "data": "The fox, quick." });
    let body = json!({ "question": "what is in it", "uploads": [upload], "chatId": "lesson" });
    alice.predicts(&body).await;
    assert_eq!(app.flowise.predictions()[0]["uploads"][0], upload);
    let given = alice.client.get(&wanted("note.txt")).await.expect(200);
    assert_eq!(given.text, "The fox, quick.");
    // What Flowise or a model would have to fetch never goes along.
    let fetched =
        json!({ "type": "url", "name": "x", "mime": "text/plain", "data": "http://169.254.169.254/" });
    let body = json!({ "question": "hi", "uploads": [fetched] });
    refused(alice.predict(&body).await, 400, "validation_failed");
}
