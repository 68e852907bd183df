//! The three services in one process, wired to each other by address, with databases and a Flowise of their own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on stops where it is"
)]

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use common_config::Env;
use common_http::{Clock, Lifecycle};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl as _;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Answer, Client, REFRESH_SECRET, SERVICE_SECRET, TestMongo, TestPostgres};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    flowise::{Options, StandInFlowise, chatflow},
    mailbox,
    person::Person,
};

/// The administrator that auth-service makes at its first start.
pub const ADMIN: (&str, &str, &str) = ("admin", "admin@example.com", "keeper of the keys 7");

/// The password of everybody a test creates.
pub const PASSWORD: &str = "correct horse battery";

/// How long a test waits for something that has to come about; it fails then, so that it ends.
const PATIENCE: Duration = Duration::from_secs(90);

/// One running service.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its life.
    pub lifecycle: Lifecycle,
    client: Client,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    /// A client without a token, which holds the service to its contract.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it as SIGTERM does, and waits until it has ended.
    pub async fn stop(self) {
        self.lifecycle.stop();
        self.running
            .await
            .expect("the service does not panic")
            .expect("the service ends well");
    }
}

macro_rules! start {
    ($service:ident, $variables:expr, $adjust:expr) => {{
        let env = Env::from_pairs($variables);
        let mut config = $service::Config::from_env(&env).unwrap_or_else(|_| panic!("{:?}", env.mistakes()));
        $adjust(&mut config);
        let app = Box::pin($service::App::build(config))
            .await
            .expect("the service can be built");
        let (address, lifecycle) = (app.address(), app.lifecycle());
        Service {
            address,
            lifecycle,
            client: Client::new(format!("http://{address}")).checking($service::CONTRACT),
            running: tokio::spawn(app.run()),
        }
    }};
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct SessionId {
    #[diesel(sql_type = Text)]
    session_id: String,
}

/// Everything, running.
#[derive(Debug)]
pub struct Platform {
    /// Who you are.
    pub auth: Service,
    /// The money.
    pub accounting: Service,
    /// The conversation.
    pub proxy: Service,
    /// Flowise's stand-in.
    pub flowise: StandInFlowise,
    /// Its conversation chain, which echoes the question.
    pub chatflow_id: String,
    /// Where mails arrive.
    pub mail: PathBuf,
    mongo: TestMongo,
    postgres: TestPostgres,
    proxy_variables: Vec<(String, String)>,
    wishes: Wishes,
}

/// What a test wants otherwise than usual.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Further variables for the proxy.
    pub proxy_variables: Vec<(String, String)>,
    /// A file of private keys that sign people's tokens; then nobody has a shared secret for them.
    pub key_file: Option<PathBuf>,
    /// The clock of all three services.
    pub clock: Clock,
}

impl Wishes {
    /// What a service that checks people's tokens is told to do so.
    fn keys(&self, auth: &Service) -> Vec<(String, String)> {
        match self.key_file {
            None => pairs(&[("JWT_ACCESS_SECRET", ACCESS_SECRET)]),
            Some(_) => pairs(&[("AUTH_JWKS_URL", &format!("{}/.well-known/jwks.json", auth.url()))]),
        }
    }
}

impl Platform {
    /// Starts everything, with the chatflows read from Flowise.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further variables for the proxy.
    pub async fn start_with(proxy_variables: &[(&str, &str)]) -> Self {
        let proxy_variables = pairs(proxy_variables);
        Self::start_as(Wishes {
            proxy_variables,
            ..Wishes::default()
        })
        .await
    }

    /// The same with everything that a test wants otherwise.
    pub async fn start_as(wishes: Wishes) -> Self {
        let mongo = TestMongo::create().await;
        let postgres = TestPostgres::create("empty", async |_: &str| {}).await;
        let flowise = StandInFlowise::start(&Options::default()).expect("the stand-in can listen");
        let mail = std::env::temp_dir().join(format!("flowgate-mail-{}", Uuid::new_v4().simple()));

        let auth = Self::start_auth(&mongo, &mail, &wishes, &[]).await;
        let accounting = Self::start_accounting_on("0", &postgres, &auth, &wishes).await;
        let mut variables = common(&[
            ("MONGODB_URI", &mongo.uri),
            ("MONGODB_DATABASE_NAME", &mongo.name),
        ]);
        variables.extend(pairs(&[
            ("EXTERNAL_AUTH_URL", &auth.url()),
            ("FLOWISE_API_URL", &flowise.url()),
            ("ENABLE_CHATFLOW_SYNC", "false"),
        ]));
        variables.extend(wishes.keys(&auth));
        variables.extend(wishes.proxy_variables.clone());
        let proxy = Self::start_proxy(&variables, &accounting.url(), &wishes.clock).await;
        let platform = Self {
            auth,
            accounting,
            proxy,
            flowise,
            chatflow_id: chatflow::CHAT.to_owned(),
            mail,
            mongo,
            postgres,
            proxy_variables: variables,
            wishes,
        };
        platform.sync_chatflows().await;
        platform
    }

