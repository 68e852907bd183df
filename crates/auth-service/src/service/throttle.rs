//! Slows guessing of one account's password from one network. Never a lock: elsewhere the owner signs in as always.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Duration, Utc};

/// Typing errors that cost nothing.
const FREE_FAILURES: u32 = 5;

/// The longest wait between two tries.
const DELAY_SECS_MAX: i64 = 60;

/// After this long without a failure all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::minutes(15);

/// Pairs of account and network that are remembered; some 64 bytes each.
const PAIRS_MAX: usize = 20_000;

/// Failed sign-ins by account and network.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoginThrottle {
    failures: Arc<Mutex<HashMap<u64, Failures>>>,
    /// Keys are hashes under a seed nobody knows; so no two accounts can be made to share one.
    seed: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_at: DateTime<Utc>,
}

impl Failures {
    /// When the next try is looked at.
    fn open_at(self) -> DateTime<Utc> {
        let Some(excess) = self.count.checked_sub(FREE_FAILURES) else {
            return self.last_at;
        };
        let delay = 1_i64.checked_shl(excess.min(32)).unwrap_or(DELAY_SECS_MAX);
        self.last_at + Duration::seconds(delay.min(DELAY_SECS_MAX))
    }
}

impl LoginThrottle {
    /// How many seconds a try has to wait, if it has to.
    pub(crate) fn wait_secs(&self, login: &str, address: IpAddr, now: DateTime<Utc>) -> Option<u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.get(&self.key(login, address))?;
        let wait = known.open_at() - now;
        (wait > Duration::zero()).then(|| u64::try_from(wait.num_seconds()).unwrap_or_default() + 1)
    }

    /// Remembers a failure.
    pub(crate) fn failed(&self, login: &str, address: IpAddr, now: DateTime<Utc>) {
        let key = self.key(login, address);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= PAIRS_MAX && !failures.contains_key(&key) {
            failures.retain(|_, known| now < known.last_at + FORGOTTEN_AFTER);
            if failures.len() >= PAIRS_MAX {
                let oldest = failures
                    .iter()
                    .min_by_key(|(_, known)| known.last_at)
                    .map(|(key, _)| *key);
                oldest.map(|oldest| failures.remove(&oldest));
            }
        }
        let known = failures.entry(key).or_insert(Failures {
            count: 0,
            last_at: now,
        });
        let forgotten = now >= known.last_at + FORGOTTEN_AFTER;
        known.count = if forgotten {
            1
        } else {
            known.count.saturating_add(1)
        };
        known.last_at = now;
    }

    /// Forgets the failures of somebody who has just signed in.
    pub(crate) fn succeeded(&self, login: &str, address: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&self.key(login, address));
    }

    fn key(&self, login: &str, address: IpAddr) -> u64 {
        self.seed
            .hash_one((login.trim().to_lowercase(), network(address)))
    }
}

/// What one customer of a provider has: an IPv4 address, or 2^64 IPv6 addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000, 0).unwrap()
    }

    #[test]
    fn delays_grow_for_the_pair_and_for_nobody_else() {
        let throttle = LoginThrottle::default();
        for _ in 0..FREE_FAILURES - 1 {
            throttle.failed("ada", HERE, start());
            assert_eq!(throttle.wait_secs("ada", HERE, start()), None);
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            throttle.failed(" ADA ", HERE, start());
            waits.push(throttle.wait_secs("ada", HERE, start()).unwrap());
        }
        assert_eq!(waits, [2, 3, 5, 9, 17, 33, 61, 61]);
        assert_eq!(throttle.wait_secs("ada", THERE, start()), None);
        assert_eq!(throttle.wait_secs("bob", HERE, start()), None);

        assert_eq!(
            throttle.wait_secs("ada", HERE, start() + Duration::seconds(60)),
            None
        );
        throttle.succeeded("ada", HERE);
        assert_eq!(throttle.wait_secs("ada", HERE, start()), None);
    }

    #[test]
    fn memory_is_bounded_and_old_failures_are_forgotten() {
        let throttle = LoginThrottle::default();
        for number in 0..PAIRS_MAX + 5 {
            throttle.failed(&format!("user-{number}"), HERE, start());
        }
        assert_eq!(throttle.failures.lock().unwrap().len(), PAIRS_MAX);

        for _ in 0..20 {
            throttle.failed("ada", HERE, start());
        }
        throttle.failed("ada", HERE, start() + FORGOTTEN_AFTER);
        assert_eq!(throttle.wait_secs("ada", HERE, start() + FORGOTTEN_AFTER), None);
    }

    #[test]
    fn an_ipv6_customer_is_one_network() {
        let network_of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network_of("::ffff:203.0.113.5"), "203.0.113.5");
    }
}
