//! Every body that goes in or out, in camelCase as the clients know it.
//!
//! Members that nobody reads are ignored, never refused: existing scripts send extra ones. Requests can be written as
//! JSON again, which is what the fingerprint of an idempotency key is taken of.

mod answers;
mod requests;

pub use answers::{
    AccountBody, ActiveSession, AllocatedBody, AllocationBody, AllocationsBody, BalanceBody, CalculatedBody,
    CheckedBody, CorrectedBody, DeductedBody, FinalizedBody, HealthBody, InitializedBody, OwnerBody,
    PartialBody, RecordedBody, SpendableBody, TotalBalanceBody,
};
pub use requests::{
    AbortSession, AdjustCredits, AllocateByEmail, AllocateCredits, CalculateCredits, CheckCredits,
    CreateAccount, DeductCredits, FinalizeSession, InitializeSession, ListAllocations, RecordUsage,
    RemoveCredits, SetCredits, UsageDetails,
};
