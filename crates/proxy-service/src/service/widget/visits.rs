//! Sessions of visitors: who may begin one, and who may use it.

use std::sync::Arc;

use chrono::TimeDelta;
use common_http::Clock;
use common_sealing::{Sealing, SealingFailed};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use crate::{
    config::WidgetConfig,
    domain::{
        embed::Embed,
        page_ticket::PageTickets,
        visitor::{CameFrom, Entry, Visitor, VisitorTokens},
    },
    error::{Error, Result},
    service::embeds::Embeds,
    store::{used_tickets::UsedTicketStore, visitors::VisitorStore},
};

/// A session that was used so recently is not prolonged again: each message would be a write.
const PROLONGED_AFTER: TimeDelta = TimeDelta::seconds(30);

/// Begins, finds and ends sessions.
#[derive(Clone)]
pub(crate) struct Visits {
    embeds: Embeds,
    visitors: VisitorStore,
    used_tickets: UsedTicketStore,
    tickets: PageTickets,
    tokens: VisitorTokens,
    life: TimeDelta,
    clock: Clock,
}

/// What somebody shows who wants a session.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// The embed, where they name one.
    pub(crate) embed_id: Option<String>,
    /// A page ticket.
    pub(crate) ticket: Option<String>,
    /// The embed's key, from apps.
    pub(crate) app_key: Option<SecretString>,
    /// The page they are on.
    pub(crate) page_url: Option<String>,
    /// A hash of what their browser says of itself.
    pub(crate) fingerprint: String,
}

/// What somebody shows who has a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// The secret of the cookie.
    pub(crate) cookie: Option<SecretString>,
    /// A visitor's token.
    pub(crate) token: Option<SecretString>,
}

impl Credentials {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.cookie.is_none() && self.token.is_none()
    }
}

/// A session that has begun.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) visitor: Visitor,
    pub(crate) embed: Arc<Embed>,
    /// For the cookie.
    pub(crate) secret: SecretString,
    /// For apps.
    pub(crate) token: SecretString,
}

/// The keys that everything about visitors is signed with.
#[derive(Debug)]
pub(crate) struct WidgetKeys {
    /// Seals the keys of embeds.
    pub(crate) sealing: Sealing,
    /// Page tickets.
    pub(crate) tickets: PageTickets,
    tokens: VisitorTokens,
}

impl WidgetKeys {
    /// Keys of the configuration; those it lacks are derived from `fallback`.
    pub(crate) fn new(config: &WidgetConfig, fallback: &SecretString) -> Result<Self, SealingFailed> {
        let life = |life| TimeDelta::from_std(life).unwrap_or(TimeDelta::MAX);
        let derived = Sealing::new(fallback)?;
        let token_key = match &config.token_secret {
            Some(secret) => secret.expose_secret().to_owned(),
            None => derived.hash("widget", "tokens of visitors"),
        };
        let ticket_key =
            Sealing::new(&SecretString::from(token_key.as_str()))?.hash("widget", "page tickets");
        let sealing = match &config.data_encryption_key {
            Some(key) => Sealing::new(key)?,
            None => derived,
        };
        Ok(Self {
            sealing,
            tickets: PageTickets::new(ticket_key.as_bytes(), life(config.ticket_life)),
            tokens: VisitorTokens::new(token_key.as_bytes(), life(config.token_life)),
        })
    }
}

impl Visits {
    /// Sessions in these stores.
    pub(crate) fn new(
        embeds: Embeds,
        visitors: VisitorStore,
        used_tickets: UsedTicketStore,
        keys: WidgetKeys,
        config: &WidgetConfig,
        clock: Clock,
    ) -> Self {
        Self {
            embeds,
            visitors,
            used_tickets,
            tickets: keys.tickets,
            tokens: keys.tokens,
            life: TimeDelta::from_std(config.session_life).unwrap_or(TimeDelta::MAX),
            clock,
        }
    }

    /// Begins a session for somebody who proves to be on an allowed page, or to be an app of the embed's owner. `current` is
    /// the session they have already.
    pub(crate) async fn begin(
        &self,
        wish: Wish,
        from: &CameFrom,
        page: Option<&Url>,
        current: Option<&Visitor>,
    ) -> Result<Visit> {
        let (embed, entry) = self.admit(&wish, from, page, current).await?;
        let now = self.clock.now();
        let visitor = Visitor {
            session_id: Uuid::new_v4().to_string(),
            embed_id: embed.id.clone(),
            entry,
            page_url: wish.page_url,
            fingerprint: wish.fingerprint,
            message_count: 0,
            created_at: now,
            expires_at: now + self.life,
        };
        let secret = new_secret();
        self.visitors.insert(&visitor, &hash(&secret)).await?;
        let token = self.token_of(&visitor)?;
        Ok(Visit {
            visitor,
            embed,
            secret: SecretString::from(secret),
            token,
        })
    }

