//! Use cases. Every change of credits goes through [`Ledger`]; reads that need no rule go from routes to stores.

mod accounts;
mod credits;
mod ledger;
mod people;
mod sessions;
mod sweeper;
mod usage;

pub use accounts::Accounts;
pub use credits::{Allocating, Credits};
pub use ledger::{Answer, Instruction, Ledger, Origin, Render, Writer};
pub use people::People;
pub use sessions::{Ending, GivenUsage, HoldSize, Initializing, Sessions, Settling, Spent};
pub use sweeper::Sweeper;
pub use usage::{Recording, Usage};
