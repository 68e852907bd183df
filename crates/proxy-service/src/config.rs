//! What the proxy-service must know before it may listen.

mod n8n;
mod protection;
mod widget;

use std::{net::IpAddr, time::Duration};

use common_config::{Env, Invalid, SIGNING_SECRET_BYTES_MIN};
use common_http::{Clock, KeyFeed, TrustedProxies};
use common_jwt::{AUDIENCE_DEFAULT, ISSUER_DEFAULT};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub use self::{
    n8n::N8nConfig,
    protection::{ProtectionConfig, ThreatResponse},
    widget::WidgetConfig,
};
use crate::domain::{breaker::BreakerLimits, day::DayZone, pace::Pace};

/// Where the service listens unless it is told otherwise.
pub const PORT_DEFAULT: u16 = 8000;

/// The whole configuration; tests build one literally.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Threads that serve requests.
    pub workers: usize,
    /// MongoDB.
    pub mongodb_uri: SecretString,
    /// The database within it.
    pub mongodb_database: String,
    /// Checks access tokens that are signed with a shared secret.
    pub jwt_access_secret: Option<SecretString>,
    /// Still checks them while the secret is being rotated.
    pub jwt_access_secret_previous: Option<SecretString>,
    /// Where auth-service publishes the keys that check the others.
    pub auth_jwks_url: Option<String>,
    /// The issuer of access tokens.
    pub jwt_issuer: String,
    /// The audience of access tokens.
    pub jwt_audience: String,
    /// Signs our calls to the other services.
    pub service_jwt_secret: SecretString,
    /// auth-service.
    pub auth_url: Url,
    /// accounting-service.
    pub accounting_url: Url,
    /// Flowise.
    pub flowise: Upstream,
    /// n8n, behind embeds.
    pub n8n: N8nConfig,
    /// Whether chatflows are read from Flowise in the background, not only when an admin asks.
    pub chatflow_sync: bool,
    /// How often.
    pub chatflow_sync_interval: Duration,
    /// Credits a turn costs where the chatflow has no price of its own.
    pub chatflow_price: i64,
    /// Turns one user may begin a day where they have no cap of their own; zero for any number.
    pub daily_turns_per_user_max: i64,
    /// Whose midnight begins a day, for caps and reports.
    pub day_zone: DayZone,
    /// Characters a prompt may have.
    pub prompt_chars_max: usize,
    /// Memory for all large requests and their files, until Flowise has begun to answer them.
    pub upload_memory_bytes_max: u64,
    /// What one user may keep in files.
    pub file_limits: FileLimits,
    /// How long a conversation is kept after its last message; `None` keeps it until it is deleted.
    pub history_retention: Option<Duration>,
    /// Turns one user may have running at once.
    pub running_turns_per_user_max: usize,
    /// How often a silent stream shows that it is alive.
    pub heartbeat: Duration,
    /// How long a turn whose client has left may go on before it is aborted.
    pub abandoned_turn_drain: Duration,
    /// How long a turn belongs to a process that gives no sign of life.
    pub turn_lease: Duration,
    /// How long a turn may take in all.
    pub streaming_max: Duration,
    /// How long requests are still taken after SIGTERM.
    pub shutdown_delay: Duration,
    /// How long open turns may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// Web pages that may read our answers; `*` admits all.
    pub cors_origins: Vec<String>,
    /// How fast people may ask.
    pub limits: LimitsConfig,
    /// Who may say for whom they call.
    pub trusted_proxies: TrustedProxies,
    /// Where clients reach us; file addresses in answers begin with it.
    pub public_base_url: Option<Url>,
    /// The chat widget.
    pub widget: WidgetConfig,
    /// A level for our own log lines, or tracing's directives.
    pub log_level: Option<String>,
    /// The time.
    pub clock: Clock,
}

/// What one user may keep in files.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// Files.
    pub files_max: u64,
    /// Bytes of all of them.
    pub bytes_max: u64,
}

/// How fast people may ask, and where that is counted.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// From one address, signed in or not. A whole school may be one.
    pub address: Pace,
    /// One person, admins excepted.
    pub user: Pace,
    /// Where all replicas count together; each counts for itself when there is none, and while it is away.
    pub redis_url: Option<SecretString>,
}

