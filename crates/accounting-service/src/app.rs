//! Puts the service together: database, ledger, routes; and takes it apart again in order.

use std::{net::SocketAddr, time::Duration};

use actix_web::{App as ActixApp, HttpServer, dev::Server, middleware::from_fn, web};
use anyhow::Context as _;
use chrono::TimeDelta;
use common_http::{
    Authenticator, Contract, Lifecycle, Metrics, RevocationFeed, RevocationSet, Routes, ServiceTokens, cors,
    observe,
};
use common_jwt::{KeyRing, Verifier, VerifyingKey};
use secrecy::ExposeSecret as _;

use crate::{
    CONTRACT, SERVICE,
    config::Config,
    domain::notice::Watch,
    metrics::{LedgerMetrics, NoticeMetrics, RuleMetrics},
    routes,
    service::{
        Accounts, AutomaticCredits, Credits, Ledger, Notices, Prices, Receiver, Rules, Sessions, Sweeper,
        Usage, Writer,
    },
    store::{
        AccountStore, AllocationStore, Database, Exclusive, IdempotencyStore, PriceStore, RuleStore,
        SessionStore, StatisticsStore, UsageStore, WebhookStore, migrate,
    },
};

/// A client that has not sent its head by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The service, listening but not yet answering.
pub struct App {
    address: SocketAddr,
    server: Server,
    lifecycle: Lifecycle,
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

        let sweeper = Sweeper {
            ledger: ledger.clone(),
            sessions: SessionStore::new(database.clone()),
            answers: IdempotencyStore::new(database.clone()),
            clock: clock.clone(),
            metrics: ledger_metrics,
            interval: config.hold_sweep,
        };
        lifecycle.tasks().spawn(sweeper.run(lifecycle.cancelled()));

        let outside = Outside {
            database: &database,
            metrics: &metrics,
            lifecycle: &lifecycle,
        };
        outside.tell(&config)?;
        let rules = outside.grant_by_rules(&config, &ledger).await?;

        let revocations = RevocationSet::default();
        let tokens = ServiceTokens::new(SERVICE, &config.service_jwt_secret);
        let feed = RevocationFeed::new(
            &config.auth_url,
            tokens,
            revocations.clone(),
            clock.clone(),
            &metrics,
        )?;
        lifecycle.tasks().spawn(feed.follow(lifecycle.cancelled()));

        let contract = Contract::from_yaml(CONTRACT)?;
        let authenticator = authenticator(&config, revocations);
        let services = Services::new(&config, database, ledger, rules)?;
        let (grace, origins) = (config.shutdown_grace, config.cors_origins.clone());
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
        self.lifecycle.run(self.server, self.shutdown_grace).await?;
        Ok(())
    }
}

/// What work in the background is given, beside the ledger.
struct Outside<'a> {
    database: &'a Database,
    metrics: &'a Metrics,
    lifecycle: &'a Lifecycle,
}

impl Outside<'_> {
    /// Begins to deliver messages, where a webhook is configured.
    fn tell(&self, config: &Config) -> anyhow::Result<()> {
        let Some(webhook) = &config.webhook else {
            return Ok(());
        };
        let notices = Notices {
            store: WebhookStore::new(self.database.clone()),
            receiver: Receiver::new(webhook)?,
            attempts_max: webhook.attempts_max,
            expiry_notice_days: webhook.expiry_notice_days,
            clock: config.clock.clone(),
            metrics: NoticeMetrics::new(self.metrics)?,
            interval: webhook.poll,
        };
        let stop = self.lifecycle.cancelled();
        self.lifecycle.tasks().spawn(notices.run(stop));
        Ok(())
    }

    /// Begins to grant by rules, those included that the configuration asks for.
    async fn grant_by_rules(&self, config: &Config, ledger: &Ledger) -> anyhow::Result<Rules> {
        let store = RuleStore::new(self.database.clone());
        let metrics = RuleMetrics::new(self.metrics)?;
        let rules = Rules::new(store.clone(), ledger.clone(), config.clock.clone(), metrics);
        rules.seed(&config.rule_seeds).await?;
        let automatic = AutomaticCredits {
            rules: rules.clone(),
            store,
            turn: Exclusive::to_grant_by_rules(config.database_url.clone()),
            clock: config.clock.clone(),
            interval: config.rules_sweep,
        };
        let stop = self.lifecycle.cancelled();
        self.lifecycle.tasks().spawn(automatic.run(stop));
        Ok(rules)
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
    credits: Credits,
    sessions: Sessions,
    usage: Usage,
    webhooks: WebhookStore,
    rules: Rules,
    rule_store: RuleStore,
}

impl Services {
    fn new(config: &Config, database: Database, ledger: Ledger, rules: Rules) -> anyhow::Result<Self> {
        let clock = &config.clock;
        let price_store = PriceStore::new(database.clone());
        let prices = Prices::new(price_store.clone(), clock.clone());
        let session_store = SessionStore::new(database.clone());
        Ok(Self {
            accounts: Accounts::new(AccountStore::new(database.clone()), rules.clone(), clock.clone()),
            allocations: AllocationStore::new(database.clone()),
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
            .app_data(web::Data::new(self.credits.clone()))
            .app_data(web::Data::new(self.sessions.clone()))
            .app_data(web::Data::new(self.usage.clone()))
            .app_data(web::Data::new(self.webhooks.clone()))
            .app_data(web::Data::new(self.rules.clone()))
            .app_data(web::Data::new(self.rule_store.clone()));
    }
}

fn authenticator(config: &Config, revocations: RevocationSet) -> Authenticator {
    let secrets = [
        Some(&config.jwt_access_secret),
        config.jwt_access_secret_previous.as_ref(),
    ];
    let keys = secrets.into_iter().flatten();
    let people = KeyRing::new(keys.map(|secret| VerifyingKey::hs256(secret.expose_secret().as_bytes())));
    let services = VerifyingKey::hs256(config.service_jwt_secret.expose_secret().as_bytes());
    Authenticator {
        people: Verifier::new(people, &config.jwt_issuer, &config.jwt_audience),
        services: Verifier::for_services(KeyRing::new([services]), SERVICE),
        revocations,
        clock: config.clock.clone(),
        cookie: None,
        session_check: None,
    }
}
