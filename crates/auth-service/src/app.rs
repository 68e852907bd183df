//! Puts the service together: connects, indexes, binds, runs, stops.

mod federation;
mod offline;
mod people;
mod secrets;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App as ActixApp, HttpServer, dev::Server, http::StatusCode, middleware::from_fn, web};
use anyhow::Context as _;
use common_http::{
    Authenticator, Contract, Lifecycle, Metrics, RevocationSet, Routes, ServiceTokens, SessionCheck,
    ValidationStatus, cors, observe,
};
use common_jwt::{KeyRing, Verifier, VerifyingKey};
use mongodb::{Client, Database, options::ClientOptions};
use secrecy::ExposeSecret as _;

use self::{
    federation::Doors,
    people::People,
    secrets::{Base, Secrets},
};
use crate::{
    CONTRACT, NAME,
    config::Config,
    gifts::Gifts,
    mailer::Mailer,
    metrics::AuthMetrics,
    pages::{Pages, door},
    quota::show_quota,
    routes::{
        cookies::{ACCESS_COOKIE, Cookies},
        imports::TableBytesMax,
        routes, testing_routes,
    },
    same_origin::{OurOrigins, refuse_foreign_pages},
    service::{
        accounts::{Accounts, NewAccount},
        api_keys::{self, ApiKeys},
        bulk::Bulk,
        guesses::GuessBudget,
        imports::Imports,
        introspection::{Introspection, TokenMetrics},
        invitations::Invitations,
        limits::Limits,
        logins::Logins,
        new_devices::NewDevices,
        onboarding::OnboardingDesk,
        passwords::Passwords,
        registration::{Parts, Registration},
        resets::Resets,
        revocations::Revocations,
        sessions::Sessions,
        settings::RuntimeSettings,
        signing_keys::SigningKeys,
        spraying::Spraying,
        throttle::LoginThrottle,
        tokens::{Tokens, seconds},
    },
    store::{
        api_keys::ApiKeyStore, audit::AuditStore, failed_sign_ins::FailedSignInStore,
        invitations::InvitationStore, known_devices::KnownDeviceStore, onboarding::OnboardingStore,
        revocations::RevocationStore, sessions::SessionStore, settings::SettingsStore,
        throttles::ThrottleStore, users::UserStore,
    },
};

pub(crate) use self::offline::Offline;

/// The database where `MONGODB_URI` names none.
pub(crate) const DATABASE_DEFAULT: &str = "auth_db";

/// How long a request waits for a database that is away.
const DATABASE_WAIT: Duration = Duration::from_secs(5);

/// A client that has not sent its headers by then is cut off.
const HEADERS_WAIT: Duration = Duration::from_secs(10);

/// A service that is bound and ready to run.
pub struct App {
    address: SocketAddr,
    server: Server,
    lifecycle: Lifecycle,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
}

/// What handlers are given.
#[derive(Clone)]
struct Services {
    users: UserStore,
    accounts: Accounts,
    registration: Registration,
    secrets: Secrets,
    logins: Arc<Logins>,
    sessions: Arc<Sessions>,
    session_store: SessionStore,
    audit: AuditStore,
    limits: Limits,
    revocations: Revocations,
    signing_keys: SigningKeys,
    introspection: Introspection,
    settings: RuntimeSettings,
    invitations: Invitations,
    api_keys: ApiKeys,
    people: People,
    doors: Doors,
    bulk: Bulk,
    imports: Imports,
}

