//! What clients get.

use common_http::Timestamp;
use common_jwt::Role;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::{
        credits::{Amount, Credits, Difference},
        ids::UserId,
        ledger::{Grant, Hold, Outcome},
        usage::UsageRecord,
    },
    store::{AllocationRow, ListedAllocation},
};

/// `GET /health`.
#[derive(Debug, Serialize)]
pub struct HealthBody {
    /// `ok`.
    pub status: &'static str,
    /// `accounting-service`.
    pub service: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// The time of the answer.
    pub timestamp: Timestamp,
}

/// `GET /api/credits/balance` and `/balance/{userId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceBody {
    /// What can be spent.
    pub total_credits: Credits,
    /// Where it is, soonest expiry first.
    pub active_allocations: Vec<SpendableBody>,
}

/// An allocation that can be spent from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpendableBody {
    /// Its id.
    pub id: Uuid,
    /// What is left, under the documented name.
    pub credits: i64,
    /// What it began with.
    pub total_credits: i64,
    /// What is left, under the name that scripts read.
    pub remaining_credits: i64,
    /// From then on it cannot be spent.
    pub expires_at: Timestamp,
    /// When it was granted.
    pub allocated_at: Timestamp,
}

impl From<Vec<AllocationRow>> for BalanceBody {
    fn from(rows: Vec<AllocationRow>) -> Self {
        let total = rows.iter().filter_map(|row| Credits::new(row.remaining_credits));
        Self {
            total_credits: total.sum(),
            active_allocations: rows
                .into_iter()
                .map(|row| SpendableBody {
                    id: row.id,
                    credits: row.remaining_credits,
                    total_credits: row.total_credits,
                    remaining_credits: row.remaining_credits,
                    expires_at: row.expires_at.into(),
                    allocated_at: row.allocated_at.into(),
                })
                .collect(),
        }
    }
}

/// `GET /api/credits/total-balance`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TotalBalanceBody {
    /// What can be spent.
    pub total_credits: Credits,
}

/// `POST /api/credits/check`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum CheckedBody {
    /// There is enough.
    #[serde(rename_all = "camelCase")]
    Sufficient {
        /// `true`.
        sufficient: bool,
        /// What can be spent.
        credits: Credits,
        /// What was asked about.
        required_credits: Amount,
    },
    /// There is not.
    Insufficient {
        /// `false`.
        sufficient: bool,
        /// A sentence for people.
        message: String,
    },
}

/// `POST /api/credits/calculate`.
#[derive(Debug, Serialize)]
pub struct CalculatedBody {
    /// What the tokens cost.
    pub credits: Credits,
}

/// `POST /api/credits/set`, `DELETE /api/credits/remove` and `PUT /api/credits/adjust`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorrectedBody {
    /// Whose credits.
    pub user_id: UserId,
    /// What could be spent before.
    pub previous_credits: Credits,
    /// What can be spent now.
    pub new_credits: Credits,
    /// What was taken away; only in the answer of `remove`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_credits: Option<Amount>,
    /// The difference; only in the answer of `adjust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjustment: Option<Difference>,
    /// A sentence for people.
    pub message: &'static str,
}

impl CorrectedBody {
    /// What `outcome` did to the credits of `user_id`.
    pub fn new(user_id: UserId, outcome: &Outcome, message: &'static str) -> Self {
        Self {
            user_id,
            previous_credits: outcome.balance_before,
            new_credits: outcome.balance_after,
            removed_credits: None,
            adjustment: None,
            message,
        }
    }
}

/// `POST /api/admin/users`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountBody {
    /// The user id.
    pub user_id: UserId,
    /// The same.
    pub sub: UserId,
    /// The address.
    pub email: String,
    /// The name.
    pub username: String,
    /// The role as it is read.
    pub role: Role,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The same.
    pub updated_at: Timestamp,
}

/// `POST /api/credits/deduct`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeductedBody {
    /// `true`.
    pub success: bool,
    /// A sentence for people.
    pub message: &'static str,
    /// What can still be spent.
    pub remaining_balance: Credits,
    /// The same, under the name of the architecture document.
    pub new_balance: Credits,
}

impl From<&Outcome> for DeductedBody {
    fn from(outcome: &Outcome) -> Self {
        Self {
            success: true,
            message: "Credits deducted successfully",
            remaining_balance: outcome.balance_after,
            new_balance: outcome.balance_after,
        }
    }
}

