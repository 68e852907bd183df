//! Puts the chat widget together: embeds, sessions of visitors, and what they say.

use actix_web::web::{Data, ServiceConfig};
use mongodb::Database;

use crate::{
    catalog::Catalog,
    config::Config,
    domain::{origin::Origin, page_ticket::PageTickets},
    routes::DoorRules,
    service::{
        embeds::Embeds,
        turns::Turns,
        widget::{
            histories::Histories,
            talks::Talks,
            visits::{Visits, WidgetKeys},
        },
    },
    store::{embeds::EmbedStore, used_tickets::UsedTicketStore, visitors::VisitorStore},
};

/// The services behind the widget's routes. Clones share everything.
#[derive(Clone)]
pub(crate) struct Widget {
    /// Embeds, for pages.
    pub(crate) embeds: Embeds,
    /// The same, as they are kept.
    pub(crate) embed_rows: EmbedStore,
    /// Page tickets, for pages.
    pub(crate) tickets: PageTickets,
    /// What visitors said.
    pub(crate) histories: Histories,
    visits: Visits,
    talks: Talks,
    door: DoorRules,
}

impl Widget {
    /// Opens the collections and constructs the services.
    pub(crate) async fn open(
        config: &Config,
        database: &Database,
        catalog: &Catalog,
        turns: &Turns,
    ) -> anyhow::Result<Self> {
        let (widget, clock) = (&config.widget, config.clock.clone());
        let keys = WidgetKeys::new(widget, &config.service_jwt_secret)?;
        let tickets = keys.tickets.clone();
        let store = EmbedStore::open(database, keys.sealing.clone());
        let embeds = Embeds::new(store.clone(), catalog.people.clone(), widget, clock.clone());
        let used = UsedTicketStore::open(database).await?;
        let visitors = VisitorStore::open(database).await?;
        let visits = Visits::new(
            embeds.clone(),
            visitors.clone(),
            used,
            keys,
            widget,
            clock.clone(),
        );
        let (_, messages, turn_rows) = turns.stores();
        let histories = Histories {
            visitors,
            messages,
            turns: turn_rows,
            events: turns.events(),
            clock,
        };
        let public = config.public_base_url.as_ref();
        Ok(Self {
            talks: Talks::new(turns.clone(), visits.clone(), catalog.people.clone()),
            door: DoorRules {
                cookie_name: widget.cookie_name.clone(),
                public: public.and_then(|url| Origin::of(url).ok()),
            },
            embeds,
            embed_rows: store,
            tickets,
            histories,
            visits,
        })
    }

    /// Hands the services to the handlers.
    pub(crate) fn register(&self, app: &mut ServiceConfig) {
        app.app_data(Data::new(self.embeds.clone()))
            .app_data(Data::new(self.tickets.clone()))
            .app_data(Data::new(self.histories.clone()))
            .app_data(Data::new(self.visits.clone()))
            .app_data(Data::new(self.talks.clone()))
            .app_data(Data::new(self.door.clone()));
    }
}
