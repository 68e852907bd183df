//! PostgreSQL: one struct per table or purpose; rows stay in here, domain types go out.

mod accounts;
mod allocations;
mod connection;
mod feeds;
mod idempotency;
mod invariants;
mod ledger;
mod migrations;
mod personal;
mod prices;
mod schema;
mod sessions;
mod usage;

pub use accounts::{Account, AccountStore, Identity};
pub use allocations::{AllocationRow, AllocationStore, ListedAllocation};
pub use connection::{Database, connect};
pub use feeds::FeedStore;
pub use idempotency::{IdempotencyStore, Remembered};
pub use invariants::{Finding, check_invariants};
pub use ledger::{Changes, CommitError, LedgerConnection, LedgerRow, Loaded, RememberedRow, Wanted};
pub use migrations::migrate;
pub use personal::PersonalStore;
pub use prices::PriceStore;
pub use sessions::SessionStore;
pub use usage::UsageStore;
