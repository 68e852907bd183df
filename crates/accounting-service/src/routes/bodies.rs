//! Every body that goes in or out, in camelCase as the clients know it.
//!
//! Members that nobody reads are ignored, never refused: existing scripts send extra ones. Requests can be written as
//! JSON again, which is what the fingerprint of an idempotency key is taken of.

mod answers;
mod ledger;
mod prices;
mod requests;
mod rules;
mod sessions;
mod statistics;
mod webhooks;

pub use answers::{
    AccountBody, AllocatedBody, AllocationBody, AllocationsBody, BalanceBody, CalculatedBody, CheckedBody,
    CorrectedBody, DeductedBody, FinalizedBody, HealthBody, InitializedBody, OwnerBody, PartialBody,
    RecordedBody, SpendableBody, TotalBalanceBody,
};
pub use ledger::{
    ClosedBody, HoldBody, HoldsBody, ReceiptBody, StatementBody, TransactionBody, VoidedBody, WithdrawnBody,
};
pub use prices::{ChangePrice, CreatePrice, ListHistory, ListPrices, PriceBody, PricesBody};
pub use requests::{
    AbortSession, AdjustCredits, AllocateByEmail, AllocateCredits, CalculateCredits, ChangeAllocation,
    CheckCredits, CreateAccount, DeductCredits, FinalizeSession, InitializeSession, ListAllocations,
    ListHolds, ListRecentSessions, ListTransactions, NamedUser, RecordUsage, RemoveCredits, SetCredits,
    UsageDetails,
};
pub use rules::{RuleBody, RuleKind, RuleRole, RulesBody, WriteRule};
pub use sessions::{RecentFilterBody, RecentSessionsBody, SessionBody};
pub use statistics::{
    AskStatistics, AskSystemStatistics, RankCursor, SystemStatisticsBody, UsageBody, UserStatisticsBody,
};
pub use webhooks::{DeadLetterBody, DeadLettersBody, ListDeadLetters, RetriedBody};
