//! Puts the catalog together: who signs in, which chatflows there are, who may use them.

use actix_web::web::{Data, ServiceConfig};
use common_http::{Authenticator, Clock, Lifecycle, Metrics, ServiceTokens};
use mongodb::Database;
use uuid::Uuid;

use crate::{
    auth::AuthClient,
    balance::BalanceClient,
    catalog_source::CatalogSource,
    config::Config,
    prices::PriceClient,
    service::{
        access::Access,
        assignments::Assignments,
        audits::Audits,
        catalog_sync::CatalogSync,
        chatflows::Chatflows,
        crowds::Crowds,
        departures::{self, Departures},
        groups::Groups,
        models::Models,
        people::People,
        personal_data::PersonalData,
        sign_in::SignIn,
        turns::Turns,
        usage::UsageReports,
        user_changes::UserChanges,
        user_sync::UserSync,
    },
    store::{
        assignments::AssignmentStore, chatflows::ChatflowStore, departures::DepartureStore,
        embeds::EmbedStore, feeds::FeedStore, groups::GroupStore, leases::LeaseStore, people::PersonStore,
        usage_days::UsageDayStore,
    },
};

/// The services behind the catalog's routes. Clones share everything.
#[derive(Clone)]
pub(crate) struct Catalog {
    /// Who may use which chatflow.
    pub(crate) access: Access,
    sign_in: SignIn,
    balances: BalanceClient,
    pub(crate) chatflows: Chatflows,
    models: Models,
    /// Copies of people.
    pub(crate) people: People,
    assignments: Assignments,
    groups: Groups,
    crowds: Crowds,
    audits: Audits,
    user_sync: UserSync,
    reports: UsageReports,
    sync: CatalogSync,
    /// What happens to people, taken in.
    pub(crate) user_changes: UserChanges,
    departures: DepartureStore,
    copies: PersonStore,
    rows: AssignmentStore,
    group_rows: GroupStore,
    usage_rows: UsageDayStore,
}

impl Catalog {
    /// Opens the collections and constructs the services; `http` is for short calls.
    pub(crate) async fn open(
        config: &Config,
        database: &Database,
        http: &reqwest::Client,
        metrics: &Metrics,
        authenticator: &Authenticator,
        tokens: ServiceTokens,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let clock = config.clock.clone();
        let store = ChatflowStore::open(database, config.chatflow_price).await?;
        let rows = AssignmentStore::open(database).await?;
        let copies = PersonStore::open(database).await?;
        let group_rows = GroupStore::open(database).await?;
        let usage_rows = UsageDayStore::open(database).await?;
        let departures = DepartureStore::open(database).await?;
        let prices = PriceClient::new(http.clone(), config, tokens.clone());
        let auth = AuthClient::new(http.clone(), config.auth_url.clone(), tokens, clock.clone());
        let tasks = lifecycle.tasks().clone();

        let access = Access::new(
            store.clone(),
            rows.clone(),
            group_rows.clone(),
            copies.clone(),
            clock.clone(),
        );
        let people = People::new(auth.clone(), copies.clone(), access.clone(), clock.clone());
        let sync = sync_of(config, database, http, metrics, (store.clone(), access.clone()))?;
        let user_changes = UserChanges::new(
            copies.clone(),
            rows.clone(),
            group_rows.clone(),
            departures.clone(),
            FeedStore::new(database),
            access.clone(),
            clock.clone(),
        );
        let assignments = Assignments::new(
            people.clone(),
            store.clone(),
            rows.clone(),
            copies.clone(),
            access.clone(),
            clock.clone(),
        );
        let groups = Groups::new(
            group_rows.clone(),
            copies.clone(),
            store.clone(),
            access.clone(),
            clock.clone(),
        );
        let chatflows = Chatflows::new(
            store.clone(),
            rows.clone(),
            group_rows.clone(),
            copies.clone(),
            access.clone(),
            prices,
            clock.clone(),
        );
        Ok(Self {
            user_changes,
            sign_in: SignIn::new(auth, authenticator.clone()),
            balances: BalanceClient::new(http.clone(), &config.accounting_url),
            models: Models::new(chatflows.clone(), access.clone()),
            chatflows,
            crowds: Crowds::new(people.clone(), assignments.clone(), groups.clone(), tasks.clone()),
            audits: Audits::new(
                rows.clone(),
                store.clone(),
                copies.clone(),
                people.clone(),
                access.clone(),
                clock.clone(),
            ),
            user_sync: UserSync::new(
                people.clone(),
                copies.clone(),
                access.clone(),
                clock,
                database,
                tasks,
            ),
            reports: UsageReports::new(
                usage_rows.clone(),
                group_rows.clone(),
                copies.clone(),
                store,
                config.day_zone,
            ),
            departures,
            copies,
            rows,
            group_rows,
            usage_rows,
            assignments,
            groups,
            people,
            sync,
            access,
        })
    }

