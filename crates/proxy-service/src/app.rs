//! Puts the service together: connects, binds, runs, stops.

use std::{net::SocketAddr, time::Duration};

use actix_web::{App as ActixApp, HttpServer, dev::Server, http::StatusCode, middleware::from_fn, web};
use anyhow::Context as _;
use common_http::{
    ApiKeyChecks, Authenticator, Contract, KeyFeed, Lifecycle, Metrics, RevocationFeed, RevocationSet,
    Routes, ServiceTokens, UserChangeFeed, ValidationStatus, cors, observe,
};
use common_jwt::{KeyRing, SharedKeyRing, Verifier, VerifyingKey};
use mongodb::{Client, options::ClientOptions};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{
    CONTRACT, NAME,
    catalog::Catalog,
    config::Config,
    limits::{self, limit},
    routes::{ChatPage, PublicBase, WidgetPages, openai_headers, refuse_in_kind, routes, visitor_cors},
    service::{limits::Limits, turns::Turns, widget::protection::Protection},
    store::leases::LeaseStore,
    upload_memory::UploadMemory,
    upstream,
    widget::Widget,
};

/// How long a database may be looked for, where the address does not say. The driver looks twice, and whoever asks is
/// told soon.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// A service that is bound and ready to run.
pub struct App {
    address: SocketAddr,
    server: Server,
    lifecycle: Lifecycle,
    config: Config,
}

impl App {
    /// Connects and binds; nothing is served before [`App::run`].
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::default();
        let metrics = Metrics::new(NAME)?;
        let client = connect(&config)
            .await
            .context("MONGODB_URI is not the address of a MongoDB")?;
        let database = client.database(&config.mongodb_database);

        let tokens = ServiceTokens::new(NAME, &config.service_jwt_secret);
        let revocations = follow_revocations(&config, tokens.clone(), &metrics, &lifecycle)?;

        let (limits, protection) = limits_of(&config, &metrics)?;
        let mut authenticator = authenticator(&config, revocations, tokens.clone(), &metrics, &lifecycle)?;
        authenticator.session_check = Some(limits::of_people(limits.clone()));
        let http = upstream::client()?;
        let catalog = Catalog::open(
            &config,
            &database,
            &http,
            &metrics,
            &authenticator,
            tokens.clone(),
            &lifecycle,
        )
        .await?;
        catalog.start(&config, &lifecycle);
        let access = catalog.access.clone();
        let turns = Turns::open(&config, &database, access, tokens.clone(), &lifecycle, &metrics).await?;
        follow_user_changes(&config, &catalog, tokens, &lifecycle, &metrics).await?;
        let widget = Widget::open(&config, &database, &catalog, &turns).await?;
        let departures = catalog.departures(&turns, widget.embed_rows.clone(), config.clock.clone());
        lifecycle.tasks().spawn(departures.run(lifecycle.cancelled()));
        let leases = LeaseStore::new(&database, Uuid::new_v4().to_string());
        let housekeeping = turns.housekeeping(&config, widget.histories.clone(), leases);
        lifecycle.tasks().spawn(housekeeping.run(lifecycle.cancelled()));
        let conversations = web::Data::new(turns.conversations());
        let files = web::Data::new(turns.files());
        let public_base = web::Data::new(PublicBase::new(config.public_base_url.as_ref()));
        let personal_data = web::Data::new(catalog.personal_data(&turns));
        let chats = web::Data::new(turns.chats(catalog.chatflows.clone()));
        let turns = web::Data::new(turns);
        let widget_pages = WidgetPages::new(config.public_base_url.clone());
        let chat_page = web::Data::new(ChatPage::new(config.prompt_chars_max));

