//! Stand-ins for accounting-service and proxy-service: they answer as their contracts say.

use serde_json::Value;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use super::{Browser, signed_in};
use crate::support::TestApp;

/// Both, and what they were asked.
pub(super) struct Neighbours {
    pub(super) accounting: MockServer,
    pub(super) proxy: MockServer,
}

impl Neighbours {
    /// They answer everything with 404 until they are told otherwise.
    pub(super) async fn start() -> Self {
        Self {
            accounting: MockServer::start().await,
            proxy: MockServer::start().await,
        }
    }

    /// A service that knows them, and an administrator in a browser.
    pub(super) async fn app(&self) -> (TestApp, Browser) {
        let (accounting, proxy) = (self.accounting.uri(), self.proxy.uri());
        let app = TestApp::spawn_with(|config| {
            config.accounting_url = Some(accounting.parse().unwrap());
            config.proxy_url = Some(proxy.parse().unwrap());
        })
        .await;
        let (_, root) = signed_in(&app, "root1", "admin").await;
        (app, root)
    }
}

/// A service whose neighbours do not answer, and an administrator in a browser.
pub(super) async fn alone() -> (TestApp, Browser) {
    let app = TestApp::spawn_with(|config| {
        let nowhere = || Some("http://127.0.0.1:9".parse().unwrap());
        (config.accounting_url, config.proxy_url) = (nowhere(), nowhere());
    })
    .await;
    let (_, root) = signed_in(&app, "root1", "admin").await;
    (app, root)
}

/// Answers so from now on, before whatever was said earlier about the same.
pub(super) async fn answer(server: &MockServer, verb: &str, at: &str, status: u16, body: &Value) {
    let mut response = ResponseTemplate::new(status).set_body_json(body);
    if status >= 400 {
        response = response.insert_header("content-type", "application/problem+json");
    }
    respond(server, verb, at, response).await;
}

/// The same by a function.
pub(super) async fn respond(server: &MockServer, verb: &str, at: &str, response: impl Respond + 'static) {
    Mock::given(method(verb))
        .and(path(at))
        .respond_with(response)
        .mount(server)
        .await;
}

/// A problem as the services write them.
pub(super) fn problem(status: u16, code: &str, errors: &Value) -> Value {
    let detail = format!("what {code} means");
    let mut problem = serde_json::json!({
        "type": format!("urn:flowgate:problem:{code}"), "title": "No", "status": status, "detail": detail,
        "code": code, "request_id": "0", "error": detail, "message": detail,
    });
    if errors.is_array() {
        problem["errors"] = errors.clone();
    }
    problem
}

/// What it was asked at this path.
pub(super) async fn asked(server: &MockServer, verb: &str, at: &str) -> Vec<Request> {
    let all = server.received_requests().await.unwrap();
    let is_it = |request: &Request| request.method.as_str() == verb && request.url.path() == at;
    all.into_iter().filter(is_it).collect()
}

pub(super) fn json_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

pub(super) fn key_of(request: &Request) -> String {
    request.headers["idempotency-key"].to_str().unwrap().to_owned()
}

/// A parameter of its address.
pub(super) fn parameter(request: &Request, name: &str) -> Option<String> {
    let mut pairs = request.url.query_pairs();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// What a hidden field of the page holds.
#[track_caller]
pub(super) fn hidden(html: &str, name: &str) -> String {
    let mark = format!(r#"name="{name}" value=""#);
    let (_, after) = html
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no {name}: {html}"));
    after.split('"').next().unwrap().to_owned()
}
