//! What the auth-service must know before it may listen.

mod limits;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use common_config::{Env, Invalid, SIGNING_SECRET_BYTES_MIN};
use common_http::{Clock, TrustedProxies};
use common_jwt::{AUDIENCE_DEFAULT, ISSUER_DEFAULT};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::limits::LimitsConfig;
use crate::{
    domain::{roles::RoleMap, user::SignInRule},
    key_file::PrivateKeys,
    service::accounts::NewAccount,
};

/// No token or code may live longer than this; time arithmetic stays far from its ends.
const LIFE_MAX: Duration = Duration::from_hours(24 * 366);

/// Where the service listens unless it is told otherwise.
pub(crate) const PORT_DEFAULT: u16 = 3000;

/// The whole configuration; tests build one literally.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Threads that serve requests.
    pub workers: usize,
    /// MongoDB; the path names the database, `auth_db` where it is empty.
    pub mongodb_uri: SecretString,
    /// Sign access tokens, where they are given.
    pub jwt_private_keys: Option<PrivateKeys>,
    /// Signs access tokens where there are no private keys; checks them also beside those.
    pub jwt_access_secret: Option<SecretString>,
    /// Still checks them while the secret is being rotated.
    pub jwt_access_secret_previous: Option<SecretString>,
    /// Signs refresh tokens; no other service has it.
    pub jwt_refresh_secret: SecretString,
    /// Checks the tokens of the other services.
    pub service_jwt_secret: SecretString,
    /// The issuer of people's tokens.
    pub jwt_issuer: String,
    /// The audience of people's tokens.
    pub jwt_audience: String,
    /// How long an access token is good.
    pub access_life: Duration,
    /// How long a refresh token is good.
    pub refresh_life: Duration,
    /// How long a session lasts however often it is continued.
    pub session_life: Duration,
    /// How long a refresh may be repeated.
    pub refresh_grace: Duration,
    /// Sessions one user may have; the oldest goes.
    pub sessions_per_user_max: usize,
    /// How guessing and flooding are slowed.
    pub limits: LimitsConfig,
    /// How long audit events are kept.
    pub audit_retention: Duration,
    /// Whether an address has to be proven before its owner may sign in.
    pub sign_in_rule: SignInRule,
    /// How long a verification code is good.
    pub verification_code_life: Duration,
    /// How long a mailed link to choose a password is good: 30 minutes at most.
    pub password_reset_life: Duration,
    /// How long the link in an invitation is good.
    pub invitation_life: Duration,
    /// Keeps what is stored under seal; derived from the refresh secret where there is none.
    pub data_encryption_key: Option<SecretString>,
    /// What authenticator apps call this platform.
    pub totp_issuer: String,
    /// Whether codes are kept readable and the routes under `/api/testing` exist. Never in production.
    pub testing_endpoints: bool,
    /// Whether providers may be inside our network and speak plain HTTP. Never in production.
    pub private_providers: bool,
    /// How long a provider may take to answer.
    pub provider_timeout: Duration,
    /// bcrypt's cost: 10 to 16; tests take 4.
    pub bcrypt_cost: u32,
    /// Passwords hashed at once.
    pub hashing_threads: usize,
    /// Passwords that may wait to be hashed.
    pub hash_queue_max: usize,
    /// What roles mean that other tools write into the database.
    pub role_map: RoleMap,
    /// How long other services can still hear of what happened to an account.
    pub user_changes_kept: Duration,
    /// The first admin, made when there is none.
    pub bootstrap_admin: Option<BootstrapAdmin>,
    /// Where mails go.
    pub mail: MailRoute,
    /// Whom mails are from.
    pub mail_from: String,
    /// Where people reach the web client: links in mails point there.
    pub public_url: Url,
    /// Where proxy-service is, for what it keeps about a person.
    pub proxy_url: Option<Url>,
    /// Where accounting-service is, likewise.
    pub accounting_url: Option<Url>,
    /// Bytes that a table of people may have.
    pub import_bytes_max: usize,
    /// Web pages that may read our answers.
    pub cors_origins: Vec<String>,
    /// Whether cookies are sent over TLS only.
    pub secure_cookies: bool,
    /// Who may say for whom they call.
    pub trusted_proxies: TrustedProxies,
    /// How long requests are still taken after SIGTERM.
    pub shutdown_delay: Duration,
    /// How long open requests may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// A level for our own log lines, or tracing's directives.
    pub log_level: Option<String>,
    /// The time.
    pub clock: Clock,
}

