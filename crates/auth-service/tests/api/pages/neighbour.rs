//! proxy-service, as pages meet it: it answers what it was told to, which its contract must allow, and remembers what it
//! was asked.

use std::sync::atomic::{AtomicU8, Ordering};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use test_support::{Answer, PublishedContract};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path, query_param},
};

use super::{Browser, signed_in};
use crate::support::TestApp;

const CONTRACT: &str = include_str!("../../../../../proto-docs/openapi/proxy.yaml");

pub(crate) struct Neighbour {
    server: MockServer,
    contract: PublishedContract,
    /// What is said later counts first.
    priority: AtomicU8,
}

impl Neighbour {
    pub(crate) async fn start() -> Self {
        Self {
            server: MockServer::start().await,
            contract: PublishedContract::read(CONTRACT),
            priority: AtomicU8::new(200),
        }
    }

    /// Our service beside it.
    pub(crate) async fn app(&self) -> TestApp {
        let url = self.server.uri().parse().unwrap();
        TestApp::spawn_with(|config| config.proxy_url = Some(url)).await
    }

    /// The same with an administrator who is signed in.
    pub(crate) async fn administrator(&self) -> (TestApp, Browser) {
        let app = self.app().await;
        let (_, root) = signed_in(&app, "root1", "admin").await;
        (app, root)
    }

    pub(crate) async fn answers(&self, verb: &str, address: &str, status: u16, body: Value) {
        self.gives(verb, address, None, (status, body, None)).await;
    }

    /// A page of a list; `next` is the cursor of the one behind it.
    pub(crate) async fn lists(
        &self,
        address: &str,
        cursor: Option<&str>,
        rows: &[Value],
        next: Option<&str>,
    ) {
        let link = next.map(|next| format!("<{address}?limit=50&cursor={next}>; rel=\"next\""));
        self.gives("GET", address, cursor, (200, json!(rows), link)).await;
    }

    /// A problem with this code.
    pub(crate) async fn refuses(&self, verb: &str, address: &str, status: u16, code: &str) {
        self.answers(verb, address, status, problem(status, code, json!([])))
            .await;
    }

    /// That a member is wrong.
    pub(crate) async fn finds_wrong(&self, verb: &str, address: &str, field: &str, message: &str) {
        let errors = json!([{ "field": field, "message": message }]);
        self.answers(verb, address, 422, problem(422, "validation_failed", errors))
            .await;
    }

    async fn gives(
        &self,
        verb: &str,
        address: &str,
        cursor: Option<&str>,
        (status, body, link): (u16, Value, Option<String>),
    ) {
        self.check(verb, address, status, &body);
        let mut answer = ResponseTemplate::new(status);
        if status != 204 {
            answer = answer.set_body_json(&body);
        }
        if status >= 400 {
            answer = answer.set_body_raw(body.to_string(), "application/problem+json");
        }
        if let Some(link) = link {
            answer = answer.insert_header("link", link.as_str());
        }
        let mut mock = Mock::given(method(verb)).and(path(address));
        if let Some(cursor) = cursor {
            mock = mock.and(query_param("cursor", cursor));
        }
        let priority = self.priority.fetch_sub(1, Ordering::Relaxed);
        mock.respond_with(answer)
            .with_priority(priority)
            .mount(&self.server)
            .await;
    }

    /// Fails the test where proxy-service could not answer so.
    #[track_caller]
    fn check(&self, verb: &str, address: &str, status: u16, body: &Value) {
        let kind = if status >= 400 {
            "application/problem+json"
        } else {
            "application/json"
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        for name in ["retry-after", "www-authenticate"] {
            headers.insert(name, "1".parse().unwrap());
        }
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            text: if status == 204 {
                String::new()
            } else {
                body.to_string()
            },
            body: body.clone(),
        };
        let checked = self
            .contract
            .check(&Method::from_bytes(verb.as_bytes()).unwrap(), address, &answer);
        assert_eq!(checked, Ok(()), "{verb} {address}: {body}");
    }

    /// Everything that it was asked by this verb, the first first.
    pub(crate) async fn asked(&self, verb: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter()
            .filter(|request| request.method.as_str() == verb)
            .collect()
    }

    /// The address and the body of the last of them.
    pub(crate) async fn last(&self, verb: &str) -> (String, Value) {
        let asked = self.asked(verb).await;
        let last = asked.last().unwrap();
        let body = serde_json::from_slice(&last.body).unwrap_or_default();
        (last.url.path().to_owned(), body)
    }
}

fn problem(status: u16, code: &str, errors: Value) -> Value {
    let detail = "what was wrong";
    let mut problem = json!({
        "type": format!("urn:flowgate:problem:{code}"), "title": "No", "status": status, "detail": detail, "code": code,
        "request_id": "r", "error": detail, "message": detail,
    });
    if errors.as_array().is_some_and(|errors| !errors.is_empty()) {
        problem["errors"] = errors;
    }
    problem
}