impl App {
    /// Connects, makes the indexes and the first admin, and binds; nothing is served before [`App::run`].
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        // On the heap: all the services at once are much for a caller's stack.
        Box::pin(Self::assemble(config)).await
    }

    async fn assemble(config: Config) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::default();
        let metrics = Metrics::new(NAME)?;
        let database = connect(&config).await?;
        let services = Arc::new(Box::pin(Services::build(&config, &database, &metrics, &lifecycle)).await?);
        services.bootstrap_admin(&config).await?;

        let contract = web::Data::new(Contract::from_yaml(CONTRACT)?);
        let authenticator = web::Data::new(services.authenticator(&config));
        let database = web::Data::new(database);
        let (metrics, lifecycle_data) = (web::Data::new(metrics), web::Data::new(lifecycle.clone()));
        let trusted_proxies = web::Data::new(config.trusted_proxies.clone());
        let cookies = web::Data::new(Cookies::new(&config));
        let our_origins = web::Data::new(OurOrigins::new(&config.cors_origins, &config.public_url));
        let table_bytes_max = TableBytesMax(config.import_bytes_max);
        let origins = config.cors_origins.clone();
        let has_testing_routes = config.testing_endpoints;
        if has_testing_routes {
            tracing::warn!("TESTING_ENDPOINTS is on: anybody can read mailed codes and verify any account");
        }
        let clock = web::Data::new(config.clock.clone());
        let pages = Pages::new(&config)?;
        let server = HttpServer::new(move || {
            ActixApp::new()
                .app_data(authenticator.clone())
                .app_data(contract.clone())
                .app_data(database.clone())
                .app_data(metrics.clone())
                .app_data(lifecycle_data.clone())
                .app_data(trusted_proxies.clone())
                .app_data(cookies.clone())
                .app_data(our_origins.clone())
                .app_data(clock.clone())
                .app_data(web::Data::new(clock.clone()))
                .app_data(web::Data::new(table_bytes_max))
                .app_data(web::Data::new(ValidationStatus(StatusCode::BAD_REQUEST)))
                .configure(|config| services.register(config))
                .configure(|config| pages.register(config))
                .configure(|config| {
                    let mut table = Routes::new(config);
                    routes(&mut table);
                    if has_testing_routes {
                        testing_routes(&mut table);
                    }
                    table.finish();
                })
                .wrap(from_fn(door::open))
                .wrap(from_fn(refuse_foreign_pages))
                .wrap(from_fn(show_quota))
                .wrap(cors(&origins, true))
                .wrap(from_fn(observe))
        })
        .workers(config.workers)
        .client_request_timeout(HEADERS_WAIT)
        .h1_allow_half_closed(false)
        // Answers go out at once, also those of several writes.
        .tcp_nodelay(true)
        .disable_signals()
        .shutdown_timeout(config.shutdown_grace.as_secs())
        .bind((config.host, config.port))
        .with_context(|| format!("port {} cannot be opened", config.port))?;
        let address = server.addrs().first().copied().context("no address was bound")?;
        Ok(Self {
            address,
            server: server.run(),
            lifecycle,
            shutdown_delay: config.shutdown_delay,
            shutdown_grace: config.shutdown_grace,
        })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The service's life, to stop it from outside.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }

    /// Serves until SIGTERM, or until the lifecycle is stopped.
    pub async fn run(self) -> anyhow::Result<()> {
        tracing::info!(address = %self.address, "listening");
        self.lifecycle
            .run(self.server, self.shutdown_delay, self.shutdown_grace)
            .await?;
        Ok(())
    }
}