/// The first admin.
#[derive(Clone, Debug)]
pub struct BootstrapAdmin {
    /// The name.
    pub username: String,
    /// The address.
    pub email: String,
    /// The password, which obeys the rules for passwords.
    pub password: SecretString,
}

/// Where mails go.
#[derive(Clone, Debug)]
pub enum MailRoute {
    /// To a mail server.
    Smtp(Smtp),
    /// Into a folder, one file a mail; for development and tests.
    Folder(PathBuf),
    /// Nowhere; they count as sent.
    Nowhere,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is TLS from its first byte; else it is upgraded where the server can.
    pub secure: bool,
    /// User and password, where it wants them.
    pub credentials: Option<(String, SecretString)>,
}

/// The address of the database, which is all that some commands need.
pub(crate) fn mongodb_uri(env: &Env) -> Result<SecretString, Invalid> {
    env.var("MONGODB_URI")
        .alias("MONGO_URI")
        .alias("MONGODB_URL")
        .secret(0)
}

impl Config {
    /// Reads every variable before failing, so that one start shows every mistake.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let host = env.var("HOST").or(IpAddr::from([0, 0, 0, 0]));
        let port = env.var("PORT").or(PORT_DEFAULT);
        let workers = env.var("WORKERS").within(1..=64, cores());
        let mongodb_uri = mongodb_uri(env);
        let secrets = Secrets::from_env(env);
        let jwt_issuer = env.var("JWT_ISSUER").or(ISSUER_DEFAULT.to_owned());
        let jwt_audience = env.var("JWT_AUDIENCE").or(AUDIENCE_DEFAULT.to_owned());
        let access_life = access_life(env);
        let refresh_life = life(env, "JWT_REFRESH_EXPIRES_IN", Duration::from_hours(7 * 24));
        let session_life = life(env, "SESSION_MAX_AGE", Duration::from_hours(30 * 24));
        let refresh_grace_secs = env.var("REFRESH_GRACE_SECS").within(0..=60, 10);
        let sessions_per_user_max = env.var("MAX_SESSIONS_PER_USER").within(1..=1_000, 10);
        let limits = LimitsConfig::from_env(env);
        let audit_retention = audit_retention(env);
        let code_life = life(env, "VERIFICATION_CODE_EXPIRES_IN", Duration::from_mins(15));
        let needs_verification = env.var("REQUIRE_EMAIL_VERIFICATION").flag(true);
        let password_reset_life = reset_life(env);
        let invitation_life = life(env, "INVITATION_EXPIRES_IN", Duration::from_hours(7 * 24));
        let data_encryption_key = env
            .var("DATA_ENCRYPTION_KEY")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let totp_issuer = totp_issuer(env);
        let bcrypt_cost = env.var("BCRYPT_COST").alias("BCRYPT_ROUNDS").within(10..=16, 10);
        // One core is left to everything else.
        let hashing_threads = env.var("HASHING_THREADS").within(1..=64, cores().max(2) - 1);
        let hash_queue_max = env.var("HASH_QUEUE_MAX").within(1..=10_000, 256);
        let role_map = env.var("ROLE_MAP").or(RoleMap::default());
        let user_changes_kept = life(env, "USER_CHANGES_KEPT", Duration::from_hours(90 * 24));
        let bootstrap_admin = BootstrapAdmin::from_env(env);
        let mail = MailRoute::from_env(env);
        let mail_from = mail_from(env);
        let public_url = env.var("PUBLIC_URL").alias("HOST_URL").or(default_public_url());
        let proxy_url = env.var("PROXY_SERVICE_URL").optional();
        let accounting_url = env.var("ACCOUNTING_SERVICE_URL").optional();
        let import_bytes_max = env.var("IMPORT_BYTES_MAX").within(1_000..=1 << 30, 32 << 20);
        let cors_origins = env.var("CORS_ORIGIN").list();
        let is_production = env
            .var("NODE_ENV")
            .or(String::new())
            .map(|name| name == "production");
        let testing_endpoints = testing_endpoints(env, is_production == Ok(true));
        let private_providers = private_providers(env, is_production == Ok(true));
        let provider_timeout = provider_timeout(env);
        let secure_cookies = env.var("COOKIE_SECURE").flag(is_production == Ok(true));
        let trusted_proxies = env.var("TRUSTED_PROXIES").list();
        let shutdown_delay_secs = env.var("SHUTDOWN_DELAY_SECS").within(0..=300, 0);
        let shutdown_grace_secs = env.var("SHUTDOWN_GRACE_SECS").within(0..=3_600, 30);
        let log_level = env.var("LOG_LEVEL").optional();

