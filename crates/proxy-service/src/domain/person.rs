//! People as this service knows them: a copy of what auth-service said when an administrator last named them.

use chrono::{DateTime, Utc};

/// RFC 5321 section 4.5.3.1.
const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;

/// An e-mail address somebody can be looked up by: trimmed, lower case, as auth-service stores them.
///
/// Domains such as `.local` and `.test` are welcome: schools use internal names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Reads an address as typed. The error completes the sentence "the address ...".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let address = text.trim().to_lowercase();
        if address.len() > EMAIL_BYTES_MAX {
            return Err("is too long: an address has at most 254 characters");
        }
        match address.split_once('@') {
            Some((local, domain)) if is_local(local) && is_domain(domain) => Ok(Self(address)),
            _ => Err("is not an e-mail address"),
        }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local(local: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    !local.is_empty() && local.len() <= LOCAL_BYTES_MAX && local.bytes().all(allowed)
}

fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let hyphens_inside = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty() && label.len() <= 63 && hyphens_inside && label.bytes().all(allowed)
    })
}

/// Somebody, as administrators name them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// By address.
    Email(Email),
    /// By the id at auth-service: 24 hex digits, lower case.
    Id(String),
}

impl Who {
    /// Reads an address or an id. The error completes the sentence "the address ...".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match user_id(text) {
            Some(id) => Ok(Self::Id(id)),
            None => Email::parse(text).map(Self::Email),
        }
    }
}

/// Reads a user id of auth-service.
pub fn user_id(text: &str) -> Option<String> {
    let id = text.trim().to_lowercase();
    (id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// A person as auth-service describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPerson {
    /// The user id: the `sub` of their tokens.
    pub external_id: String,
    /// The name they sign in with.
    pub username: String,
    /// Lower case.
    pub email: String,
    /// The role, as auth-service names it.
    pub role: String,
    /// Whether they may use anything.
    pub is_active: bool,
}

/// Our copy of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Our id of the copy.
    pub id: String,
    /// What auth-service said.
    pub known: KnownPerson,
    /// When the copy was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was last renewed.
    pub updated_at: Option<DateTime<Utc>>,
    /// Turns a day, where they have a cap of their own.
    pub daily_turns_max: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_addresses_are_read_as_auth_service_stores_them() {
        for (typed, stored) in [
            (" Ada+Class-7@Example.COM ", "ada+class-7@example.com"),
            ("head@school.local", "head@school.local"),
            ("pupil@exam.test", "pupil@exam.test"),
            ("admin@localhost", "admin@localhost"),
            ("o'neil/x@example.com", "o'neil/x@example.com"),
        ] {
            assert_eq!(Email::parse(typed).map(|email| email.0).as_deref(), Ok(stored));
        }
    }

    #[test]
    fn somebody_is_named_by_address_or_id() {
        let id = "673D9F2C8B1E4A0057C3D9A1";
        assert_eq!(Who::parse(id), Ok(Who::Id(id.to_lowercase())));
        assert!(matches!(Who::parse("Mei@Example.com"), Ok(Who::Email(_))));
        for text in ["", "mei", "673d9f2c8b1e4a0057c3d9a", "673d9f2c8b1e4a0057c3d9ag"] {
            assert!(Who::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}", "b.".repeat(130));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a b@c.d",
            "a@b..c",
            "a@-b.c",
            "a\0@b.c",
            "a@b.c\r\nx",
            "<a@b.c>",
            &long,
            &longer,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }
}
