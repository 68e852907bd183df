//! What every test here needs: the service on a free port, a database of its own, and the services behind it.

use std::time::Duration;

use common_http::{Clock, Lifecycle, TrustedProxies};
use common_jwt::{AUDIENCE_DEFAULT, ISSUER_DEFAULT, Role};
use proxy_service::{
    AdmissionLimits, App, CONTRACT, Config, FileLimits, LimitsConfig, N8nConfig, Upstream, WidgetConfig,
    domain::{day::DayZone, pace::Pace},
};
use secrecy::SecretString;
use test_support::{ACCESS_SECRET, Client, Person, SERVICE_SECRET, TestMongo, TestTokens};
use wiremock::MockServer;

/// What Flowise wants to see.
pub(crate) const FLOWISE_KEY: &str = "flowise-key-4f1c";

/// The servers that play what stands behind the service.
pub(crate) struct Behind {
    pub(crate) auth: MockServer,
    pub(crate) accounting: MockServer,
    pub(crate) flowise: MockServer,
    pub(crate) mongo: TestMongo,
}

/// One running service. It stops when it is dropped.
pub(crate) struct TestApp {
    pub(crate) behind: Behind,
    pub(crate) tokens: TestTokens,
    pub(crate) anybody: Client,
    replica: Replica,
}

/// One process of the service.
pub(crate) struct Replica {
    pub(crate) url: String,
    pub(crate) lifecycle: Lifecycle,
}

impl Behind {
    pub(crate) async fn start() -> Self {
        Self {
            auth: MockServer::start().await,
            accounting: MockServer::start().await,
            flowise: MockServer::start().await,
            mongo: TestMongo::create().await,
        }
    }

    /// A configuration that points at these.
    pub(crate) fn config(&self) -> Config {
        Config {
            host: [127, 0, 0, 1].into(),
            port: 0,
            workers: 2,
            mongodb_uri: SecretString::from(self.mongo.uri.clone()),
            mongodb_database: self.mongo.name.clone(),
            jwt_access_secret: Some(SecretString::from(ACCESS_SECRET)),
            jwt_access_secret_previous: None,
            auth_jwks_url: None,
            jwt_issuer: ISSUER_DEFAULT.to_owned(),
            jwt_audience: AUDIENCE_DEFAULT.to_owned(),
            service_jwt_secret: SecretString::from(SERVICE_SECRET),
            auth_url: self.auth.uri().parse().unwrap(),
            accounting_url: self.accounting.uri().parse().unwrap(),
            flowise: Upstream {
                url: self.flowise.uri().parse().unwrap(),
                api_key: Some(SecretString::from(FLOWISE_KEY)),
                connect_timeout: Duration::from_secs(2),
                header_timeout: Duration::from_secs(5),
                idle_timeout: Duration::from_secs(5),
                event_bytes_max: 8 << 20,
                admission: AdmissionLimits::default(),
            },
            n8n: N8nConfig::default(),
            chatflow_sync: false,
            chatflow_sync_interval: Duration::from_mins(3),
            chatflow_price: 1,
            daily_turns_per_user_max: 0,
            day_zone: DayZone::default(),
            limits: no_limits(),
            prompt_chars_max: 32_000,
            upload_memory_bytes_max: 256 << 20,
            file_limits: FileLimits {
                files_max: 100,
                bytes_max: 100 << 20,
            },
            history_retention: None,
            running_turns_per_user_max: 20,
            heartbeat: Duration::from_secs(15),
            abandoned_turn_drain: Duration::from_mins(1),
            turn_lease: Duration::from_secs(30),
            streaming_max: Duration::from_mins(3),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(5),
            cors_origins: vec![],
            trusted_proxies: TrustedProxies::default(),
            public_base_url: None,
            widget: WidgetConfig::default(),
            log_level: None,
            clock: Clock::System,
        }
    }
}

impl Replica {
    pub(crate) async fn start(config: Config) -> Self {
        let app = Box::pin(App::build(config)).await.unwrap();
        let replica = Self {
            url: format!("http://{}", app.address()),
            lifecycle: app.lifecycle(),
        };
        actix_web::rt::spawn(app.run());
        replica
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url).checking(CONTRACT)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

impl TestApp {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    /// The service with a configuration that a test has changed.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Config)) -> Self {
        let behind = Behind::start().await;
        let mut config = behind.config();
        change(&mut config);
        let replica = Replica::start(config).await;
        Self {
            tokens: TestTokens::at(Clock::System.now()),
            anybody: replica.client(),
            behind,
            replica,
        }
    }

    /// Another process on the same database.
    pub(crate) async fn second_replica(&self) -> Replica {
        Replica::start(self.behind.config()).await
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.replica.url
    }

    /// A client signed in as this person.
    pub(crate) fn client(&self, person: &Person) -> Client {
        self.anybody.with_token(self.tokens.access(person))
    }

    /// A client signed in as an administrator.
    pub(crate) fn admin(&self) -> Client {
        self.client(&Person::new("admin", Role::Admin))
    }
}

/// Asks until it is so, and gives up long after it must have been.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let patience = Duration::from_secs(20);
    assert!(
        tokio::time::timeout(patience, asked).await.is_ok(),
        "it never came to that"
    );
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