/// Flowise, as we call it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its address, without `/api`.
    pub url: Url,
    /// Its key, where it has one.
    pub api_key: Option<SecretString>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long the head of a stream may take. Flowise flushes it at once, except where it never answers at all.
    pub header_timeout: Duration,
    /// How long a stream may be silent; heartbeats of Flowise's own count as silence.
    pub idle_timeout: Duration,
    /// The largest single event.
    pub event_bytes_max: usize,
    /// Who may ask it.
    pub admission: AdmissionLimits,
}

/// How many turns may ask an upstream, and when it is left alone.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Turns that run there at once.
    pub turns_max: usize,
    /// Turns that may wait for one of these places.
    pub queue_max: usize,
    /// How long each may wait.
    pub queue_timeout: Duration,
    /// When nobody asks any more.
    pub breaker: BreakerLimits,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            turns_max: 1_000,
            queue_max: 1_000,
            queue_timeout: Duration::from_secs(10),
            breaker: BreakerLimits {
                failures: 5,
                open_for: Duration::from_mins(1),
            },
        }
    }
}

impl AdmissionLimits {
    fn from_env(env: &Env) -> Result<Self, Invalid> {
        let usual = Self::default();
        let turns_max = env.var("MAX_UPSTREAM_TURNS").within(1..=100_000, usual.turns_max);
        let queue_max = env.var("UPSTREAM_QUEUE_MAX").within(0..=100_000, usual.queue_max);
        let queue_secs = env
            .var("UPSTREAM_QUEUE_TIMEOUT_SECS")
            .within(0..=300, usual.queue_timeout.as_secs());
        let failures = env
            .var("UPSTREAM_BREAKER_FAILURES")
            .within(1..=1_000, usual.breaker.failures);
        let open_secs = env
            .var("UPSTREAM_BREAKER_OPEN_SECS")
            .within(1..=3_600, usual.breaker.open_for.as_secs());
        Ok(Self {
            turns_max: turns_max?,
            queue_max: queue_max?,
            queue_timeout: Duration::from_secs(queue_secs?),
            breaker: BreakerLimits {
                failures: failures?,
                open_for: Duration::from_secs(open_secs?),
            },
        })
    }
}

/// Where the database is and what it is called, which is all that some commands need.
pub fn database(env: &Env) -> (Result<SecretString, Invalid>, Result<String, Invalid>) {
    let uri = env.var("MONGODB_URI").alias("MONGODB_URL").secret(0);
    let name = env.var("MONGODB_DATABASE_NAME").or("flowise_proxy".to_owned());
    (uri, name)
}

impl Config {
    /// Reads every variable before failing, so that one start shows every mistake.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let host = env.var("HOST").or(IpAddr::from([0, 0, 0, 0]));
        let port = env.var("PORT").or(PORT_DEFAULT);
        let workers = env.var("WORKERS").within(1..=64, default_workers());
        let (mongodb_uri, mongodb_database) = database(env);
        let jwt_access_secret = env
            .var("JWT_ACCESS_SECRET")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let auth_jwks_url = KeyFeed::url_from_env(env, &jwt_access_secret);
        let previous = env
            .var("JWT_ACCESS_SECRET_PREVIOUS")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let jwt_issuer = env.var("JWT_ISSUER").or(ISSUER_DEFAULT.to_owned());
        let jwt_audience = env.var("JWT_AUDIENCE").or(AUDIENCE_DEFAULT.to_owned());
        let service_jwt_secret = env.var("SERVICE_JWT_SECRET").secret(SIGNING_SECRET_BYTES_MIN);
        let auth_url = base_url(env, "EXTERNAL_AUTH_URL", "AUTH_API_URL", "http://localhost:3000");
        let accounting_url = base_url(
            env,
            "ACCOUNTING_SERVICE_URL",
            "ACCOUNTING_API_URL",
            "http://localhost:3001",
        );
        let flowise = Upstream::from_env(env);
        let n8n = N8nConfig::from_env(env);
        let chatflow_sync = env.var("ENABLE_CHATFLOW_SYNC").flag(true);
        let chatflow_sync_interval = sync_interval(env);
        let chatflow_price = env.var("CHATFLOW_PRICE").within(0..=1_000_000, 1);
        let daily_turns = env.var("DAILY_TURNS_PER_USER_MAX").within(0..=1_000_000, 0);
        let day_zone = env.var("DAY_TIME_ZONE").or(DayZone::default());
        let limits = LimitsConfig::from_env(env);
        let prompt_chars_max = env.var("PROMPT_CHARS_MAX").within(1..=1_000_000, 32_000);
        let upload_memory = env
            .var("UPLOAD_MEMORY_BYTES_MAX")
            .within(64 << 20..=1 << 40, 256 << 20);
        let file_limits = FileLimits::from_env(env);
        let history_retention = history_retention(env);
        let running_turns = env.var("MAX_RUNNING_TURNS_PER_USER").within(1..=10_000, 20);
        let heartbeat_secs = env.var("STREAM_HEARTBEAT_SECS").within(1..=60, 15);
        let drain_secs = env.var("ABANDONED_TURN_DRAIN_SECS").within(0..=3_600, 60);
        let lease_secs = env.var("TURN_LEASE_SECS").within(2..=300, 30);
        let streaming_max_ms = env.var("MAX_STREAMING_DURATION").within(1_000..=840_000, 180_000);
        let shutdown_delay_secs = env.var("SHUTDOWN_DELAY_SECS").within(0..=300, 0);
        let shutdown_grace_secs = env.var("SHUTDOWN_GRACE_SECS").within(0..=3_600, 30);
        let cors_origins = env.var("CORS_ORIGIN").alias("CORS_ALLOW_ORIGINS").list();
        let trusted_proxies = env.var("TRUSTED_PROXIES").list::<IpNet>();
        let public_base_url = env.var("PUBLIC_BASE_URL").optional();
        let widget = WidgetConfig::from_env(env);
        let log_level = env.var("LOG_LEVEL").optional();

