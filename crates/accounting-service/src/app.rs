//! Puts the service together: database, ledger, routes; and takes it apart again in order.

mod background;

use std::{net::SocketAddr, time::Duration};

use actix_web::{App as ActixApp, HttpServer, dev::Server, middleware::from_fn, web};
use anyhow::Context as _;
use chrono::TimeDelta;
use common_http::{
    ApiKeyChecks, Authenticator, Contract, KeyFeed, Lifecycle, Metrics, RevocationSet, Routes, ServiceTokens,
    cors, observe,
};
use common_jwt::{KeyRing, SharedKeyRing, Verifier, VerifyingKey};
use secrecy::ExposeSecret as _;

use self::background::Background;
use crate::{
    CONTRACT, SERVICE,
    config::Config,
    domain::notice::Watch,
    metrics::LedgerMetrics,
    routes,
    service::{
        Accounts, Allowances, Credits, Ledger, Limits, People, Prices, Rules, Sessions, Usage, Writer,
    },
    store::{
        AccountStore, AllocationStore, AllowanceStore, Database, FeedStore, IdempotencyStore, PersonalStore,
        PriceStore, ReceiptStore, RuleStore, SessionStore, StatisticsStore, TransactionStore, UsageStore,
        WebhookStore, migrate,
    },
};

/// A client that has not sent its head by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The service, listening but not yet answering.
pub struct App {
    address: SocketAddr,
    server: Server,
    lifecycle: Lifecycle,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
}

impl App {
    /// Migrates the database, starts the ledger and binds.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        migrate(&config.database_url).await?;
        let clock = config.clock.clone();
        let metrics = Metrics::new(SERVICE)?;
        let ledger_metrics = LedgerMetrics::new(&metrics)?;
        let lifecycle = Lifecycle::default();
        let database = Database::new(&config.database_url, config.db_pool_max)?;

        let (writer, ledger) = Writer::new(
            config.database_url.clone(),
            config.ledger_queue_max,
            config.ledger_batch_max,
            config.webhook.as_ref().map(|webhook| Watch {
                low_threshold: webhook.low_threshold,
            }),
            clock.clone(),
            ledger_metrics.clone(),
        );
        // Not waited for at the end: every request that is answered has been through it before.
        tokio::spawn(writer.run());

        let background = Background {
            config: &config,
            database: &database,
            ledger: &ledger,
            metrics: &metrics,
            lifecycle: &lifecycle,
        };
        background.tell()?;
        let rules = background.grant_by_rules().await?;
        let account_store = AccountStore::new(database.clone());
        let accounts = Accounts::new(account_store.clone(), rules.clone(), clock.clone());
        let people = People::new(
            accounts.clone(),
            account_store,
            SessionStore::new(database.clone()),
            FeedStore::new(database.clone()),
            ledger.clone(),
            clock.clone(),
        );
        background.sweep(&people, ledger_metrics.clone());
        background.audit(ledger_metrics);
        let revocations = background.follow_auth(&people).await?;

