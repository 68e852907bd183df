//! The service as tests see it: on a port, with a database of its own, between a fake Flowise and a fake accounting.

pub(crate) mod accounting;
pub(crate) mod files;
pub(crate) mod flowise;
pub(crate) mod http;

use std::{net::IpAddr, time::Duration};

use bson::{doc, oid::ObjectId};
use common_http::{Clock, Lifecycle, TrustedProxies};
use common_jwt::{AUDIENCE_DEFAULT, ISSUER_DEFAULT, Role};
use futures_util::TryStreamExt as _;
use proxy_service::{
    AdmissionLimits, App, CONTRACT, Config, FileLimits, LimitsConfig, N8nConfig, Upstream, WidgetConfig,
    domain::{day::DayZone, pace::Pace},
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Client, Person, SERVICE_SECRET, TestMongo, TestTokens};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use self::{accounting::FakeAccounting, flowise::FakeFlowise};

/// The chatflow everybody in these tests may use.
pub(crate) const FLOW: &str = "d4fd9c78-c25f-458a-89ed-5a4b53eb12cf";
/// What a turn on it costs.
pub(crate) const PRICE: i64 = 5;
/// A port nobody listens on.
pub(crate) const NOWHERE: u16 = 9;
/// The path the existing client uses.
pub(crate) const STORE: &str = "/api/v1/chat/predict/stream/store";

/// A running service.
pub(crate) struct TestApp {
    pub(crate) replica: Replica,
    pub(crate) config: Config,
    pub(crate) flowise: FakeFlowise,
    pub(crate) accounting: FakeAccounting,
    pub(crate) mongo: TestMongo,
    chatflow: ObjectId,
}

/// One process of the service, as far as one can be had within a test: a runtime of its own, which can be killed.
pub(crate) struct Replica {
    pub(crate) base: String,
    pub(crate) lifecycle: Lifecycle,
    runtime: Option<Runtime>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    pub(crate) async fn start(config: Config) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let app = runtime.spawn(App::build(config)).await.unwrap().unwrap();
        Self {
            base: format!("http://{}", app.address()),
            lifecycle: app.lifecycle(),
            running: runtime.spawn(app.run()),
            runtime: Some(runtime),
        }
    }

    /// Ends it in the middle of whatever it does, as SIGKILL would.
    pub(crate) fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Waits until it has stopped by itself.
    pub(crate) async fn has_stopped(&mut self) {
        (&mut self.running).await.unwrap().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) person: Person,
    pub(crate) client: Client,
}

impl TestApp {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    /// The service with a changed configuration.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Config)) -> Self {
        let mongo = TestMongo::create().await;
        let mut config = config(&mongo);
        change(&mut config);
        let flowise = FakeFlowise::start().await;
        let accounting = FakeAccounting::start(config.clock.clone()).await;
        for (url, address) in [
            (&mut config.flowise.url, flowise.server.address),
            (&mut config.accounting_url, accounting.server.address),
        ] {
            if url.port() != Some(NOWHERE) {
                *url = format!("http://{address}").parse().unwrap();
            }
        }
        let replica = Replica::start(config.clone()).await;
        let chatflow = doc! {
            "_id": ObjectId::new(),
            "flowise_id": FLOW,
            "name": "A chatflow",
            "sync_status": "active",
            "price": PRICE,
            "override_config_allowed": ["temperature"],
        };
        let id = chatflow.get_object_id("_id").unwrap();
        mongo
            .database
            .collection("Chatflow")
            .insert_one(chatflow)
            .await
            .unwrap();
        Self {
            replica,
            config,
            flowise,
            accounting,
            mongo,
            chatflow: id,
        }
    }

    /// Somebody who may use the chatflow.
    pub(crate) async fn user(&self, name: &str) -> User {
        let user = self.stranger(name);
        let assignment = doc! {
            "external_user_id": &user.person.id,
            "chatflow_id": self.chatflow.to_hex(),
            "is_active": true,
        };
        self.mongo
            .database
            .collection("UserChatflow")
            .insert_one(assignment)
            .await
            .unwrap();
        user
    }

    /// Somebody who may not.
    pub(crate) fn stranger(&self, name: &str) -> User {
        let person = Person::new(name, Role::EndUser);
        let token = TestTokens::at(self.config.clock.now()).access(&person);
        let client = Client::new(&self.replica.base)
            .checking(CONTRACT)
            .with_token(token);
        User { person, client }
    }

    /// What a user says to another process of the service.
    pub(crate) fn at(&self, replica: &Replica, user: &User) -> User {
        let token = TestTokens::at(self.config.clock.now()).access(&user.person);
        User {
            person: user.person.clone(),
            client: Client::new(&replica.base).checking(CONTRACT).with_token(token),
        }
    }

    /// Sets members of the chatflow.
    pub(crate) async fn set_chatflow(&self, members: bson::Document) {
        let chatflows = self.mongo.database.collection::<bson::Document>("Chatflow");
        chatflows
            .update_one(doc! { "_id": self.chatflow }, doc! { "$set": members })
            .await
            .unwrap();
    }

    /// The stored messages, oldest first.
    pub(crate) async fn messages(&self) -> Vec<bson::Document> {
        let messages = self.mongo.database.collection::<bson::Document>("chat_messages");
        let found = messages
            .find(doc! {})
            .sort(doc! { "created_at": 1 })
            .await
            .unwrap();
        found.try_collect().await.unwrap()
    }

    /// The one turn there is, as the database has it.
    pub(crate) async fn turn(&self) -> bson::Document {
        let turns = self.mongo.database.collection::<bson::Document>("turns");
        assert_eq!(turns.count_documents(doc! {}).await.unwrap(), 1);
        turns.find_one(doc! {}).await.unwrap().unwrap()
    }

    /// How many documents a collection has.
    pub(crate) async fn count(&self, collection: &str) -> u64 {
        let collection = self.mongo.database.collection::<bson::Document>(collection);
        collection.count_documents(doc! {}).await.unwrap()
    }

    /// Waits until the first question of the only conversation stands; the two are written side by side.
    pub(crate) async fn question_is_stored(&self) {
        for collection in ["chat_sessions", "chat_messages"] {
            eventually("both are written", async || self.count(collection).await == 1).await;
        }
    }

    /// Waits until every turn is settled and out of the outbox.
    pub(crate) async fn is_quiet(&self) {
        let turns = self.mongo.database.collection::<bson::Document>("turns");
        let open = doc! { "state": { "$ne": "settled" } };
        let quiet = async || turns.count_documents(open.clone()).await.unwrap() == 0;
        eventually("every turn is settled", quiet).await;
        self.accounting.is_settled().await;
    }

    /// One line of `/metrics`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> i64 {
        let client = Client::new(&self.replica.base).checking(CONTRACT);
        let text = client.get("/metrics").await.text;
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && line.contains(label));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_default()
    }
}

