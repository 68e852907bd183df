//! What clients get of the ledger itself: statements, receipts, holds, and what became of an allocation or an account.

use common_http::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::{
        credits::Credits,
        ids::UserId,
        ledger::{Hold, HoldStatus, Share},
    },
    store::{FoundAllocation, Receipt, Transaction},
};

/// `GET /api/credits/transactions`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementBody {
    /// One page, latest first.
    pub transactions: Vec<TransactionBody>,
    /// Where the next page begins; null when this is the last.
    pub next_cursor: Option<Uuid>,
}

/// One entry of a statement.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionBody {
    /// Its id.
    pub id: Uuid,
    /// Which command.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it changed, with its sign.
    pub amount: i64,
    /// The sum of the amounts up to here.
    pub balance_after: i64,
    /// Why, in words.
    pub description: Option<String>,
    /// Who wanted it.
    pub actor: String,
    /// The session it concerns.
    pub session_id: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

impl From<Transaction> for TransactionBody {
    fn from(row: Transaction) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            amount: row.amount,
            balance_after: row.balance_after,
            description: row.description,
            actor: row.actor,
            session_id: row.session_id,
            created_at: row.created_at.into(),
        }
    }
}

/// `GET /api/credits/receipts/{sessionId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptBody {
    /// The session.
    pub session_id: String,
    /// Whose credits.
    pub user_id: UserId,
    /// `open`, `captured`, `voided` or `expired`.
    pub status: HoldStatus,
    /// The model or chatflow that used them.
    pub model: String,
    /// How many tokens it took, where that was told.
    pub tokens: Option<i64>,
    /// What was set aside.
    pub held: Credits,
    /// What was paid.
    pub captured: Credits,
    /// What went back.
    pub returned: Credits,
    /// What of that came back too late to be spent again.
    pub written_off: Credits,
    /// From which allocations, soonest expiry first.
    pub allocations: Vec<ShareBody>,
    /// When it was set aside.
    pub held_at: Timestamp,
    /// When it ended.
    pub settled_at: Option<Timestamp>,
}

/// What a hold took out of one allocation, and what came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareBody {
    /// The allocation.
    pub id: Uuid,
    /// What was set aside.
    pub held: Credits,
    /// What was paid.
    pub captured: Credits,
    /// What went back.
    pub returned: Credits,
    /// The allocation's expiry.
    pub expires_at: Timestamp,
}

impl From<Share> for ShareBody {
    fn from(share: Share) -> Self {
        Self {
            id: share.draw.allocation_id,
            held: share.draw.credits,
            captured: share.captured,
            returned: share.returned,
            expires_at: share.draw.expires_at.into(),
        }
    }
}

/// What a hold gave back, nothing while it is open.
fn returned(hold: &Hold) -> Credits {
    if hold.is_open() {
        Credits::ZERO
    } else {
        hold.refund()
    }
}

impl From<Receipt> for ReceiptBody {
    fn from(receipt: Receipt) -> Self {
        let hold = receipt.hold;
        Self {
            status: hold.status,
            tokens: receipt.tokens,
            held: hold.held,
            captured: hold.captured,
            returned: returned(&hold),
            written_off: receipt.written_off,
            allocations: hold.shares().into_iter().map(Into::into).collect(),
            held_at: hold.started_at.into(),
            settled_at: hold.settled_at.map(Timestamp),
            session_id: hold.key.session_id,
            user_id: hold.user_id,
            model: hold.model_id,
        }
    }
}

/// `GET /api/credits/holds`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldsBody {
    /// One page of open holds, oldest first.
    pub holds: Vec<HoldBody>,
    /// Where the next page begins; null when this is the last.
    pub next_cursor: Option<Uuid>,
}

/// An open hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldBody {
    /// Its id.
    pub id: Uuid,
    /// The session it is for.
    pub session_id: String,
    /// Whose credits.
    pub user_id: UserId,
    /// Who opened the session and may settle it.
    pub opened_by: String,
    /// The model or chatflow that uses them.
    pub model: String,
    /// What is set aside.
    pub held: Credits,
    /// When it was set aside.
    pub held_at: Timestamp,
    /// When it goes back if nobody settles it.
    pub expires_at: Timestamp,
}

impl From<Hold> for HoldBody {
    fn from(hold: Hold) -> Self {
        Self {
            id: hold.id,
            opened_by: hold.key.owner.as_str().to_owned(),
            session_id: hold.key.session_id,
            user_id: hold.user_id,
            model: hold.model_id,
            held: hold.held,
            held_at: hold.started_at.into(),
            expires_at: hold.expires_at.into(),
        }
    }
}

/// `POST /api/credits/holds/{id}/void`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VoidedBody {
    /// The hold.
    pub id: Uuid,
    /// The session it was for.
    pub session_id: String,
    /// Whose credits.
    pub user_id: UserId,
    /// `voided`.
    pub status: HoldStatus,
    /// What went back.
    pub refund: Credits,
}

impl From<&Hold> for VoidedBody {
    fn from(hold: &Hold) -> Self {
        Self {
            id: hold.id,
            session_id: hold.key.session_id.clone(),
            user_id: hold.user_id.clone(),
            status: hold.status,
            refund: hold.refund(),
        }
    }
}

/// `PATCH` and `DELETE /api/credits/allocations/{id}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawnBody {
    /// The allocation.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// What it began with.
    pub total_credits: i64,
    /// What is in it now.
    pub remaining_credits: Credits,
    /// What was taken out.
    pub removed_credits: Credits,
    /// From then on it cannot be spent.
    pub expires_at: Timestamp,
    /// A sentence for people.
    pub message: &'static str,
}

impl WithdrawnBody {
    /// What became of `allocation`.
    pub fn new(
        allocation: &FoundAllocation,
        remaining_credits: Credits,
        removed_credits: Credits,
        message: &'static str,
    ) -> Self {
        Self {
            id: allocation.id,
            user_id: allocation.user_id.clone(),
            total_credits: allocation.total_credits,
            remaining_credits,
            removed_credits,
            expires_at: allocation.expires_at.into(),
            message,
        }
    }
}

/// `DELETE /api/users/{id}` and `/api/credits/user/{id}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosedBody {
    /// Whose account.
    pub user_id: UserId,
    /// What was taken away.
    pub removed_credits: Credits,
    /// A sentence for people.
    pub message: &'static str,
}
