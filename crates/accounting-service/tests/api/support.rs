//! A running service with a database of its own, and people who use it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use accounting_service::{
    App, CONTRACT, Config, domain::pace::Pace, service::AllocationCaps, store::migrate, verify::verify,
};
use chrono::{DateTime, TimeDelta, Utc};
use common_http::{Clock, Lifecycle, TrustedProxies};
use common_jwt::Role;
use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::RunQueryDsl as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use test_support::{ACCESS_SECRET, Answer, Client, Person, SERVICE_SECRET, TestPostgres, TestTokens};

/// A service under test.
pub(crate) struct TestApp {
    pub(crate) client: Client,
    pub(crate) database: Arc<TestPostgres>,
    pub(crate) clock: Clock,
    lifecycle: Lifecycle,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Words {
    #[diesel(sql_type = diesel::sql_types::Text)]
    text: String,
}

/// What every test begins with: nothing listens where auth-service should be, and holds are swept at once.
pub(crate) fn config(database_url: &str, clock: Clock) -> Config {
    Config {
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url: SecretString::from(database_url),
        db_pool_max: 4,
        jwt_access_secret: Some(SecretString::from(ACCESS_SECRET)),
        jwt_access_secret_previous: None,
        auth_jwks_url: None,
        jwt_issuer: common_jwt::ISSUER_DEFAULT.to_owned(),
        jwt_audience: common_jwt::AUDIENCE_DEFAULT.to_owned(),
        service_jwt_secret: SecretString::from(SERVICE_SECRET),
        auth_url: "http://127.0.0.1:9".to_owned(),
        cors_origins: vec!["https://chat.example".to_owned()],
        log_level: None,
        hold_ttl: Duration::from_mins(15),
        hold_sweep: Duration::from_millis(20),
        open_holds_max: 100,
        ledger_queue_max: 4_096,
        ledger_batch_max: 64,
        webhook: None,
        rule_seeds: Vec::new(),
        rules_sweep: Duration::from_millis(50),
        supervisor_caps: AllocationCaps {
            at_once: 100_000,
            a_day: 1_000_000,
        },
        user_pace: Pace {
            per_sec: 0,
            burst: 2_000,
        },
        verify_every: None,
        workers: Some(1),
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::from_secs(5),
        trusted_proxies: TrustedProxies::default(),
        clock,
    }
}

/// Names the template after what the migrations say, so that one of older migrations is not used.
fn template() -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
    let mut steps: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|step| step.unwrap().path())
        .collect();
    steps.sort();
    let mut hash = Sha256::new();
    for step in steps.iter().filter(|step| step.is_dir()) {
        hash.update(std::fs::read(step.join("up.sql")).unwrap());
    }
    format!("accounting_{}", &hex::encode(hash.finalize())[..12])
}

/// A time without meaning, for clocks that stand still.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

