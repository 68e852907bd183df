//! Who and what is meant: users, actors, sessions.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::text::Name;

/// The length of an `ObjectId` in hexadecimal digits.
const USER_ID_DIGITS: usize = 24;

/// A user of auth-service: 24 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// The id in its one form, or `None` when `text` is no id.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == USER_ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::invalid_value(
                de::Unexpected::Other("text"),
                &"a user id of 24 hexadecimal digits",
            )
        })
    }
}

/// Who did something, as the ledger keeps it: `user:<id>`, `service:<name>` or `system`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(String);

/// What an actor that is a service begins with.
const SERVICE_PREFIX: &str = "service:";

impl Actor {
    /// A person.
    pub fn user(id: &UserId) -> Self {
        Self(format!("user:{id}"))
    }

    /// Another service of ours.
    pub fn service(name: &str) -> Self {
        Self(format!("{SERVICE_PREFIX}{name}"))
    }

    /// This service itself: sweeps.
    pub fn system() -> Self {
        Self("system".to_owned())
    }

    /// An actor read back from the database.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Whether a service acts.
    pub fn is_service(&self) -> bool {
        self.0.starts_with(SERVICE_PREFIX)
    }

    /// The text that is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest id of a streaming session, in characters.
pub const SESSION_ID_CHARS_MAX: usize = 100;

/// Names a streaming session. Clients choose the ids, so each owner has names of its own and nobody can take
/// another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// Who opened it, and alone may settle it: one person, or one service for all its users.
    pub owner: Actor,
    /// The id the owner chose.
    pub session_id: String,
}

impl SessionKey {
    /// The session `session_id` of `owner`.
    pub fn new(owner: Actor, session_id: Name<SESSION_ID_CHARS_MAX>) -> Self {
        Self {
            owner,
            session_id: session_id.into_inner(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_24_digits_in_lower_case() {
        let id = UserId::parse("5F0A1B2C3D4E5F6A7B8C9D0E").unwrap();
        assert_eq!(id.as_str(), "5f0a1b2c3d4e5f6a7b8c9d0e");
        for bad in [
            "",
            "5f0a1b2c3d4e5f6a7b8c9d0",
            "5f0a1b2c3d4e5f6a7b8c9d0e0",
            "5f0a1b2c3d4e5f6a7b8c9d0g",
        ] {
            assert_eq!(UserId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_person_can_pass_for_a_service() {
        let person = Actor::user(&UserId::parse(&"a".repeat(24)).unwrap());
        assert!(!person.is_service() && !Actor::system().is_service());
        assert!(Actor::service("proxy-service").is_service());
    }
}