        let secrets = secrets?;
        Ok(Self {
            host: host?,
            port: port?,
            workers: workers?,
            mongodb_uri: mongodb_uri?,
            jwt_private_keys: secrets.private_keys,
            jwt_access_secret: secrets.access,
            jwt_access_secret_previous: secrets.access_previous,
            jwt_refresh_secret: secrets.refresh,
            service_jwt_secret: secrets.service,
            jwt_issuer: jwt_issuer?,
            jwt_audience: jwt_audience?,
            access_life: access_life?,
            refresh_life: refresh_life?,
            session_life: session_life?,
            refresh_grace: Duration::from_secs(refresh_grace_secs?),
            sessions_per_user_max: sessions_per_user_max?,
            limits: limits?,
            audit_retention: audit_retention?,
            verification_code_life: code_life?,
            sign_in_rule: if needs_verification? {
                SignInRule::VerifiedOnly
            } else {
                SignInRule::Anybody
            },
            password_reset_life: password_reset_life?,
            invitation_life: invitation_life?,
            data_encryption_key: data_encryption_key?,
            totp_issuer: totp_issuer?,
            testing_endpoints: testing_endpoints?,
            private_providers: private_providers?,
            provider_timeout: provider_timeout?,
            bcrypt_cost: bcrypt_cost?,
            hashing_threads: hashing_threads?,
            hash_queue_max: hash_queue_max?,
            role_map: role_map?,
            user_changes_kept: user_changes_kept?,
            bootstrap_admin: bootstrap_admin?,
            mail: mail?,
            mail_from: mail_from?,
            public_url: public_url?,
            proxy_url: proxy_url?,
            accounting_url: accounting_url?,
            import_bytes_max: import_bytes_max?,
            cors_origins: cors_origins.map(or_default_origin)?,
            secure_cookies: secure_cookies?,
            trusted_proxies: TrustedProxies(trusted_proxies?),
            shutdown_delay: Duration::from_secs(shutdown_delay_secs?),
            shutdown_grace: Duration::from_secs(shutdown_grace_secs?),
            log_level: log_level?,
            clock: Clock::System,
        })
    }
}

/// What tokens are signed with. No two may be equal: a token of one kind would have a good signature as another.
struct Secrets {
    private_keys: Option<PrivateKeys>,
    access: Option<SecretString>,
    access_previous: Option<SecretString>,
    refresh: SecretString,
    service: SecretString,
}

