//! What the service does without being asked, started with it and ended with it.

use common_http::{Lifecycle, Metrics, RevocationFeed, RevocationSet, ServiceTokens, UserChangeFeed};

use crate::{
    SERVICE,
    config::Config,
    metrics::{LedgerMetrics, NoticeMetrics, RuleMetrics},
    service::{Audit, AutomaticCredits, Ledger, Notices, People, Receiver, Rules, Sweeper},
    store::{
        AllowanceStore, Database, Exclusive, IdempotencyStore, LapseStore, RuleStore, SessionStore,
        WebhookStore,
    },
};

/// What work in the background is given.
pub(super) struct Background<'a> {
    pub(super) config: &'a Config,
    pub(super) database: &'a Database,
    pub(super) ledger: &'a Ledger,
    pub(super) metrics: &'a Metrics,
    pub(super) lifecycle: &'a Lifecycle,
}

impl Background<'_> {
    /// Ends holds that nobody settled, writes off what has expired, forgets old answers, removes what deleted users left.
    pub(super) fn sweep(&self, people: &People, metrics: LedgerMetrics) {
        let sweeper = Sweeper {
            people: people.clone(),
            ledger: self.ledger.clone(),
            sessions: SessionStore::new(self.database.clone()),
            lapses: LapseStore::new(self.database.clone()),
            answers: IdempotencyStore::new(self.database.clone()),
            allowances: AllowanceStore::new(self.database.clone()),
            clock: self.config.clock.clone(),
            metrics,
            interval: self.config.hold_sweep,
        };
        self.start(sweeper.run(self.lifecycle.cancelled()));
    }

    /// Lets the service verify its own ledger from time to time, where that is asked for.
    pub(super) fn audit(&self, metrics: LedgerMetrics) {
        let Some(interval) = self.config.verify_every else {
            return;
        };
        let audit = Audit {
            database_url: self.config.database_url.clone(),
            clock: self.config.clock.clone(),
            metrics,
            interval,
        };
        self.start(audit.run(self.lifecycle.cancelled()));
    }

    /// Begins to deliver messages, where a webhook is configured.
    pub(super) fn tell(&self) -> anyhow::Result<()> {
        let Some(webhook) = &self.config.webhook else {
            return Ok(());
        };
        let notices = Notices {
            store: WebhookStore::new(self.database.clone()),
            receiver: Receiver::new(webhook)?,
            attempts_max: webhook.attempts_max,
            expiry_notice_days: webhook.expiry_notice_days,
            clock: self.config.clock.clone(),
            metrics: NoticeMetrics::new(self.metrics)?,
            interval: webhook.poll,
        };
        self.start(notices.run(self.lifecycle.cancelled()));
        Ok(())
    }

    /// Begins to grant by rules, those included that the configuration asks for.
    pub(super) async fn grant_by_rules(&self) -> anyhow::Result<Rules> {
        let store = RuleStore::new(self.database.clone());
        let clock = self.config.clock.clone();
        let metrics = RuleMetrics::new(self.metrics)?;
        let rules = Rules::new(store.clone(), self.ledger.clone(), clock.clone(), metrics);
        rules.seed(&self.config.rule_seeds).await?;
        let automatic = AutomaticCredits {
            rules: rules.clone(),
            store,
            turn: Exclusive::to_grant_by_rules(self.config.database_url.clone()),
            clock,
            interval: self.config.rules_sweep,
        };
        self.start(automatic.run(self.lifecycle.cancelled()));
        Ok(rules)
    }

    /// Follows what auth-service says of sessions that ended, which is returned, and of people who changed.
    pub(super) async fn follow_auth(&self, people: &People) -> anyhow::Result<RevocationSet> {
        let (url, clock) = (&self.config.auth_url, &self.config.clock);
        let tokens = ServiceTokens::new(SERVICE, &self.config.service_jwt_secret);
        let revocations = RevocationSet::default();
        let feed = RevocationFeed::new(
            url,
            tokens.clone(),
            revocations.clone(),
            clock.clone(),
            self.metrics,
        )?;
        self.start(feed.follow(self.lifecycle.cancelled()));

        let changes = UserChangeFeed::new(url, tokens, clock.clone(), self.metrics)?;
        let cursor = people.cursor().await?;
        let people = people.clone();
        let take_in = move |body| {
            let people = people.clone();
            async move { people.take_in(body).await }
        };
        self.start(changes.follow(cursor, take_in, self.lifecycle.cancelled()));
        Ok(revocations)
    }

    fn start(&self, work: impl Future<Output = ()> + 'static + Send) {
        self.lifecycle.tasks().spawn(work);
    }
}
