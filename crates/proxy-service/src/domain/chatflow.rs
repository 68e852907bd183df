//! What the catalog knows of a Flowise chatflow.

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::payment::Hold;

/// The most credits a turn may cost.
pub const PRICE_MAX: i64 = 1_000_000;

/// The most tokens a turn may be estimated at.
pub const ESTIMATED_TOKENS_MAX: i64 = 10_000_000;

/// What a turn is estimated at where nobody says more: a few pages that are read, and one that is written. What is held
/// and not used goes back, so a generous estimate costs nobody anything.
pub const ESTIMATED_TOKENS_DEFAULT: i64 = 10_000;

/// The most turns a day a cap may allow.
pub const DAILY_TURNS_MAX: i64 = 1_000_000;

/// Where a chatflow stands since the last synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStatus {
    /// Flowise listed it.
    Active,
    /// Flowise lists it no longer. It stays, with its assignments: it may come back.
    Deleted,
    /// It could not be taken over.
    Error,
}

impl SyncStatus {
    /// The status as it stands in bodies and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
            Self::Error => "error",
        }
    }

    /// Reads a stored status. One we do not know admits nobody.
    pub fn from_stored(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "deleted" => Self::Deleted,
            _ => Self::Error,
        }
    }
}

/// A chatflow as people and chat turns need it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chatflow {
    /// Our own id; assignments name it in hexadecimal.
    pub id: ObjectId,
    /// Flowise's id, the `chatflow_id` of every path and body.
    pub flowise_id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where Flowise files it.
    pub category: Option<String>,
    /// `CHATFLOW`, `AGENTFLOW`, `MULTIAGENT` or `ASSISTANT`; the wire calls it `type`.
    pub kind: String,
    /// Flowise's own mark; it decides nothing here.
    pub deployed: bool,
    /// Flowise's own mark; it grants nothing here.
    pub is_public: bool,
    /// When it was made in Flowise.
    pub created_date: Option<DateTime<Utc>>,
    /// When it was changed in Flowise.
    pub updated_date: Option<DateTime<Utc>>,
    /// Where it stands.
    pub sync_status: SyncStatus,
    /// What a turn costs.
    pub price: Price,
    /// Members of `overrideConfig` that people may send; all others are refused or dropped.
    pub override_config_allowed: Vec<String>,
    /// Whether people see the events that tell about its inside: prompts, settings, what its nodes said.
    pub show_inner_events: bool,
    /// Turns a day of everybody together.
    pub daily_turns_max: Option<i64>,
    /// Turns a day of each person.
    pub daily_turns_per_user_max: Option<i64>,
}

impl Chatflow {
    /// Whether turns may run on it at all.
    pub fn is_usable(&self) -> bool {
        self.sync_status == SyncStatus::Active
    }
}

/// Everything that is kept of a chatflow, for administrators.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatflowRecord {
    /// What everybody sees.
    pub chatflow: Chatflow,
    /// The Flowise key it is bound to, by Flowise's id of that key.
    pub api_key_id: Option<String>,
    /// The graph, with prompts; read only when one chatflow is asked for.
    pub flow_data: Option<Value>,
    /// How Flowise's own chat window shows it.
    pub chatbot_config: Option<Value>,
    /// Rate limit and what may be overridden.
    pub api_config: Option<Value>,
    /// Where Flowise reports runs to.
    pub analytic_config: Option<Value>,
    /// Speech recognition.
    pub speech_to_text_config: Option<Value>,
    /// When it was last seen in a listing, or found missing.
    pub synced_at: Option<DateTime<Utc>>,
    /// Why its status is [`SyncStatus::Error`].
    pub sync_error: Option<String>,
}

