//! What clients send.

use common_jwt::Role;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::{
    credits::{Amount, Credits, Difference},
    expiry::ExpiryDays,
    ids::{SESSION_ID_CHARS_MAX, UserId},
    price::{EstimatedTokens, Tokens},
    text::{Email, Name, Note},
};

/// `POST /api/credits/check`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckCredits {
    /// How many credits are wanted.
    pub required_credits: Amount,
}

/// `POST /api/credits/calculate`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CalculateCredits {
    /// The model.
    pub model_id: Name<100>,
    /// How many tokens.
    pub tokens: Tokens,
}

/// `POST /api/credits/deduct`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeductCredits {
    /// How many.
    pub credits: Amount,
}

/// `POST /api/credits/allocate`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocateCredits {
    /// A user id, which need not be known yet, else a name that only one account has.
    #[serde(alias = "targetUserId")]
    pub user_id: Name<255>,
    /// How many.
    pub credits: Amount,
    /// How long they last; 30 days when nothing is said.
    pub expiry_days: Option<ExpiryDays>,
    /// A remark.
    pub notes: Option<Note>,
}

/// `POST /api/credits/allocate-by-email`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocateByEmail {
    /// The address of an account.
    pub email: Email,
    /// How many.
    pub credits: Amount,
    /// How long they last; 30 days when nothing is said.
    pub expiry_days: Option<ExpiryDays>,
    /// A remark.
    pub notes: Option<Note>,
}

/// `POST /api/credits/set`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetCredits {
    /// A user id, an address, or a name that only one account has.
    #[serde(alias = "targetUserId")]
    pub user_id: Name<255>,
    /// What can be spent from then on.
    pub credits: Credits,
    /// How long they last; 30 days when nothing is said.
    pub expiry_days: Option<ExpiryDays>,
    /// A remark.
    pub notes: Option<Note>,
}

/// `DELETE /api/credits/remove`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoveCredits {
    /// A user id, an address, or a name that only one account has.
    #[serde(alias = "targetUserId")]
    pub user_id: Name<255>,
    /// How many.
    pub credits: Amount,
    /// A remark.
    pub notes: Option<Note>,
}

/// `PUT /api/credits/adjust`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdjustCredits {
    /// A user id, an address, or a name that only one account has.
    #[serde(alias = "targetUserId")]
    pub user_id: Name<255>,
    /// How many more, or, below zero, fewer.
    pub adjustment: Difference,
    /// How long added credits last; 30 days when nothing is said.
    pub expiry_days: Option<ExpiryDays>,
    /// A remark.
    pub notes: Option<Note>,
}

/// `POST /api/admin/users`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateAccount {
    /// The user id that auth-service gave.
    pub sub: UserId,
    /// The address.
    pub email: Email,
    /// Any role; one we do not know grants nothing.
    pub role: Role,
    /// The name; what stands before the `@` when nothing is said.
    pub username: Option<Name<255>>,
}

/// The query of `GET /api/credits/allocations/all`.
#[derive(Debug, Deserialize)]
pub struct ListAllocations {
    /// How many at most, from 1 to 10,000.
    pub limit: Option<u16>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Uuid>,
}

/// `PATCH /api/credits/allocations/{id}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeAllocation {
    /// What stays in it: at most what is in it now.
    pub remaining_credits: Credits,
    /// A remark.
    pub notes: Option<Note>,
}

/// The query of `GET /api/streaming-sessions/recent` and `/recent/{userId}`.
#[derive(Debug, Deserialize)]
pub struct ListRecentSessions {
    /// How far back ended ones are looked for; 5 when nothing is said.
    pub minutes: Option<u32>,
}

/// The query of routes that show the caller's own, or what is somebody else's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedUser {
    /// For supervisors and services: a user id, an address, or a name that only one account has.
    pub user_id: Option<String>,
}

