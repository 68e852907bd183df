//! Ids of what other services keep, as they stand in our addresses and in theirs.

use std::fmt;

use serde::Deserialize;

/// Longer is no id of ours.
const BYTES_MAX: usize = 64;

/// Letters, digits, hyphens and underscores: nothing that means something in an address. A path with anything else leads
/// to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct OuterId(String);

impl OuterId {
    /// As text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OuterId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(is_inside) {
            Ok(Self(text))
        } else {
            Err("is no id")
        }
    }
}

impl fmt::Display for OuterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leads_elsewhere_is_an_id() {
        assert!(OuterId::try_from("26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10".to_owned()).is_ok());
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a?b",
            "a#b",
            "%2e%2e",
            "a b",
            "ä",
            "\"",
            &"a".repeat(65),
        ] {
            assert!(OuterId::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
