//! Signing in by way of providers, joined.

use std::sync::Arc;

use actix_web::web;
use mongodb::Database;

use super::secrets::Secrets;
use crate::{
    config::Config,
    mailer::Mailer,
    service::{
        federation::Federation,
        identities::{self, Identities},
        invitations::Invitations,
        logins::Logins,
        outbound::Outbound,
        providers::Providers,
        settings::RuntimeSettings,
    },
    store::{
        audit::AuditStore, providers::ProviderStore, second_factors::SecondFactorStore,
        sessions::SessionStore, sign_in_flows::SignInFlowStore, users::UserStore,
    },
};

/// What these services are built upon.
pub(super) struct Base<'a> {
    pub(super) users: &'a UserStore,
    pub(super) sessions: &'a SessionStore,
    pub(super) secrets: &'a Secrets,
    pub(super) logins: &'a Arc<Logins>,
    pub(super) audit: &'a AuditStore,
    pub(super) mailer: &'a Mailer,
    pub(super) settings: &'a RuntimeSettings,
    pub(super) invitations: &'a Invitations,
}

/// The services.
#[derive(Clone)]
pub(super) struct Doors {
    store: ProviderStore,
    providers: Providers,
    federation: Federation,
    identities: Identities,
}

impl Doors {
    /// Opens the collections and joins the services.
    pub(super) async fn open(config: &Config, database: &Database, base: Base<'_>) -> anyhow::Result<Self> {
        let outbound = Outbound::new(config.private_providers, config.provider_timeout)?;
        let store = ProviderStore::open(database).await?;
        let flows = SignInFlowStore::open(database).await?;
        let sealing = base.secrets.sealing.clone();
        let identities = Identities::new(
            config,
            identities::Parts {
                users: base.users.clone(),
                providers: store.clone(),
                flows: flows.clone(),
                sessions: base.sessions.clone(),
                second_factors: SecondFactorStore::open(database),
                logins: base.logins.clone(),
                credentials: base.secrets.credentials.clone(),
                sealing: sealing.clone(),
                audit: base.audit.clone(),
                mailer: base.mailer.clone(),
                settings: base.settings.clone(),
                invitations: base.invitations.clone(),
            },
        );
        let providers = Providers::new(
            store.clone(),
            base.users.clone(),
            outbound.clone(),
            sealing.clone(),
            base.audit.clone(),
            config.clock.clone(),
        );
        let federation = Federation::new(config, store.clone(), flows, sealing, outbound);
        Ok(Self {
            store,
            providers,
            federation,
            identities,
        })
    }

    /// Gives the services to the handlers.
    pub(super) fn register(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::new(self.store.clone()))
            .app_data(web::Data::new(self.providers.clone()))
            .app_data(web::Data::new(self.federation.clone()))
            .app_data(web::Data::new(self.identities.clone()));
    }
}
