//! proxy-service and accounting-service, as pages meet them: each answers what it was told to, which its contract must
//! allow, and remembers what it was asked.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use test_support::{Answer, PublishedContract};
use url::Url;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, method, path, query_param},
};

use super::{Browser, signed_in};
use crate::support::TestApp;

const ACCOUNTING: &str = include_str!("../../../../../proto-docs/openapi/accounting.yaml");
const PROXY: &str = include_str!("../../../../../proto-docs/openapi/proxy.yaml");

/// Both.
pub(crate) struct Neighbours {
    pub(crate) accounting: Neighbour,
    pub(crate) proxy: Neighbour,
}

/// One of them. Until it is told otherwise it answers everything with 404.
pub(crate) struct Neighbour {
    server: MockServer,
    contract: Arc<PublishedContract>,
    status_of_mistakes: u16,
    /// What is said later counts first.
    priority: AtomicU8,
}

/// What it answers.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    body: Value,
    /// The page behind this one, as its address has it.
    next: Option<String>,
}

impl Neighbours {
    pub(crate) async fn start() -> Self {
        Self {
            accounting: Neighbour::start(ACCOUNTING, 400).await,
            proxy: Neighbour::proxy().await,
        }
    }

    /// Our service between them, with an administrator who is signed in.
    pub(crate) async fn administrator(&self) -> (TestApp, Browser) {
        administrator(TestApp::spawn_with(|config| {
            config.accounting_url = Some(self.accounting.url());
            config.proxy_url = Some(self.proxy.url());
        }))
        .await
    }
}

/// The same between neighbours that do not answer.
pub(crate) async fn alone() -> (TestApp, Browser) {
    administrator(TestApp::spawn_with(|config| {
        let nowhere = || Some("http://127.0.0.1:9".parse().unwrap());
        (config.accounting_url, config.proxy_url) = (nowhere(), nowhere());
    }))
    .await
}

async fn administrator(app: impl Future<Output = TestApp>) -> (TestApp, Browser) {
    let app = app.await;
    let (_, root) = signed_in(&app, "root1", "admin").await;
    (app, root)
}

impl Neighbour {
    async fn start(contract: &str, status_of_mistakes: u16) -> Self {
        Self {
            server: MockServer::start().await,
            contract: Arc::new(PublishedContract::read(contract)),
            status_of_mistakes,
            priority: AtomicU8::new(200),
        }
    }

    /// proxy-service.
    pub(crate) async fn proxy() -> Self {
        Self::start(PROXY, 422).await
    }

    fn url(&self) -> Url {
        self.server.uri().parse().unwrap()
    }

    /// Our service beside it.
    pub(crate) async fn app(&self) -> TestApp {
        TestApp::spawn_with(|config| config.proxy_url = Some(self.url())).await
    }

    /// The same with an administrator who is signed in.
    pub(crate) async fn administrator(&self) -> (TestApp, Browser) {
        administrator(self.app()).await
    }

    pub(crate) async fn answers(&self, verb: &str, address: &str, status: u16, body: Value) {
        self.gives(verb, address, None, Reply::new(status, body)).await;
    }

    /// A page of a list; `next` is the cursor of the one behind it.
    pub(crate) async fn lists(
        &self,
        address: &str,
        cursor: Option<&str>,
        rows: &[Value],
        next: Option<&str>,
    ) {
        self.gives("GET", address, cursor, Reply::page(json!(rows), next))
            .await;
    }

    /// A problem with this code.
    pub(crate) async fn refuses(&self, verb: &str, address: &str, status: u16, code: &str) {
        self.gives(verb, address, None, Reply::problem(status, code))
            .await;
    }

    /// That a member is wrong.
    pub(crate) async fn finds_wrong(&self, verb: &str, address: &str, field: &str, message: &str) {
        let mut reply = Reply::problem(self.status_of_mistakes, "validation_failed");
        reply.body["errors"] = json!([{ "field": field, "message": message }]);
        self.gives(verb, address, None, reply).await;
    }

    async fn gives(&self, verb: &str, address: &str, cursor: Option<&str>, reply: Reply) {
        reply.check(&self.contract, verb, address);
        let response = reply.response(address);
        let mock = Mock::given(method(verb)).and(path(address));
        let mock = match cursor {
            Some(cursor) => mock.and(query_param("cursor", cursor)),
            None => mock.and(any()),
        };
        mock.respond_with(response)
            .with_priority(self.first())
            .mount(&self.server)
            .await;
    }