/// `POST /api/credits/allocate` and `/allocate-by-email`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocatedBody {
    /// The allocation.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// The owner's address, where it was named by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What it begins with.
    pub total_credits: Amount,
    /// The same: nothing is spent yet.
    pub remaining_credits: Amount,
    /// From then on it cannot be spent.
    pub expires_at: Timestamp,
}

impl AllocatedBody {
    /// The allocation `grant` of `user_id`.
    pub fn new(grant: &Grant, user_id: UserId, email: Option<String>) -> Self {
        Self {
            id: grant.id,
            user_id,
            email,
            total_credits: grant.credits,
            remaining_credits: grant.credits,
            expires_at: grant.expires_at.into(),
        }
    }
}

/// `GET /api/credits/allocations/all`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationsBody {
    /// One page, by owner, then expiry; spent and expired ones included.
    pub allocations: Vec<AllocationBody>,
    /// Where the next page begins; null when this is the last.
    pub next_cursor: Option<Uuid>,
}

/// An allocation in a report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationBody {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: String,
    /// What it began with.
    pub total_credits: i64,
    /// What is left.
    pub remaining_credits: i64,
    /// Who granted it.
    pub allocated_by: String,
    /// When it was granted.
    pub allocated_at: Timestamp,
    /// From then on it cannot be spent.
    pub expires_at: Timestamp,
    /// A remark.
    pub notes: Option<String>,
    /// The owner.
    #[serde(rename = "UserAccount")]
    pub user_account: OwnerBody,
}

/// The owner of an allocation in a report.
#[derive(Debug, Serialize)]
pub struct OwnerBody {
    /// The name; the user id where no name is known yet.
    pub username: String,
    /// The address, when it is known.
    pub email: Option<String>,
}

impl From<ListedAllocation> for AllocationBody {
    fn from(row: ListedAllocation) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            total_credits: row.total_credits,
            remaining_credits: row.remaining_credits,
            allocated_by: row.allocated_by,
            allocated_at: row.allocated_at.into(),
            expires_at: row.expires_at.into(),
            notes: row.notes,
            user_account: OwnerBody {
                username: row.username,
                email: row.email,
            },
        }
    }
}

/// `POST /api/streaming-sessions/initialize`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializedBody {
    /// The session.
    pub session_id: String,
    /// What is held.
    pub allocated_credits: Credits,
    /// `active`.
    pub status: &'static str,
}

impl From<&Hold> for InitializedBody {
    fn from(hold: &Hold) -> Self {
        Self {
            session_id: hold.key.session_id.clone(),
            allocated_credits: hold.held,
            status: "active",
        }
    }
}

/// `POST /api/streaming-sessions/finalize`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FinalizedBody {
    /// The session.
    pub session_id: String,
    /// What was paid: what was used, but never more than was held.
    pub actual_credits: Credits,
    /// What went back.
    pub refund: Credits,
}

impl From<&Hold> for FinalizedBody {
    fn from(hold: &Hold) -> Self {
        Self {
            session_id: hold.key.session_id.clone(),
            actual_credits: hold.captured,
            refund: hold.refund(),
        }
    }
}

/// `POST /api/streaming-sessions/abort`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialBody {
    /// The session.
    pub session_id: String,
    /// What was paid for what had come.
    pub partial_credits: Credits,
    /// What went back.
    pub refund: Credits,
}

impl From<&Hold> for PartialBody {
    fn from(hold: &Hold) -> Self {
        Self {
            session_id: hold.key.session_id.clone(),
            partial_credits: hold.captured,
            refund: hold.refund(),
        }
    }
}

/// `POST /api/usage/record`.
#[derive(Debug, Serialize)]
pub struct RecordedBody {
    /// The record.
    pub id: Uuid,
    /// Which part of the platform was used.
    pub service: String,
    /// What was done there.
    pub operation: String,
    /// What it cost.
    pub credits: Credits,
    /// When it was written down.
    pub timestamp: Timestamp,
}

impl From<&UsageRecord> for RecordedBody {
    fn from(record: &UsageRecord) -> Self {
        Self {
            id: record.id,
            service: record.service.clone(),
            operation: record.operation.clone(),
            credits: record.credits,
            timestamp: record.recorded_at.into(),
        }
    }
}