impl Secrets {
    fn from_env(env: &Env) -> Result<Self, Invalid> {
        let private_keys = PrivateKeys::from_env(env);
        let access = env
            .var("JWT_ACCESS_SECRET")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let access_previous = env
            .var("JWT_ACCESS_SECRET_PREVIOUS")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let refresh = env.var("JWT_REFRESH_SECRET").secret(SIGNING_SECRET_BYTES_MIN);
        let service = env.var("SERVICE_JWT_SECRET").secret(SIGNING_SECRET_BYTES_MIN);
        if matches!((&private_keys, &access), (Ok(None), Ok(None))) {
            return Err(env.mistake(
                "JWT_ACCESS_SECRET (or a file named by JWT_ACCESS_SECRET_FILE) is not set, and there is no \
                 JWT_PRIVATE_KEY_FILE either",
            ));
        }
        let secrets = Self {
            private_keys: private_keys?,
            access: access?,
            access_previous: access_previous?,
            refresh: refresh?,
            service: service?,
        };
        let all = [
            secrets.access.as_ref(),
            secrets.access_previous.as_ref(),
            Some(&secrets.refresh),
            Some(&secrets.service),
        ];
        let mut texts: Vec<_> = all
            .into_iter()
            .flatten()
            .map(ExposeSecret::expose_secret)
            .collect();
        let count = texts.len();
        texts.sort_unstable();
        texts.dedup();
        if texts.len() < count {
            return Err(env.mistake(
                "JWT_ACCESS_SECRET, JWT_ACCESS_SECRET_PREVIOUS, JWT_REFRESH_SECRET and SERVICE_JWT_SECRET must all \
                 be different",
            ));
        }
        Ok(secrets)
    }
}

impl BootstrapAdmin {
    /// All three or none; the password must be one that somebody could choose.
    fn from_env(env: &Env) -> Result<Option<Self>, Invalid> {
        let username = env.var("BOOTSTRAP_ADMIN_USERNAME").optional::<String>();
        let email = env.var("BOOTSTRAP_ADMIN_EMAIL").optional::<String>();
        let password = env.var("BOOTSTRAP_ADMIN_PASSWORD").optional_secret(0);
        match (username?, email?, password?) {
            (None, None, None) => Ok(None),
            (Some(username), Some(email), Some(password)) => {
                match NewAccount::parse(&username, &email, password.clone()) {
                    Ok(_) => Ok(Some(Self {
                        username,
                        email,
                        password,
                    })),
                    Err(error) => Err(env.mistake(format!("BOOTSTRAP_ADMIN: {}", error.problem().detail()))),
                }
            }
            _ => Err(env.mistake(
                "BOOTSTRAP_ADMIN_USERNAME, BOOTSTRAP_ADMIN_EMAIL and BOOTSTRAP_ADMIN_PASSWORD go together: set all or none",
            )),
        }
    }
}

impl MailRoute {
    fn from_env(env: &Env) -> Result<Self, Invalid> {
        let disabled = env.var("DISABLE_EMAIL").flag(false);
        let host = env.var("SMTP_HOST").alias("EMAIL_HOST").optional::<String>();
        let secure = env.var("SMTP_SECURE").alias("EMAIL_SECURE").flag(false);
        let port = env.var("SMTP_PORT").alias("EMAIL_PORT").optional();
        let user = env.var("SMTP_USER").alias("EMAIL_USER").optional::<String>();
        let password = env.var("SMTP_PASS").alias("EMAIL_PASS").optional_secret(0);
        let folder = env.var("MAIL_DIR").optional::<PathBuf>();
        let (disabled, host, secure, port) = (disabled?, host?, secure?, port?);
        let (user, password, folder) = (user?, password?, folder?);

        if disabled {
            return Ok(Self::Nowhere);
        }
        match (host, folder) {
            (Some(host), _) => Ok(Self::Smtp(Smtp {
                host,
                port: port.unwrap_or(if secure { 465 } else { 587 }),
                secure,
                credentials: user.zip(password),
            })),
            (None, Some(folder)) => Ok(Self::Folder(folder)),
            (None, None) => Err(env.mistake(
                "mails go nowhere: set SMTP_HOST, or MAIL_DIR for development, or DISABLE_EMAIL=true",
            )),
        }
    }
}

fn mail_from(env: &Env) -> Result<String, Invalid> {
    let from: String = env
        .var("EMAIL_FROM")
        .alias("SMTP_FROM")
        .or("noreply@example.com".to_owned())?;
    match from.parse::<lettre::message::Mailbox>() {
        Ok(_) => Ok(from),
        Err(error) => Err(env.mistake(format!("EMAIL_FROM is not valid: {error}"))),
    }
}

