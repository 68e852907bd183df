//! The platform's web client, as far as a server can tell it from others: a page of another origin that keeps its tokens
//! itself, sends these calls in these forms, and reads these members of the answers and no others.

use std::sync::Mutex;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use system_tests::platform::Platform;
use test_support::{Answer, Client};

/// Where the page comes from: another port is another origin.
pub(crate) const PAGE: &str = "http://school.example:3082";

/// Where the page was told, when it was built, to find the services.
pub(crate) const API: &str = "http://school.example:8000";

const PREFLIGHT_HEADERS: &str = "authorization,content-type";

/// A page with somebody's tokens, or nobody's.
#[derive(Debug)]
pub(crate) struct Browser {
    client: Client,
    /// Preflights are no operations of the published contract.
    preflights: Client,
    kept: Mutex<Kept>,
}

/// What the page keeps between its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) user: Value,
}

/// What the page shows of an answer when the stream has closed.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) session: Option<String>,
    pub(crate) text: String,
    /// While this is so, nothing can be typed.
    pub(crate) is_streaming: bool,
}

impl Browser {
    pub(crate) fn open(platform: &Platform) -> Self {
        Self {
            client: platform.proxy.client(),
            preflights: Client::new(platform.proxy.url()),
            kept: Mutex::default(),
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        self.kept.lock().unwrap().clone()
    }

    /// What a browser does around each call of a page: it asks whether the page may make it, and gives the page the answer
    /// only when it may read it.
    async fn across_origins(&self, method: Method, path: &str, request: RequestBuilder) -> Answer {
        let preflight = self
            .preflights
            .request(Method::OPTIONS, path)
            .header("origin", PAGE)
            .header("access-control-request-method", method.as_str())
            .header("access-control-request-headers", PREFLIGHT_HEADERS);
        let allowed = self.preflights.send(preflight).await.expect(200);
        let list = |name: &str| allowed.headers[name].to_str().unwrap().to_lowercase();
        assert!(list("access-control-allow-methods").contains(&method.as_str().to_lowercase()));
        for header in PREFLIGHT_HEADERS.split(',') {
            assert!(list("access-control-allow-headers").contains(header), "{header}");
        }
        let answer = self.client.send(request.header("origin", PAGE)).await;
        for headers in [&allowed.headers, &answer.headers] {
            assert_eq!(headers["access-control-allow-origin"], PAGE, "{method} {path}");
        }
        answer
    }

    /// A call with the token that is kept, whatever becomes of it.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let client = self.client.with_token(self.kept().access_token);
        let request = client.request(method.clone(), path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.across_origins(method, path, request).await
    }

    /// A call of the pages: after a 401 the token is refreshed and the call repeated, once.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.insist(Method::GET, path, None).await
    }

    pub(crate) async fn insist(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.call(method.clone(), path, body).await;
        if answer.status != 401 {
            return answer;
        }
        self.refresh().await;
        self.call(method, path, body).await
    }

    /// A call without a token: signing in and refreshing.
    async fn as_nobody(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.request(Method::POST, path).json(body);
        self.across_origins(Method::POST, path, request).await
    }

    /// The login page. `Err` is the text that stands under the form.
    pub(crate) async fn sign_in(&self, username: &str, password: &str) -> Result<(), String> {
        let body = json!({ "username": username, "password": password });
        let answer = self.as_nobody("/api/v1/chat/authenticate", &body).await;
        if answer.status != 200 {
            return Err(answer.body["message"].as_str().unwrap().to_owned());
        }
        self.keep(&answer);
        Ok(())
    }

    /// What an expired token, a timer or a page that becomes visible starts. Nothing keeps two of these apart.
    pub(crate) async fn refresh(&self) {
        let body = json!({ "refresh_token": self.kept().refresh_token });
        let answer = self.as_nobody("/api/v1/chat/refresh", &body).await;
        self.keep(&answer.expect(200));
    }

