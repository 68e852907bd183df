//! A second, naive ledger to compare the real one with: every credit is a coin of its own in one list, and every
//! question is answered by walking through all of them. It shares no code with the real one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{HoldStatus, Refusal};
use crate::domain::credits::Credits;

/// Where a coin is.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Free,
    Held(String),
    Spent,
    WrittenOff,
}

#[derive(Clone, Debug)]
struct Coin {
    allocation: Uuid,
    expires_at: DateTime<Utc>,
    place: Place,
}

#[derive(Clone, Debug)]
struct Session {
    status: HoldStatus,
    held: usize,
    captured: usize,
    expires_at: DateTime<Utc>,
    by_service: bool,
    foreign: bool,
}

/// The naive ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    coins: Vec<Coin>,
    sessions: BTreeMap<String, Session>,
    closed: bool,
}

/// Whether a command wrote something, or found everything so already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect {
    Written,
    Repeated,
}

fn credits(count: usize) -> Credits {
    Credits::new(i64::try_from(count).unwrap()).unwrap()
}

impl Model {
    /// Somebody else's session of this name.
    pub(super) fn add_foreign(&mut self, name: &str, now: DateTime<Utc>) {
        let session = Session {
            status: HoldStatus::Open,
            held: 1,
            captured: 0,
            expires_at: now,
            by_service: true,
            foreign: true,
        };
        self.sessions.insert(name.to_owned(), session);
    }

    pub(super) fn balance(&self, now: DateTime<Utc>) -> usize {
        if self.closed {
            return 0;
        }
        self.coins
            .iter()
            .filter(|coin| coin.place == Place::Free && coin.expires_at > now)
            .count()
    }

    /// Takes every free coin that nobody can spend out of the books; whenever something is written, this is as well.
    pub(super) fn write_off(&mut self, now: DateTime<Utc>) -> usize {
        let mut written_off = 0;
        for coin in &mut self.coins {
            if coin.place == Place::Free && (self.closed || coin.expires_at <= now) {
                coin.place = Place::WrittenOff;
                written_off += 1;
            }
        }
        written_off
    }

    /// Leaves `keep` free coins of one allocation.
    pub(super) fn withdraw(
        &mut self,
        allocation: Uuid,
        keep: usize,
        now: DateTime<Utc>,
    ) -> Result<Effect, Refusal> {
        let closed = self.closed;
        let free = self.coins.iter_mut().filter(|coin| {
            !closed && coin.allocation == allocation && coin.place == Place::Free && coin.expires_at > now
        });
        let mut free: Vec<_> = free.collect();
        if keep > free.len() {
            return Err(Refusal::AllocationHasLess {
                remaining: credits(free.len()),
            });
        }
        if keep == free.len() {
            return Ok(Effect::Repeated);
        }
        for coin in free.iter_mut().skip(keep) {
            coin.place = Place::Spent;
        }
        Ok(Effect::Written)
    }

    /// Closes the account.
    pub(super) fn close(&mut self, now: DateTime<Utc>) -> Result<Effect, Refusal> {
        if self.closed {
            return Err(Refusal::AccountClosed);
        }
        for coin in &mut self.coins {
            if coin.place == Place::Free && coin.expires_at > now {
                coin.place = Place::Spent;
            }
        }
        self.closed = true;
        Ok(Effect::Written)
    }

    /// Free coins, expired or not, by allocation: what the database would say remains.
    pub(super) fn remaining(&self) -> BTreeMap<Uuid, i64> {
        let mut remaining = BTreeMap::new();
        for coin in &self.coins {
            *remaining.entry(coin.allocation).or_default() += i64::from(coin.place == Place::Free);
        }
        remaining
    }

    pub(super) fn add(
        &mut self,
        allocation: Uuid,
        count: usize,
        expires_at: DateTime<Utc>,
    ) -> Result<Effect, Refusal> {
        if self.closed {
            return Err(Refusal::AccountClosed);
        }
        let coin = Coin {
            allocation,
            expires_at,
            place: Place::Free,
        };
        self.coins.extend(std::iter::repeat_n(coin, count));
        Ok(Effect::Written)
    }