/// How long an access token is good.
pub(crate) fn access_life(env: &Env) -> Result<Duration, Invalid> {
    life(env, "JWT_ACCESS_EXPIRES_IN", Duration::from_mins(15))
}

/// A length of time of at least a second that calculations can bear.
fn life(env: &Env, name: &'static str, default: Duration) -> Result<Duration, Invalid> {
    let life = env.var(name).duration(default)?;
    if (Duration::from_secs(1)..=LIFE_MAX).contains(&life) {
        return Ok(life);
    }
    Err(env.mistake(format!("{name} must be from 1s to 366d")))
}

/// At most half an hour, whatever older deployments say: a mailbox is often left open.
fn reset_life(env: &Env) -> Result<Duration, Invalid> {
    const LONGEST: Duration = Duration::from_mins(30);
    Ok(life(env, "PASSWORD_RESET_EXPIRES_IN", LONGEST)?.min(LONGEST))
}

/// Authenticator apps put a colon behind the name, so it has none.
fn totp_issuer(env: &Env) -> Result<String, Invalid> {
    let issuer: String = env.var("TOTP_ISSUER").or("Flowgate".to_owned())?;
    if issuer.contains(':') || issuer.chars().count() > 64 {
        return Err(env.mistake("TOTP_ISSUER must have at most 64 characters and no colon"));
    }
    Ok(issuer)
}

/// Anybody could verify any account with them.
fn testing_endpoints(env: &Env, is_production: bool) -> Result<bool, Invalid> {
    let is_on = env.var("TESTING_ENDPOINTS").flag(false)?;
    if is_on && is_production {
        return Err(env.mistake("TESTING_ENDPOINTS must not be on where NODE_ENV is production"));
    }
    Ok(is_on)
}

/// Whoever can name a provider could have us ask whatever is inside.
fn private_providers(env: &Env, is_production: bool) -> Result<bool, Invalid> {
    let is_on = env.var("PRIVATE_PROVIDERS").flag(false)?;
    if is_on && is_production {
        return Err(env.mistake("PRIVATE_PROVIDERS must not be on where NODE_ENV is production"));
    }
    Ok(is_on)
}

/// Somebody waits for it.
fn provider_timeout(env: &Env) -> Result<Duration, Invalid> {
    let timeout = env.var("PROVIDER_TIMEOUT").duration(Duration::from_secs(8))?;
    if (Duration::from_secs(1)..=Duration::from_mins(1)).contains(&timeout) {
        return Ok(timeout);
    }
    Err(env.mistake("PROVIDER_TIMEOUT must be from 1s to 1m"))
}

/// A day at least, and less than MongoDB's greatest number of seconds.
fn audit_retention(env: &Env) -> Result<Duration, Invalid> {
    let days = |days: u64| Duration::from_hours(24 * days);
    let retention = env.var("AUDIT_RETENTION").duration(days(365))?;
    if (days(1)..=days(3_650)).contains(&retention) {
        return Ok(retention);
    }
    Err(env.mistake("AUDIT_RETENTION must be from 1d to 3650d"))
}

/// The documented web client in development.
fn or_default_origin(origins: Vec<String>) -> Vec<String> {
    if origins.is_empty() {
        return vec!["http://localhost:5173".to_owned()];
    }
    origins
}

