//! The rules of the ledger: what a command does to an account, as one pure function.
//!
//! Nothing here reads a clock or a database, so that a thousand commands can be tried in a millisecond and the writer
//! can apply a whole batch between one read and one write.
//!
//! Every change of credits is written down as a signed amount: a hold writes `-held`, a capture the part that was not
//! used, a void or an expiry what was held. What comes back goes to the allocations it was drawn from, and keeps their
//! old expiry.
//!
//! Credits that have expired are written off: an entry of their own says so, the next time anything happens to the
//! account, or when the sweep finds them. A command that returns credits to an allocation that has expired meanwhile
//! writes both, the return and the write-off. So the amounts of an account, up to any entry, add up to that entry's
//! `balance_after`; behind the last one this is what can be spent, as long as no further credits expire.

mod account;
mod command;
mod hold;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use account::{AccountState, Allocation, Movement};
pub use command::{Adjustment, Command, Grant, Kind, Opening, Refusal};
pub use hold::{Draw, Hold, HoldStatus, Share};

use super::{credits::Credits, ids::SessionKey, usage::UsageNote, usage::UsageRecord};

/// What the ledger keeps of a command that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which command.
    pub kind: Kind,
    /// The sum of the movements.
    pub amount: i64,
    /// The sum of all amounts of the account up to this one.
    pub balance_after: Credits,
    /// What went into and out of which allocation.
    pub movements: Vec<Movement>,
    /// The hold that was made or ended.
    pub hold_id: Option<Uuid>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The command's own entry; `None` when everything was so already.
    pub entry: Option<Entry>,
    /// What had expired before and is written off first. Nothing without an entry.
    pub lapsed_before: Option<Entry>,
    /// What the command returned to an allocation that has expired, written off behind it.
    pub lapsed_after: Option<Entry>,
    /// What could be spent before.
    pub balance_before: Credits,
    /// What can be spent now.
    pub balance_after: Credits,
    /// The allocation that was made.
    pub granted: Option<Grant>,
    /// The hold that was made or ended, as it is now.
    pub hold: Option<Hold>,
    /// The usage record of a capture.
    pub usage: Option<UsageRecord>,
    /// Whether the account was closed by it.
    pub closed: bool,
}

impl Outcome {
    /// Every entry to be written, in the order of the ledger.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        [&self.lapsed_before, &self.entry, &self.lapsed_after]
            .into_iter()
            .flatten()
    }

    /// How many credits came out of the account.
    pub fn taken(&self) -> Credits {
        let amount = self.entry.as_ref().map_or(0, |entry| entry.amount);
        Credits::new(amount.saturating_neg()).unwrap_or_default()
    }
}

/// What a command changes, before the balances around it are known.
#[derive(Default)]
struct Change {
    /// `None` when nothing changes because everything is so already.
    kind: Option<Kind>,
    movements: Vec<Movement>,
    granted: Option<Grant>,
    hold: Option<Hold>,
    usage: Option<UsageRecord>,
    closed: bool,
}

/// Applies `command` to `account` at `now`. A refusal changes nothing.
pub fn apply(account: &mut AccountState, command: &Command, now: DateTime<Utc>) -> Result<Outcome, Refusal> {
    let before = Before {
        spendable: account.spendable(now),
        owned: account.owned(),
        lapsed: account.lapsed(now),
    };
    let change = match command {
        Command::Allocate { grant } | Command::AllocateByRule { grant, .. } => {
            allocate(account, grant, Kind::Allocate, now)?
        }
        Command::Deduct { credits } => spend(account, (*credits).into(), Kind::Deduct, now)?,
        Command::Remove { credits } => spend(account, (*credits).into(), Kind::Remove, now)?,
        Command::RemoveAll => remove_all(account, now)?,
        Command::Adjust(Adjustment::Raise(grant)) => allocate(account, grant, Kind::Adjust, now)?,
        Command::Adjust(Adjustment::Lower(credits)) => spend(account, (*credits).into(), Kind::Adjust, now)?,
        Command::Set { target } => set(account, target.as_ref(), now)?,
        Command::Hold { opening } => open(account, opening, now)?,
        Command::Capture {
            key,
            credits,
            succeeded,
            usage,
        } => capture(account, key, *credits, *succeeded, usage, now)?,
        Command::Void { key } => void(account, key, now)?,
        Command::Expire { key } => expire(account, key, now)?,
        Command::Withdraw { allocation_id, keep } => withdraw(account, *allocation_id, *keep, now)?,
        Command::Close => close_account(account, now)?,
        Command::WriteOff => return Ok(write_off(account, &before, now)),
    };
    Ok(outcome(account, change, &before, now))
}

