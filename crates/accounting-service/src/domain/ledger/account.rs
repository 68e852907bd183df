//! What the ledger knows of one account while it applies commands to it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Draw, Grant, Hold, Refusal};
use crate::domain::{
    credits::Credits,
    ids::{SessionKey, UserId},
};

/// What is left of one allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Its id.
    pub id: Uuid,
    /// What remains in it.
    pub remaining: Credits,
    /// From then on it cannot be spent.
    pub expires_at: DateTime<Utc>,
}

/// Credits that went into (positive) or out of (negative) one allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The allocation.
    pub allocation_id: Uuid,
    /// How many, with their sign.
    pub credits: i64,
}

/// One account: what can be spent, and the holds that the commands at hand speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    user_id: UserId,
    /// In the order in which they are spent: soonest expiry first, then by id. Empty ones may be missing.
    allocations: Vec<Allocation>,
    holds: HashMap<SessionKey, Hold>,
    open_holds: usize,
    /// Nothing in a closed account can be spent, and what comes back to it is written off.
    closed: bool,
}

impl AccountState {
    /// An account with these allocations, in any order. `holds` are those that any command at hand names, also when
    /// they are settled or somebody else's; `open_holds` counts all of the account's that are open.
    pub fn new(
        user_id: UserId,
        mut allocations: Vec<Allocation>,
        holds: impl IntoIterator<Item = Hold>,
        open_holds: usize,
    ) -> Self {
        allocations.sort_by_key(spending_order);
        let holds = holds.into_iter().map(|hold| (hold.key.clone(), hold)).collect();
        Self {
            user_id,
            allocations,
            holds,
            open_holds,
            closed: false,
        }
    }

    /// The same account, closed or not.
    pub fn with_closed(self, closed: bool) -> Self {
        Self { closed, ..self }
    }

    /// Whose account it is.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// What can be spent at `now`.
    pub fn spendable(&self, now: DateTime<Utc>) -> Credits {
        let live = self
            .allocations
            .iter()
            .filter(|allocation| self.is_live(allocation, now));
        live.map(|allocation| allocation.remaining).sum()
    }

    /// What remains in all allocations, those that have expired and are not written off yet included.
    pub(super) fn owned(&self) -> Credits {
        self.allocations
            .iter()
            .map(|allocation| allocation.remaining)
            .sum()
    }

