//! accounting-service as processes of their own on one database, and what the proofs ask of it.

use std::time::Duration;

use accounting_service::verify::verify;
use common_http::Clock;
use common_jwt::Role;
use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use system_tests::process::Process;
use test_support::{ACCESS_SECRET, Answer, Client, Person, SERVICE_SECRET, TestTokens};

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

/// A number from the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "a run is sized and repeated by its environment"
)]
pub(crate) fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// A size from the environment, or the one of continuous integration.
pub(crate) fn size(name: &str, otherwise: usize) -> usize {
    let size = variable(name).unwrap_or(otherwise);
    println!("{name}={size}");
    size
}

/// A seed from the environment, or a new one; printed, so that a run can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = variable("PROVE_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    println!("PROVE_SEED={seed}");
    seed
}

/// Numbers that a seed decides (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64, stream: usize) -> Self {
        let mixed = (seed ^ u64::try_from(stream).unwrap().wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1;
        let mut dice = Self(mixed);
        for _ in 0..8 {
            dice.roll();
        }
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 to `below`, which is left out.
    pub(crate) fn below(&mut self, below: i64) -> i64 {
        let below = u64::try_from(below).unwrap();
        i64::try_from((self.roll() >> 16) % below).unwrap()
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// A database of the ledger's own, at any address.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) url: String,
}

impl Books {
    /// A number out of the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let query = diesel::sql_query(format!("SELECT ({sql})::bigint AS number"));
        query.get_result::<Number>(&mut connection).await.unwrap().number
    }

    pub(crate) async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.url).await.unwrap()
    }

    /// What `accounting-service` in a process of its own needs.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("HOST", "127.0.0.1"),
            ("LOG_LEVEL", "error"),
            ("DATABASE_URL", &self.url),
            ("DB_POOL_MAX", "8"),
            ("WORKERS", "1"),
            ("JWT_ACCESS_SECRET", ACCESS_SECRET),
            ("SERVICE_JWT_SECRET", SERVICE_SECRET),
            ("EXTERNAL_AUTH_URL", "http://127.0.0.1:9"),
            ("USER_REQUESTS_PER_SEC", "0"),
            ("MAX_OPEN_HOLDS_PER_USER", "100000"),
            ("VERIFY_EVERY_SECS", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// A replica, ready.
    pub(crate) async fn serve(&self) -> Process {
        Process::start(PROGRAM, "accounting-service", &self.environment()).await
    }

    /// The same at an address that was used before.
    pub(crate) async fn serve_at(&self, address: std::net::SocketAddr) -> Process {
        Process::start_at(address, PROGRAM, "accounting-service", &self.environment()).await
    }

    /// Fails unless every invariant holds.
    pub(crate) async fn assert_sound(&self) {
        let mut report = Vec::new();
        let holds = verify(&SecretString::from(self.url.as_str()), &mut report)
            .await
            .unwrap();
        assert!(holds, "{}", String::from_utf8_lossy(&report));
    }
}

/// Tokens that are valid now; they outlast no more than their own lives, so clients are made anew for each request.
pub(crate) fn signed_in(process: &Client, person: &Person) -> Client {
    process.with_token(TestTokens::at(Clock::System.now()).access(person))
}

/// The proxy, as the service sees it.
pub(crate) fn proxy(process: &Client) -> Client {
    let tokens = TestTokens::at(Clock::System.now());
    process.with_token(tokens.service("proxy-service", "accounting-service"))
}

/// Grants credits as an admin.
pub(crate) async fn grant(process: &Client, person: &Person, credits: i64, expiry_days: i64) {
    let body = json!({ "userId": person.id, "credits": credits, "expiryDays": expiry_days });
    signed_in(process, &Person::new("admin", Role::Admin))
        .post("/api/credits/allocate", &body)
        .await
        .expect(201);
}

/// Sends a request with an idempotency key; `None` when the connection broke or the answer did not come.
pub(crate) async fn send_once(
    client: &Client,
    (method, path): (Method, &str),
    key: &str,
    body: &Value,
    patience: Duration,
) -> Option<Answer> {
    let request = client
        .request(method, path)
        .header("idempotency-key", key)
        .timeout(patience)
        .json(body);
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.ok()?;
    let body = serde_json::from_str(&text).unwrap_or_default();
    Some(Answer {
        status,
        headers,
        text,
        body,
    })
}
