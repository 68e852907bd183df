//! Text of bounded length that every store can keep.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, de};

/// A name or an id of somebody else's choosing: 1 to `MAX` characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Name<const MAX: usize>(String);

impl<const MAX: usize> Name<MAX> {
    /// A name, unless it is empty, too long or holds control characters.
    pub fn parse(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let valid = (1..=MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        valid.then_some(Self(text))
    }

    /// The text itself.
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl<const MAX: usize> Deref for Name<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Name<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Name<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = format!("a text of 1 to {MAX} characters without control characters");
        Self::parse(text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Other("text"), &expected.as_str()))
    }
}

/// The longest note, in characters.
const NOTE_CHARS_MAX: usize = 1_000;

/// A remark for people: any text of at most 1,000 characters without NUL, which PostgreSQL cannot keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Note(String);

impl Note {
    /// The text itself.
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > NOTE_CHARS_MAX || text.contains('\0') {
            let expected = format!("a text of at most {NOTE_CHARS_MAX} characters without NUL");
            return Err(de::Error::invalid_value(
                de::Unexpected::Other("text"),
                &expected.as_str(),
            ));
        }
        Ok(Self(text))
    }
}

/// An e-mail address in the one form in which it is stored and looked up: trimmed and in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Email(String);

/// The longest address that SMTP can carry (RFC 5321 section 4.5.3.1.3).
const EMAIL_CHARS_MAX: usize = 254;

impl Email {
    /// An address, unless it lacks the basic shape: something, one `@`, a domain.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (local, domain) = text.split_once('@')?;
        let clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        let shaped = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        let dotted = domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
        (clean && shaped && dotted && text.chars().count() <= EMAIL_CHARS_MAX).then_some(Self(text))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or(self.0.as_str(), |(local, _)| local)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Other("text"), &"an e-mail address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_in_characters_and_hold_no_control_characters() {
        assert!(Name::<3>::parse("äöü").is_some());
        for bad in ["", "abcd", "a\0b", "a\nb"] {
            assert!(Name::<3>::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_are_compared_in_lower_case() {
        assert_eq!(
            Email::parse(" Ada@Example.COM ").unwrap().as_str(),
            "ada@example.com"
        );
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@c.d",
            "ada@localhost",
            "a b@c.d",
            "a@.d",
            "a@d.",
        ] {
            assert!(Email::parse(bad).is_none(), "{bad:?}");
        }
    }
}
