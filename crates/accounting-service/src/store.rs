//! PostgreSQL: one struct per table or purpose; rows stay in here, domain types go out.

mod accounts;
mod allocations;
mod allowances;
mod connection;
mod exclusive;
mod feeds;
mod idempotency;
mod invariants;
mod lapses;
mod ledger;
mod migrations;
mod personal;
mod prices;
mod receipts;
mod rollups;
mod rules;
mod schema;
mod sessions;
mod statistics;
mod transactions;
mod usage;
mod webhooks;

pub use accounts::{Account, AccountStore, Identity};
pub use allocations::{AllocationRow, AllocationStore, FoundAllocation, ListedAllocation};
pub use allowances::AllowanceStore;
pub use connection::{Database, connect};
pub use exclusive::Exclusive;
pub use feeds::FeedStore;
pub use idempotency::{IdempotencyStore, Remembered};
pub use invariants::{Finding, check_invariants};
pub use lapses::LapseStore;
pub use ledger::{
    Changes, CommitError, LedgerConnection, LedgerRow, Loaded, RememberedRow, RuleGrantRow, Wanted,
};
pub use migrations::migrate;
pub use personal::PersonalStore;
pub use prices::{DEFAULT_MODEL, NewPrice, PriceRow, PriceStore};
pub use receipts::{Receipt, ReceiptStore};
pub use rollups::{Corrected, rebuild_rollups};
pub use rules::{Arrival, RuleStore};
pub use sessions::{HoldPage, SessionStore};
pub use statistics::{LoggedUsage, RankedUser, Ranking, Statistics, StatisticsStore, Sums};
pub use transactions::{LedgerExport, StatementFilter, Transaction, TransactionStore};
pub use usage::UsageStore;
pub use webhooks::{Backlog, DeadLetter, Failure, Message, WebhookStore};