    /// Where something about a person stands.
    pub(crate) fn personal_data(&self, turns: &Turns) -> PersonalData {
        let (sessions, messages, _) = turns.stores();
        PersonalData {
            people: self.copies.clone(),
            assignments: self.rows.clone(),
            groups: self.group_rows.clone(),
            usage: self.usage_rows.clone(),
            sessions,
            messages,
            files: turns.files().store(),
        }
    }

    /// What removes people who are gone; `turns` knows what they said.
    pub(crate) fn departures(&self, turns: &Turns, embeds: EmbedStore, clock: Clock) -> Departures {
        let events = turns.events();
        let files = turns.files();
        let counters = turns.counters();
        let (sessions, messages, turns) = turns.stores();
        let stores = departures::Stores {
            departures: self.departures.clone(),
            people: self.copies.clone(),
            assignments: self.rows.clone(),
            sessions,
            messages,
            turns,
            events,
            files,
            groups: self.group_rows.clone(),
            usage: self.usage_rows.clone(),
            counters,
            embeds,
        };
        Departures::new(stores, clock)
    }

    /// Begins the background synchronisation, and to keep up reports.
    pub(crate) fn start(&self, config: &Config, lifecycle: &Lifecycle) {
        let reports = self.reports.clone();
        lifecycle.tasks().spawn(reports.keep_up(lifecycle.cancelled()));
        if config.chatflow_sync {
            let sync = self.sync.clone();
            let turns = sync.run_regularly(config.chatflow_sync_interval, lifecycle.cancelled());
            lifecycle.tasks().spawn(turns);
        }
    }

    /// Hands the services to the handlers.
    pub(crate) fn register(&self, app: &mut ServiceConfig) {
        app.app_data(Data::new(self.access.clone()))
            .app_data(Data::new(self.sign_in.clone()))
            .app_data(Data::new(self.balances.clone()))
            .app_data(Data::new(self.chatflows.clone()))
            .app_data(Data::new(self.models.clone()))
            .app_data(Data::new(self.people.clone()))
            .app_data(Data::new(self.assignments.clone()))
            .app_data(Data::new(self.groups.clone()))
            .app_data(Data::new(self.crowds.clone()))
            .app_data(Data::new(self.audits.clone()))
            .app_data(Data::new(self.user_sync.clone()))
            .app_data(Data::new(self.reports.clone()))
            .app_data(Data::new(self.sync.clone()));
    }
}

/// What keeps the list of chatflows as Flowise has it; one replica at a time does.
fn sync_of(
    config: &Config,
    database: &Database,
    http: &reqwest::Client,
    metrics: &Metrics,
    (store, access): (ChatflowStore, Access),
) -> prometheus::Result<CatalogSync> {
    let source = CatalogSource::new(http.clone(), &config.flowise);
    let lease = LeaseStore::new(database, Uuid::new_v4().to_string());
    CatalogSync::new(source, store, lease, access, config.clock.clone(), metrics)
}