        let (jwt_access_secret, previous) = (jwt_access_secret?, previous?);
        let service_jwt_secret = service_jwt_secret?;
        let flowise = flowise?;
        let n8n = n8n?.beside(&flowise);
        let widget = widget?;
        let ours = OurSecrets {
            access: [jwt_access_secret.as_ref(), previous.as_ref()],
            service: &service_jwt_secret,
            visitors: widget.token_secret.as_ref(),
            n8n: n8n.token_secret.as_ref(),
        };
        ours.check(env)?;
        Ok(Self {
            host: host?,
            port: port?,
            workers: workers?,
            mongodb_uri: mongodb_uri?,
            mongodb_database: mongodb_database?,
            jwt_access_secret,
            jwt_access_secret_previous: previous,
            auth_jwks_url: auth_jwks_url?,
            jwt_issuer: jwt_issuer?,
            jwt_audience: jwt_audience?,
            service_jwt_secret,
            auth_url: auth_url?,
            accounting_url: accounting_url?,
            flowise,
            n8n,
            chatflow_sync: chatflow_sync?,
            chatflow_sync_interval: chatflow_sync_interval?,
            chatflow_price: chatflow_price?,
            daily_turns_per_user_max: daily_turns?,
            day_zone: day_zone?,
            limits: limits?,
            prompt_chars_max: prompt_chars_max?,
            upload_memory_bytes_max: upload_memory?,
            file_limits: file_limits?,
            history_retention: history_retention?,
            running_turns_per_user_max: running_turns?,
            heartbeat: Duration::from_secs(heartbeat_secs?),
            abandoned_turn_drain: Duration::from_secs(drain_secs?),
            turn_lease: Duration::from_secs(lease_secs?),
            streaming_max: Duration::from_millis(streaming_max_ms?),
            shutdown_delay: Duration::from_secs(shutdown_delay_secs?),
            shutdown_grace: Duration::from_secs(shutdown_grace_secs?),
            cors_origins: cors_origins?,
            trusted_proxies: TrustedProxies(trusted_proxies?),
            public_base_url: public_base_url?,
            widget,
            log_level: log_level?,
            clock: Clock::System,
        })
    }
}

impl FileLimits {
    fn from_env(env: &Env) -> Result<Self, Invalid> {
        let files_max = env.var("MAX_FILES_PER_USER").within(0..=10_000, 1_000);
        let bytes_max = env.var("MAX_FILE_BYTES_PER_USER").within(0..=1 << 40, 512 << 20);
        Ok(Self {
            files_max: files_max?,
            bytes_max: bytes_max?,
        })
    }
}

/// How long conversations are kept; for ever when nothing is said.
fn history_retention(env: &Env) -> Result<Option<Duration>, Invalid> {
    let days = env.var("HISTORY_RETENTION_DAYS").within(0..=36_500, 0_u64)?;
    Ok((days > 0).then(|| Duration::from_secs(days * 86_400)))
}

/// Secrets that sign different things, and so must differ.
struct OurSecrets<'a> {
    access: [Option<&'a SecretString>; 2],
    service: &'a SecretString,
    visitors: Option<&'a SecretString>,
    /// Workflows hold it to check our tokens with: it must not be good for any other.
    n8n: Option<&'a SecretString>,
}

