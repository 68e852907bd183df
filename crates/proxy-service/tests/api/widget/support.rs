//! Embeds and their visitors, as tests see them.

use std::sync::{Arc, Mutex};

use bson::doc;
use chrono::{DateTime, TimeDelta, Utc};
use common_jwt::Role;
use proxy_service::{
    CONTRACT, Config, WidgetConfig,
    domain::{
        embed::{Backend, Budget, Embed, MessageLimits, RotatedKey, Webhook},
        origin::Origin,
        page_ticket::PageTickets,
    },
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::{Answer, Client, Person, TestTokens};

use crate::turns::support::{
    FLOW, TestApp,
    http::{Asked, Server, Step, chunk, chunked, last_chunk, whole},
};

/// Who pays.
pub(crate) const OWNER: &str = "5f0c6a527d0e4a1b9c552b1f";
/// A site that may show the embed.
pub(crate) const SITE: &str = "https://www.school.example";
/// One that may not.
pub(crate) const FOREIGN: &str = "https://evil.example";
/// Signs tokens of visitors.
pub(crate) const TOKEN_SECRET: &str = "Vb7kQ2mX9tR4wZ1pL6sD3fG8hJ5nC0yA";
/// Signs what n8n gets.
pub(crate) const N8N_SECRET: &str = "Kx4nP9rT2vY7bM1cW6qE3zU8sF5hG0jL";
/// What n8n wants to see.
pub(crate) const N8N_KEY: &str = "the-key-of-n8n";
/// What an answer costs.
pub(crate) const PRICE: i64 = 3;

/// An n8n.
#[derive(Clone, Debug)]
pub(crate) struct FakeN8n {
    pub(crate) server: Server,
    answer: Arc<Mutex<Vec<Step>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeN8n {
    pub(crate) async fn start() -> Self {
        let answer = Arc::new(Mutex::new(lines(&["Hello", " ", "world"])));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answering, hearing) = (answer.clone(), asked.clone());
        let server = Server::start(move |asked| {
            hearing.lock().unwrap().push(asked);
            let steps = answering.lock().unwrap().clone();
            async move { steps }
        })
        .await;
        Self {
            server,
            answer,
            asked,
        }
    }

    /// What it answers from now on.
    pub(crate) fn answer(&self, steps: Vec<Step>) {
        *self.answer.lock().unwrap() = steps;
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// A streamed answer of one node.
pub(crate) fn lines(items: &[&str]) -> Vec<Step> {
    let mut text = String::from("{\"type\":\"begin\",\"metadata\":{\"nodeName\":\"AI Agent\"}}\n");
    for item in items {
        text +=
            &json!({ "type": "item", "content": item, "metadata": { "nodeName": "AI Agent" } }).to_string();
        text.push('\n');
    }
    text += "{\"type\":\"end\",\"metadata\":{\"nodeName\":\"AI Agent\"}}\n";
    vec![
        chunked("application/json; charset=utf-8"),
        chunk(text.as_bytes()),
        last_chunk(),
    ]
}

/// An answer that is refused.
pub(crate) fn refused(status: u16) -> Vec<Step> {
    whole(status, "text/plain", "no")
}

/// An embed of the operator's, with n8n behind it, that the widget of other platforms can use.
pub(crate) fn default_embed(webhook: &str) -> Embed {
    Embed {
        id: "default".to_owned(),
        name: "Default".to_owned(),
        owner_id: OWNER.to_owned(),
        allowed_origins: vec![SITE.parse().unwrap()],
        backend: Backend::N8n(Webhook {
            url: webhook.parse().unwrap(),
            api_key: Some(N8N_KEY.into()),
            shown_nodes: Vec::new(),
            previous_api_key: None,
        }),
        price: PRICE,
        limits: MessageLimits::default(),
        budget: Budget::default(),
        theme: [].into(),
        texts: [(
            "en".to_owned(),
            [("messages.unavailable".to_owned(), "We are closed.".to_owned())].into(),
        )]
        .into(),
        languages: vec!["en".to_owned()],
        requires_ticket: false,
        is_active: true,
        app_key: RotatedKey::default(),
        is_configured: true,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

/// The service with the widget.
pub(crate) struct WidgetApp {
    pub(crate) app: TestApp,
    pub(crate) n8n: FakeN8n,
}

impl WidgetApp {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_, _| {}).await
    }

    /// With a changed embed and configuration.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Embed, &mut Config)) -> Self {
        let n8n = FakeN8n::start().await;
        let origin = format!("http://{}", n8n.server.address);
        let mut embed = default_embed(&format!("{origin}/webhook/chat"));
        let app = TestApp::spawn_with(|config| {
            config.n8n.token_secret = Some(N8N_SECRET.into());
            config.widget = WidgetConfig {
                token_secret: Some(TOKEN_SECRET.into()),
                n8n_origins: vec![Origin::parse(&origin).unwrap()],
                ..WidgetConfig::default()
            };
            change(&mut embed, config);
            config.widget.default_embed = Some(embed);
        })
        .await;
        Self { app, n8n }
    }

    /// With Flowise behind the embed.
    pub(crate) async fn spawn_with_flowise() -> Self {
        Self::spawn_with(|embed, _| {
            embed.backend = Backend::Flowise {
                chatflow_id: FLOW.to_owned(),
            };
        })
        .await
    }

    /// Somebody whose every answer has to keep the contract.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.app.replica.base).checking(CONTRACT)
    }

    /// An administrator.
    pub(crate) fn admin(&self) -> Client {
        let person = Person::new("ada", Role::Admin);
        self.client()
            .with_token(TestTokens::at(self.app.config.clock.now()).access(&person))
    }

    /// The origin of our own pages.
    pub(crate) fn own(&self) -> String {
        self.app.replica.base.clone()
    }

    /// A request of a page of ours.
    pub(crate) fn request_of_our_page(&self, method: Method, path: &str) -> RequestBuilder {
        let own = self.own();
        self.client()
            .request(method, path)
            .header("referer", format!("{own}/widget/modern-widget.html?theme=dark"))
            .header("origin", own)
    }

    /// A visitor on a page of ours.
    pub(crate) async fn visitor(&self) -> Visitor<'_> {
        let answer = self
            .create(self.request_of_our_page(Method::POST, "/api/v1/session/create"))
            .await;
        self.visitor_of(&answer.expect(200))
    }

    pub(crate) async fn create(&self, request: RequestBuilder) -> Answer {
        let body =
            json!({ "origin_domain": "localhost", "page_url": "https://www.school.example/contact#top" });
        self.client().send(request.json(&body)).await
    }

    pub(crate) fn visitor_of(&self, answer: &Answer) -> Visitor<'_> {
        Visitor {
            app: self,
            cookie: cookie_of(answer),
            token: answer.body["internal_token"].as_str().unwrap().to_owned(),
            session_id: answer.body["session_id"].as_str().unwrap().to_owned(),
        }
    }

    /// A ticket of a page within the site, minted at `now`.
    pub(crate) fn ticket(embed: &str, parent: Option<&str>, now: DateTime<Utc>) -> String {
        let parent = parent.map(|parent| Origin::parse(parent).unwrap());
        Self::tickets().mint(embed, parent.as_ref(), now).unwrap()
    }

    fn tickets() -> PageTickets {
        let sealing = common_sealing::Sealing::new(&TOKEN_SECRET.into()).unwrap();
        let key = sealing.hash("widget", "page tickets");
        PageTickets::new(key.as_bytes(), TimeDelta::seconds(60))
    }

    /// Documents of a collection that match.
    pub(crate) async fn count(&self, collection: &str) -> u64 {
        self.app.count(collection).await
    }

    /// The documents of a collection, as text.
    pub(crate) async fn dump(&self, collection: &str) -> String {
        use futures_util::TryStreamExt as _;
        let collection = self.app.mongo.database.collection::<bson::Document>(collection);
        let found: Vec<_> = collection
            .find(doc! {})
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        format!("{found:?}")
    }
}