impl Services {
    #[expect(
        clippy::too_many_lines,
        reason = "the list of all parts, in the order in which they need each other"
    )]
    async fn build(
        config: &Config,
        database: &Database,
        metrics: &Metrics,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let signing_keys = SigningKeys::new(config, metrics)?;
        let tokens = Arc::new(Tokens::new(config, signing_keys.clone()));
        let token_metrics = TokenMetrics::new(metrics)?;
        let metrics = AuthMetrics::new(metrics)?;
        let users = UserStore::open(database, config.role_map.clone()).await?;
        let audit_lost = metrics.protection.audit_lost.clone();
        let audit = AuditStore::open(database, config.audit_retention, audit_lost).await?;
        let session_store = SessionStore::open(database).await?;
        let settings = RuntimeSettings::open(config, SettingsStore::new(database), audit.clone()).await?;
        let mails = metrics.mails.clone();
        let (mailer, postman) = Mailer::new(&config.mail, &config.mail_from, settings.clone(), mails)?;
        let new_devices = NewDevices::new(
            config,
            KnownDeviceStore::open(database).await?,
            mailer.clone(),
            audit.clone(),
            metrics.clone(),
            lifecycle.tasks().clone(),
        );
        let revocations = Revocations::open(config, RevocationStore::open(database).await?).await?;
        let key_store = ApiKeyStore::open(database).await?;
        let sessions = Arc::new(Sessions::new(
            config,
            tokens.clone(),
            session_store.clone(),
            users.clone(),
            revocations.clone(),
            new_devices,
            audit.clone(),
            metrics.clone(),
            settings.clone(),
            key_store.clone(),
        ));
        let introspection = Introspection {
            verifier: signing_keys.verifier(),
            tokens,
            sessions: sessions.clone(),
            store: session_store.clone(),
            users: users.clone(),
            revocations: revocations.clone(),
            metrics: token_metrics,
            clock: config.clock.clone(),
            grace: seconds(config.refresh_grace),
        };
        let (cost, threads, queue_max) = (config.bcrypt_cost, config.hashing_threads, config.hash_queue_max);
        let passwords = Passwords::new(cost, threads, queue_max, metrics.clone());
        let throttles = ThrottleStore::open(database).await?;
        let limits = Limits::new(config, throttles.clone(), metrics.clone());
        let failed_sign_ins = FailedSignInStore::open(database).await?;
        let spraying = Spraying::new(config, failed_sign_ins, audit.clone(), metrics.clone());
        let throttle = Arc::new(LoginThrottle::new(
            config,
            throttles.clone(),
            limits.clone(),
            spraying.clone(),
        ));
        let accounts = Accounts::new(
            users.clone(),
            passwords.clone(),
            audit.clone(),
            config.clock.clone(),
        );
        let base = Base {
            users: users.clone(),
            sessions: sessions.clone(),
            passwords: passwords.clone(),
            throttle: throttle.clone(),
            audit: audit.clone(),
            mailer: mailer.clone(),
            metrics: metrics.clone(),
            settings: settings.clone(),
            tasks: lifecycle.tasks().clone(),
        };
        let secrets = Box::pin(Secrets::open(config, database, base)).await?;
        let base = people::Base {
            users: &users,
            sessions: &sessions,
            secrets: &secrets,
            audit: &audit,
            mailer: &mailer,
            settings: &settings,
        };
        let people = Box::pin(People::open(config, database, base)).await?;
        let parts = api_keys::Parts {
            store: key_store,
            users: users.clone(),
            revocations: revocations.clone(),
            settings: settings.clone(),
            audit: audit.clone(),
            mailer: mailer.clone(),
        };
        let api_keys = ApiKeys::new(config, parts);
        let sender = mailer.clone();
        let invitations = Invitations::new(
            config,
            InvitationStore::open(database).await?,
            users.clone(),
            settings.clone(),
            audit.clone(),
            mailer.clone(),
        );
        let parts = Parts {
            accounts: accounts.clone(),
            users: users.clone(),
            codes: secrets.codes.clone(),
            email_changes: secrets.email_changes.clone(),
            audit: audit.clone(),
            budget: GuessBudget::new(config, throttles.clone()),
            mailer,
            settings: settings.clone(),
            invitations: invitations.clone(),
            metrics: metrics.clone(),
            tasks: lifecycle.tasks().clone(),
        };
        let (bulk, imports) =
            Self::bulk(config, database, &parts, &passwords, &secrets.resets, lifecycle).await?;
        let logins = Arc::new(Logins::new(
            config,
            users.clone(),
            sessions.clone(),
            passwords,
            secrets.pending.clone(),
            throttle,
            audit.clone(),
            metrics,
            settings.clone(),
        ));
        let base = federation::Base {
            users: &users,
            sessions: &session_store,
            secrets: &secrets,
            logins: &logins,
            audit: &audit,
            mailer: &sender,
            settings: &settings,
            invitations: &invitations,
        };
        let doors = Box::pin(Doors::open(config, database, base)).await?;
        lifecycle.tasks().spawn(spraying.follow(lifecycle.cancelled()));
        lifecycle.tasks().spawn(postman.run(lifecycle.cancelled()));
        lifecycle
            .tasks()
            .spawn(revocations.clone().follow(lifecycle.cancelled()));
        lifecycle
            .tasks()
            .spawn(signing_keys.clone().follow(lifecycle.cancelled()));
        lifecycle
            .tasks()
            .spawn(settings.clone().follow(lifecycle.cancelled()));
        people.start(lifecycle);
        Ok(Self {
            users,
            accounts,
            introspection,
            signing_keys,
            settings,
            invitations,
            registration: Registration::new(config, parts),
            secrets,
            logins,
            sessions,
            session_store,
            audit,
            limits,
            revocations,
            api_keys,
            people,
            doors,
            bulk,
            imports,
        })
    }

    /// What makes people many at a time, and what runs for it.
    async fn bulk(
        config: &Config,
        database: &Database,
        parts: &Parts,
        passwords: &Passwords,
        resets: &Resets,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<(Bulk, Imports)> {
        let (tasks, clock) = (lifecycle.tasks(), config.clock.clone());
        let (users, audit) = (parts.users.clone(), parts.audit.clone());
        let bulk = bulk(
            config,
            database,
            users,
            passwords.clone(),
            audit.clone(),
            &parts.metrics,
            parts.settings.clone(),
        )
        .await?;
        let desk = bulk.desk();
        tasks.spawn(desk.clone().keep_giving(lifecycle.cancelled()));
        let inviting =
            desk.clone()
                .keep_inviting(resets.clone(), parts.mailer.clone(), lifecycle.cancelled());
        tasks.spawn(inviting);
        let imports = Imports::new(bulk.clone(), audit, tasks.clone(), lifecycle.cancelled(), clock);
        Ok((bulk, imports))
    }

    fn register(&self, config: &mut web::ServiceConfig) {
        self.secrets.register(config);
        config
            .app_data(web::Data::new(self.users.clone()))
            .app_data(web::Data::new(self.accounts.clone()))
            .app_data(web::Data::new(self.registration.clone()))
            .app_data(web::Data::from(self.logins.clone()))
            .app_data(web::Data::from(self.sessions.clone()))
            .app_data(web::Data::new(self.session_store.clone()))
            .app_data(web::Data::new(self.audit.clone()))
            .app_data(web::Data::new(self.limits.clone()))
            .app_data(web::Data::new(self.revocations.clone()))
            .app_data(web::Data::new(self.signing_keys.clone()))
            .app_data(web::Data::new(self.introspection.clone()))
            .app_data(web::Data::new(self.bulk.clone()))
            .app_data(web::Data::new(self.imports.clone()))
            .app_data(web::Data::new(self.settings.clone()))
            .app_data(web::Data::new(self.invitations.clone()))
            .app_data(web::Data::new(self.api_keys.clone()));
        self.people.register(config);
        self.doors.register(config);
    }

    async fn bootstrap_admin(&self, config: &Config) -> anyhow::Result<()> {
        let Some(admin) = &config.bootstrap_admin else {
            return Ok(());
        };
        let account = NewAccount::parse(&admin.username, &admin.email, admin.password.clone())
            .map_err(|error| anyhow::anyhow!("BOOTSTRAP_ADMIN: {}", error.problem().detail()))?;
        let was_made = self.accounts.bootstrap_admin(account).await.context(
            "the first admin cannot be made: the name or address of BOOTSTRAP_ADMIN is somebody else's",
        )?;
        if was_made {
            tracing::info!("the first admin was made");
        }
        Ok(())
    }

    fn authenticator(&self, config: &Config) -> Authenticator {
        let services = VerifyingKey::hs256(config.service_jwt_secret.expose_secret().as_bytes());
        let sessions = self.sessions.clone();
        let check: SessionCheck = Arc::new(move |user| {
            let sessions = sessions.clone();
            Box::pin(async move { sessions.check(&user).await })
        });
        let revocations: RevocationSet = self.revocations.set();
        Authenticator {
            people: self.signing_keys.verifier(),
            key_feed: None,
            services: Verifier::for_services(KeyRing::new([services]), NAME),
            revocations,
            clock: config.clock.clone(),
            older_cookie: Some(ACCESS_COOKIE),
            session_check: Some(check),
            api_keys: None,
        }
    }
}