    /// What `reply` says to each request.
    pub(crate) async fn replies(
        &self,
        verb: &'static str,
        address: &'static str,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) {
        let contract = Arc::clone(&self.contract);
        let respond = move |request: &Request| {
            let reply = reply(request);
            reply.check(&contract, verb, address);
            reply.response(address)
        };
        Mock::given(method(verb))
            .and(path(address))
            .respond_with(respond)
            .with_priority(self.first())
            .mount(&self.server)
            .await;
    }

    fn first(&self) -> u8 {
        self.priority.fetch_sub(1, Ordering::Relaxed)
    }

    /// From now on it knows of nothing that it was told or asked.
    pub(crate) async fn forgets(&self) {
        self.server.reset().await;
    }

    /// Whether nobody has asked it anything.
    pub(crate) async fn is_unasked(&self) -> bool {
        self.server.received_requests().await.unwrap().is_empty()
    }

    /// Everything that it was asked by this verb, the first first.
    pub(crate) async fn asked(&self, verb: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter()
            .filter(|request| request.method.as_str() == verb)
            .collect()
    }

    /// The same at this address.
    pub(crate) async fn asked_at(&self, verb: &str, address: &str) -> Vec<Request> {
        let mut asked = self.asked(verb).await;
        asked.retain(|request| request.url.path() == address);
        asked
    }

    /// The address and the body of the last of them.
    pub(crate) async fn last(&self, verb: &str) -> (String, Value) {
        let asked = self.asked(verb).await;
        let last = asked.last().unwrap();
        let body = serde_json::from_slice(&last.body).unwrap_or_default();
        (last.url.path().to_owned(), body)
    }
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        let next = None;
        Self { status, body, next }
    }

    /// A page of a list; `next` is the cursor of the one behind it.
    pub(crate) fn page(rows: Value, next: Option<&str>) -> Self {
        Self {
            next: next.map(ToOwned::to_owned),
            ..Self::new(200, rows)
        }
    }

    /// A problem with this code.
    pub(crate) fn problem(status: u16, code: &str) -> Self {
        let detail = format!("what {code} means");
        Self::new(
            status,
            json!({
                "type": format!("urn:flowgate:problem:{code}"), "title": "No", "status": status, "detail": detail,
                "code": code, "request_id": "r", "error": detail, "message": detail,
            }),
        )
    }

    fn kind(&self) -> &'static str {
        if self.status >= 400 {
            "application/problem+json"
        } else {
            "application/json"
        }
    }

    fn text(&self) -> String {
        if self.status == 204 {
            String::new()
        } else {
            self.body.to_string()
        }
    }

    fn response(&self, address: &str) -> ResponseTemplate {
        let mut response = ResponseTemplate::new(self.status);
        if self.status != 204 {
            response = response.set_body_raw(self.text(), self.kind());
        }
        match &self.next {
            Some(next) => {
                let link = format!("<{address}?limit=50&cursor={next}>; rel=\"next\"");
                response.insert_header("link", link.as_str())
            }
            None => response,
        }
    }

    /// Fails the test where the service could not answer so.
    #[track_caller]
    fn check(&self, contract: &PublishedContract, verb: &str, address: &str) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", self.kind().parse().unwrap());
        for name in ["retry-after", "www-authenticate"] {
            headers.insert(name, "1".parse().unwrap());
        }
        let answer = Answer {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers,
            text: self.text(),
            body: self.body.clone(),
        };
        let verb = Method::from_bytes(verb.as_bytes()).unwrap();
        let checked = contract.check(&verb, address, &answer);
        assert_eq!(checked, Ok(()), "{verb} {address}: {}", self.body);
    }
}

pub(crate) fn json_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

pub(crate) fn key_of(request: &Request) -> String {
    request.headers["idempotency-key"].to_str().unwrap().to_owned()
}

/// A parameter of its address.
pub(crate) fn parameter(request: &Request, name: &str) -> Option<String> {
    let mut pairs = request.url.query_pairs();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// What a hidden field of the page holds.
#[track_caller]
pub(crate) fn hidden(html: &str, name: &str) -> String {
    let mark = format!(r#"name="{name}" value=""#);
    let (_, after) = html
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no {name}: {html}"));
    after.split('"').next().unwrap().to_owned()
}
