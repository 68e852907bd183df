//! Page tickets: a page of ours shows one to prove that it was loaded within an allowed page a moment ago.
//!
//! The browser keeps foreign pages from framing ours (`frame-ancestors`), so whoever holds a ticket is on an allowed page,
//! or went to some trouble. A ticket begins one session: its id is noted when it is used.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::origin::Origin;

/// No ticket of ours is near this.
const TICKET_BYTES_MAX: usize = 2_048;

/// The only audience; it keeps tickets apart from everything else that is signed.
const AUDIENCE: &str = "flowgate-widget-page";

/// What a page was shown for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageTicket {
    /// The ticket's own id.
    pub id: String,
    /// The embed of the page.
    pub embed_id: String,
    /// The page around ours, where the browser told of it.
    pub parent: Option<Origin>,
    /// When it was minted.
    pub issued_at: DateTime<Utc>,
    /// Until when it is good.
    pub expires_at: DateTime<Utc>,
}

/// The ticket is forged, too old, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page ticket is not valid or too old; load the page again")]
pub struct BadTicket;

/// Mints tickets and reads them.
#[derive(Clone)]
pub struct PageTickets {
    signing: EncodingKey,
    checking: DecodingKey,
    life: TimeDelta,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    jti: String,
    embed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    iat: i64,
    exp: i64,
}

impl PageTickets {
    /// Tickets under a key of their own that are good for `life`.
    pub fn new(key: &[u8], life: TimeDelta) -> Self {
        Self {
            signing: EncodingKey::from_secret(key),
            checking: DecodingKey::from_secret(key),
            life,
        }
    }

    /// A ticket for a page that is being sent.
    pub fn mint(
        &self,
        embed_id: &str,
        parent: Option<&Origin>,
        now: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            jti: Uuid::new_v4().to_string(),
            embed: embed_id.to_owned(),
            parent: parent.map(Origin::to_string),
            iat: now.timestamp(),
            exp: (now + self.life).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// Reads a ticket. Whether it was used before is not told by it.
    pub fn verify(&self, ticket: &str, now: DateTime<Utc>) -> Result<PageTicket, BadTicket> {
        if ticket.len() > TICKET_BYTES_MAX {
            return Err(BadTicket);
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        // The library reads the machine's clock; time is an argument here.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(ticket, &self.checking, &rules);
        let claims = claims.or(Err(BadTicket))?.claims;
        let time = |secs| DateTime::from_timestamp(secs, 0).ok_or(BadTicket);
        let (issued_at, expires_at) = (time(claims.iat)?, time(claims.exp)?);
        if now >= expires_at {
            return Err(BadTicket);
        }
        let parent = claims.parent.as_deref().map(Origin::parse).transpose();
        Ok(PageTicket {
            id: claims.jti,
            embed_id: claims.embed,
            parent: parent.or(Err(BadTicket))?,
            issued_at,
            expires_at,
        })
    }
}

impl std::fmt::Debug for PageTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageTickets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"a key of at least thirty-two bytes, for tests";

    fn tickets(key: &[u8]) -> PageTickets {
        PageTickets::new(key, TimeDelta::seconds(60))
    }

    #[test]
    fn a_ticket_is_good_for_its_time_and_under_its_key_only() {
        let (ours, now) = (tickets(KEY), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let parent = Origin::parse("https://school.example").unwrap();
        let ticket = ours.mint("site", Some(&parent), now).unwrap();

        let read = ours.verify(&ticket, now + TimeDelta::seconds(59)).unwrap();
        assert_eq!((read.embed_id.as_str(), read.parent), ("site", Some(parent)));
        assert_eq!(ours.verify(&ticket, now + TimeDelta::seconds(60)), Err(BadTicket));
        assert_eq!(tickets(b"another key").verify(&ticket, now), Err(BadTicket));
        let other = ours.verify(&ours.mint("site", None, now).unwrap(), now).unwrap();
        assert_ne!(other.id, read.id);
        assert_eq!(other.parent, None);
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        let (ours, now) = (tickets(KEY), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let ticket = ours.mint("site", None, now).unwrap();
        let (unsigned, _) = ticket.rsplit_once('.').unwrap();
        let none = "eyJhbGciOiJub25lIn0";
        let payload = ticket.split('.').nth(1).unwrap();
        for bad in [
            "",
            "a.b.c",
            unsigned,
            &format!("{none}.{payload}."),
            &"x".repeat(100_000),
        ] {
            assert_eq!(ours.verify(bad, now), Err(BadTicket));
        }
    }
}