/// The query of `GET /api/credits/holds`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListHolds {
    /// For supervisors: whose holds.
    pub user_id: Option<String>,
    /// For supervisors: everybody's holds.
    #[serde(default)]
    pub all: bool,
    /// How many at most, from 1 to 1,000; 100 when nothing is said.
    pub limit: Option<u16>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Uuid>,
}

/// The query of `GET /api/credits/transactions`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTransactions {
    /// For supervisors: whose.
    pub user_id: Option<String>,
    /// Not before this time or day.
    pub from: Option<String>,
    /// Not after this day, or before this time.
    pub to: Option<String>,
    /// Of this kind only.
    pub kind: Option<String>,
    /// How many at most, from 1 to 1,000; 100 when nothing is said.
    pub limit: Option<u16>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Uuid>,
    /// `csv` for the whole statement as a table.
    pub format: Option<String>,
}

/// `POST /api/streaming-sessions/initialize`. What stands from `userId` on is for services; a person opens sessions on
/// their own account, and these members are not looked at.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeSession {
    /// The session's name, of the caller's choosing; used once.
    pub session_id: Name<SESSION_ID_CHARS_MAX>,
    /// What will use the credits.
    pub model_id: Name<100>,
    /// How many tokens it may take; the hold is their price and a fifth on top. A service may say `credits` instead.
    pub estimated_tokens: Option<EstimatedTokens>,
    /// Whose credits.
    pub user_id: Option<UserId>,
    /// The owner's name, to create or update the account.
    pub username: Option<String>,
    /// The owner's address; one without the usual shape is not kept.
    pub email: Option<String>,
    /// The owner's role.
    pub role: Option<Role>,
    /// Exactly how many credits to hold.
    pub credits: Option<Amount>,
}

/// How a service wants a use to be logged.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageDetails {
    /// Which part of the platform was used.
    pub service: Option<Name<50>>,
    /// What was done there.
    pub operation: Option<Name<100>>,
    /// Whatever else is worth knowing.
    #[serde(default)]
    pub metadata: Metadata,
}

/// `POST /api/streaming-sessions/finalize`. What stands from `actualCredits` on is for services.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinalizeSession {
    /// The session.
    pub session_id: Name<SESSION_ID_CHARS_MAX>,
    /// How many tokens it took. A service may say `actualCredits` instead.
    pub actual_tokens: Option<Tokens>,
    /// Whether it answered; it is paid for either way.
    #[serde(default = "yes")]
    pub success: bool,
    /// What it cost.
    pub actual_credits: Option<Credits>,
    /// Whose credits, which saves a look-up.
    pub user_id: Option<UserId>,
    /// How the use is logged.
    pub usage: Option<UsageDetails>,
}

/// `POST /api/streaming-sessions/abort`. What stands from `credits` on is for services.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortSession {
    /// The session.
    pub session_id: Name<SESSION_ID_CHARS_MAX>,
    /// How many tokens had come; nothing is charged for none.
    pub tokens_generated: Option<Tokens>,
    /// What they cost.
    pub credits: Option<Credits>,
    /// Whose credits, which saves a look-up.
    pub user_id: Option<UserId>,
    /// How the use is logged.
    pub usage: Option<UsageDetails>,
}

/// `POST /api/usage/record`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordUsage {
    /// Which part of the platform was used.
    pub service: Name<50>,
    /// What was done there.
    pub operation: Name<100>,
    /// What it cost; nothing is deducted for it.
    pub credits: Credits,
    /// Whatever else is worth knowing.
    #[serde(default)]
    pub metadata: Metadata,
    /// Whose usage; for services. A person records their own.
    pub user_id: Option<UserId>,
}

/// A JSON object that PostgreSQL can keep: no text in it holds NUL.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Metadata(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
        if members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value))
        {
            let sent = de::Unexpected::Other("text");
            return Err(de::Error::invalid_value(
                sent,
                &"an object whose texts hold no NUL",
            ));
        }
        Ok(Self(members))
    }
}

/// Recursion is bounded: the reader of JSON stops at 128 levels.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

const fn yes() -> bool {
    true
}
