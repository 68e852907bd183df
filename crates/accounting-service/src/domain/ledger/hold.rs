//! Credits set aside for one streaming session.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Movement, Opening};
use crate::domain::{
    credits::Credits,
    ids::{SessionKey, UserId},
};

/// What a hold took out of one allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The allocation.
    pub allocation_id: Uuid,
    /// How much.
    pub credits: Credits,
    /// The allocation's expiry, which what comes back keeps.
    pub expires_at: DateTime<Utc>,
}

impl Draw {
    /// The draw as the ledger writes it.
    pub(super) fn taken(&self) -> Movement {
        Movement {
            allocation_id: self.allocation_id,
            credits: -self.credits.get(),
        }
    }

    /// The draw undone, as the ledger writes it.
    pub(super) fn returned(&self) -> Movement {
        Movement {
            allocation_id: self.allocation_id,
            credits: self.credits.get(),
        }
    }
}

/// A draw, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What was set aside.
    pub draw: Draw,
    /// How much of it was paid.
    pub captured: Credits,
    /// How much of it went back.
    pub returned: Credits,
}

/// Where a hold is in its life: open, then exactly one of the others for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldStatus {
    /// The turn is running.
    Open,
    /// Paid: in part or as a whole.
    Captured,
    /// Returned as a whole.
    Voided,
    /// Returned as a whole because nobody settled it in time.
    Expired,
}

impl HoldStatus {
    /// The name that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }

    /// The status of a stored name.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Open, Self::Captured, Self::Voided, Self::Expired]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

impl fmt::Display for HoldStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Credits set aside for one session, and how that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// The session it is for, and who may settle it.
    pub key: SessionKey,
    /// Whose credits they are.
    pub user_id: UserId,
    /// The model or chatflow that uses them.
    pub model_id: String,
    /// The price it was estimated at, and is settled at; none where credits were named.
    pub price_id: Option<Uuid>,
    /// What the use was estimated at.
    pub estimated: Credits,
    /// What was set aside.
    pub held: Credits,
    /// What was paid in the end.
    pub captured: Credits,
    /// Where it is in its life.
    pub status: HoldStatus,
    /// Which allocations it was drawn from, soonest expiry first.
    pub draws: Vec<Draw>,
    /// Whether the turn succeeded, once it has ended.
    pub succeeded: Option<bool>,
    /// When it was made.
    pub started_at: DateTime<Utc>,
    /// When it may be given back if nobody settles it.
    pub expires_at: DateTime<Utc>,
    /// When it ended.
    pub settled_at: Option<DateTime<Utc>>,
}

impl Hold {
    pub(super) fn open(user_id: UserId, opening: &Opening, draws: Vec<Draw>, now: DateTime<Utc>) -> Self {
        Self {
            id: opening.id,
            key: opening.key.clone(),
            user_id,
            model_id: opening.model_id.clone(),
            price_id: opening.price_id,
            estimated: opening.estimated,
            held: opening.credits.into(),
            captured: Credits::ZERO,
            status: HoldStatus::Open,
            draws,
            succeeded: None,
            started_at: now,
            expires_at: opening.expires_at,
            settled_at: None,
        }
    }

    /// Whether it can still be settled.
    pub fn is_open(&self) -> bool {
        self.status == HoldStatus::Open
    }

    /// What was set aside and not paid: what a settled hold gave back.
    pub fn refund(&self) -> Credits {
        self.held.less(self.captured)
    }

    pub(super) fn captured(self, captured: Credits, succeeded: bool, now: DateTime<Utc>) -> Self {
        Self {
            captured,
            succeeded: Some(succeeded),
            ..self.settled(HoldStatus::Captured, now)
        }
    }

    pub(super) fn voided(self, now: DateTime<Utc>) -> Self {
        self.settled(HoldStatus::Voided, now)
    }

    pub(super) fn expired(self, now: DateTime<Utc>) -> Self {
        self.settled(HoldStatus::Expired, now)
    }

    fn settled(self, status: HoldStatus, now: DateTime<Utc>) -> Self {
        Self {
            status,
            succeeded: Some(false),
            settled_at: Some(now),
            ..self
        }
    }

    /// What came of each draw: how much of it was paid, and how much went back. Nothing yet while the hold is open.
    pub fn shares(&self) -> Vec<Share> {
        let returned = if self.is_open() {
            Vec::new()
        } else {
            self.returned()
        };
        let share = |draw: &Draw| {
            let back = returned
                .iter()
                .find(|back| back.allocation_id == draw.allocation_id);
            let back = back.map_or(Credits::ZERO, |back| back.credits);
            Share {
                draw: *draw,
                returned: back,
                captured: if self.is_open() {
                    Credits::ZERO
                } else {
                    draw.credits.less(back)
                },
            }
        };
        self.draws.iter().map(share).collect()
    }

    /// What goes back where: captured credits are taken from what expires soonest, as any spending is.
    pub(super) fn returned(&self) -> Vec<Draw> {
        let mut captured = self.captured;
        let mut returned = Vec::new();
        for draw in &self.draws {
            let kept = captured.min(draw.credits);
            captured = captured.less(kept);
            let credits = draw.credits.less(kept);
            if credits > Credits::ZERO {
                returned.push(Draw { credits, ..*draw });
            }
        }
        returned
    }
}
