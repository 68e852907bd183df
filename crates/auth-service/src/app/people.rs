//! What is done to accounts, joined: administration, deletion, the feed of changes, and what is kept about somebody.

use std::sync::Arc;

use actix_web::web;
use common_http::Lifecycle;
use mongodb::Database;

use super::secrets::Secrets;
use crate::{
    config::Config,
    mailer::Mailer,
    service::{
        administration::{self, Administration},
        admins::Admins,
        approvals::{self, Approvals},
        deletion::{self, Deletion},
        personal_data::PersonalData,
        sessions::Sessions,
        settings::RuntimeSettings,
        user_changes::UserChanges,
    },
    store::{
        audit::AuditStore, deletions::DeletionStore, locks::LockStore, personal::PersonalStore,
        user_changes::UserChangeStore, users::UserStore, verifications::VerificationStore,
    },
};

/// What these services are built upon.
pub(super) struct Base<'a> {
    pub(super) users: &'a UserStore,
    pub(super) sessions: &'a Arc<Sessions>,
    pub(super) secrets: &'a Secrets,
    pub(super) audit: &'a AuditStore,
    pub(super) mailer: &'a Mailer,
    pub(super) settings: &'a RuntimeSettings,
}

/// The services.
#[derive(Clone)]
pub(super) struct People {
    approvals: Approvals,
    administration: Administration,
    deletion: Deletion,
    changes: UserChanges,
    personal_data: PersonalData,
}

impl People {
    /// Opens the collections and joins the services.
    pub(super) async fn open(config: &Config, database: &Database, base: Base<'_>) -> anyhow::Result<Self> {
        let changes = UserChanges::new(
            config,
            UserChangeStore::open(database).await?,
            base.users.clone(),
            base.settings.clone(),
        );
        let admins = Admins::new(base.users.clone(), LockStore::new(database));
        let personal = PersonalStore::new(database);
        let deletion = Deletion::new(deletion::Parts {
            users: base.users.clone(),
            deletions: DeletionStore::new(database),
            personal: personal.clone(),
            admins: admins.clone(),
            sessions: base.sessions.clone(),
            credentials: base.secrets.credentials.clone(),
            second_factors: base.secrets.second_factors.clone(),
            changes: changes.clone(),
            audit: base.audit.clone(),
            clock: config.clock.clone(),
        });
        Ok(Self {
            approvals: Approvals::new(
                config,
                approvals::Parts {
                    users: base.users.clone(),
                    deletion: deletion.clone(),
                    changes: changes.clone(),
                    settings: base.settings.clone(),
                    audit: base.audit.clone(),
                    mailer: base.mailer.clone(),
                },
            ),
            administration: Administration::new(
                config,
                administration::Parts {
                    users: base.users.clone(),
                    admins,
                    sessions: base.sessions.clone(),
                    verifications: VerificationStore::open(database).await?,
                    resets: base.secrets.reset_store.clone(),
                    changes: changes.clone(),
                    audit: base.audit.clone(),
                    mailer: base.mailer.clone(),
                },
            ),
            deletion,
            personal_data: PersonalData::new(config, base.users.clone(), personal, base.audit.clone())?,
            changes,
        })
    }

    /// Begins what goes on in the background.
    pub(super) fn start(&self, lifecycle: &Lifecycle) {
        let tasks = lifecycle.tasks();
        tasks.spawn(self.changes.clone().follow(lifecycle.cancelled()));
        tasks.spawn(self.deletion.clone().follow(lifecycle.cancelled()));
    }

    /// Gives the services to the handlers.
    pub(super) fn register(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::new(self.administration.clone()))
            .app_data(web::Data::new(self.approvals.clone()))
            .app_data(web::Data::new(self.deletion.clone()))
            .app_data(web::Data::new(self.changes.clone()))
            .app_data(web::Data::new(self.personal_data.clone()));
    }
}