    /// Whether the account is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Closes the account for good.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    fn is_live(&self, allocation: &Allocation, now: DateTime<Utc>) -> bool {
        !self.closed && allocation.expires_at > now
    }

    /// Credits that nobody can spend any more and that are still in the books, by allocation.
    pub(super) fn lapsed(&self, now: DateTime<Utc>) -> Vec<Draw> {
        self.allocations
            .iter()
            .filter(|allocation| !self.is_live(allocation, now) && allocation.remaining > Credits::ZERO)
            .map(|allocation| Draw {
                allocation_id: allocation.id,
                credits: allocation.remaining,
                expires_at: allocation.expires_at,
            })
            .collect()
    }

    /// Takes these credits out of the books.
    pub(super) fn write_off(&mut self, lapsed: &[Draw]) -> Vec<Movement> {
        for draw in lapsed {
            let place = |allocation: &&mut Allocation| allocation.id == draw.allocation_id;
            if let Some(allocation) = self.allocations.iter_mut().find(place) {
                allocation.remaining = allocation.remaining.less(draw.credits);
            }
        }
        lapsed.iter().map(Draw::taken).collect()
    }

    /// How many holds are open.
    pub(super) fn open_holds(&self) -> usize {
        self.open_holds
    }

    /// Whether the session's name is taken.
    pub(super) fn holds(&self, key: &SessionKey) -> bool {
        self.holds.contains_key(key)
    }

    /// The hold behind a session of this account.
    pub(super) fn find_hold(&self, key: &SessionKey) -> Result<&Hold, Refusal> {
        let hold = self.holds.get(key).filter(|hold| hold.user_id == self.user_id);
        hold.ok_or(Refusal::SessionNotFound)
    }

    /// Remembers a hold as it is now.
    pub(super) fn keep(&mut self, hold: Hold) {
        let is_open = hold.is_open();
        let was_open = self
            .holds
            .insert(hold.key.clone(), hold)
            .is_some_and(|hold| hold.is_open());
        self.open_holds = (self.open_holds + usize::from(is_open)).saturating_sub(usize::from(was_open));
    }

    /// Adds a new allocation.
    pub(super) fn grant(&mut self, grant: &Grant) -> Movement {
        self.put(Allocation {
            id: grant.id,
            remaining: grant.credits.into(),
            expires_at: grant.expires_at,
        });
        Movement {
            allocation_id: grant.id,
            credits: grant.credits.get(),
        }
    }

    /// Takes `credits` out of the allocations that expire soonest, or nothing at all when they do not suffice.
    pub(super) fn draw(&mut self, credits: Credits, now: DateTime<Utc>) -> Result<Vec<Draw>, Refusal> {
        let available = self.spendable(now);
        if available < credits {
            return Err(Refusal::InsufficientCredits {
                required: credits,
                available,
            });
        }
        let mut missing = credits;
        let mut draws = Vec::new();
        if self.closed {
            return Ok(draws);
        }
        for allocation in self
            .allocations
            .iter_mut()
            .filter(|allocation| allocation.expires_at > now)
        {
            let taken = missing.min(allocation.remaining);
            if taken == Credits::ZERO {
                continue;
            }
            allocation.remaining = allocation.remaining.less(taken);
            missing = missing.less(taken);
            draws.push(Draw {
                allocation_id: allocation.id,
                credits: taken,
                expires_at: allocation.expires_at,
            });
        }
        Ok(draws)
    }

    /// Takes what one allocation holds beyond `keep` out of it.
    pub(super) fn withdraw(
        &mut self,
        allocation_id: Uuid,
        keep: Credits,
        now: DateTime<Utc>,
    ) -> Result<Option<Draw>, Refusal> {
        let closed = self.closed;
        let live = |allocation: &&mut Allocation| {
            allocation.id == allocation_id && !closed && allocation.expires_at > now
        };
        let found = self.allocations.iter_mut().find(live);
        let remaining = found.as_ref().map_or(Credits::ZERO, |found| found.remaining);
        if keep > remaining {
            return Err(Refusal::AllocationHasLess { remaining });
        }
        let credits = remaining.less(keep);
        let Some(allocation) = found.filter(|_| credits > Credits::ZERO) else {
            return Ok(None);
        };
        allocation.remaining = keep;
        Ok(Some(Draw {
            allocation_id,
            credits,
            expires_at: allocation.expires_at,
        }))
    }

    /// Puts drawn credits back where they came from, also into an allocation that has expired: it is then written off,
    /// and both can be seen in the ledger.
    pub(super) fn give_back(&mut self, draws: &[Draw]) -> Vec<Movement> {
        for draw in draws {
            self.put(Allocation {
                id: draw.allocation_id,
                remaining: draw.credits,
                expires_at: draw.expires_at,
            });
        }
        draws.iter().map(Draw::returned).collect()
    }

    /// Adds credits to an allocation, in its place in the order. One that was spent to the end is not loaded: it
    /// appears again here.
    fn put(&mut self, added: Allocation) {
        let place = self
            .allocations
            .binary_search_by_key(&spending_order(&added), spending_order);
        match place {
            Ok(index) => {
                if let Some(known) = self.allocations.get_mut(index) {
                    known.remaining = known.remaining.plus(added.remaining);
                }
            }
            Err(index) => self.allocations.insert(index, added),
        }
    }
}

fn spending_order(allocation: &Allocation) -> (DateTime<Utc>, Uuid) {
    (allocation.expires_at, allocation.id)
}
