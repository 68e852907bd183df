//! What the service must know before it may listen. Read from the environment, whole, and never again.

mod rules;
mod webhook;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use common_config::{Env, Invalid, SIGNING_SECRET_BYTES_MIN};
use common_http::{Clock, KeyFeed, TrustedProxies};
use secrecy::{ExposeSecret as _, SecretString};

pub use rules::RuleSeed;
pub use webhook::WebhookConfig;

use crate::{domain::pace::Pace, service::AllocationCaps};

/// Where the service listens unless it is told otherwise.
pub const PORT_DEFAULT: u16 = 3001;

/// The service's configuration; tests write it down directly.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen (`HOST`, `PORT`); port 0 takes any free one.
    pub bind: SocketAddr,
    /// The database (`DATABASE_URL`, or `DB_HOST` and its like).
    pub database_url: SecretString,
    /// Connections that requests share (`DB_POOL_MAX`); the ledger's writer has one of its own.
    pub db_pool_max: usize,
    /// What access tokens are signed with, where that is a shared secret (`JWT_ACCESS_SECRET`).
    pub jwt_access_secret: Option<SecretString>,
    /// What they were signed with before the last rotation (`JWT_ACCESS_SECRET_PREVIOUS`).
    pub jwt_access_secret_previous: Option<SecretString>,
    /// Where auth-service publishes the keys that check the others (`AUTH_JWKS_URL`).
    pub auth_jwks_url: Option<String>,
    /// The issuer of access tokens (`JWT_ISSUER`).
    pub jwt_issuer: String,
    /// Whom access tokens are for (`JWT_AUDIENCE`).
    pub jwt_audience: String,
    /// What service tokens are signed with (`SERVICE_JWT_SECRET`).
    pub service_jwt_secret: SecretString,
    /// auth-service's base address, without `/api` (`EXTERNAL_AUTH_URL`).
    pub auth_url: String,
    /// Web pages that may read our answers (`CORS_ORIGIN`).
    pub cors_origins: Vec<String>,
    /// Which log lines are written (`LOG_LEVEL`).
    pub log_level: Option<String>,
    /// How long a hold waits to be settled (`HOLD_TTL_SECS`).
    pub hold_ttl: Duration,
    /// How often overdue holds are looked for (`HOLD_SWEEP_SECS`).
    pub hold_sweep: Duration,
    /// How many holds of an account may be open at once (`MAX_OPEN_HOLDS_PER_USER`).
    pub open_holds_max: usize,
    /// How many commands may wait for the ledger's writer (`LEDGER_QUEUE_MAX`).
    pub ledger_queue_max: usize,
    /// How many commands are written together (`LEDGER_BATCH_MAX`).
    pub ledger_batch_max: usize,
    /// Where the operator is told of things (`WEBHOOK_URL` and its like).
    pub webhook: Option<WebhookConfig>,
    /// Rules for new accounts to be made at the first start (`DEFAULT_STUDENT_CREDITS` and its like).
    pub rule_seeds: Vec<RuleSeed>,
    /// How often automatic grants are looked for (`CREDIT_RULES_SWEEP_SECS`).
    pub rules_sweep: Duration,
    /// The most a supervisor may grant in one call (`SUPERVISOR_ALLOCATION_MAX`) and on one day
    /// (`SUPERVISOR_ALLOCATION_DAILY_MAX`).
    pub supervisor_caps: AllocationCaps,
    /// How fast one person may ask (`USER_REQUESTS_PER_SEC`, `USER_REQUESTS_BURST`).
    pub user_pace: Pace,
    /// How often the service verifies its own ledger (`VERIFY_EVERY_SECS`); `None` for never.
    pub verify_every: Option<Duration>,
    /// Threads that serve requests (`WORKERS`); `None` takes one a core.
    pub workers: Option<usize>,
    /// How long requests are still taken after SIGTERM (`SHUTDOWN_DELAY_SECS`).
    pub shutdown_delay: Duration,
    /// How long open requests may run on after SIGTERM (`SHUTDOWN_GRACE_SECS`).
    pub shutdown_grace: Duration,
    /// Who may say, by `X-Forwarded-For`, for whom they call (`TRUSTED_PROXIES`).
    pub trusted_proxies: TrustedProxies,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Config {
    /// Reads every variable before failing, so that one start shows every mistake.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let host = env.var("HOST").or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let port = env.var("PORT").or(PORT_DEFAULT);
        let database_url = database_url(env);
        let db_pool_max = env.var("DB_POOL_MAX").within(1..=500, 10);
        let jwt_access_secret = env
            .var("JWT_ACCESS_SECRET")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let auth_jwks_url = KeyFeed::url_from_env(env, &jwt_access_secret);
        let jwt_access_secret_previous = env
            .var("JWT_ACCESS_SECRET_PREVIOUS")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let jwt_issuer = env.var("JWT_ISSUER").or(common_jwt::ISSUER_DEFAULT.to_owned());
        let jwt_audience = env
            .var("JWT_AUDIENCE")
            .or(common_jwt::AUDIENCE_DEFAULT.to_owned());
        let service_jwt_secret = env.var("SERVICE_JWT_SECRET").secret(SIGNING_SECRET_BYTES_MIN);
        let auth_url = env
            .var("EXTERNAL_AUTH_URL")
            .alias("AUTH_API_URL")
            .alias("AUTH_SERVICE_URL")
            .or("http://localhost:3000".to_owned());
        let cors_origins = env.var("CORS_ORIGIN").list();
        let log_level = env.var("LOG_LEVEL").optional();
        let hold_ttl_secs = env.var("HOLD_TTL_SECS").within(1..=86_400, 900);
        let hold_sweep_secs = env.var("HOLD_SWEEP_SECS").within(1..=3_600, 15);
        let open_holds_max = env.var("MAX_OPEN_HOLDS_PER_USER").within(1..=100_000, 100);
        let ledger_queue_max = env.var("LEDGER_QUEUE_MAX").within(1..=1_000_000, 4_096);
        let ledger_batch_max = env.var("LEDGER_BATCH_MAX").within(1..=10_000, 256);
        let webhook = WebhookConfig::from_env(env);
        let rule_seeds = rules::seeds(env);
        let rules_sweep_secs = env.var("CREDIT_RULES_SWEEP_SECS").within(1..=3_600, 30);
        let grant_max = env
            .var("SUPERVISOR_ALLOCATION_MAX")
            .within(0..=1_000_000_000_000, 100_000);
        let grant_daily_max = env
            .var("SUPERVISOR_ALLOCATION_DAILY_MAX")
            .within(0..=1_000_000_000_000, 1_000_000);
        let requests_per_sec = env.var("USER_REQUESTS_PER_SEC").within(0..=1_000_000, 100);
        let requests_burst = env.var("USER_REQUESTS_BURST").within(1..=1_000_000, 2_000);
        let verify_every_secs = env.var("VERIFY_EVERY_SECS").within(0..=31_536_000, 86_400);
        let workers = env.var("WORKERS").optional();
        let shutdown_delay_secs = env.var("SHUTDOWN_DELAY_SECS").within(0..=300, 0);
        let shutdown_grace_secs = env.var("SHUTDOWN_GRACE_SECS").within(0..=3_600, 30);
        let trusted_proxies = env.var("TRUSTED_PROXIES").list();

        let (jwt_access_secret, service_jwt_secret) = (jwt_access_secret?, service_jwt_secret?);
        let jwt_access_secret_previous = jwt_access_secret_previous?;
        let is_services = |secret: &Option<SecretString>| {
            let is_same =
                |secret: &SecretString| secret.expose_secret() == service_jwt_secret.expose_secret();
            secret.as_ref().is_some_and(is_same)
        };
        if is_services(&jwt_access_secret) || is_services(&jwt_access_secret_previous) {
            let mistake =
                "JWT_ACCESS_SECRET and SERVICE_JWT_SECRET are the same; any user could pass for a service";
            return Err(env.mistake(mistake));
        }
        Ok(Self {
            bind: SocketAddr::new(host?, port?),
            database_url: database_url?,
            db_pool_max: db_pool_max?,
            jwt_access_secret,
            jwt_access_secret_previous,
            auth_jwks_url: auth_jwks_url?,
            jwt_issuer: jwt_issuer?,
            jwt_audience: jwt_audience?,
            service_jwt_secret,
            auth_url: base_address(&auth_url?),
            cors_origins: cors_origins?,
            log_level: log_level?,
            hold_ttl: Duration::from_secs(hold_ttl_secs?),
            hold_sweep: Duration::from_secs(hold_sweep_secs?),
            open_holds_max: open_holds_max?,
            ledger_queue_max: ledger_queue_max?,
            ledger_batch_max: ledger_batch_max?,
            webhook: webhook?,
            rule_seeds: rule_seeds?,
            rules_sweep: Duration::from_secs(rules_sweep_secs?),
            supervisor_caps: AllocationCaps {
                at_once: grant_max?,
                a_day: grant_daily_max?,
            },
            user_pace: Pace {
                per_sec: requests_per_sec?,
                burst: requests_burst?,
            },
            verify_every: Some(Duration::from_secs(verify_every_secs?)).filter(|every| !every.is_zero()),
            workers: workers?.map(|workers: usize| workers.max(1)),
            shutdown_delay: Duration::from_secs(shutdown_delay_secs?),
            shutdown_grace: Duration::from_secs(shutdown_grace_secs?),
            trusted_proxies: TrustedProxies(trusted_proxies?),
            clock: Clock::System,
        })
    }
}