impl TestApp {
    /// A service with a fresh database, whose clock stands still until a test moves it.
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Config)) -> Self {
        let migrate = async |url: &str| migrate(&SecretString::from(url)).await.unwrap();
        let database = Arc::new(TestPostgres::create(&template(), migrate).await);
        let mut config = config(&database.url, Clock::manual(noon()));
        change(&mut config);
        Self::start(database, config).await
    }

    /// A service on a database that somebody else has filled.
    pub(crate) async fn spawn_on(database: TestPostgres) -> Self {
        let config = config(&database.url, Clock::manual(noon()));
        Self::start(Arc::new(database), config).await
    }

    /// A second instance on the same database, with the same clock.
    pub(crate) async fn replica(&self) -> Self {
        self.replica_at(&self.database.url).await
    }

    /// The same, with its database at another address.
    pub(crate) async fn replica_at(&self, database_url: &str) -> Self {
        let config = config(database_url, self.clock.clone());
        Self::start(self.database.clone(), config).await
    }

    /// The same with another configuration.
    pub(crate) async fn replica_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&self.database.url, self.clock.clone());
        change(&mut config);
        Self::start(self.database.clone(), config).await
    }

    async fn start(database: Arc<TestPostgres>, config: Config) -> Self {
        let clock = config.clock.clone();
        let app = App::build(config).await.unwrap();
        let (address, lifecycle) = (app.address(), app.lifecycle());
        actix_web::rt::spawn(app.run());
        Self {
            client: Client::new(format!("http://{address}")).checking(CONTRACT),
            database,
            clock,
            lifecycle,
        }
    }

    /// Tokens that are valid now.
    pub(crate) fn tokens(&self) -> TestTokens {
        TestTokens::at(self.clock.now())
    }

    /// A client who is signed in as `person`.
    pub(crate) fn sign_in(&self, person: &Person) -> Client {
        self.client.with_token(self.tokens().access(person))
    }

    /// A client that is the proxy.
    pub(crate) fn proxy(&self) -> Client {
        self.client
            .with_token(self.tokens().service("proxy-service", "accounting-service"))
    }

    /// A client who is somebody new of this role.
    pub(crate) fn as_role(&self, role: Role) -> Client {
        self.sign_in(&Person::new(&format!("some-{role}"), role))
    }

    /// Grants credits, as an admin does.
    pub(crate) async fn grant(&self, person: &Person, credits: i64, expiry_days: i64) -> Value {
        let body = json!({ "userId": person.id, "credits": credits, "expiryDays": expiry_days });
        self.as_role(Role::Admin)
            .post("/api/credits/allocate", &body)
            .await
            .expect(201)
            .body
    }

    /// A new end user with credits for 30 days.
    pub(crate) async fn person_with(&self, credits: i64) -> Person {
        let person = Person::new("alice", Role::EndUser);
        self.grant(&person, credits, 30).await;
        person
    }

    /// What somebody can spend.
    pub(crate) async fn balance(&self, person: &Person) -> i64 {
        let answer = self
            .sign_in(person)
            .get("/api/credits/total-balance")
            .await
            .expect(200);
        answer.body["totalCredits"].as_i64().unwrap()
    }

    /// One number out of the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.database.connect().await;
        let query = diesel::sql_query(format!("SELECT ({sql})::bigint AS number"));
        query.get_result::<Number>(&mut connection).await.unwrap().number
    }

    /// One text out of the database.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let mut connection = self.database.connect().await;
        let query = diesel::sql_query(format!("SELECT ({sql})::text AS text"));
        query.get_result::<Words>(&mut connection).await.unwrap().text
    }

    /// Changes the database behind the service's back.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = self.database.connect().await;
        diesel::sql_query(sql).execute(&mut connection).await.unwrap();
    }

    /// What `accounting-service verify` prints, and whether it is content.
    pub(crate) async fn verify(&self) -> (bool, String) {
        let mut out = Vec::new();
        let holds = verify(&SecretString::from(self.database.url.as_str()), &mut out)
            .await
            .unwrap();
        (holds, String::from_utf8(out).unwrap())
    }

    /// Fails unless every invariant holds.
    pub(crate) async fn assert_sound(&self) {
        let (holds, report) = self.verify().await;
        assert!(holds, "{report}");
    }

    /// Moves the clock.
    pub(crate) fn advance_secs(&self, secs: i64) {
        self.clock.advance(TimeDelta::seconds(secs));
    }

    /// How many rows every table has, to show that nothing changed.
    pub(crate) async fn rows(&self) -> i64 {
        self.number(
            "SELECT (SELECT count(*) FROM credit_allocations) + (SELECT count(*) FROM credit_transactions)
                  + (SELECT count(*) FROM streaming_sessions) + (SELECT count(*) FROM usage_logs)
                  + (SELECT count(*) FROM idempotency_keys) + (SELECT sum(remaining_credits) FROM credit_allocations)",
        )
        .await
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

/// Sends a POST with an idempotency key.
pub(crate) async fn post_with_key(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let request = client
        .request(reqwest::Method::POST, path)
        .header("idempotency-key", key)
        .json(body);
    client.send(request).await
}

/// Waits until `check` holds, asking again and again; a test that waits for ever fails.
pub(crate) async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let wait = async {
        while !check().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come about"));
}
