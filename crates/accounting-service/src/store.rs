//! PostgreSQL: one struct per table or purpose; rows stay in here, domain types go out.

mod accounts;
mod allocations;
mod connection;
mod exclusive;
mod idempotency;
mod invariants;
mod ledger;
mod migrations;
mod prices;
mod rollups;
mod rules;
mod schema;
mod sessions;
mod statistics;
mod usage;
mod webhooks;

pub use accounts::{Account, AccountStore, Identity};
pub use allocations::{AllocationRow, AllocationStore, ListedAllocation};
pub use connection::{Database, connect};
pub use exclusive::Exclusive;
pub use idempotency::{IdempotencyStore, Remembered};
pub use invariants::{Finding, check_invariants};
pub use ledger::{
    Changes, CommitError, LedgerConnection, LedgerRow, Loaded, RememberedRow, RuleGrantRow, Wanted,
};
pub use migrations::migrate;
pub use prices::{DEFAULT_MODEL, NewPrice, PriceRow, PriceStore};
pub use rollups::{Corrected, compare_rollups, rebuild_rollups};
pub use rules::{Arrival, RuleStore};
pub use sessions::SessionStore;
pub use statistics::{LoggedUsage, RankedUser, Ranking, Statistics, StatisticsStore, Sums};
pub use usage::UsageStore;
pub use webhooks::{Backlog, DeadLetter, Failure, Message, WebhookStore};
