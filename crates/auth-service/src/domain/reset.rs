//! The token in a mailed link that lets its holder choose a password: 256 random bits, one use.
//!
//! A token is bound to one user and the address it was mailed to. It dies when it is used, when it expires, when a
//! newer one is issued, and when the password or the address is changed in another way.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Duration, Utc};

use super::verification::{SentCodes, WINDOW};

/// Bytes of a token; twice as many hex digits.
pub const TOKEN_BYTES: usize = 32;

/// Links a person gets quickly one after another, for when the first mail went astray.
const QUICK_LINKS: i32 = 3;

/// The least time between those.
const QUICK_PAUSE: Duration = Duration::minutes(1);

/// The least time between all further ones. There is no number a day after which none is sent: a stranger who asks
/// all the time fills no mailbox and keeps nobody from a link of their own.
const PAUSE: Duration = Duration::minutes(10);

/// A token as it stands in a link.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetToken(String);

impl ResetToken {
    /// The token of these bytes, which must be random.
    pub fn new(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(hex::encode(bytes))
    }

    /// Reads a token exactly: 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 2 * TOKEN_BYTES && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The digits. They go into a mail and nowhere else.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// What is stored. A plain hash does for 256 random bits.
    pub fn hash(&self) -> String {
        hex::encode(digest(&SHA256, self.0.as_bytes()))
    }
}

/// Without the digits.
impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(..)")
    }
}

/// What has been sent when one more link is sent now; `None` when it is too soon for one.
pub fn with_one_more(sent: Option<SentCodes>, now: DateTime<Utc>) -> Option<SentCodes> {
    let Some(sent) = sent else {
        return Some(SentCodes::first(now));
    };
    let pause = if sent.count < QUICK_LINKS {
        QUICK_PAUSE
    } else {
        PAUSE
    };
    if now < sent.last_at + pause {
        return None;
    }
    if now >= sent.window_started_at + WINDOW {
        return Some(SentCodes::first(now));
    }
    Some(SentCodes {
        count: sent.count.saturating_add(1),
        last_at: now,
        ..sent
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_exactly() {
        let token = ResetToken::new([0xab; TOKEN_BYTES]);
        assert_eq!(token.digits().len(), 64);
        assert_eq!(ResetToken::parse(token.digits()).unwrap(), token);
        assert_ne!(token.hash(), token.digits());
        let upper = token.digits().to_uppercase();
        let spaced = format!(" {}", token.digits());
        for text in ["", "ab", &upper, &spaced, &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(ResetToken::parse(text), None, "{text:?}");
        }
        assert!(!format!("{token:?}").contains("abab"));
    }

    #[test]
    fn links_are_paced_and_never_run_out() {
        let start = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let mut sent = with_one_more(None, start).unwrap();
        let mut now = start;
        for _ in 1..QUICK_LINKS {
            assert_eq!(
                with_one_more(Some(sent), now + QUICK_PAUSE - Duration::seconds(1)),
                None
            );
            now += QUICK_PAUSE;
            sent = with_one_more(Some(sent), now).unwrap();
        }
        for _ in 0..140 {
            assert_eq!(
                with_one_more(Some(sent), now + PAUSE - Duration::seconds(1)),
                None
            );
            now += PAUSE;
            sent = with_one_more(Some(sent), now).unwrap();
        }
    }
}