    /// Picks one coin at a time: of those that can be spent, the one that expires first.
    fn take(&mut self, count: usize, to: &Place, now: DateTime<Utc>) -> Result<Effect, Refusal> {
        if self.balance(now) < count {
            return Err(Refusal::InsufficientCredits {
                required: credits(count),
                available: credits(self.balance(now)),
            });
        }
        for _ in 0..count {
            let free = self
                .coins
                .iter_mut()
                .filter(|coin| coin.place == Place::Free && coin.expires_at > now);
            let first = free
                .min_by_key(|coin| (coin.expires_at, coin.allocation))
                .unwrap();
            first.place = to.clone();
        }
        Ok(Effect::Written)
    }

    pub(super) fn spend(&mut self, count: usize, now: DateTime<Utc>) -> Result<Effect, Refusal> {
        self.take(count, &Place::Spent, now)
    }

    pub(super) fn remove_all(&mut self, now: DateTime<Utc>) -> Result<Effect, Refusal> {
        if self.balance(now) == 0 {
            return Ok(Effect::Repeated);
        }
        self.set(None, now)
    }

    pub(super) fn set(
        &mut self,
        target: Option<(Uuid, usize, DateTime<Utc>)>,
        now: DateTime<Utc>,
    ) -> Result<Effect, Refusal> {
        if self.closed {
            return Err(Refusal::AccountClosed);
        }
        for coin in &mut self.coins {
            if coin.place == Place::Free && coin.expires_at > now {
                coin.place = Place::Spent;
            }
        }
        if let Some((allocation, count, expires_at)) = target {
            self.add(allocation, count, expires_at)?;
        }
        Ok(Effect::Written)
    }

    pub(super) fn hold(
        &mut self,
        name: &str,
        by_service: bool,
        count: usize,
        expires_at: DateTime<Utc>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Result<Effect, Refusal> {
        if self.sessions.contains_key(name) {
            return Err(Refusal::SessionExists);
        }
        let open = |session: &&Session| session.status == HoldStatus::Open && !session.foreign;
        if self.sessions.values().filter(open).count() >= limit {
            return Err(Refusal::TooManyOpenHolds { limit });
        }
        self.take(count, &Place::Held(name.to_owned()), now)?;
        let session = Session {
            status: HoldStatus::Open,
            held: count,
            captured: 0,
            expires_at,
            by_service,
            foreign: false,
        };
        self.sessions.insert(name.to_owned(), session);
        Ok(Effect::Written)
    }

    /// Ends the session `name` as `status`, keeping `count` credits of it.
    pub(super) fn settle(
        &mut self,
        name: &str,
        status: HoldStatus,
        count: usize,
        now: DateTime<Utc>,
    ) -> Result<Effect, Refusal> {
        let Some(session) = self.sessions.get_mut(name).filter(|session| !session.foreign) else {
            return Err(Refusal::SessionNotFound);
        };
        let (asked, count) = (count, count.min(session.held));
        if session.status != HoldStatus::Open {
            let same = session.status == status && session.captured == count && session.by_service;
            return if same && status != HoldStatus::Expired {
                Ok(Effect::Repeated)
            } else {
                Err(Refusal::SessionSettled {
                    status: session.status,
                    captured: credits(session.captured),
                })
            };
        }
        if status == HoldStatus::Expired && session.expires_at > now {
            return Err(Refusal::HoldNotDue);
        }
        if asked > session.held && !session.by_service {
            return Err(Refusal::CaptureExceedsHold {
                requested: credits(asked),
                held: credits(session.held),
            });
        }
        session.status = status;
        session.captured = count;
        let held = Place::Held(name.to_owned());
        for _ in 0..count {
            let coins = self.coins.iter_mut().filter(|coin| coin.place == held);
            coins
                .min_by_key(|coin| (coin.expires_at, coin.allocation))
                .unwrap()
                .place = Place::Spent;
        }
        for coin in self.coins.iter_mut().filter(|coin| coin.place == held) {
            coin.place = Place::Free;
        }
        Ok(Effect::Written)
    }
}