        let upload_memory = web::Data::new(UploadMemory::new(config.upload_memory_bytes_max, &metrics)?);
        let contract = web::Data::new(Contract::from_yaml(CONTRACT)?);
        let authenticator = web::Data::new(authenticator);
        let (database, clock) = (web::Data::new(database), web::Data::new(config.clock.clone()));
        let (metrics, lifecycle_data) = (web::Data::new(metrics), web::Data::new(lifecycle.clone()));
        let (limits, protection) = (web::Data::new(limits), web::Data::new(protection));
        let trusted_proxies = web::Data::new(config.trusted_proxies.clone());
        let origins = config.cors_origins.clone();
        let server = HttpServer::new(move || {
            ActixApp::new()
                .app_data(authenticator.clone())
                .app_data(contract.clone())
                .app_data(database.clone())
                .app_data(clock.clone())
                .app_data(metrics.clone())
                .app_data(lifecycle_data.clone())
                .app_data(trusted_proxies.clone())
                .app_data(limits.clone())
                .app_data(protection.clone())
                .app_data(upload_memory.clone())
                .app_data(turns.clone())
                .app_data(chats.clone())
                .app_data(conversations.clone())
                .app_data(files.clone())
                .app_data(public_base.clone())
                .app_data(personal_data.clone())
                .app_data(chat_page.clone())
                .app_data(web::Data::new(ValidationStatus(StatusCode::UNPROCESSABLE_ENTITY)))
                .configure(|app| catalog.register(app))
                .configure(|app| widget.register(app))
                .configure(|app| widget_pages.register(app))
                .configure(|config| {
                    let mut table = Routes::new(config);
                    routes(&mut table);
                    table.finish();
                })
                .wrap(from_fn(limit))
                .wrap(from_fn(refuse_in_kind))
                .wrap(from_fn(openai_headers))
                .wrap(cors(&origins, false))
                .wrap(from_fn(visitor_cors))
                .wrap(from_fn(observe))
        })
        .workers(config.workers)
        // A client that closes its half has left: its turn is abandoned at once, not at the next write.
        .h1_allow_half_closed(false)
        // Small writes go out at once: waiting to fill a segment costs a stream 40 ms between two events.
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
            config,
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
            .run(
                self.server,
                self.config.shutdown_delay,
                self.config.shutdown_grace,
            )
            .await?;
        Ok(())
    }
}

/// A client that says soon that there is no database; nobody waits for the driver's half minute.
async fn connect(config: &Config) -> mongodb::error::Result<Client> {
    let mut options = ClientOptions::parse(config.mongodb_uri.expose_secret()).await?;
    options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
    Client::with_options(options)
}

/// Begins to follow what happens to people, where it was left off.
async fn follow_user_changes(
    config: &Config,
    catalog: &Catalog,
    tokens: ServiceTokens,
    lifecycle: &Lifecycle,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let feed = UserChangeFeed::new(config.auth_url.as_str(), tokens, config.clock.clone(), metrics)?;
    let changes = catalog.user_changes.clone();
    let cursor = changes.cursor().await?;
    let take_in = move |body| {
        let changes = changes.clone();
        async move { changes.take_in(body).await }
    };
    lifecycle
        .tasks()
        .spawn(feed.follow(cursor, take_in, lifecycle.cancelled()));
    Ok(())
}

/// Checks people's tokens with the shared secrets there are, and with the keys that auth-service publishes.
fn authenticator(
    config: &Config,
    revocations: RevocationSet,
    tokens: ServiceTokens,
    metrics: &Metrics,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Authenticator> {
    let (url, clock) = (config.auth_url.as_str(), config.clock.clone());
    let api_keys = ApiKeyChecks::new(url, tokens, revocations.clone(), clock, metrics)?;
    let secrets = [&config.jwt_access_secret, &config.jwt_access_secret_previous];
    let secrets = secrets.into_iter().flatten();
    let secrets = secrets.map(|secret| VerifyingKey::hs256(secret.expose_secret().as_bytes()));
    let people = SharedKeyRing::from(KeyRing::new(secrets));
    let key_feed = match &config.auth_jwks_url {
        Some(url) => Some(KeyFeed::new(url, people.clone(), config.clock.clone(), metrics)?),
        None => None,
    };
    if let Some(feed) = key_feed.clone() {
        lifecycle.tasks().spawn(feed.follow(lifecycle.cancelled()));
    }
    let services = VerifyingKey::hs256(config.service_jwt_secret.expose_secret().as_bytes());
    Ok(Authenticator {
        people: Verifier::new(people, &config.jwt_issuer, &config.jwt_audience),
        key_feed,
        services: Verifier::for_services(KeyRing::new([services]), NAME),
        revocations,
        clock: config.clock.clone(),
        older_cookie: None,
        session_check: None,
        api_keys: Some(api_keys),
    })
}

fn limits_of(config: &Config, metrics: &Metrics) -> anyhow::Result<(Limits, Protection)> {
    let limits = Limits::new(&config.limits, metrics)?;
    let clock = config.clock.clone();
    let protection = Protection::new(config.widget.protection, limits.clone(), clock, metrics)?;
    Ok((limits, protection))
}

fn follow_revocations(
    config: &Config,
    tokens: ServiceTokens,
    metrics: &Metrics,
    lifecycle: &Lifecycle,
) -> anyhow::Result<RevocationSet> {
    let revocations = RevocationSet::default();
    let (url, clock) = (config.auth_url.as_str(), config.clock.clone());
    let feed = RevocationFeed::new(url, tokens, revocations.clone(), clock, metrics)?;
    lifecycle.tasks().spawn(feed.follow(lifecycle.cancelled()));
    Ok(revocations)
}
