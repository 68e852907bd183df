//! How fast somebody may ask: a token bucket, kept as the one moment at which it will be full again.

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

impl Pace {
    /// Whether it limits anybody.
    pub const fn is_limit(self) -> bool {
        self.per_sec > 0
    }

    /// Microseconds in which one token comes.
    pub fn interval(self) -> i64 {
        MICROS / i64::from(self.per_sec.max(1))
    }

    /// Microseconds in which an empty bucket fills.
    pub fn capacity(self) -> i64 {
        self.interval() * i64::from(self.burst.max(1))
    }

    /// Takes a token out of a bucket that will be full at `full_at` (microseconds on any clock). `Ok` has the new moment
    /// at which it will be full; `Err` how long to wait, and nothing was taken.
    pub fn take(self, full_at: i64, now: i64) -> Result<i64, i64> {
        let next = full_at.max(now) + self.interval();
        let wait = next - now - self.capacity();
        if wait > 0 { Err(wait) } else { Ok(next) }
    }

    /// What a bucket means for its owner.
    pub fn quota(self, bucket: Bucket) -> Quota {
        let tokens = (self.capacity() - bucket.full_in).max(0) / self.interval();
        Quota {
            quota: self.burst.max(1),
            window_secs: whole_secs(self.capacity()),
            remaining: u64::try_from(tokens).unwrap_or_default(),
            full_in_secs: whole_secs(bucket.full_in),
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
            if let Ok(next) = PACE.take(full_at, now) {
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
        let wait = PACE.take(full_at, 0).unwrap_err();
        assert_eq!(whole_secs(wait), 1);
        let empty = PACE.quota(Bucket {
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
        let full = PACE.quota(Bucket {
            full_in: PACE.interval(),
            wait: 0,
        });
        assert_eq!((full.remaining, full.full_in_secs), (199, 1));
    }
}