/// Somebody with a session.
pub(crate) struct Visitor<'a> {
    pub(crate) app: &'a WidgetApp,
    /// `name=value`.
    pub(crate) cookie: String,
    pub(crate) token: String,
    pub(crate) session_id: String,
}

impl Visitor<'_> {
    /// A request of their page.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app
            .request_of_our_page(method, path)
            .header("cookie", &self.cookie)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.app.client().send(self.request(Method::GET, path)).await
    }

    /// Says something and waits for the whole answer.
    pub(crate) async fn say(&self, message: &str) -> Answer {
        let request = self.request(Method::POST, "/api/v1/chat/message");
        self.app
            .client()
            .send(request.json(&json!({ "message": message })))
            .await
    }

    /// Says something and reads the events.
    pub(crate) async fn stream(&self, body: &Value) -> Answer {
        let request = self.request(Method::POST, "/api/v1/chat/stream");
        self.app.client().send(request.json(body)).await
    }
}

/// The cookie an answer sets, without its attributes.
#[track_caller]
pub(crate) fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// What stands in the `data:` lines of a stream.
pub(crate) fn data_of(stream: &str) -> Vec<String> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(str::to_owned).collect()
}

/// The text of all items, of a stream that keeps the widget's rules.
#[track_caller]
pub(crate) fn text_of(stream: &str) -> String {
    let data = data_of(stream);
    let (done, rest) = data.split_last().unwrap();
    assert_eq!(done, "[DONE]", "{stream}");
    let events: Vec<Value> = rest
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(events.first().unwrap()["type"], "begin", "{stream}");
    assert_eq!(events.last().unwrap()["type"], "end", "{stream}");
    let items = events.iter().filter(|event| event["type"] == "item");
    items.map(|item| item["content"].as_str().unwrap()).collect()
}