fn default_public_url() -> Url {
    #[expect(
        clippy::expect_used,
        reason = "a constant, covered by the test of the defaults"
    )]
    Url::parse("http://localhost:3000").expect("the default is a URL")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("MONGO_URI", "mongodb://localhost/auth_db"),
        ("JWT_ACCESS_SECRET", "Zq8vT3mK1xWc7Rb5Ny2Lp9Hd4Gf6Js0A"),
        ("JWT_REFRESH_SECRET", "b7Xn2Qw9Lk4Vt6Yc1Mz8Rj5Hs3Pd0FgT"),
        ("SERVICE_JWT_SECRET", "u5Ke8Wr1Bn7Tc3Zx9Jm6Vq2Ly4Hg0DsP"),
        ("MAIL_DIR", "/tmp/mail"),
    ];

    fn env(more: &[(&str, &str)]) -> Env {
        let mut pairs: Vec<_> = GOOD
            .into_iter()
            .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
            .collect();
        pairs.extend_from_slice(more);
        Env::from_pairs(pairs)
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = Config::from_env(&env(&[])).unwrap();
        assert_eq!((config.port, config.bcrypt_cost), (3000, 10));
        assert_eq!(config.access_life, Duration::from_mins(15));
        assert_eq!(config.refresh_life, Duration::from_hours(168));
        assert_eq!(config.cors_origins, ["http://localhost:5173"]);
        assert_eq!(config.public_url.as_str(), "http://localhost:3000/");
        assert!(!config.secure_cookies);
        assert!(matches!(config.mail, MailRoute::Folder(_)));
    }

    #[test]
    fn what_would_be_unsafe_does_not_start() {
        for (name, value, part) in [
            ("JWT_REFRESH_SECRET", GOOD[1].1, "must all be different"),
            ("JWT_ACCESS_SECRET_PREVIOUS", GOOD[2].1, "must all be different"),
            ("SERVICE_JWT_SECRET", "too-short", "too short"),
            ("BCRYPT_COST", "4", "from 10 to 16"),
            ("REFRESH_GRACE_SECS", "61", "from 0 to 60"),
            ("JWT_ACCESS_EXPIRES_IN", "3600", "with a unit"),
            ("JWT_ACCESS_EXPIRES_IN", "0s", "1s to 366d"),
            ("AUDIT_RETENTION", "12h", "1d to 3650d"),
            ("LOCK_TIME", "0s", "1s to 24h"),
            ("MAX_LOGIN_ATTEMPTS", "0", "from 1 to 1000"),
            ("RATE_LIMIT_WINDOW", "25h", "1s to 24h"),
            ("BOOTSTRAP_ADMIN_USERNAME", "admin", "go together"),
            ("MAIL_DIR", "", "mails go nowhere"),
            ("ROLE_MAP", "head:admin", "no word may be mapped to admin"),
            ("USER_CHANGES_KEPT", "90", "with a unit"),
            ("PROVIDER_TIMEOUT", "2m", "from 1s to 1m"),
        ] {
            let env = env(&[(name, value)]);
            assert!(Config::from_env(&env).is_err(), "{name}={value}");
            assert!(env.mistakes().join("\n").contains(part), "{:?}", env.mistakes());
        }
    }

    #[test]
    fn a_weak_password_of_the_first_admin_is_refused_and_not_shown() {
        let env = env(&[
            ("BOOTSTRAP_ADMIN_USERNAME", "admin"),
            ("BOOTSTRAP_ADMIN_EMAIL", "admin@localhost"),
            ("BOOTSTRAP_ADMIN_PASSWORD", "admin@admin"),
        ]);
        assert!(Config::from_env(&env).is_err());
        let mistakes = env.mistakes().join("\n");
        assert!(
            mistakes.contains("password") && !mistakes.contains("admin@admin"),
            "{mistakes}"
        );
    }

    #[test]
    fn older_names_are_read() {
        let env = env(&[
            ("EMAIL_HOST", "mail.example.com"),
            ("EMAIL_PORT", "1025"),
            ("EMAIL_USER", "u"),
            ("EMAIL_PASS", "p"),
            ("NODE_ENV", "production"),
            ("CORS_ORIGIN", "https://a.example, https://b.example"),
        ]);
        let config = Config::from_env(&env).unwrap();
        let MailRoute::Smtp(smtp) = config.mail else {
            panic!("not a server")
        };
        assert_eq!(
            (smtp.host.as_str(), smtp.port, smtp.secure),
            ("mail.example.com", 1025, false)
        );
        assert!(smtp.credentials.is_some() && config.secure_cookies);
        assert_eq!(config.cors_origins, ["https://a.example", "https://b.example"]);
    }
}