/// A chatflow as Flowise lists it, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedChatflow {
    /// Flowise's id.
    pub flowise_id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where Flowise files it.
    pub category: Option<String>,
    /// Its type.
    pub kind: String,
    /// Flowise's own mark.
    pub deployed: bool,
    /// Flowise's own mark.
    pub is_public: bool,
    /// The Flowise key it is bound to.
    pub api_key_id: Option<String>,
    /// The graph.
    pub flow_data: Option<Value>,
    /// How Flowise's own chat window shows it.
    pub chatbot_config: Option<Value>,
    /// Rate limit and what may be overridden.
    pub api_config: Option<Value>,
    /// Where Flowise reports runs to.
    pub analytic_config: Option<Value>,
    /// Speech recognition.
    pub speech_to_text_config: Option<Value>,
    /// When it was made.
    pub created_date: Option<DateTime<Utc>>,
    /// When it was changed.
    pub updated_date: Option<DateTime<Utc>>,
}

/// What administrators set on a chatflow themselves; `None` leaves a member as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatflowSettings {
    /// What a turn costs.
    pub price: Option<PriceChange>,
    /// Members of `overrideConfig` that people may send.
    pub override_config_allowed: Option<Vec<String>>,
    /// Whether people see the events that tell about its inside.
    pub show_inner_events: Option<bool>,
    /// Turns a day of everybody together.
    pub daily_turns_max: Option<Cap>,
    /// Turns a day of each person.
    pub daily_turns_per_user_max: Option<Cap>,
}

/// How often something may be done in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// So often.
    Turns(i64),
    /// As often as one likes.
    Unlimited,
}

impl Cap {
    /// The number, where there is one.
    pub const fn turns(self) -> Option<i64> {
        match self {
            Self::Turns(turns) => Some(turns),
            Self::Unlimited => None,
        }
    }
}

/// What a turn costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    /// So many credits.
    Flat(i64),
    /// What its tokens cost.
    ByUsage(UsagePrice),
}

/// A price by usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePrice {
    /// The model in accounting-service's table of prices.
    pub model_id: String,
    /// For how many tokens credits are held before a turn runs.
    pub estimated_tokens: i64,
}

impl Price {
    /// Whether turns cost nothing. By usage they always cost something: accounting-service has no price of nothing.
    pub const fn is_free(&self) -> bool {
        matches!(self, Self::Flat(..=0))
    }

    /// What each turn costs, where that is known before.
    pub const fn flat(&self) -> Option<i64> {
        match self {
            Self::Flat(credits) => Some(*credits),
            Self::ByUsage(_) => None,
        }
    }

    /// The hold for a turn, of which `credits` are known to be held.
    pub const fn hold(&self, credits: i64) -> Hold {
        match self {
            Self::Flat(_) => Hold::flat(credits),
            Self::ByUsage(usage) => Hold::ByUsage {
                credits,
                estimated_tokens: usage.estimated_tokens,
            },
        }
    }

    /// The same before accounting-service has said how much is held.
    pub const fn hold_to_be(&self) -> Hold {
        match self {
            Self::Flat(credits) => self.hold(*credits),
            Self::ByUsage(_) => self.hold(0),
        }
    }
}

/// How the price of a chatflow is changed. It has one: a new one takes the place of whatever it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceChange {
    /// So many credits.
    Flat(i64),
    /// Whatever the service's default is.
    Default,
    /// What its tokens cost.
    ByUsage(UsagePrice),
    /// Not by usage any more. A flat price stays.
    NotByUsage,
}

/// How many chatflows stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatflowStatistics {
    /// All of them.
    pub total: u64,
    /// Those people can use.
    pub active: u64,
    /// Those Flowise lists no longer.
    pub deleted: u64,
    /// Those that could not be taken over.
    pub error: u64,
    /// When a chatflow was last synchronised.
    pub last_sync: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_admits_nobody() {
        for status in [SyncStatus::Active, SyncStatus::Deleted, SyncStatus::Error] {
            assert_eq!(SyncStatus::from_stored(status.as_str()), status);
        }
        for text in ["", "Active", "pending"] {
            assert_eq!(SyncStatus::from_stored(text), SyncStatus::Error, "{text:?}");
        }
    }
}