/// What makes people many at a time.
async fn bulk(
    config: &Config,
    database: &Database,
    users: UserStore,
    passwords: Passwords,
    audit: AuditStore,
    metrics: &AuthMetrics,
    settings: RuntimeSettings,
) -> anyhow::Result<Bulk> {
    let tokens = ServiceTokens::new(NAME, &config.service_jwt_secret);
    let gifts = Gifts::new(config.accounting_url.clone(), config.proxy_url.clone(), tokens)?;
    let clock = config.clock.clone();
    let store = OnboardingStore::open(database).await?;
    let desk = OnboardingDesk::new(store, users.clone(), gifts, metrics.clone(), clock.clone());
    Ok(Bulk::new(
        users,
        desk,
        passwords,
        audit,
        metrics.clone(),
        clock,
        settings,
    ))
}

async fn connect(config: &Config) -> anyhow::Result<Database> {
    let mut options = ClientOptions::parse(config.mongodb_uri.expose_secret())
        .await
        .context("MONGODB_URI is not the address of a MongoDB")?;
    options.app_name = Some(NAME.to_owned());
    options.server_selection_timeout = Some(DATABASE_WAIT);
    options.connect_timeout = Some(DATABASE_WAIT);
    let name = options.default_database.clone();
    let client = Client::with_options(options)?;
    Ok(client.database(name.as_deref().unwrap_or(DATABASE_DEFAULT)))
}