/// What an account was before a command.
struct Before {
    spendable: Credits,
    owned: Credits,
    lapsed: Vec<Draw>,
}

/// Puts the entries of a command around what it did to `account`.
fn outcome(account: &mut AccountState, change: Change, before: &Before, now: DateTime<Utc>) -> Outcome {
    let hold_id = change.hold.as_ref().map(|hold| hold.id);
    let mut outcome = Outcome {
        entry: None,
        lapsed_before: None,
        lapsed_after: None,
        balance_before: before.spendable,
        balance_after: account.spendable(now),
        granted: change.granted,
        hold: change.hold,
        usage: change.usage,
        closed: change.closed,
    };
    let Some(kind) = change.kind else {
        return outcome;
    };
    let mut books = Books(before.owned.get());
    outcome.lapsed_before = books.write_off(account, &before.lapsed, None);
    outcome.entry = Some(books.enter(kind, change.movements, hold_id));
    let returned_too_late = account.lapsed(now);
    outcome.lapsed_after = books.write_off(account, &returned_too_late, hold_id);
    outcome
}

/// Takes what has expired out of the books, and does nothing else.
fn write_off(account: &mut AccountState, before: &Before, now: DateTime<Utc>) -> Outcome {
    let mut outcome = outcome(account, Change::default(), before, now);
    outcome.entry = Books(before.owned.get()).write_off(account, &before.lapsed, None);
    outcome
}

/// The sum of an account's amounts, entry by entry.
struct Books(i64);

impl Books {
    fn enter(&mut self, kind: Kind, movements: Vec<Movement>, hold_id: Option<Uuid>) -> Entry {
        let amount = movements.iter().map(|movement| movement.credits).sum();
        self.0 += amount;
        Entry {
            kind,
            amount,
            balance_after: Credits::new(self.0).unwrap_or_default(),
            movements,
            hold_id,
        }
    }

    fn write_off(
        &mut self,
        account: &mut AccountState,
        lapsed: &[Draw],
        hold_id: Option<Uuid>,
    ) -> Option<Entry> {
        if lapsed.is_empty() {
            return None;
        }
        let movements = account.write_off(lapsed);
        Some(self.enter(Kind::WriteOff, movements, hold_id))
    }
}

fn allocate(
    account: &mut AccountState,
    grant: &Grant,
    kind: Kind,
    now: DateTime<Utc>,
) -> Result<Change, Refusal> {
    if account.is_closed() {
        return Err(Refusal::AccountClosed);
    }
    if account.spendable(now).plus(grant.credits.into()) > Credits::BALANCE_MAX {
        return Err(Refusal::BalanceTooLarge);
    }
    Ok(Change {
        kind: Some(kind),
        movements: vec![account.grant(grant)],
        granted: Some(grant.clone()),
        ..Change::default()
    })
}

fn spend(
    account: &mut AccountState,
    credits: Credits,
    kind: Kind,
    now: DateTime<Utc>,
) -> Result<Change, Refusal> {
    let draws = account.draw(credits, now)?;
    Ok(Change {
        kind: Some(kind),
        movements: draws.iter().map(Draw::taken).collect(),
        ..Change::default()
    })
}

/// Where nothing can be spent, nothing changes.
fn remove_all(account: &mut AccountState, now: DateTime<Utc>) -> Result<Change, Refusal> {
    match account.spendable(now) {
        Credits::ZERO => Ok(Change::default()),
        everything => spend(account, everything, Kind::Remove, now),
    }
}

/// Takes everything that can be spent away and grants the target anew. Held credits are not touched: they belong to
/// turns that are running.
fn set(account: &mut AccountState, target: Option<&Grant>, now: DateTime<Utc>) -> Result<Change, Refusal> {
    if account.is_closed() {
        return Err(Refusal::AccountClosed);
    }
    let draws = account.draw(account.spendable(now), now)?;
    let mut movements: Vec<_> = draws.iter().map(Draw::taken).collect();
    movements.extend(target.map(|grant| account.grant(grant)));
    Ok(Change {
        kind: Some(Kind::Set),
        movements,
        granted: target.cloned(),
        ..Change::default()
    })
}