    async fn start_auth(
        mongo: &TestMongo,
        mail: &std::path::Path,
        wishes: &Wishes,
        more: &[(&str, &str)],
    ) -> Service {
        let mut variables = common(&[
            (
                "MONGODB_URI",
                &mongo.uri.replace(&mongo.name, &format!("{}_auth", mongo.name)),
            ),
            ("JWT_REFRESH_SECRET", REFRESH_SECRET),
            ("BOOTSTRAP_ADMIN_USERNAME", ADMIN.0),
            ("BOOTSTRAP_ADMIN_EMAIL", ADMIN.1),
            ("BOOTSTRAP_ADMIN_PASSWORD", ADMIN.2),
        ]);
        variables.push(("MAIL_DIR".to_owned(), mail.display().to_string()));
        match &wishes.key_file {
            None => variables.extend(pairs(&[("JWT_ACCESS_SECRET", ACCESS_SECRET)])),
            Some(path) => variables.push(("JWT_PRIVATE_KEY_FILE".to_owned(), path.display().to_string())),
        }
        for (name, value) in pairs(more) {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        start!(auth_service, variables, |config: &mut auth_service::Config| {
            config.bcrypt_cost = 4;
            config.clock = wishes.clock.clone();
        })
    }

    async fn start_accounting_on(
        port: &str,
        postgres: &TestPostgres,
        auth: &Service,
        wishes: &Wishes,
    ) -> Service {
        let mut variables = common(&[
            ("DATABASE_URL", &postgres.url),
            ("EXTERNAL_AUTH_URL", &auth.url()),
        ]);
        variables.extend(pairs(&[("PORT", port), ("DB_POOL_MAX", "4")]));
        variables.extend(wishes.keys(auth));
        start!(
            accounting_service,
            variables,
            |config: &mut accounting_service::Config| config.clock = wishes.clock.clone()
        )
    }

    async fn start_proxy(variables: &[(String, String)], accounting_url: &str, clock: &Clock) -> Service {
        let mut variables = variables.to_vec();
        variables.extend(pairs(&[("ACCOUNTING_SERVICE_URL", accounting_url)]));
        start!(proxy_service, variables, |config: &mut proxy_service::Config| {
            config.clock = clock.clone();
        })
    }

    /// A second auth-service on the same database, which knows where the other two are.
    pub async fn another_auth(&self) -> Service {
        self.auth_on("0").await
    }

    /// auth-service again, on the address it had.
    pub async fn restart_auth(&self) -> Service {
        self.auth_on(&self.auth.address.port().to_string()).await
    }

    async fn auth_on(&self, port: &str) -> Service {
        let (proxy, accounting) = (self.proxy.url(), self.accounting.url());
        let more = [
            ("PORT", port),
            ("PROXY_SERVICE_URL", proxy.as_str()),
            ("ACCOUNTING_SERVICE_URL", accounting.as_str()),
        ];
        Self::start_auth(&self.mongo, &self.mail, &self.wishes, &more).await
    }

    /// A second accounting-service on the same database.
    pub async fn another_accounting(&self) -> Service {
        Self::start_accounting_on("0", &self.postgres, &self.auth, &self.wishes).await
    }

    /// accounting-service again, on the address it had.
    pub async fn restart_accounting(&self) -> Service {
        let port = self.accounting.address.port().to_string();
        Self::start_accounting_on(&port, &self.postgres, &self.auth, &self.wishes).await
    }

    /// Takes Flowise away.
    pub async fn stop_flowise(&mut self) {
        let elsewhere = StandInFlowise::start(&Options::default()).expect("another stand-in can listen");
        std::mem::replace(&mut self.flowise, elsewhere).stop().await;
    }

    /// A second proxy-service on the same database.
    pub async fn another_proxy(&self) -> Service {
        let accounting_url = self.accounting.url();
        Self::start_proxy(&self.proxy_variables, &accounting_url, &self.wishes.clock).await
    }

    /// What a proxy-service in a process of its own needs to join in.
    pub fn proxy_environment(&self) -> Vec<(String, String)> {
        let mut variables = self.proxy_variables.clone();
        variables.extend(pairs(&[("ACCOUNTING_SERVICE_URL", &self.accounting.url())]));
        variables
    }

    /// The same, but for where something stands: `name` is a variable that holds an address.
    pub fn proxy_environment_with(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut variables = self.proxy_environment();
        for (name, value) in pairs(changes) {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        variables
    }

    /// Where accounting-service keeps its data.
    pub fn postgres(&self) -> &TestPostgres {
        &self.postgres
    }

    /// Where proxy-service keeps its data.
    pub fn mongo(&self) -> &TestMongo {
        &self.mongo
    }

    /// How many documents of a collection of proxy-service have this text in this member.
    pub async fn count_documents(&self, collection: &str, member: &str, value: impl Into<bson::Bson>) -> u64 {
        let documents = self.mongo.database.collection::<bson::Document>(collection);
        documents
            .count_documents(bson::doc! { member: value })
            .await
            .expect("MongoDB answers")
    }

    /// Writes a document into a collection of auth-service, as a process that died would have left it.
    pub async fn leave_in_auth(&self, collection: &str, document: bson::Document) {
        let name = format!("{}_auth", self.mongo.name);
        let database = self.mongo.database.client().database(&name);
        let documents = database.collection::<bson::Document>(collection);
        documents.insert_one(document).await.expect("MongoDB answers");
    }

    /// The administrator, signed in.
    pub async fn admin(&self) -> Person {
        Person::log_in(self, ADMIN.0, ADMIN.2).await
    }

    async fn sync_chatflows(&self) {
        let synced = self
            .admin()
            .await
            .proxy
            .post("/api/v1/admin/chatflows/sync", &json!({}))
            .await
            .expect(200);
        assert_eq!(synced.body["errors"], 0, "{}", synced.text);
    }

    /// Somebody new with these credits and the echoing chatflow, signed in.
    pub async fn chatter(&self, name: &str, credits: i64) -> Person {
        let admin = self.admin().await;
        let email = format!("{name}@example.com");
        let user =
            json!({ "username": name, "email": email, "password": PASSWORD, "skipVerification": true });
        let created = admin.auth.post("/api/admin/users", &user).await.expect(201);
        if credits > 0 {
            let grant = json!({ "userId": created.body["userId"], "credits": credits });
            admin
                .accounting
                .post("/api/credits/allocate", &grant)
                .await
                .expect(201);
        }
        let path = format!("/api/v1/admin/chatflows/{}/users", self.chatflow_id);
        admin
            .proxy
            .post(&path, &json!({ "email": email }))
            .await
            .expect(200);
        Person::log_in(self, name, PASSWORD).await
    }

    /// Waits until accounting-service has no open hold, and fails when that does not come about.
    pub async fn until_all_is_settled(&self) {
        self.until("every hold is settled", async || self.open_holds().await == 0)
            .await;
    }

    /// How many holds are open.
    pub async fn open_holds(&self) -> i64 {
        self.count("SELECT count(*) AS count FROM streaming_sessions WHERE status = 'open'")
            .await
    }

    /// What a query of one number, named `count`, says of the ledger's database.
    pub async fn count(&self, sql: &str) -> i64 {
        let mut connection = self.postgres.connect().await;
        diesel::sql_query(sql)
            .get_result::<Count>(&mut connection)
            .await
            .expect("the query is right")
            .count
    }

    /// The accounting session of the only open hold.
    pub async fn open_hold(&self) -> String {
        let mut connection = self.postgres.connect().await;
        let open = "SELECT session_id FROM streaming_sessions WHERE status = 'open'";
        diesel::sql_query(open)
            .get_result::<SessionId>(&mut connection)
            .await
            .expect("one hold is open")
            .session_id
    }

    /// Waits for a condition; a test that waits in vain fails with `what`.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("in vain: {what}"));
    }

    /// The text of a mail to this address, once it has arrived.
    pub async fn mail_to(&self, address: &str) -> String {
        let find = || mailbox::find(&self.mail, address, "");
        self.until("the mail arrives", async || find().is_some()).await;
        find().expect("it has arrived")
    }

    /// Checks the ledger's invariants as `accounting-service verify` does; its report when one is violated.
    pub async fn verify_ledger(&self) -> Result<(), String> {
        let mut report = Vec::new();
        let holds = accounting_service::verify::verify(
            &secrecy::SecretString::from(self.postgres.url.as_str()),
            &mut report,
        )
        .await;
        let report = String::from_utf8_lossy(&report).into_owned();
        if holds.expect("the ledger can be read") {
            Ok(())
        } else {
            Err(report)
        }
    }

    /// Asks any service anything as its administrator.
    pub async fn as_admin(&self, service: &Service, method: Method, path: &str, body: &Value) -> Answer {
        let admin = self.admin().await;
        let client = service.client().with_token(admin.access_token);
        client.send(client.request(method, path).json(body)).await
    }
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// What every service is told.
fn common(own: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut variables = pairs(&[
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("WORKERS", "1"),
        ("SHUTDOWN_GRACE_SECS", "10"),
        ("SERVICE_JWT_SECRET", SERVICE_SECRET),
    ]);
    variables.extend(pairs(own));
    variables
}