/// The database's address: `DATABASE_URL`, or put together from `DB_HOST`, `DB_PORT`, `DB_NAME`, `DB_USER` and
/// `DB_PASSWORD`.
pub fn database_url(env: &Env) -> Result<SecretString, Invalid> {
    let url = env.var("DATABASE_URL").optional_secret(0);
    let host = env.var("DB_HOST").or("localhost".to_owned());
    let port = env.var("DB_PORT").or(5432_u16);
    let name = env.var("DB_NAME").or("accounting_db".to_owned());
    let user = env.var("DB_USER").or("postgres".to_owned());
    let password = env.var("DB_PASSWORD").optional_secret(0);

    let (host, port, name, user) = (host?, port?, name?, user?);
    let password = password?;
    if let Some(url) = url? {
        return Ok(url);
    }
    let mut parameters = format!(
        "host={} port={port} dbname={} user={}",
        quoted(&host),
        quoted(&name),
        quoted(&user)
    );
    if let Some(password) = password {
        parameters.push_str(" password=");
        parameters.push_str(&quoted(password.expose_secret()));
    }
    Ok(SecretString::from(parameters))
}

/// A value in the form of PostgreSQL's connection parameters.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Deployments write the address with and without a slash or `/api` at its end.
fn base_address(url: &str) -> String {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/api")
        .unwrap_or(url)
        .trim_end_matches('/')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: (&str, &str) = ("JWT_ACCESS_SECRET", "Zq8vT3mK1xWc7Rb5Ny2Lp9Hd4Gf6Js0A");
    const SERVICE: (&str, &str) = ("SERVICE_JWT_SECRET", "pX4nB7vQ2wE9rT6yU1iO8aS5dF3gH0jK");

    #[test]
    fn the_documented_names_and_their_aliases_are_read() {
        let env = Env::from_pairs([
            ACCESS,
            SERVICE,
            ("DB_HOST", "postgres"),
            ("DB_PASSWORD", r"it's a \ secret"),
            ("AUTH_API_URL", "http://auth-service:3000/api/"),
            ("CORS_ORIGIN", "https://a.example, https://b.example"),
        ]);

        let config = Config::from_env(&env).unwrap();

        assert_eq!(config.bind.port(), 3001);
        assert_eq!(
            config.database_url.expose_secret(),
            r"host='postgres' port=5432 dbname='accounting_db' user='postgres' password='it\'s a \\ secret'"
        );
        assert_eq!(config.auth_url, "http://auth-service:3000");
        assert_eq!(config.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!(config.hold_ttl, Duration::from_mins(15));
    }

    #[test]
    fn every_mistake_shows_in_one_start() {
        let env = Env::from_pairs([("PORT", "http"), ("HOLD_TTL_SECS", "0"), ("WORKERS", "many")]);

        assert!(Config::from_env(&env).is_err());

        let mistakes = env.mistakes().join("\n");
        for name in [
            "PORT",
            "HOLD_TTL_SECS",
            "WORKERS",
            "JWT_ACCESS_SECRET",
            "SERVICE_JWT_SECRET",
        ] {
            assert!(mistakes.contains(name), "{name} is missing in\n{mistakes}");
        }
    }

    #[test]
    fn people_and_services_never_share_a_secret() {
        for previous in [
            ("JWT_ACCESS_SECRET_PREVIOUS", SERVICE.1),
            ("SERVICE_JWT_SECRET", ACCESS.1),
        ] {
            let env = Env::from_pairs([ACCESS, SERVICE, previous]);
            assert!(Config::from_env(&env).is_err());
            assert!(env.mistakes().join("").contains("are the same"));
        }
    }

    #[test]
    fn tokens_are_checked_with_a_secret_or_with_published_keys() {
        let url = ("AUTH_JWKS_URL", "http://auth-service:3000/.well-known/jwks.json");
        let config = Config::from_env(&Env::from_pairs([SERVICE, url])).unwrap();
        assert_eq!(config.auth_jwks_url.as_deref(), Some(url.1));
        assert!(Config::from_env(&Env::from_pairs([SERVICE, ACCESS, url])).is_ok());
        for (pairs, part) in [
            (vec![SERVICE], "there is no AUTH_JWKS_URL"),
            (
                vec![SERVICE, ("AUTH_JWKS_URL", "keys.json")],
                "AUTH_JWKS_URL is not valid",
            ),
            (
                vec![SERVICE, ("AUTH_JWKS_URL", "file:///etc/keys")],
                "must begin with http",
            ),
        ] {
            let env = Env::from_pairs(pairs);
            assert!(Config::from_env(&env).is_err());
            assert!(env.mistakes().join("").contains(part), "{:?}", env.mistakes());
        }
    }
}
