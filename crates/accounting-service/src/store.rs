//! PostgreSQL: one struct per table or purpose; rows stay in here, domain types go out.

mod accounts;
mod allocations;
mod allowances;
mod connection;
mod feeds;
mod idempotency;
mod invariants;
mod lapses;
mod ledger;
mod migrations;
mod personal;
mod prices;
mod receipts;
mod schema;
mod sessions;
mod transactions;
mod usage;

pub use accounts::{Account, AccountStore, Identity};
pub use allocations::{AllocationRow, AllocationStore, FoundAllocation, ListedAllocation};
pub use allowances::AllowanceStore;
pub use connection::{Database, connect};
pub use feeds::FeedStore;
pub use idempotency::{IdempotencyStore, Remembered};
pub use invariants::{Finding, check_invariants};
pub use lapses::LapseStore;
pub use ledger::{Changes, CommitError, LedgerConnection, LedgerRow, Loaded, RememberedRow, Wanted};
pub use migrations::migrate;
pub use personal::PersonalStore;
pub use prices::PriceStore;
pub use receipts::{Receipt, ReceiptStore};
pub use sessions::{HoldPage, SessionStore};
pub use transactions::{LedgerExport, StatementFilter, Transaction, TransactionStore};
pub use usage::UsageStore;
