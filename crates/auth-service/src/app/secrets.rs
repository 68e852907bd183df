//! Puts together what proves and changes who somebody is: passwords, links, codes, addresses, second factors.

use std::sync::Arc;

use actix_web::web;
use mongodb::Database;
use tokio_util::task::TaskTracker;

use crate::{
    config::Config,
    mailer::Mailer,
    metrics::AuthMetrics,
    sealing::Sealing,
    service::{
        codes::Codes,
        credentials::{self, Credentials},
        email_changes::{self, EmailChanges},
        passwords::Passwords,
        pending_sign_ins::PendingSignIns,
        resets::{self, Resets},
        second_factors::{self, SecondFactors},
        sessions::Sessions,
        settings::RuntimeSettings,
        testing::Testing,
        throttle::LoginThrottle,
    },
    store::{
        audit::AuditStore, pending_sign_ins::PendingSignInStore, resets::ResetStore,
        second_factors::SecondFactorStore, users::UserStore, verifications::VerificationStore,
    },
};

/// What the rest of the service has made already.
pub(super) struct Base {
    pub(super) users: UserStore,
    pub(super) sessions: Arc<Sessions>,
    pub(super) passwords: Passwords,
    pub(super) throttle: Arc<LoginThrottle>,
    pub(super) audit: AuditStore,
    pub(super) mailer: Mailer,
    pub(super) metrics: AuthMetrics,
    pub(super) settings: RuntimeSettings,
    pub(super) tasks: TaskTracker,
}

/// Everything about secrets.
#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) codes: Codes,
    pub(super) email_changes: EmailChanges,
    pub(super) pending: PendingSignIns,
    pub(super) credentials: Arc<Credentials>,
    pub(super) second_factors: Arc<SecondFactors>,
    pub(super) reset_store: ResetStore,
    pub(super) resets: Resets,
    pub(super) sealing: Sealing,
    testing: Testing,
}

impl Secrets {
    /// Opens the collections and joins the services.
    pub(super) async fn open(config: &Config, database: &Database, base: Base) -> anyhow::Result<Self> {
        let verifications = VerificationStore::open(database).await?;
        let reset_store = ResetStore::open(database).await?;
        let pending = PendingSignInStore::open(database).await?;
        let sealing = Sealing::new(
            config
                .data_encryption_key
                .as_ref()
                .unwrap_or(&config.jwt_refresh_secret),
        )?;
        let codes = Codes::new(config, verifications.clone());
        let credentials = Arc::new(Credentials::new(
            config,
            credentials::Parts {
                users: base.users.clone(),
                sessions: base.sessions.clone(),
                passwords: base.passwords,
                throttle: base.throttle,
                resets: reset_store.clone(),
                verifications: verifications.clone(),
                audit: base.audit.clone(),
                mailer: base.mailer.clone(),
                metrics: base.metrics.clone(),
                settings: base.settings.clone(),
            },
        ));
        let second_factors = Arc::new(SecondFactors::new(
            config,
            second_factors::Parts {
                store: SecondFactorStore::open(database),
                users: base.users.clone(),
                credentials: credentials.clone(),
                sessions: base.sessions,
                sealing: sealing.clone(),
                audit: base.audit.clone(),
                mailer: base.mailer.clone(),
                metrics: base.metrics.clone(),
            },
        ));
        let email_changes = EmailChanges::new(
            config,
            email_changes::Parts {
                users: base.users.clone(),
                codes: codes.clone(),
                resets: reset_store.clone(),
                credentials: credentials.clone(),
                audit: base.audit.clone(),
                mailer: base.mailer.clone(),
            },
        );
        let testing = Testing::new(
            base.users.clone(),
            verifications,
            reset_store.clone(),
            base.audit.clone(),
            config.clock.clone(),
        );
        let pending = PendingSignIns::new(
            config,
            pending,
            base.users.clone(),
            second_factors.clone(),
            base.settings,
        );
        let resets = Resets::new(
            config,
            resets::Parts {
                users: base.users,
                store: reset_store.clone(),
                credentials: credentials.clone(),
                audit: base.audit,
                mailer: base.mailer,
                metrics: base.metrics,
                tasks: base.tasks,
            },
        );
        Ok(Self {
            codes,
            email_changes,
            pending,
            credentials,
            second_factors,
            reset_store,
            resets,
            sealing,
            testing,
        })
    }

    /// Gives handlers what they ask for.
    pub(super) fn register(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::from(self.credentials.clone()))
            .app_data(web::Data::new(self.resets.clone()))
            .app_data(web::Data::new(self.email_changes.clone()))
            .app_data(web::Data::from(self.second_factors.clone()))
            .app_data(web::Data::new(self.testing.clone()));
    }
}
