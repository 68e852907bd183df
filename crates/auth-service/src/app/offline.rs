//! What commands work with while no service runs in this process: the same use cases on the same database.

use common_http::{Lifecycle, Metrics};

use super::{bulk, connect};
use crate::{
    NAME,
    config::Config,
    metrics::AuthMetrics,
    service::{accounts::Accounts, imports::Imports, passwords::Passwords, settings::RuntimeSettings},
    store::{audit::AuditStore, settings::SettingsStore, users::UserStore},
};

/// The use cases that have a command.
pub(crate) struct Offline {
    /// Makes one account.
    pub(crate) accounts: Accounts,
    /// Makes many.
    pub(crate) imports: Imports,
}

impl Offline {
    /// Connects and makes the indexes, as a start of the service does.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = connect(config).await?;
        let metrics = AuthMetrics::new(&Metrics::new(NAME)?)?;
        let users = UserStore::open(&database, config.role_map.clone()).await?;
        let lost = metrics.protection.audit_lost.clone();
        let audit = AuditStore::open(&database, config.audit_retention, lost).await?;
        let passwords = Passwords::new(config.bcrypt_cost, 1, config.hash_queue_max, metrics.clone());
        let clock = config.clock.clone();
        let accounts = Accounts::new(users.clone(), passwords.clone(), audit.clone(), clock.clone());
        let settings = RuntimeSettings::open(config, SettingsStore::new(&database), audit.clone()).await?;
        let bulk = bulk(
            config,
            &database,
            users,
            passwords,
            audit.clone(),
            &metrics,
            settings,
        )
        .await?;
        let lifecycle = Lifecycle::default();
        let imports = Imports::new(
            bulk,
            audit,
            lifecycle.tasks().clone(),
            lifecycle.cancelled(),
            clock,
        );
        Ok(Self { accounts, imports })
    }
}
