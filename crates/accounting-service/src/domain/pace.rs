//! How fast somebody may ask: a token bucket, kept as the one moment at which it will be full again.

/// So many requests a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests a second in the long run; zero for no limit.
    pub per_sec: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

/// A caller asked too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    pace: Pace,
    wait_micros: i64,
}

const MICROS: i64 = 1_000_000;

impl Pace {
    /// Takes one request out of a bucket that will be full at `full_at` (microseconds on any clock). The new moment at
    /// which it will be full, or how long to wait; then nothing was taken.
    pub fn take(self, full_at: i64, now: i64) -> Result<i64, TooFast> {
        if self.per_sec == 0 {
            return Ok(full_at);
        }
        let interval = MICROS / i64::from(self.per_sec);
        let next = full_at.max(now) + interval;
        let wait_micros = next - now - interval * i64::from(self.burst.max(1));
        if wait_micros > 0 {
            return Err(TooFast {
                pace: self,
                wait_micros,
            });
        }
        Ok(next)
    }

    /// How long an empty bucket takes to fill, in seconds.
    pub fn window_secs(self) -> u64 {
        u64::from(self.burst).div_ceil(u64::from(self.per_sec.max(1)))
    }
}

impl TooFast {
    /// Whole seconds until the next request may pass.
    pub fn retry_after_secs(self) -> u64 {
        u64::try_from(self.wait_micros)
            .unwrap_or_default()
            .div_ceil(1_000_000)
    }

    /// What `RateLimit-Policy` and `RateLimit` say, in the form of the IETF's draft.
    pub fn headers(self) -> [(&'static str, String); 2] {
        let (burst, window) = (self.pace.burst, self.pace.window_secs());
        [
            ("ratelimit-policy", format!("\"user\";q={burst};w={window}")),
            ("ratelimit", format!("\"user\";r=0;t={}", self.retry_after_secs())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        per_sec: 100,
        burst: 2_000,
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
    fn a_burst_passes_and_then_a_hundred_a_second() {
        let (passed, full_at) = ask(0, 50 * MICROS, 3_000);
        assert_eq!(passed, 2_000);
        let (passed, full_at) = ask(full_at, 51 * MICROS, 3_000);
        assert_eq!(passed, 100);
        let (passed, _) = ask(full_at, 500 * MICROS, 3_000);
        assert_eq!(passed, 2_000, "a pause fills the bucket, and no more than that");
    }

    #[test]
    fn who_is_too_fast_is_told_when_to_come_back() {
        let (_, full_at) = ask(0, 0, 2_000);
        let too_fast = PACE.take(full_at, 0).unwrap_err();
        assert_eq!(too_fast.retry_after_secs(), 1);
        assert_eq!(
            too_fast.headers().map(|(_, value)| value),
            ["\"user\";q=2000;w=20".to_owned(), "\"user\";r=0;t=1".to_owned()]
        );
        assert!(
            PACE.take(full_at, 10_000).is_ok(),
            "a hundredth of a second later"
        );
    }

    #[test]
    fn no_limit_is_no_limit() {
        let free = Pace { per_sec: 0, ..PACE };
        assert_eq!(free.take(7, 0), Ok(7));
    }
}
