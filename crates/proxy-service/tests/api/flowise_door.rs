//! The door for clients of Flowise: what it answers is what Flowise would have answered, to its owner and to nobody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod around;
mod chats;
mod files;
mod recorded;

use serde_json::{Value, json};
use test_support::Answer;

use crate::turns::support::{FLOW, User};

/// The path of the chatflow's predictions.
fn prediction() -> String {
    format!("/api/v1/prediction/{FLOW}")
}

impl User {
    /// Asks as a client of Flowise.
    async fn predict(&self, body: &Value) -> Answer {
        self.client.post(&prediction(), body).await
    }

    /// Asks and expects a JSON answer.
    async fn predicts(&self, body: &Value) -> Value {
        self.predict(body).await.expect(200).body
    }
}

/// Fails the test unless the answer is a refusal in Flowise's form.
#[track_caller]
fn refused(answer: Answer, status: u16, code: &str) {
    let answer = answer.expect(status);
    assert_eq!(
        answer.headers["content-type"], "application/json; charset=utf-8",
        "{}",
        answer.text
    );
    let message = answer.body["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{}", answer.text);
    let expected = json!({
        "statusCode": status, "success": false, "message": message, "stack": {}, "code": code,
    });
    assert_eq!(answer.body, expected);
}

/// The frames of a stream in Flowise's framing.
fn frames(text: &str) -> Vec<&str> {
    text.split_terminator("\n\n").collect()
}
