//! Notices password spraying, also when each guess comes from another address: what gives it away is how many different
//! accounts fail within minutes, at all replicas together.

use std::sync::{Arc, Mutex, PoisonError};

use common_http::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::spraying::{Failures, WINDOW},
    error::Result,
    metrics::AuthMetrics,
    service::keyed_hash::KeyedHash,
    store::{
        audit::{AuditEvent, AuditStore},
        failed_sign_ins::FailedSignInStore,
    },
};

/// How often a replica tells what it saw and looks at what all saw.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Watches failed sign-ins.
#[derive(Clone, Debug)]
pub(crate) struct Spraying {
    store: FailedSignInStore,
    hash: KeyedHash,
    /// What this replica saw since it last told; a sketch of fixed size.
    unsent: Arc<Mutex<Failures>>,
    accounts_min: u64,
    audit: AuditStore,
    metrics: AuthMetrics,
    clock: Clock,
}

impl Spraying {
    /// A watch as the configuration wants it.
    pub(crate) fn new(
        config: &Config,
        store: FailedSignInStore,
        audit: AuditStore,
        metrics: AuthMetrics,
    ) -> Self {
        Self {
            store,
            hash: KeyedHash::new(config, "failed accounts"),
            unsent: Arc::default(),
            accounts_min: config.limits.spraying_accounts.into(),
            audit,
            metrics,
            clock: config.clock.clone(),
        }
    }

    /// A sign-in at this account failed; whether there is such an account does not matter.
    pub(crate) fn failed(&self, account: &str) {
        let account = self.hash.number(&[account]);
        self.unsent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(account);
    }

    /// Keeps watch until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut is_up = true;
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            match self.look().await {
                Ok(()) => is_up = true,
                Err(error) => {
                    if is_up {
                        tracing::error!(?error, "failed sign-ins cannot be counted together; trying on");
                    }
                    is_up = false;
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn look(&self) -> Result<()> {
        let now = self.clock.now();
        self.send().await?;
        let sum = self.store.sum(now).await?;
        let accounts = sum.accounts.estimate();
        let gauge = i64::try_from(accounts).unwrap_or(i64::MAX);
        self.metrics.protection.failed_accounts.set(gauge);
        if sum.look_like_spraying(accounts, self.accounts_min)
            && self.store.raise_alert(now + WINDOW, now).await?
        {
            self.report(accounts, sum.count).await;
        }
        Ok(())
    }

    /// Tells what this replica saw; what cannot be told now is told next time.
    async fn send(&self) -> Result<()> {
        let unsent = std::mem::take(&mut *self.unsent.lock().unwrap_or_else(PoisonError::into_inner));
        if unsent.count == 0 {
            return Ok(());
        }
        let sent = self.store.add(&unsent, self.clock.now()).await;
        if sent.is_err() {
            let mut newer = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
            newer.merge(&unsent);
        }
        sent
    }

    async fn report(&self, accounts: u64, failures: u64) {
        self.metrics.protection.spraying.inc();
        tracing::warn!(
            accounts,
            failures,
            "password spraying suspected: sign-ins fail at many accounts"
        );
        let event = AuditEvent {
            action: "password_spraying",
            outcome: "suspected",
            actor: None,
            subject: None,
            session_id: None,
            origin: None,
        };
        let details = [
            ("accounts", &*accounts.to_string()),
            ("failures", &*failures.to_string()),
        ];
        self.audit.record_with(event, &details, self.clock.now()).await;
    }
}
