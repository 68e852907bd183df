//! Somebody who uses the platform: signed in, with a client for each service.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on stops where it is"
)]

use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{Answer, Client};

use crate::platform::Platform;

/// Somebody signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// 24 hex digits.
    pub id: String,
    /// The address.
    pub email: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// auth-service, as this person.
    pub auth: Client,
    /// accounting-service, as this person.
    pub accounting: Client,
    /// proxy-service, as this person.
    pub proxy: Client,
    /// The chatflow everybody talks to.
    pub chatflow_id: String,
}

impl Person {
    /// Signs in the way the web client does: through the proxy.
    pub async fn log_in(platform: &Platform, username: &str, password: &str) -> Self {
        let body = json!({ "username": username, "password": password });
        let answer = platform
            .proxy
            .client()
            .post("/api/v1/chat/authenticate", &body)
            .await
            .expect(200);
        let text = |member: &Value| member.as_str().expect("a text").to_owned();
        let access_token = text(&answer.body["access_token"]);
        Self {
            id: text(&answer.body["user"]["id"]),
            email: text(&answer.body["user"]["email"]),
            refresh_token: text(&answer.body["refresh_token"]),
            auth: platform.auth.client().with_token(&access_token),
            accounting: platform.accounting.client().with_token(&access_token),
            proxy: platform.proxy.client().with_token(&access_token),
            chatflow_id: platform.chatflow_id.clone(),
            access_token,
        }
    }

    /// What this person may spend.
    pub async fn balance(&self) -> i64 {
        let answer = self
            .accounting
            .get("/api/credits/total-balance")
            .await
            .expect(200);
        answer.body["totalCredits"].as_i64().expect("a whole number")
    }

    /// Asks and reads the whole answer.
    pub async fn chat(&self, question: &str) -> Chat {
        self.chat_in("", question).await
    }

    /// The same in a session that exists.
    pub async fn chat_in(&self, session_id: &str, question: &str) -> Chat {
        Chat::read(self.send(session_id, question).await).await
    }

    /// Asks, and leaves it to the test to read the answer.
    pub async fn send(&self, session_id: &str, question: &str) -> Response {
        let body = json!({ "chatflow_id": self.chatflow_id, "sessionId": session_id, "question": question });
        let request = self
            .proxy
            .request(Method::POST, "/api/v1/chat/predict/stream/store")
            .json(&body);
        request.send().await.expect("the proxy answers")
    }

    /// Asks, and expects to be refused before a stream begins.
    pub async fn chat_refused(&self, question: &str) -> Answer {
        let body = json!({ "chatflow_id": self.chatflow_id, "sessionId": "", "question": question });
        self.proxy.post("/api/v1/chat/predict/stream/store", &body).await
    }

    /// The history of a session, as roles and plain texts.
    pub async fn history(&self, session_id: &str) -> Vec<(String, String)> {
        let answer = self
            .proxy
            .get(&format!("/api/v1/chat/sessions/{session_id}/history"))
            .await
            .expect(200);
        let messages = answer.body["history"].as_array().expect("a history").clone();
        messages
            .iter()
            .map(|message| {
                (
                    message["role"].as_str().unwrap_or_default().to_owned(),
                    plain(message),
                )
            })
            .collect()
    }
}

/// A message's text: assistants' are JSON texts of merged tokens.
fn plain(message: &Value) -> String {
    let content = message["content"].as_str().unwrap_or_default();
    match serde_json::from_str::<Vec<Value>>(content) {
        Ok(events) => events.iter().filter_map(|event| event["data"].as_str()).collect(),
        Err(_) => content.to_owned(),
    }
}

/// A streamed answer, read to its end.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Every event in order.
    pub events: Vec<Value>,
}

impl Chat {
    /// Reads a stream of JSON objects to its end.
    pub async fn read(response: Response) -> Self {
        assert_eq!(response.status(), 200, "the stream did not begin");
        let text = response.text().await.expect("the stream is text");
        let objects = serde_json::Deserializer::from_str(&text).into_iter();
        Self {
            events: objects
                .collect::<Result<_, _>>()
                .unwrap_or_else(|error| panic!("{error}: {text}")),
        }
    }

    /// The data of the first event of this name.
    pub fn first(&self, name: &str) -> Option<&Value> {
        self.events
            .iter()
            .find(|event| event["event"] == name)
            .map(|event| &event["data"])
    }

    /// The session the turn belongs to.
    pub fn session_id(&self) -> &str {
        self.first("session_id")
            .and_then(Value::as_str)
            .expect("a session id comes first")
    }

    /// The answer.
    pub fn text(&self) -> String {
        let tokens = self.events.iter().filter(|event| event["event"] == "token");
        tokens.filter_map(|event| event["data"].as_str()).collect()
    }

    /// Whether the stream ended as every stream must.
    #[track_caller]
    pub fn expect_ended(&self) -> &Self {
        let last = self.events.last().expect("there are events");
        assert_eq!(last["event"], "end", "{:?}", self.events);
        self
    }
}