impl User {
    /// A body for the chatflow with these members changed.
    pub(crate) fn body(changes: &Value) -> Value {
        let mut body = json!({ "question": "hello world", "chatflow_id": FLOW, "sessionId": "" });
        body.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        body
    }

    /// Begins a stored stream.
    pub(crate) async fn begin(&self, changes: &Value) -> Stream {
        let request = self
            .client
            .request(Method::POST, STORE)
            .json(&Self::body(changes));
        Stream::new(request.send().await.unwrap())
    }

    /// Runs a stored stream to its end.
    pub(crate) async fn chat(&self, changes: &Value) -> Vec<Value> {
        self.begin(changes).await.rest().await
    }
}

/// Events on their way.
pub(crate) struct Stream {
    pub(crate) response: Response,
    pub(crate) text: String,
}

impl Stream {
    #[track_caller]
    pub(crate) fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    /// Reads until `enough` of the text, or the end.
    pub(crate) async fn until(&mut self, enough: impl Fn(&str) -> bool) {
        while !enough(&self.text) {
            match self.response.chunk().await.unwrap() {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return,
            }
        }
    }

    /// Reads to the end and gives all events.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        self.until(|_| false).await;
        events(&self.text)
    }
}

/// The events of a stream of JSON lines.
#[track_caller]
pub(crate) fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// What the events are called.
pub(crate) fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

/// The text of all tokens.
pub(crate) fn text_of(events: &[Value]) -> String {
    let tokens = events.iter().filter(|event| event["event"] == "token");
    tokens.map(|event| event["data"].as_str().unwrap()).collect()
}

/// Waits until `is_so`; fails the test when it does not come to be.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn config(mongo: &TestMongo) -> Config {
    let nowhere: url::Url = "http://127.0.0.1:1".parse().unwrap();
    Config {
        host: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        workers: 1,
        mongodb_uri: mongo.uri.clone().into(),
        mongodb_database: mongo.name.clone(),
        jwt_access_secret: Some(ACCESS_SECRET.into()),
        jwt_access_secret_previous: None,
        auth_jwks_url: None,
        jwt_issuer: ISSUER_DEFAULT.to_owned(),
        jwt_audience: AUDIENCE_DEFAULT.to_owned(),
        service_jwt_secret: SERVICE_SECRET.into(),
        auth_url: nowhere.clone(),
        accounting_url: nowhere.clone(),
        flowise: Upstream {
            url: nowhere,
            api_key: Some("flowise-key".into()),
            connect_timeout: Duration::from_secs(2),
            header_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(20),
            event_bytes_max: 1 << 20,
            admission: AdmissionLimits::default(),
        },
        n8n: N8nConfig::default(),
        chatflow_sync: false,
        chatflow_sync_interval: Duration::from_hours(1),
        chatflow_price: 1,
        daily_turns_per_user_max: 0,
        day_zone: DayZone::default(),
        limits: no_limits(),
        prompt_chars_max: 1_000,
        upload_memory_bytes_max: 256 << 20,
        file_limits: FileLimits {
            files_max: 100,
            bytes_max: 100 << 20,
        },
        history_retention: None,
        running_turns_per_user_max: 3,
        heartbeat: Duration::from_secs(20),
        abandoned_turn_drain: Duration::from_secs(20),
        turn_lease: Duration::from_secs(30),
        streaming_max: Duration::from_mins(1),
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::from_secs(10),
        cors_origins: vec!["*".to_owned()],
        trusted_proxies: TrustedProxies::default(),
        public_base_url: None,
        widget: WidgetConfig::default(),
        log_level: None,
        clock: Clock::System,
    }
}

/// Nobody is slowed, and nothing is shared.
pub(crate) fn no_limits() -> LimitsConfig {
    let free = Pace { per_sec: 0, burst: 1 };
    LimitsConfig {
        address: free,
        user: free,
        redis_url: None,
    }
}
