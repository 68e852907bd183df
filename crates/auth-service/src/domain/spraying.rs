//! Password spraying: few guesses at each of many accounts, so that no single account shows it.

use chrono::Duration;

use super::distinct::Sketch;

/// The stretch of time that is looked at.
pub const WINDOW: Duration = Duration::minutes(10);

/// People who forgot their password try more often than this on average; sprayers do not.
const TRIES_PER_ACCOUNT_MAX: u64 = 3;

/// Failed sign-ins of some stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// At which accounts.
    pub accounts: Sketch,
}

impl Failures {
    /// Adds one at the account with this hash.
    pub fn add(&mut self, account: u64) {
        self.count += 1;
        let (index, rank) = Sketch::place(account);
        self.accounts.raise(index, rank);
    }

    /// Adds others.
    pub fn merge(&mut self, others: &Self) {
        self.count = self.count.saturating_add(others.count);
        self.accounts.merge(&others.accounts);
    }

    /// Whether failures at `accounts` accounts look like spraying: at least `accounts_min`, few at each.
    pub fn look_like_spraying(&self, accounts: u64, accounts_min: u64) -> bool {
        accounts >= accounts_min && self.count <= accounts.saturating_mul(TRIES_PER_ACCOUNT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_accounts_with_few_failures_each_are_suspicious() {
        let failures = |count| Failures {
            count,
            ..Failures::default()
        };
        assert!(failures(400).look_like_spraying(400, 300));
        assert!(failures(900).look_like_spraying(300, 300));
        assert!(
            !failures(299).look_like_spraying(299, 300),
            "a school on a Monday"
        );
        assert!(!failures(5_000).look_like_spraying(400, 300), "people who insist");
    }
}
