//! What can be asked of the ledger, and how it says no.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::HoldStatus;
use crate::domain::{
    credits::{Amount, Credits},
    ids::SessionKey,
    rules::RuleClaim,
    usage::UsageNote,
};

/// A new allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: Uuid,
    /// How much it holds.
    pub credits: Amount,
    /// From then on it cannot be spent.
    pub expires_at: DateTime<Utc>,
    /// Who granted it: a user id, or `system`.
    pub allocated_by: String,
    /// A remark for people.
    pub notes: Option<String>,
}

/// A hold to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its id.
    pub id: Uuid,
    /// The session it is for.
    pub key: SessionKey,
    /// The model or chatflow that will use the credits.
    pub model_id: String,
    /// The price it was estimated at; none where credits are named.
    pub price_id: Option<Uuid>,
    /// What the use was estimated at.
    pub estimated: Credits,
    /// What is held.
    pub credits: Amount,
    /// When it may be given back if nobody settles it.
    pub expires_at: DateTime<Utc>,
    /// How many holds of the account may be open at once.
    pub open_holds_max: usize,
}

/// A change by an administrator, up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// Adds an allocation.
    Raise(Grant),
    /// Takes credits away.
    Lower(Amount),
}

/// What can be done to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Adds an allocation.
    Allocate {
        /// The allocation.
        grant: Grant,
    },
    /// Adds an allocation that a rule grants, unless it has granted it before.
    AllocateByRule {
        /// The allocation.
        grant: Grant,
        /// What is granted once.
        claim: RuleClaim,
    },
    /// Spends credits at once.
    Deduct {
        /// How many.
        credits: Amount,
    },
    /// Sets credits aside for a turn that is about to run.
    Hold {
        /// The hold.
        opening: Opening,
    },
    /// Ends a hold: keeps what was used and returns the rest.
    Capture {
        /// The session.
        key: SessionKey,
        /// What was used; more than is held counts as all that is held.
        credits: Credits,
        /// Whether the turn succeeded; it is paid for either way.
        succeeded: bool,
        /// How the use is logged.
        usage: UsageNote,
    },
    /// Ends a hold: returns all of it.
    Void {
        /// The session.
        key: SessionKey,
    },
    /// Replaces what can be spent.
    Set {
        /// The one allocation there will be; `None` leaves nothing.
        target: Option<Grant>,
    },
    /// Changes what can be spent by a difference.
    Adjust(Adjustment),
    /// Takes credits away on an administrator's behalf.
    Remove {
        /// How many.
        credits: Amount,
    },
    /// Takes everything away that can be spent; what is held stays held.
    RemoveAll,
    /// Ends a hold that nobody settled in time: returns all of it.
    Expire {
        /// The session.
        key: SessionKey,
    },
    /// Takes what one allocation holds beyond a number out of it.
    Withdraw {
        /// The allocation.
        allocation_id: Uuid,
        /// What stays in it.
        keep: Credits,
    },
    /// Takes everything away and lets nothing in any more.
    Close,
    /// Takes credits that have expired out of the books. Every other command does so on the way; this one is for
    /// accounts that nobody uses.
    WriteOff,
}

impl Command {
    /// The command's name.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Allocate { .. } | Self::AllocateByRule { .. } => Kind::Allocate,
            Self::Deduct { .. } => Kind::Deduct,
            Self::Hold { .. } => Kind::Hold,
            Self::Capture { .. } => Kind::Capture,
            Self::Void { .. } => Kind::Void,
            Self::Set { .. } => Kind::Set,
            Self::Adjust(_) => Kind::Adjust,
            Self::Remove { .. } | Self::RemoveAll | Self::Withdraw { .. } | Self::Close => Kind::Remove,
            Self::Expire { .. } => Kind::Expire,
            Self::WriteOff => Kind::WriteOff,
        }
    }

    /// Whether the command opens a hold.
    pub const fn opens_hold(&self) -> bool {
        matches!(self, Self::Hold { .. })
    }

    /// What the command may do only once.
    pub fn claim(&self) -> Option<&RuleClaim> {
        if let Self::AllocateByRule { claim, .. } = self {
            Some(claim)
        } else {
            None
        }
    }

    /// The session the command speaks of.
    pub const fn session(&self) -> Option<&SessionKey> {
        match self {
            Self::Hold { opening } => Some(&opening.key),
            Self::Capture { key, .. } | Self::Void { key } | Self::Expire { key } => Some(key),
            Self::Allocate { .. }
            | Self::AllocateByRule { .. }
            | Self::Deduct { .. }
            | Self::Set { .. }
            | Self::Adjust(_)
            | Self::Remove { .. }
            | Self::RemoveAll
            | Self::Withdraw { .. }
            | Self::Close
            | Self::WriteOff => None,
        }
    }
}

/// The names of the commands, in the ledger and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Command::Allocate`].
    Allocate,
    /// [`Command::Deduct`].
    Deduct,
    /// [`Command::Hold`].
    Hold,
    /// [`Command::Capture`].
    Capture,
    /// [`Command::Void`].
    Void,
    /// [`Command::Set`].
    Set,
    /// [`Command::Adjust`].
    Adjust,
    /// [`Command::Remove`], [`Command::RemoveAll`], [`Command::Withdraw`] and [`Command::Close`].
    Remove,
    /// [`Command::Expire`].
    Expire,
    /// [`Command::WriteOff`], and what other commands find expired.
    WriteOff,
}

impl Kind {
    /// The name that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Deduct => "deduct",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Set => "set",
            Self::Adjust => "adjust",
            Self::Remove => "remove",
            Self::Expire => "expire",
            Self::WriteOff => "write_off",
        }
    }

    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Allocate,
        Self::Deduct,
        Self::Hold,
        Self::Capture,
        Self::Void,
        Self::Set,
        Self::Adjust,
        Self::Remove,
        Self::Expire,
        Self::WriteOff,
    ];

    /// The kind of a stored name.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Why the ledger says no. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Less can be spent than is needed.
    #[error("Insufficient credits: {required} needed, {available} available")]
    InsufficientCredits {
        /// What was asked for.
        required: Credits,
        /// What can be spent.
        available: Credits,
    },
    /// The owner has used this session id before.
    #[error("a session with this id exists already")]
    SessionExists,
    /// No such session of this owner and this account.
    #[error("there is no such session")]
    SessionNotFound,
    /// The hold has ended.
    #[error("this session has been settled already: {status}")]
    SessionSettled {
        /// How.
        status: HoldStatus,
        /// What was paid; nothing where it all went back.
        captured: Credits,
    },
    /// More was used than is held. A person may settle again with less; a service's captures stop at the hold.
    #[error("{requested} credits are more than the {held} that are held")]
    CaptureExceedsHold {
        /// What was asked for.
        requested: Credits,
        /// What is held.
        held: Credits,
    },
    /// An allocation can be emptied, never filled.
    #[error("this allocation has {remaining} credits left; to give more, grant more")]
    AllocationHasLess {
        /// What remains in it.
        remaining: Credits,
    },
    /// The account takes nothing any more.
    #[error("this account is closed")]
    AccountClosed,
    /// The hold has time left.
    #[error("this hold is not due yet")]
    HoldNotDue,
    /// The account has as many open holds as it may have.
    #[error("this account has {limit} open sessions, which is the most it may have")]
    TooManyOpenHolds {
        /// The most.
        limit: usize,
    },
    /// The account would own more than the service counts.
    #[error("the balance would become too large")]
    BalanceTooLarge,
}