fn open(account: &mut AccountState, opening: &Opening, now: DateTime<Utc>) -> Result<Change, Refusal> {
    if account.holds(&opening.key) {
        return Err(Refusal::SessionExists);
    }
    if account.open_holds() >= opening.open_holds_max {
        return Err(Refusal::TooManyOpenHolds {
            limit: opening.open_holds_max,
        });
    }
    let draws = account.draw(opening.credits.into(), now)?;
    let hold = Hold::open(account.user_id().clone(), opening, draws, now);
    account.keep(hold.clone());
    Ok(Change {
        kind: Some(Kind::Hold),
        movements: hold.draws.iter().map(Draw::taken).collect(),
        hold: Some(hold),
        ..Change::default()
    })
}

/// Leaves `keep` in one allocation. Only down: what other people's holds have drawn from it must find room when it comes
/// back.
fn withdraw(
    account: &mut AccountState,
    allocation_id: Uuid,
    keep: Credits,
    now: DateTime<Utc>,
) -> Result<Change, Refusal> {
    let draw = account.withdraw(allocation_id, keep, now)?;
    Ok(Change {
        kind: draw.map(|_| Kind::Remove),
        movements: draw.iter().map(Draw::taken).collect(),
        ..Change::default()
    })
}

/// Turns that are running are settled as ever; what comes back from them is written off.
fn close_account(account: &mut AccountState, now: DateTime<Utc>) -> Result<Change, Refusal> {
    if account.is_closed() {
        return Err(Refusal::AccountClosed);
    }
    let change = spend(account, account.spendable(now), Kind::Remove, now)?;
    account.close();
    Ok(Change {
        closed: true,
        ..change
    })
}

/// Keeps what was used and returns the rest. A service captures at most what is held, for the turn has been delivered
/// by then; a person who names more is refused and may name less. An open hold may be captured after its time: it ends when it is
/// expired, not before, so that a late settle is paid for as long as nobody gave the credits back.
fn capture(
    account: &mut AccountState,
    key: &SessionKey,
    credits: Credits,
    succeeded: bool,
    usage: &UsageNote,
    now: DateTime<Utc>,
) -> Result<Change, Refusal> {
    let hold = account.find_hold(key)?;
    let captured = credits.min(hold.held);
    if hold.is_open() {
        if credits > hold.held && !hold.key.owner.is_service() {
            return Err(Refusal::CaptureExceedsHold {
                requested: credits,
                held: hold.held,
            });
        }
        let hold = hold.clone().captured(captured, succeeded, now);
        let usage = usage.record(&hold, now);
        return Ok(Change {
            usage: Some(usage),
            ..close(account, hold, Kind::Capture)
        });
    }
    let same = hold.status == HoldStatus::Captured && hold.captured == captured;
    repeat_or_refuse(hold, same)
}

fn void(account: &mut AccountState, key: &SessionKey, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let hold = account.find_hold(key)?;
    if hold.is_open() {
        let hold = hold.clone().voided(now);
        return Ok(close(account, hold, Kind::Void));
    }
    repeat_or_refuse(hold, hold.status == HoldStatus::Voided)
}

fn expire(account: &mut AccountState, key: &SessionKey, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let hold = account.find_hold(key)?;
    if !hold.is_open() {
        return Err(settled(hold));
    }
    if hold.expires_at > now {
        return Err(Refusal::HoldNotDue);
    }
    let hold = hold.clone().expired(now);
    Ok(close(account, hold, Kind::Expire))
}

/// A service that settles again, the same way, is told what it was told before: its outbox may have lost the first
/// answer. A person gets a refusal; their clients repeat with an idempotency key or not at all.
fn repeat_or_refuse(hold: &Hold, same: bool) -> Result<Change, Refusal> {
    if same && hold.key.owner.is_service() {
        return Ok(Change {
            hold: Some(hold.clone()),
            ..Change::default()
        });
    }
    Err(settled(hold))
}

fn settled(hold: &Hold) -> Refusal {
    Refusal::SessionSettled {
        status: hold.status,
        captured: hold.captured,
    }
}

/// Gives back what the settled `hold` did not capture.
fn close(account: &mut AccountState, hold: Hold, kind: Kind) -> Change {
    let movements = account.give_back(&hold.returned());
    account.keep(hold.clone());
    Change {
        kind: Some(kind),
        movements,
        hold: Some(hold),
        ..Change::default()
    }
}
