//! How times are shown: in UTC, and for scripts to put into the reader's own zone.

use chrono::{DateTime, Utc};

/// A time for `<time datetime>`, and as text.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// RFC 3339.
    pub(super) machine: String,
    /// For people.
    pub(super) text: String,
}

impl From<DateTime<Utc>> for Shown {
    fn from(time: DateTime<Utc>) -> Self {
        Self {
            machine: time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            text: time.format("%Y-%m-%d %H:%M UTC").to_string(),
        }
    }
}

impl Shown {
    /// Reads what another service writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.to_utc().into())
    }
}
