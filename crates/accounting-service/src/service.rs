//! Use cases. Every change of credits goes through [`Ledger`]; reads that need no rule go from routes to stores.

mod accounts;
mod allowances;
mod audit;
mod credits;
mod ledger;
mod limits;
mod people;
mod sessions;
mod sweeper;
mod usage;

pub use accounts::Accounts;
pub use allowances::{AllocationCaps, Allowances};
pub use audit::Audit;
pub use credits::{Allocating, Credits, Withdrawing};
pub use ledger::{Answer, InProgress, Instruction, Ledger, Origin, Render, Writer};
pub use limits::Limits;
pub use people::People;
pub use sessions::{Ending, GivenUsage, HoldSize, Initializing, Sessions, Settling, Spent};
pub use sweeper::Sweeper;
pub use usage::{Recording, Usage};
