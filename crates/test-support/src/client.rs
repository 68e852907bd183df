//! A client of one service, as one person.

use std::{io::Read as _, sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::PublishedContract;

/// Connections not used for this long are closed by us, before the service does: it waits 5 seconds, and a request that
/// is sent in that moment is lost.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Answer {
    /// Fails the test with the whole answer unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Fails the test unless this is a problem body with this status and code, whole in every member.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.body["code"], code, "{}", answer.text);
        assert_eq!(answer.body["status"], status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        for member in ["type", "title", "detail", "request_id", "error", "message"] {
            assert!(
                answer.body[member].as_str().is_some_and(|text| !text.is_empty()),
                "no {member}: {}",
                answer.text
            );
        }
        answer
    }
}

/// Speaks HTTP to one service.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
    contract: Option<Arc<PublishedContract>>,
}

impl Client {
    /// A client without a token.
    pub fn new(base: impl Into<String>) -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_mins(1))
            .pool_idle_timeout(IDLE_MAX)
            .build()
            .expect("a client can be built");
        Self {
            base: base.into(),
            token: None,
            http,
            contract: None,
        }
    }

    /// The same, and every answer read whole has to keep the service's contract (its OpenAPI document as YAML).
    pub fn checking(&self, contract: &str) -> Self {
        Self {
            contract: Some(Arc::new(PublishedContract::read(contract))),
            ..self.clone()
        }
    }

    /// The same with a token.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// A request to be completed by the test.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let (http, request) = request.build_split();
        let request = request.expect("the request can be sent");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await.expect("the service answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("the answer arrives whole");
        let is_packed = headers
            .get("content-encoding")
            .is_some_and(|coding| coding == "gzip");
        let bytes = if is_packed {
            unpacked(&bytes)
        } else {
            bytes.to_vec()
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_default();
        let answer = Answer {
            status,
            headers,
            text,
            body,
        };
        if let Some(Err(broken)) = self
            .contract
            .as_ref()
            .map(|contract| contract.check(&method, &path, &answer))
        {
            panic!(
                "{method} {path} breaks the contract: {broken}\n{status} {}",
                answer.text
            );
        }
        answer
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }
}
/// What was packed with gzip.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut unpacked)
        .expect("what says that it is gzip is");
    unpacked
}
