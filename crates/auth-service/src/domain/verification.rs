//! The code that proves an address: six digits, sent by mail.
//!
//! Six digits are few, so what protects them is counting. A code is bound to one user and address, good for five
//! tries and one use. A user gets at most [`CODES_PER_WINDOW_MAX`] codes in 24 hours, hence at most fifty guesses a
//! day can be made at one account by those who name it.
//!
//! The documented request carries the code alone. Then nobody is named and no account's tries can be counted, so such
//! guesses are counted by where they come from and in total (`service::guesses`). When that is used up, the code is
//! still taken together with the address: strangers cannot shut anybody out.

use chrono::{DateTime, Duration, Utc};

/// Wrong tries a code survives, minus one: the fifth voids it.
pub const TRIES_MAX: i32 = 5;

/// Codes sent to one user within [`WINDOW`].
pub const CODES_PER_WINDOW_MAX: i32 = 10;

/// How long codes are counted.
pub const WINDOW: Duration = Duration::hours(24);

/// The least time between two codes to the same user.
pub const PAUSE: Duration = Duration::seconds(30);

const DIGITS: usize = 6;

/// How many codes there are.
pub const CODES: u32 = 1_000_000;

/// Six digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// The `number`th code.
    pub fn new(number: u32) -> Self {
        Self(format!("{:06}", number % CODES))
    }

    /// Reads a code exactly: no space, no other digits than ASCII's.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self(text.to_owned()))
    }

    /// The digits. They go into a mail and a keyed hash, nowhere else; hence no `Debug`.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// How many codes a user was sent lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentCodes {
    /// When counting began.
    pub window_started_at: DateTime<Utc>,
    /// How many since.
    pub count: i32,
    /// When the last one was sent.
    pub last_at: DateTime<Utc>,
}

impl SentCodes {
    /// The first code.
    pub const fn first(now: DateTime<Utc>) -> Self {
        Self {
            window_started_at: now,
            count: 1,
            last_at: now,
        }
    }

    /// With one more code sent now, or `None` when it is too soon for one.
    pub fn next(self, now: DateTime<Utc>) -> Option<Self> {
        if now < self.last_at + PAUSE {
            return None;
        }
        if now >= self.window_started_at + WINDOW {
            return Some(Self::first(now));
        }
        (self.count < CODES_PER_WINDOW_MAX).then_some(Self {
            count: self.count + 1,
            last_at: now,
            ..self
        })
    }
}

impl SentCodes {
    /// How long until another code may be sent.
    pub fn wait(self, now: DateTime<Utc>) -> Duration {
        let after_pause = self.last_at + PAUSE;
        let open_at = if self.count < CODES_PER_WINDOW_MAX {
            after_pause
        } else {
            after_pause.max(self.window_started_at + WINDOW)
        };
        (open_at - now).max(Duration::zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_exactly() {
        assert_eq!(Code::new(42).digits(), "000042");
        assert!(Code::parse("000042").is_some());
        for text in ["42", "0000042", " 00042", "00004a", "٠٠٠٠٤٢", "", "000042\n"] {
            assert!(Code::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn codes_are_paced_and_counted_by_the_day() {
        let start = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let mut sent = SentCodes::first(start);
        assert_eq!(sent.next(start + Duration::seconds(29)), None);

        let mut now = start;
        for _ in 1..CODES_PER_WINDOW_MAX {
            now += PAUSE;
            sent = sent.next(now).unwrap();
        }
        assert_eq!(sent.next(now + PAUSE), None, "the eleventh code");
        assert_eq!(sent.wait(now), start + WINDOW - now);
        assert_eq!(
            SentCodes::first(start).wait(start + Duration::seconds(10)),
            Duration::seconds(20)
        );
        assert_eq!(sent.next(start + WINDOW), Some(SentCodes::first(start + WINDOW)));
    }
}