        let contract = Contract::from_yaml(CONTRACT)?;
        let tokens = ServiceTokens::new(SERVICE, &config.service_jwt_secret);
        let (url, known) = (&config.auth_url, revocations.clone());
        let api_keys = ApiKeyChecks::new(url, tokens, known, clock.clone(), &metrics)?;
        let mut authenticator = authenticator(&config, revocations, &metrics, &lifecycle)?;
        authenticator.api_keys = Some(api_keys);
        let services = Services::new(&config, database, accounts, ledger, rules)?;
        let (delay, grace) = (config.shutdown_delay, config.shutdown_grace);
        let origins = config.cors_origins.clone();
        let (trusted_proxies, shared_lifecycle) = (config.trusted_proxies.clone(), lifecycle.clone());
        let mut server = HttpServer::new(move || {
            ActixApp::new()
                .app_data(web::Data::new(authenticator.clone()))
                .app_data(web::Data::new(contract.clone()))
                .app_data(web::Data::new(metrics.clone()))
                .app_data(web::Data::new(clock.clone()))
                .app_data(web::Data::new(shared_lifecycle.clone()))
                .app_data(web::Data::new(trusted_proxies.clone()))
                .configure(|config| services.register(config))
                .configure(|config| {
                    let mut table = Routes::new(config);
                    routes::routes(&mut table);
                    table.finish();
                })
                .wrap(cors(&origins, false))
                .wrap(from_fn(observe))
        })
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(grace.as_secs())
        // Answers go out at once, also those of several writes.
        .tcp_nodelay(true)
        .disable_signals();
        if let Some(workers) = config.workers {
            server = server.workers(workers);
        }
        let server = server
            .bind(config.bind)
            .with_context(|| format!("cannot listen on {}", config.bind))?;
        let address = *server.addrs().first().context("nothing was bound")?;
        Ok(Self {
            address,
            server: server.run(),
            lifecycle,
            shutdown_delay: delay,
            shutdown_grace: grace,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }

    /// Answers requests until it is stopped.
    pub async fn run(self) -> anyhow::Result<()> {
        tracing::info!(address = %self.address, "listening");
        self.lifecycle
            .run(self.server, self.shutdown_delay, self.shutdown_grace)
            .await?;
        Ok(())
    }
}

/// What handlers are given.
#[derive(Clone)]
struct Services {
    database: Database,
    accounts: Accounts,
    allocations: AllocationStore,
    prices: Prices,
    price_store: PriceStore,
    session_store: SessionStore,
    statistics: StatisticsStore,
    transactions: TransactionStore,
    receipts: ReceiptStore,
    allowances: Allowances,
    limits: Limits,
    credits: Credits,
    sessions: Sessions,
    usage: Usage,
    webhooks: WebhookStore,
    rules: Rules,
    rule_store: RuleStore,
    personal: PersonalStore,
}

impl Services {
    fn new(
        config: &Config,
        database: Database,
        accounts: Accounts,
        ledger: Ledger,
        rules: Rules,
    ) -> anyhow::Result<Self> {
        let clock = &config.clock;
        let price_store = PriceStore::new(database.clone());
        let prices = Prices::new(price_store.clone(), clock.clone());
        let session_store = SessionStore::new(database.clone());
        Ok(Self {
            accounts,
            allocations: AllocationStore::new(database.clone()),
            transactions: TransactionStore::new(database.clone()),
            receipts: ReceiptStore::new(database.clone()),
            allowances: Allowances::new(
                AllowanceStore::new(database.clone()),
                IdempotencyStore::new(database.clone()),
                clock.clone(),
                config.supervisor_caps,
            ),
            limits: Limits::new(config.user_pace),
            credits: Credits::new(ledger.clone(), clock.clone()),
            sessions: Sessions::new(
                ledger,
                session_store.clone(),
                prices.clone(),
                clock.clone(),
                TimeDelta::from_std(config.hold_ttl)?,
                config.open_holds_max,
            ),
            usage: Usage::new(
                UsageStore::new(database.clone()),
                IdempotencyStore::new(database.clone()),
                clock.clone(),
            ),
            personal: PersonalStore::new(database.clone()),
            prices,
            price_store,
            statistics: StatisticsStore::new(database.clone()),
            session_store,
            webhooks: WebhookStore::new(database.clone()),
            rule_store: RuleStore::new(database.clone()),
            rules,
            database,
        })
    }

    fn register(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::new(self.database.clone()))
            .app_data(web::Data::new(self.accounts.clone()))
            .app_data(web::Data::new(self.allocations.clone()))
            .app_data(web::Data::new(self.prices.clone()))
            .app_data(web::Data::new(self.price_store.clone()))
            .app_data(web::Data::new(self.session_store.clone()))
            .app_data(web::Data::new(self.statistics.clone()))
            .app_data(web::Data::new(self.transactions.clone()))
            .app_data(web::Data::new(self.receipts.clone()))
            .app_data(web::Data::new(self.allowances.clone()))
            .app_data(web::Data::new(self.limits.clone()))
            .app_data(web::Data::new(self.credits.clone()))
            .app_data(web::Data::new(self.sessions.clone()))
            .app_data(web::Data::new(self.usage.clone()))
            .app_data(web::Data::new(self.webhooks.clone()))
            .app_data(web::Data::new(self.rules.clone()))
            .app_data(web::Data::new(self.rule_store.clone()))
            .app_data(web::Data::new(self.personal.clone()));
    }
}

/// Checks people's tokens with the shared secrets there are, and with the keys that auth-service publishes.
fn authenticator(
    config: &Config,
    revocations: RevocationSet,
    metrics: &Metrics,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Authenticator> {
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
        services: Verifier::for_services(KeyRing::new([services]), SERVICE),
        revocations,
        clock: config.clock.clone(),
        older_cookie: None,
        session_check: None,
        api_keys: None,
    })
}