impl OurSecrets<'_> {
    fn check(&self, env: &Env) -> Result<(), Invalid> {
        self.mistake().map_or(Ok(()), |mistake| Err(env.mistake(mistake)))
    }

    fn mistake(&self) -> Option<&'static str> {
        let is_among = |secret: Option<&SecretString>, others: &[Option<&SecretString>]| {
            let mut others = others.iter().flatten();
            secret.is_some_and(|one| others.any(|other| one.expose_secret() == other.expose_secret()))
        };
        let [access, previous] = self.access;
        let service = Some(self.service);
        if is_among(service, &[access, previous]) {
            Some("JWT_ACCESS_SECRET and SERVICE_JWT_SECRET must be different")
        } else if is_among(self.n8n, &[access, previous, service, self.visitors]) {
            Some("SESSION_SECRET_KEY must be different from every other secret")
        } else if is_among(self.visitors, &[access, previous, service]) {
            Some("JWT_SECRET_KEY must be different from every other secret")
        } else {
            None
        }
    }
}

impl LimitsConfig {
    fn from_env(env: &Env) -> Result<Self, Invalid> {
        let address_per_sec = env.var("RATE_LIMIT_ADDRESS_PER_SEC").within(0..=100_000, 200);
        let address_burst = env.var("RATE_LIMIT_ADDRESS_BURST").within(1..=1_000_000, 5_000);
        let user_per_sec = env.var("RATE_LIMIT_USER_PER_SEC").within(0..=100_000, 50);
        let user_burst = env.var("RATE_LIMIT_USER_BURST").within(1..=1_000_000, 1_000);
        let redis_url = env.var("REDIS_URL").optional_secret(0)?;
        if let Some(url) = &redis_url
            && redis::Client::open(url.expose_secret()).is_err()
        {
            return Err(env.mistake("REDIS_URL is not the address of a Redis: redis://host:6379"));
        }
        Ok(Self {
            address: Pace {
                per_sec: address_per_sec?,
                burst: address_burst?,
            },
            user: Pace {
                per_sec: user_per_sec?,
                burst: user_burst?,
            },
            redis_url,
        })
    }
}

impl Upstream {
    fn from_env(env: &Env) -> Result<Self, Invalid> {
        let url = env.var("FLOWISE_API_URL").required::<Url>();
        let api_key = env.var("FLOWISE_API_KEY").optional_secret(0);
        let connect_secs = env.var("FLOWISE_CONNECT_TIMEOUT_SECS").within(1..=60, 5);
        let header_secs = env.var("FLOWISE_HEADER_TIMEOUT_SECS").within(1..=600, 30);
        let idle_secs = env.var("FLOWISE_IDLE_TIMEOUT_SECS").within(1..=840, 180);
        let event_bytes_max = env
            .var("UPSTREAM_EVENT_MAX_BYTES")
            .within(1_024..=64 << 20, 8 << 20);
        let admission = AdmissionLimits::from_env(env);
        Ok(Self {
            url: url?,
            api_key: api_key?,
            connect_timeout: Duration::from_secs(connect_secs?),
            header_timeout: Duration::from_secs(header_secs?),
            idle_timeout: Duration::from_secs(idle_secs?),
            event_bytes_max: event_bytes_max?,
            admission: admission?,
        })
    }
}

/// A service's address; older deployments write it with a trailing `/api`, which our paths already have.
fn base_url(env: &Env, name: &'static str, alias: &'static str, default: &str) -> Result<Url, Invalid> {
    let text: String = env.var(name).alias(alias).or(default.to_owned())?;
    let base = text.trim_end_matches('/').trim_end_matches("/api");
    base.parse()
        .map_err(|error| env.mistake(format!("{name} is not valid: {error}")))
}

/// Two documented names, in hours (fractions allowed) or minutes; three minutes when neither is set.
fn sync_interval(env: &Env) -> Result<Duration, Invalid> {
    let hours = env
        .var("CHATFLOW_SYNC_INTERVAL_HOURS")
        .within(0.005..=8_760.0, 0.05_f64)?;
    let minutes = env
        .var("CHATFLOW_SYNC_INTERVAL_MINUTES")
        .within(0.3..=525_600.0, hours * 60.0)?;
    let secs = minutes * 60.0;
    Duration::try_from_secs_f64(secs)
        .map_err(|_error| env.mistake("CHATFLOW_SYNC_INTERVAL_MINUTES must be a number of minutes"))
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
