//! An embed: a chat window on somebody's web site, what answers in it, and who pays.

mod change;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use url::Url;

pub use self::change::{
    BackendChange, BudgetChange, Circumstances, EmbedChange, InvalidEmbed, LimitsChange, embed_id,
};
use super::origin::{Origin, OriginPattern};

/// The embed that pages get when they name none, and that the environment may describe.
pub const DEFAULT_ID: &str = "default";

/// The language of pages whose visitors prefer none of an embed's.
pub const LANGUAGE_DEFAULT: &str = "en";

/// What stands before an embed's id where turns and reports name what was asked.
const OPERATION_PREFIX: &str = "embed:";

/// Texts by their names: `header.title`, `messages.welcome`.
pub type Texts = BTreeMap<String, String>;

/// One embed.
#[derive(Clone, Debug)]
pub struct Embed {
    /// Part of addresses: small letters, digits and hyphens.
    pub id: String,
    /// For administrators.
    pub name: String,
    /// The user id of who pays.
    pub owner_id: String,
    /// The pages that may show it.
    pub allowed_origins: Vec<OriginPattern>,
    /// What answers.
    pub backend: Backend,
    /// Credits an answer costs.
    pub price: i64,
    /// Messages of all its visitors together.
    pub limits: MessageLimits,
    /// Credits it may cost its owner.
    pub budget: Budget,
    /// How it looks: values by the names that the widget knows.
    pub theme: BTreeMap<String, String>,
    /// What it says, by language; the widget has texts of its own for what is not there.
    pub texts: BTreeMap<String, Texts>,
    /// The languages it speaks; the first is for visitors who want none of them.
    pub languages: Vec<String>,
    /// Whether a session needs a page ticket. The old widget, which knows none, works only without.
    pub requires_ticket: bool,
    /// Whether it answers at all.
    pub is_active: bool,
    /// What apps show in place of an origin.
    pub app_key: RotatedKey,
    /// Whether the environment describes it, so that nobody else changes it.
    pub is_configured: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed.
    pub updated_at: DateTime<Utc>,
}

/// What answers an embed's visitors.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A workflow of n8n.
    N8n(Webhook),
    /// A chatflow of Flowise.
    Flowise {
        /// By Flowise's id.
        chatflow_id: String,
    },
}

impl Backend {
    /// The word for it in bodies and in the database.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::N8n(_) => "n8n",
            Self::Flowise { .. } => "flowise",
        }
    }
}

/// A webhook of n8n and the keys it takes.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its address.
    pub url: Url,
    /// What is sent as `Authorization: Bearer`.
    pub api_key: Option<SecretString>,
    /// Nodes whose text is shown, by their names; empty for all.
    pub shown_nodes: Vec<String>,
    /// The key before it, tried where n8n refuses the new one.
    pub previous_api_key: Option<(SecretString, DateTime<Utc>)>,
}

impl Webhook {
    /// The keys to be tried one after the other; `None` stands for a call without one.
    pub fn keys(&self, now: DateTime<Utc>) -> Vec<Option<SecretString>> {
        let previous = self.previous_api_key.as_ref().filter(|(_, until)| now < *until);
        let previous = previous.map(|(key, _)| Some(key.clone()));
        std::iter::once(self.api_key.clone()).chain(previous).collect()
    }
}

/// How many messages an embed's visitors may send together; `None` for any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageLimits {
    /// In a minute.
    pub per_minute: Option<u32>,
    /// In an hour.
    pub per_hour: Option<u32>,
    /// In a day.
    pub per_day: Option<u32>,
}

/// How many credits an embed may cost its owner; `None` for all they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// In a day.
    pub per_day: Option<i64>,
    /// In a month of the calendar.
    pub per_month: Option<i64>,
}

/// The hashes of a key and of the one before it, which stays good for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotatedKey {
    /// The key that was made last.
    pub current: Option<String>,
    /// The one before, and until when it is good.
    pub previous: Option<(String, DateTime<Utc>)>,
}

impl RotatedKey {
    /// Whether a key is one of them.
    pub fn accepts(&self, key: &str, now: DateTime<Utc>) -> bool {
        let hash = hash_key(key);
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        self.current.as_ref() == Some(&hash) || previous.is_some_and(|(previous, _)| *previous == hash)
    }

    /// Puts a new key before the current one, which stays good until `until`.
    pub fn rotate(&mut self, key: &str, until: DateTime<Utc>) {
        self.previous = self.current.take().map(|current| (current, until));
        self.current = Some(hash_key(key));
    }
}

/// Keys have 256 random bits, so that a plain hash of one tells nothing.
fn hash_key(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

impl Embed {
    /// Whether a page may show it.
    pub fn allows(&self, origin: &Origin) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed.matches(origin))
    }

    /// What turns, holds and reports call what is asked here.
    pub fn operation(&self) -> String {
        operation_of(&self.id)
    }

    /// The texts in the language a visitor wants, else in the embed's first.
    pub fn texts_in(&self, language: &str) -> Option<&Texts> {
        let base = language.split('-').next().unwrap_or(language);
        let first = self.languages.first().map_or(LANGUAGE_DEFAULT, String::as_str);
        [language, base, first]
            .iter()
            .find_map(|language| self.texts.get(*language))
    }
}

/// What turns, holds and reports call what is asked of an embed.
pub fn operation_of(embed_id: &str) -> String {
    format!("{OPERATION_PREFIX}{embed_id}")
}

/// Whether this is what an embed was asked. Flowise's ids have no colon.
pub fn is_operation(operation: &str) -> bool {
    operation.starts_with(OPERATION_PREFIX)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_key_before_the_current_one_is_good_for_a_while() {
        let (now, overlap) = (DateTime::UNIX_EPOCH, TimeDelta::hours(24));
        let mut keys = RotatedKey::default();
        assert!(!keys.accepts("", now) && !keys.accepts("first", now));
        keys.rotate("first", now + overlap);
        assert!(keys.accepts("first", now));
        keys.rotate("second", now + overlap);
        assert!(keys.accepts("first", now) && keys.accepts("second", now));
        assert!(!keys.accepts("first", now + overlap) && keys.accepts("second", now + overlap));
        keys.rotate("third", now + overlap);
        assert!(
            !keys.accepts("first", now),
            "two rotations later nothing of it is good"
        );
    }

    #[test]
    fn a_webhook_is_asked_with_the_old_key_only_within_the_overlap() {
        let now = DateTime::UNIX_EPOCH;
        let webhook = Webhook {
            url: "https://n8n.example/webhook/a".parse().unwrap(),
            api_key: Some("new".into()),
            shown_nodes: Vec::new(),
            previous_api_key: Some(("old".into(), now + TimeDelta::hours(1))),
        };
        assert_eq!(webhook.keys(now).len(), 2);
        assert_eq!(webhook.keys(now + TimeDelta::hours(1)).len(), 1);
        let keyless = Webhook {
            api_key: None,
            previous_api_key: None,
            ..webhook
        };
        assert!(matches!(keyless.keys(now)[..], [None]));
    }
}