    /// Who may begin a session, of which embed, and how.
    async fn admit(
        &self,
        wish: &Wish,
        from: &CameFrom,
        page: Option<&Url>,
        current: Option<&Visitor>,
    ) -> Result<(Arc<Embed>, Entry)> {
        if let Some(ticket) = &wish.ticket {
            return self.admit_with_ticket(wish, ticket, from).await;
        }
        let named = wish.embed_id.clone();
        if let Some(key) = &wish.app_key {
            let embed = self.embeds.open(named.as_deref()).await?;
            let is_good = embed.app_key.accepts(key.expose_secret(), self.clock.now());
            if !is_good || *from != CameFrom::Nowhere {
                return Err(Error::OriginRefused);
            }
            return Ok((embed, Entry::App));
        }
        let named = named.or_else(|| {
            page.filter(|_| *from == CameFrom::Ourselves)
                .and_then(embed_named_by)
        });
        if let Some(current) = current
            && named.as_ref().is_none_or(|named| *named == current.embed_id)
        {
            let embed = self.embeds.open(Some(&current.embed_id)).await?;
            return Ok((embed, current.entry.clone()));
        }
        let embed = self.embeds.open(named.as_deref()).await?;
        match from {
            CameFrom::Ourselves if !embed.requires_ticket => Ok((embed, Entry::Page { parent: None })),
            CameFrom::Ourselves => Err(Error::TicketRefused),
            CameFrom::Site(origin) if embed.allows(origin) && !embed.requires_ticket => {
                Ok((embed, Entry::Site(origin.clone())))
            }
            CameFrom::Site(_) | CameFrom::Hidden | CameFrom::Nowhere => Err(Error::OriginRefused),
        }
    }

    /// A ticket is shown by the page that it was made for, which is ours.
    async fn admit_with_ticket(
        &self,
        wish: &Wish,
        ticket: &str,
        from: &CameFrom,
    ) -> Result<(Arc<Embed>, Entry)> {
        if *from != CameFrom::Ourselves {
            return Err(Error::OriginRefused);
        }
        let ticket = self.tickets.verify(ticket, self.clock.now());
        let ticket = ticket.or(Err(Error::TicketRefused))?;
        if wish
            .embed_id
            .as_ref()
            .is_some_and(|named| *named != ticket.embed_id)
        {
            return Err(Error::TicketRefused);
        }
        let embed = self.embeds.open(Some(&ticket.embed_id)).await?;
        if ticket.parent.as_ref().is_some_and(|parent| !embed.allows(parent)) {
            return Err(Error::OriginRefused);
        }
        if !self.used_tickets.insert(&ticket.id, ticket.expires_at).await? {
            return Err(Error::TicketRefused);
        }
        Ok((
            embed,
            Entry::Page {
                parent: ticket.parent,
            },
        ))
    }

    /// The session behind these credentials, if it may be used from there.
    pub(crate) async fn find(&self, credentials: &Credentials, from: &CameFrom) -> Result<Visitor> {
        let visitor = self.look(credentials).await?.ok_or(Error::VisitorUnknown)?;
        if visitor.entry.admits(from) {
            Ok(visitor)
        } else {
            Err(Error::OriginRefused)
        }
    }

    /// The session behind these credentials. Two of them must name the same one; one that is over counts as none.
    async fn look(&self, credentials: &Credentials) -> Result<Option<Visitor>> {
        let now = self.clock.now();
        let by_cookie = match &credentials.cookie {
            Some(secret) => {
                self.visitors
                    .find_by_secret(&hash(secret.expose_secret()), now)
                    .await?
            }
            None => None,
        };
        let named = credentials.token.as_ref();
        let named = named.and_then(|token| self.tokens.verify(token.expose_secret(), now).ok());
        match (by_cookie, named) {
            // A token that is worth nothing here may be worth something elsewhere: somebody else's.
            (Some(_), None) if credentials.token.is_some() => Err(Error::AmbiguousCredentials),
            (Some(visitor), None) => Ok(Some(visitor)),
            (Some(visitor), Some(named)) if visitor.session_id == named => Ok(Some(visitor)),
            (Some(_), Some(_)) => Err(Error::AmbiguousCredentials),
            (None, Some(named)) => Ok(self.visitors.find(&named, now).await?),
            (None, None) => Ok(None),
        }
    }

    /// Whether a token is of this session.
    pub(crate) fn is_token_of(&self, visitor: &Visitor, token: &SecretString) -> bool {
        let named = self.tokens.verify(token.expose_secret(), self.clock.now());
        named.is_ok_and(|named| named == visitor.session_id)
    }

    /// A new token of a session.
    pub(crate) fn token_of(&self, visitor: &Visitor) -> Result<SecretString> {
        let token = self.tokens.mint(visitor, self.clock.now());
        token.map(SecretString::from).or(Err(Error::VisitorUnknown))
    }

    /// The embed of a session; a session of an embed that is gone or closed is over.
    pub(crate) async fn embed_of(&self, visitor: &Visitor) -> Result<Arc<Embed>> {
        self.embeds.open(Some(&visitor.embed_id)).await
    }

    /// Lets a session last on; `messages` are counted. Says whether its cookie has to be renewed.
    pub(crate) async fn prolong(&self, visitor: &mut Visitor, messages: i64) -> Result<bool> {
        let now = self.clock.now();
        let until = now + self.life;
        let is_due = until - visitor.expires_at >= PROLONGED_AFTER;
        if !is_due && messages == 0 {
            return Ok(false);
        }
        if !self
            .visitors
            .prolong(&visitor.session_id, messages, until, now)
            .await?
        {
            return Err(Error::VisitorUnknown);
        }
        visitor.expires_at = until;
        visitor.message_count += messages;
        Ok(is_due)
    }

    /// Sessions that are not over.
    pub(crate) async fn count(&self, embed_id: Option<&str>) -> Result<u64> {
        Ok(self.visitors.count(embed_id, self.clock.now()).await?)
    }

    /// How long a session lasts after its last sign of life.
    pub(crate) fn life(&self) -> TimeDelta {
        self.life
    }
}

/// The embed that a page of ours was loaded for: its address says so, also where the page itself does not know.
fn embed_named_by(page: &Url) -> Option<String> {
    let mut pairs = page.query_pairs();
    pairs
        .find(|(name, _)| name == "embed")
        .map(|(_, id)| id.into_owned())
}

/// 244 random bits.
fn new_secret() -> String {
    let random = || Uuid::new_v4().simple().to_string();
    format!("{}{}", random(), random())
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}
