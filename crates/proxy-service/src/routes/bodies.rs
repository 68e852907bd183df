//! Bodies that several of the administrators' resources have.

use chrono::{DateTime, Utc};
use common_http::Timestamp;
use common_jwt::Role;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    domain::{person::Person, roster::BadRow, window::Window},
    error::{Error, Result},
    service::crowds::CrowdReport,
};

/// From when until when; a missing member says nothing, `null` says that there is no such bound.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WindowBody {
    #[serde(default, deserialize_with = "bound")]
    starts_at: Option<Bound>,
    #[serde(default, deserialize_with = "bound")]
    ends_at: Option<Bound>,
}

#[derive(Clone, Debug)]
enum Bound {
    None,
    At(String),
}

/// Called only when the member is there.
fn bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bound>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(Some(text.map_or(Bound::None, Bound::At)))
}

impl WindowBody {
    /// The window; `None` when neither bound is spoken of.
    pub(super) fn window(&self) -> Result<Option<Window>> {
        if self.starts_at.is_none() && self.ends_at.is_none() {
            return Ok(None);
        }
        let at = |field: &str, bound: &Option<Bound>| match bound {
            None | Some(Bound::None) => Ok(None),
            Some(Bound::At(text)) => {
                let time = DateTime::parse_from_rfc3339(text);
                let time = time.map(|time| Some(time.with_timezone(&Utc)));
                time.map_err(|_error| Error::invalid(field, "must be an RFC 3339 time"))
            }
        };
        Ok(Some(Window {
            starts_at: at("starts_at", &self.starts_at)?,
            ends_at: at("ends_at", &self.ends_at)?,
        }))
    }
}

/// What was done for many people.
#[derive(Serialize)]
pub(super) struct CrowdBody {
    people: usize,
    added: usize,
    reactivated: usize,
    updated: usize,
    unchanged: usize,
    failed: usize,
    failures: Vec<FailureBody>,
}

#[derive(Serialize)]
struct FailureBody {
    line: u64,
    who: String,
    message: String,
}

impl From<CrowdReport> for CrowdBody {
    fn from(report: CrowdReport) -> Self {
        let failure = |row: BadRow| FailureBody {
            line: row.line,
            who: row.who,
            message: row.reason,
        };
        Self {
            people: report.people,
            added: report.added,
            reactivated: report.reactivated,
            updated: report.updated,
            unchanged: report.unchanged,
            failed: report.failed,
            failures: report.failures.into_iter().map(failure).collect(),
        }
    }
}

/// Our copy of a person.
#[derive(Serialize)]
pub(super) struct UserDetails {
    id: String,
    username: String,
    email: String,
    role: String,
    is_active: bool,
    external_id: String,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    daily_turns_max: Option<i64>,
}

impl From<Person> for UserDetails {
    fn from(person: Person) -> Self {
        Self {
            id: person.id,
            username: person.known.username,
            email: person.known.email,
            role: person.known.role,
            is_active: person.known.is_active,
            external_id: person.known.external_id,
            created_at: person.created_at.map(Timestamp),
            updated_at: person.updated_at.map(Timestamp),
            daily_turns_max: person.daily_turns_max,
        }
    }
}

/// A role by its name; others than the three mean nothing here.
pub(super) fn role_of(text: &str) -> Result<Role> {
    let role = Role::ALL.into_iter().find(|role| role.as_str() == text.trim());
    role.ok_or_else(|| Error::invalid("role", "must be admin, supervisor or enduser"))
}