    /// Both answers replace everything that was kept, the person included.
    fn keep(&self, answer: &Answer) {
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        assert_eq!(text("token_type"), "bearer");
        assert!(answer.body["expires_in"].as_i64().unwrap() > 0);
        for member in ["id", "username", "email", "role"] {
            assert!(answer.body["user"][member].is_string(), "the menu needs {member}");
        }
        *self.kept.lock().unwrap() = Kept {
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
            user: answer.body["user"].clone(),
        };
    }

    /// The logout button; its answer is not looked at.
    pub(crate) async fn sign_out(&self) {
        let body = json!({ "refresh_token": self.kept().refresh_token });
        self.call(Method::POST, "/api/v1/chat/revoke", Some(&body)).await;
    }

    /// Asks in a conversation, or in a new one, and shows the answer. `Err` is the status in the bubble.
    pub(crate) async fn ask(
        &self,
        chatflow_id: &str,
        session_id: &str,
        question: &str,
        uploads: Option<Value>,
    ) -> Result<Shown, u16> {
        let mut body = json!({ "chatflow_id": chatflow_id, "sessionId": session_id, "question": question });
        if let Some(uploads) = uploads {
            body["uploads"] = uploads;
        }
        let path = "/api/v1/chat/predict/stream/store";
        let answer = self.insist(Method::POST, path, Some(&body)).await;
        if answer.status != 200 {
            return Err(answer.status.as_u16());
        }
        Ok(Shown::of(&answer.text))
    }

    /// A conversation as it is shown: who said what, and the pictures.
    pub(crate) async fn history(&self, session_id: &str) -> Vec<(String, String, Vec<Value>)> {
        let path = format!("/api/v1/chat/sessions/{session_id}/history");
        let answer = self.get(&path).await.expect(200);
        let messages = answer.body["history"].as_array().unwrap().clone();
        messages
            .into_iter()
            .map(|message| {
                assert!(message["id"].is_string() && message["created_at"].is_string());
                let uploads = message["uploads"].as_array().cloned().unwrap_or_default();
                (
                    message["role"].as_str().unwrap().to_owned(),
                    said(&message),
                    uploads,
                )
            })
            .collect()
    }

    /// A picture or a file, at an address that stood in an answer.
    pub(crate) async fn fetch(&self, url: &Value) -> reqwest::Response {
        let url = url.as_str().unwrap();
        let path = url
            .strip_prefix(API)
            .unwrap_or_else(|| panic!("{url} leads to the page itself"));
        let client = self.client.with_token(self.kept().access_token);
        let response = client
            .request(Method::GET, path)
            .header("origin", PAGE)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
        response
    }
}

/// The text of a message: what begins like a list has to be a list of events, anything else is shown as it is.
fn said(message: &Value) -> String {
    let content = message["content"].as_str().unwrap();
    if !content.starts_with('[') || message["role"] == "user" {
        return content.to_owned();
    }
    let events: Vec<Value> = serde_json::from_str(content).unwrap();
    let tokens = events.iter().filter(|event| event["event"] == "token");
    tokens.filter_map(|event| event["data"].as_str()).collect()
}

impl Shown {
    fn of(stream: &str) -> Self {
        let mut shown = Self {
            is_streaming: true,
            ..Self::default()
        };
        for event in objects(stream) {
            let data = &event["data"];
            match event["event"].as_str() {
                Some("session_id") => shown.session = data.as_str().map(str::to_owned),
                Some("token") => shown.text.push_str(data.as_str().unwrap_or_default()),
                Some("end") => shown.is_streaming = false,
                Some(_) => {}
                None => panic!("the page takes an object without an event for text: {event}"),
            }
        }
        shown
    }
}

/// Objects by their braces, whatever stands between them: this is how the page reads a stream.
fn objects(stream: &str) -> Vec<Value> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    for (at, byte) in stream.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b'}' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    found.push(serde_json::from_str(&stream[start..=at]).unwrap());
                }
            }
            _ => {}
        }
    }
    assert!(depth == 0 && !in_text, "the page waits for the rest of {stream}");
    found
}
