//! The rules by which tries are slowed. The store applies them; here stand their numbers and what follows from them.

use chrono::{DateTime, Duration, Utc};

/// After this long without a failure all is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::minutes(15);

/// Tries of one account from one network that may be looked at together before the first has failed. Thirty pupils may
/// share an account; a guesser gains as many guesses, once.
pub const PENDING_MAX: i64 = 32;

/// A try whose end nobody told by then was lost with its process.
pub const PENDING_LOST_AFTER: Duration = Duration::minutes(2);

/// How a bucket fills: `quota` tokens in `window`, and never more than `quota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRate {
    /// Tokens of a full bucket.
    pub quota: u32,
    /// How long an empty one takes to be full.
    pub window: Duration,
}

impl BucketRate {
    /// Tokens gained in a second.
    pub fn per_sec(self) -> f64 {
        let secs = u32::try_from(self.window.num_seconds()).unwrap_or(u32::MAX);
        f64::from(self.quota) / f64::from(secs.max(1))
    }
}

/// A bucket after somebody asked for a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Whether they got one.
    pub admitted: bool,
    /// What is left, with the part that has not become whole.
    pub tokens: f64,
}

/// A limit, as answers show it (`RateLimit`, `RateLimit-Policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which limit.
    pub name: &'static str,
    /// Tokens of a full bucket.
    pub quota: u32,
    /// How long an empty one takes to be full.
    pub window_secs: i64,
    /// Whole tokens left.
    pub remaining: u32,
    /// Seconds until it is full again.
    pub full_in_secs: u32,
    /// Seconds until there is a token; at least one.
    pub retry_after_secs: u32,
}

impl Quota {
    /// What a bucket means for its owner.
    pub fn of(name: &'static str, rate: BucketRate, bucket: Bucket) -> Self {
        Self {
            name,
            quota: rate.quota,
            window_secs: rate.window.num_seconds(),
            remaining: whole(bucket.tokens.floor()),
            full_in_secs: whole(((f64::from(rate.quota) - bucket.tokens) / rate.per_sec()).ceil()),
            retry_after_secs: whole(((1.0 - bucket.tokens) / rate.per_sec()).ceil()).max(1),
        }
    }
}

/// A number without a part as an integer; the text is the one way there that does not go through a cast.
fn whole(number: f64) -> u32 {
    format!("{:.0}", number.max(0.0)).parse().unwrap_or(u32::MAX)
}

/// How failures of one account from one network are slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialRule {
    /// Typing errors that cost nothing.
    pub free_failures: u32,
    /// The longest wait between two tries.
    pub wait_secs_max: u32,
}

impl TrialRule {
    /// How long failures are remembered: never shorter than the wait they cause.
    pub fn forgotten_after(self) -> Duration {
        FORGOTTEN_AFTER.max(Duration::seconds(i64::from(self.wait_secs_max) * 2))
    }
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It may be looked at.
    Admitted,
    /// It is not looked at; the next one is at this time.
    OpenAt(DateTime<Utc>),
}

impl Trial {
    /// The whole seconds to wait, at least one; `None` when there is nothing to wait for.
    pub fn wait_secs(self, now: DateTime<Utc>) -> Option<u64> {
        match self {
            Self::Admitted => None,
            Self::OpenAt(at) => {
                let wait_ms = u64::try_from((at - now).num_milliseconds()).unwrap_or_default();
                Some(wait_ms.div_ceil(1_000).max(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_says_when_to_come_back() {
        let rate = BucketRate {
            quota: 500,
            window: Duration::minutes(15),
        };
        let of = |admitted, tokens| Quota::of("sign-in", rate, Bucket { admitted, tokens });
        let full = of(true, 499.0);
        assert_eq!(
            (full.remaining, full.full_in_secs, full.retry_after_secs),
            (499, 2, 1)
        );
        let empty = of(false, 0.0);
        assert_eq!(
            (empty.remaining, empty.full_in_secs, empty.retry_after_secs),
            (0, 900, 2)
        );
        assert_eq!(of(false, 0.9).remaining, 0);
    }

    #[test]
    fn waits_are_rounded_up() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        for (ms, secs) in [(-5, 1), (0, 1), (1, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            assert_eq!(
                Trial::OpenAt(now + Duration::milliseconds(ms)).wait_secs(now),
                Some(secs)
            );
        }
        assert_eq!(Trial::Admitted.wait_secs(now), None);
    }

    #[test]
    fn failures_outlive_their_waits() {
        let rule = TrialRule {
            free_failures: 5,
            wait_secs_max: 3_600,
        };
        assert_eq!(rule.forgotten_after(), Duration::hours(2));
    }
}
