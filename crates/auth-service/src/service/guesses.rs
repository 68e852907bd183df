//! Bounds how many verification codes are guessed by callers who name no account.
//!
//! A code without an address could be anybody's, so a wrong one can be counted against nobody. It is counted against
//! the network it came from and against everybody together. With [`TOTAL_MAX`] guesses in a window, somebody who keeps
//! one account's code open all day (ten codes of 15 minutes) finds it with a chance of 1 in 500 a day, and by naming
//! the account 1 in 20,000. What is proven that way is an address, not a password.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Duration, Utc};

use crate::domain::network::customer as network;

/// How long wrong guesses are counted.
const WINDOW: Duration = Duration::minutes(15);

/// Wrong guesses of one network: a class that types badly stays below.
const NETWORK_MAX: u32 = 30;

/// Wrong guesses of all networks together, for each replica of this service.
const TOTAL_MAX: u32 = 200;

/// Wrong guesses without an address in the current window.
#[derive(Clone, Debug)]
pub(crate) struct GuessBudget {
    window: Arc<Mutex<Window>>,
}

#[derive(Debug)]
struct Window {
    started_at: DateTime<Utc>,
    total: u32,
    /// At most [`TOTAL_MAX`] entries: whoever is in here has made a guess.
    by_network: HashMap<IpAddr, u32>,
}

impl GuessBudget {
    /// An unused budget.
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        let window = Window {
            started_at: now,
            total: 0,
            by_network: HashMap::new(),
        };
        Self {
            window: Arc::new(Mutex::new(window)),
        }
    }

    /// Takes one guess before it is looked at, so that guesses made at once are all counted. When there is none left,
    /// says how many seconds until there is.
    pub(crate) fn take(&self, address: IpAddr, now: DateTime<Utc>) -> Result<(), u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= window.started_at + WINDOW {
            *window = Window {
                started_at: now,
                total: 0,
                by_network: HashMap::new(),
            };
        }
        let used = window
            .by_network
            .get(&network(address))
            .copied()
            .unwrap_or_default();
        if used >= NETWORK_MAX || window.total >= TOTAL_MAX {
            let left = window.started_at + WINDOW - now;
            return Err(u64::try_from(left.num_seconds()).unwrap_or_default() + 1);
        }
        window.total += 1;
        window.by_network.insert(network(address), used + 1);
        Ok(())
    }

    /// Gives a guess back: it was right.
    pub(crate) fn give_back(&self, address: IpAddr) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.total = window.total.saturating_sub(1);
        if let Some(used) = window.by_network.get_mut(&network(address)) {
            *used = used.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    #[test]
    fn one_network_runs_out_before_all_do() {
        let start = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let budget = GuessBudget::new(start);
        for _ in 0..NETWORK_MAX {
            budget.take(address(1), start).unwrap();
        }
        assert!(budget.take(address(1), start).is_err());
        assert!(budget.take(address(2), start).is_ok(), "others go on");

        for number in 3.. {
            if budget.take(address(number), start).is_err() {
                assert_eq!(number - 3 + NETWORK_MAX + 1, TOTAL_MAX);
                break;
            }
        }
        assert!(budget.take(address(1), start + WINDOW).is_ok(), "a new window");
    }

    #[test]
    fn right_guesses_cost_nothing() {
        let start = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let budget = GuessBudget::new(start);
        for _ in 0..10 * TOTAL_MAX {
            budget.take(address(1), start).unwrap();
            budget.give_back(address(1));
        }
    }
}
