//! The rules of the ledger: what a command does to an account, as one pure function.
//!
//! Nothing here reads a clock or a database, so that a thousand commands can be tried in a millisecond and the writer
//! can apply a whole batch between one read and one write.
//!
//! Every change of credits is written down as a signed amount. Their sum per account is the sum of what remains in its
//! allocations, expired ones included: a hold writes `-held`, a capture the part that was not used, a void or an expiry
//! what was held. What comes back goes to the allocations it was drawn from, and keeps their old expiry; if one has
//! expired meanwhile the credits are in it again, and in the ledger, but nobody can spend them. So an entry's amount is
//! what the allocations gained or lost, while `balance_after` is what can be spent.

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
pub use hold::{Draw, Hold, HoldStatus};

use super::{credits::Credits, ids::SessionKey, usage::UsageNote, usage::UsageRecord};

/// What the ledger keeps of a command that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which command.
    pub kind: Kind,
    /// The sum of the movements.
    pub amount: i64,
    /// What can be spent from now on.
    pub balance_after: Credits,
    /// What went into and out of which allocation.
    pub movements: Vec<Movement>,
    /// The hold that was made or ended.
    pub hold_id: Option<Uuid>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The entry to be written; `None` when everything was so already.
    pub entry: Option<Entry>,
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
}

/// Applies `command` to `account` at `now`. A refusal changes nothing.
pub fn apply(account: &mut AccountState, command: &Command, now: DateTime<Utc>) -> Result<Outcome, Refusal> {
    let balance_before = account.spendable(now);
    let change = match command {
        Command::Allocate { grant } => allocate(account, grant, Kind::Allocate, now)?,
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
    };
    Ok(outcome(change, balance_before, account.spendable(now)))
}

fn outcome(change: Change, balance_before: Credits, balance_after: Credits) -> Outcome {
    let entry = change.kind.map(|kind| Entry {
        kind,
        amount: change.movements.iter().map(|movement| movement.credits).sum(),
        balance_after,
        movements: change.movements,
        hold_id: change.hold.as_ref().map(|hold| hold.id),
    });
    Outcome {
        entry,
        balance_before,
        balance_after,
        granted: change.granted,
        hold: change.hold,
        usage: change.usage,
    }
}

fn allocate(
    account: &mut AccountState,
    grant: &Grant,
    kind: Kind,
    now: DateTime<Utc>,
) -> Result<Change, Refusal> {
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

/// Keeps at most what is held and returns the rest. An open hold may be captured after its time: it ends when it is
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
        let hold = hold.clone().captured(captured, succeeded, now);
        let usage = usage.record(&hold, now);
        return Ok(Change {
            usage: Some(usage),
            ..close(account, hold, Kind::Capture, now)
        });
    }
    let same = hold.status == HoldStatus::Captured && hold.captured == captured;
    repeat_or_refuse(hold, same)
}

fn void(account: &mut AccountState, key: &SessionKey, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let hold = account.find_hold(key)?;
    if hold.is_open() {
        let hold = hold.clone().voided(now);
        return Ok(close(account, hold, Kind::Void, now));
    }
    repeat_or_refuse(hold, hold.status == HoldStatus::Voided)
}

fn expire(account: &mut AccountState, key: &SessionKey, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let hold = account.find_hold(key)?;
    if !hold.is_open() {
        return Err(Refusal::SessionSettled(hold.status));
    }
    if hold.expires_at > now {
        return Err(Refusal::HoldNotDue);
    }
    let hold = hold.clone().expired(now);
    Ok(close(account, hold, Kind::Expire, now))
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
    Err(Refusal::SessionSettled(hold.status))
}

/// Gives back what the settled `hold` did not capture.
fn close(account: &mut AccountState, hold: Hold, kind: Kind, now: DateTime<Utc>) -> Change {
    let movements = account.give_back(&hold.returned(), now);
    account.keep(hold.clone());
    Change {
        kind: Some(kind),
        movements,
        hold: Some(hold),
        ..Change::default()
    }
}
