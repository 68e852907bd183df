//! Random texts of 256 bits that prove one thing once: states, codes, and what binds a sign-in to a browser.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Random bytes of each.
pub const ONE_TIME_BYTES: usize = 32;

/// A secret that is handed out once. Only its hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTime(String);

impl OneTime {
    /// The secret of these bytes, which must be random.
    pub fn new(bytes: [u8; ONE_TIME_BYTES]) -> Self {
        Self(hex::encode(bytes))
    }

    /// Reads one exactly: 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 2 * ONE_TIME_BYTES && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The text that is handed out, and goes nowhere else.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is stored. A plain hash does for 256 random bits.
    pub fn hash(&self) -> String {
        hex::encode(digest(&SHA256, self.0.as_bytes()))
    }
}

/// Without the text.
impl fmt::Debug for OneTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTime(..)")
    }
}

/// The challenge of a PKCE verifier (RFC 7636, S256).
pub fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether this can be an S256 challenge: 32 bytes in base64url.
pub fn is_challenge(text: &str) -> bool {
    URL_SAFE_NO_PAD
        .decode(text)
        .is_ok_and(|bytes| bytes.len() == ONE_TIME_BYTES)
}

/// Whether this can be a verifier (RFC 7636 section 4.1).
pub fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = challenge_of(verifier);
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(is_verifier(verifier) && is_challenge(&challenge));
        assert!(!is_verifier("too short") && !is_verifier(&"a b".repeat(20)));
        assert!(!is_challenge("") && !is_challenge(&challenge[1..]));
    }

    #[test]
    fn texts_are_read_exactly_and_not_shown() {
        let secret = OneTime::new([0xab; ONE_TIME_BYTES]);
        assert_eq!(OneTime::parse(secret.text()), Some(secret.clone()));
        assert_eq!(OneTime::parse(&secret.text().to_uppercase()), None);
        assert_eq!(OneTime::parse(&secret.text()[1..]), None);
        assert!(!format!("{secret:?}").contains("ab"));
        assert_ne!(secret.hash(), secret.text());
    }
}
