//! Signing in by way of a provider, with a stand-in that can lie.

mod accounts;
mod lies;
mod linking;
mod providers;
mod sign_in;

use std::sync::LazyLock;

use auth_service::CONTRACT;
use reqwest::{Method, redirect::Policy};
use serde_json::{Value, json};
use test_support::{Answer, PublishedContract};
use url::Url;

use crate::{
    oidc::{CLIENT_ID, CLIENT_SECRET, Lies, StandInProvider, Stranger},
    support::{SignedIn, TestApp, cookies_of, text},
};

/// Where people reach the platform, as the tests' configuration has it.
const PUBLIC: &str = "https://chat.example.com";

static PUBLISHED: LazyLock<PublishedContract> = LazyLock::new(|| PublishedContract::read(CONTRACT));

/// A service, a provider it knows as `school`, and the admin who added it.
pub(crate) struct School {
    pub(crate) app: TestApp,
    pub(crate) idp: StandInProvider,
    pub(crate) root: SignedIn,
    pub(crate) provider_id: String,
}

/// A browser: it keeps one cookie, and follows no redirect by itself.
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    cookie: Option<String>,
}

impl School {
    pub(crate) async fn open() -> Self {
        let app = TestApp::spawn().await;
        let idp = StandInProvider::start(app.clock.clone());
        Self::with(app, idp).await
    }

    pub(crate) async fn with(app: TestApp, idp: StandInProvider) -> Self {
        let root = app.user("root1", "admin").await;
        let body = json!({
            "name": "school", "display_name": "Our school", "issuer": idp.issuer(),
            "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        });
        let provider_id = add_provider(&root, &body).await;
        Self {
            app,
            idp,
            root,
            provider_id,
        }
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            app: &self.app,
            cookie: None,
        }
    }

    /// Changes the provider.
    pub(crate) async fn edit(&self, edit: &Value) -> Answer {
        let path = format!("/api/v1/admin/oauth-providers/{}", self.provider_id);
        self.root.client.put(&path, edit).await
    }

    /// Somebody signs in who never did.
    pub(crate) async fn arrives(&self, subject: &str, email: &str) -> Answer {
        self.idp.becomes(Stranger::new(subject, email));
        self.browser().sign_in("school").await
    }

    /// The identities that are linked to somebody.
    pub(crate) async fn identities_of(&self, user_id: &str) -> Vec<Value> {
        let path = format!("/api/v1/users/{user_id}/oauth-accounts");
        let answer = self.root.client.get(&path).await.expect(200);
        answer.body["oauth_accounts"].as_array().unwrap().clone()
    }

    /// Links the identity `subject` to somebody who is signed in.
    pub(crate) async fn link(&self, user: &SignedIn, subject: &str) -> Answer {
        self.idp.becomes(Stranger::new(subject, "elsewhere@example.org"));
        let url = begin_link(user, "school").await;
        let mut back = self.browser().visit(&url).await;
        back.set_path("/api/v1/auth/oauth/school/link");
        user.client.get(&path_of(&back)).await
    }

    pub(crate) fn lies(&self, change: impl FnOnce(&mut Lies)) {
        let mut lies = Lies::default();
        change(&mut lies);
        self.idp.lies(lies);
    }
}

pub(crate) async fn add_provider(root: &SignedIn, body: &Value) -> String {
    let made = root
        .client
        .post("/api/v1/admin/oauth-providers", body)
        .await
        .expect(201);
    text(&made.body["provider"]["id"])
}

pub(crate) async fn begin_link(user: &SignedIn, provider: &str) -> String {
    let path = format!("/api/v1/auth/oauth/connect/{provider}");
    let answer = user.client.post(&path, &json!({})).await.expect(200);
    text(&answer.body["authorization_url"])
}

pub(crate) fn path_of(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The value of a parameter of an address.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

/// The same address with another value of a parameter; without it, when there is none.
pub(crate) fn with_parameter(url: &Url, name: &str, value: Option<&str>) -> Url {
    let others: Vec<_> = url
        .query_pairs()
        .into_owned()
        .filter(|(key, _)| key != name)
        .collect();
    let mut changed = url.clone();
    changed
        .query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .extend_pairs(value.map(|value| (name, value)));
    changed
}

impl Browser<'_> {
    /// Asks where to go, and keeps the cookie.
    pub(crate) async fn begin(&mut self, provider: &str, query: &str) -> String {
        let answer = self
            .get(&format!("/api/v1/auth/oauth/{provider}/authorize{query}"))
            .await
            .expect(200);
        self.keep(&answer);
        text(&answer.body["authorization_url"])
    }

    /// Keeps the cookie of an answer.
    pub(crate) fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = cookies_of(answer).first() {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
    }

    /// Goes to the provider; returns where that sends it.
    pub(crate) async fn visit(&self, url: &str) -> Url {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let answer = http.get(url).send().await.unwrap();
        let location = answer.headers()["location"].to_str().unwrap();
        location.parse().unwrap()
    }

    /// There, and to where that sends it.
    pub(crate) async fn go(&mut self, provider: &str) -> Url {
        let url = self.begin(provider, "").await;
        self.visit(&url).await
    }

    /// Goes to a path of ours.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        self.send(Method::GET, http.get(format!("{}{path}", self.app.base)), path)
            .await
    }

    /// Sends JSON to a path of ours.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let request = http.post(format!("{}{path}", self.app.base)).json(body);
        self.send(Method::POST, request, path).await
    }

    async fn send(&self, method: Method, mut request: reqwest::RequestBuilder, path: &str) -> Answer {
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        let answer = Answer {
            status,
            headers,
            text,
            body,
        };
        let path = path.split('?').next().unwrap();
        PUBLISHED.check(&method, path, &answer).unwrap();
        answer
    }

    /// Comes back from the provider.
    pub(crate) async fn come_back(&self, url: &Url) -> Answer {
        assert!(url.as_str().starts_with(PUBLIC), "{url}");
        self.get(&path_of(url)).await
    }

    /// All the way there and back.
    pub(crate) async fn sign_in(&mut self, provider: &str) -> Answer {
        let back = self.go(provider).await;
        self.come_back(&back).await
    }
}
