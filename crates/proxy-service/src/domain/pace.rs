//! How fast somebody may ask: a token bucket, kept as the one moment at which it will be full again.
//!
//! A [`Pace`] is what an operator sets: requests a second, and how many at once. A [`Rate`] is the arithmetic behind it, also for
//! limits of a minute, an hour or a day.

/// So many requests a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests a second in the long run; zero for no limit.
    pub per_sec: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

/// A bucket after somebody asked for a token, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// How long until it is full.
    pub full_in: i64,
    /// How long to wait for the next token; zero when one was had.
    pub wait: i64,
}

/// What the owner of a bucket is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tokens of a full bucket.
    pub quota: u32,
    /// How long an empty one takes to be full.
    pub window_secs: u64,
    /// Whole tokens left.
    pub remaining: u64,
    /// Seconds until it is full again.
    pub full_in_secs: u64,
}

const MICROS: i64 = 1_000_000;

/// A bucket of so many tokens that fills at an even speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds in which one token comes.
    pub interval: i64,
    /// Tokens of a full bucket.
    pub tokens: u32,
}

impl Rate {
    /// So many in each window of this length, all of them at once if nobody asked for as long.
    pub fn within(tokens: u32, window_secs: u32) -> Self {
        let tokens = tokens.max(1);
        let interval = i64::from(window_secs) * MICROS / i64::from(tokens);
        Self {
            interval: interval.max(1),
            tokens,
        }
    }

    /// Microseconds in which an empty bucket fills.
    pub fn capacity(self) -> i64 {
        self.interval.saturating_mul(i64::from(self.tokens))
    }

    /// Takes a token out of a bucket that will be full at `full_at` (microseconds on any clock). `Ok` has the new moment
    /// at which it will be full; `Err` how long to wait, and nothing was taken.
    pub fn take(self, full_at: i64, now: i64) -> Result<i64, i64> {
        let next = full_at.max(now) + self.interval;
        let wait = next - now - self.capacity();
        if wait > 0 { Err(wait) } else { Ok(next) }
    }

    /// What a bucket means for its owner.
    pub fn quota(self, bucket: Bucket) -> Quota {
        let tokens = (self.capacity() - bucket.full_in).max(0) / self.interval;
        Quota {
            quota: self.tokens,
            window_secs: whole_secs(self.capacity()),
            remaining: u64::try_from(tokens).unwrap_or_default(),
            full_in_secs: whole_secs(bucket.full_in),
        }
    }
}

impl Pace {
    /// Whether it limits anybody.
    pub const fn is_limit(self) -> bool {
        self.per_sec > 0
    }

    /// The arithmetic of it.
    pub fn rate(self) -> Rate {
        Rate {
            interval: MICROS / i64::from(self.per_sec.max(1)),
            tokens: self.burst.max(1),
        }
    }
}

/// Microseconds as seconds, rounded up.
pub fn whole_secs(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or_default().div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        per_sec: 10,
        burst: 200,
    };

    /// How many of `asked` requests pass at `now`, and the bucket afterwards.
    fn ask(mut full_at: i64, now: i64, asked: u32) -> (u32, i64) {
        let mut passed = 0;
        for _ in 0..asked {
            if let Ok(next) = PACE.rate().take(full_at, now) {
                (passed, full_at) = (passed + 1, next);
            }
        }
        (passed, full_at)
    }

    #[test]
    fn a_burst_passes_and_then_ten_a_second() {
        let (passed, full_at) = ask(0, 50 * MICROS, 300);
        assert_eq!(passed, 200);
        let (passed, full_at) = ask(full_at, 51 * MICROS, 300);
        assert_eq!(passed, 10);
        let (passed, _) = ask(full_at, 500 * MICROS, 300);
        assert_eq!(passed, 200, "a pause fills the bucket, and no more than that");
    }

    #[test]
    fn the_owner_is_told_what_is_left_and_when_to_come_back() {
        let (_, full_at) = ask(0, 0, 200);
        let wait = PACE.rate().take(full_at, 0).unwrap_err();
        assert_eq!(whole_secs(wait), 1);
        let empty = PACE.rate().quota(Bucket {
            full_in: full_at,
            wait,
        });
        assert_eq!(
            (
                empty.quota,
                empty.window_secs,
                empty.remaining,
                empty.full_in_secs
            ),
            (200, 20, 0, 20)
        );
        let full = PACE.rate().quota(Bucket {
            full_in: PACE.rate().interval,
            wait: 0,
        });
        assert_eq!((full.remaining, full.full_in_secs), (199, 1));
    }

    #[test]
    fn sixty_a_minute_pass_at_once_and_then_one_a_second() {
        let rate = Rate::within(60, 60);
        let mut full_at = 0;
        let mut passed = |now: i64| {
            (0..100)
                .filter(|_| rate.take(full_at, now).map(|next| full_at = next).is_ok())
                .count()
        };
        assert_eq!((passed(0), passed(MICROS), passed(10 * MICROS)), (60, 1, 9));
        assert_eq!(Rate::within(1_000, 3_600).capacity(), 3_600 * MICROS);
        assert!(Rate::within(u32::MAX, 1).interval >= 1);
    }
}
