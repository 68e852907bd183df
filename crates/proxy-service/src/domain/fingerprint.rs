//! A short name of a browser, made of what it says of itself in every request.
//!
//! It stays the same for as long as the browser does, many have the same one, and anybody can send any: it is a sign that
//! a session may have moved, and never decides anything.

use sha2::{Digest as _, Sha256};

/// Bytes of a header that are looked at.
const HEADER_BYTES_MAX: usize = 500;

/// The name of a browser that sends these headers.
pub fn fingerprint(user_agent: Option<&str>, languages: Option<&str>, platform: Option<&str>) -> String {
    let mut hash = Sha256::new();
    for told in [user_agent, languages, platform] {
        let told = told.unwrap_or_default().as_bytes();
        hash.update(told.get(..HEADER_BYTES_MAX).unwrap_or(told));
        // No header has this byte, so that none runs into the next.
        hash.update([0]);
    }
    let hash = hash.finalize();
    hex::encode(hash.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_has_one_name_and_another_browser_another() {
        let firefox = fingerprint(Some("Firefox/128"), Some("de,en"), None);
        assert_eq!(firefox.len(), 16);
        assert_eq!(firefox, fingerprint(Some("Firefox/128"), Some("de,en"), None));
        for other in [
            fingerprint(Some("Firefox/129"), Some("de,en"), None),
            fingerprint(Some("Firefox/128"), Some("de"), Some("en")),
            fingerprint(None, None, None),
        ] {
            assert_ne!(firefox, other);
        }
        let long = "x".repeat(1_000);
        assert_eq!(
            fingerprint(Some(&long), None, None),
            fingerprint(Some(&long[..500]), None, None)
        );
    }
}
