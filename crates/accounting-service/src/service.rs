//! Use cases. Every change of credits goes through [`Ledger`]; reads that need no rule go from routes to stores.

mod accounts;
mod allowances;
mod audit;
mod automatic;
mod credits;
mod ledger;
mod limits;
mod notices;
mod people;
mod prices;
mod rules;
mod sessions;
mod sweeper;
mod usage;

pub use accounts::Accounts;
pub use allowances::{AllocationCaps, Allowances};
pub use audit::Audit;
pub use automatic::AutomaticCredits;
pub use credits::{Allocating, Credits, Withdrawing};
pub use ledger::{Answer, InProgress, Instruction, Ledger, Origin, Render, Writer};
pub use limits::Limits;
pub use notices::{Notices, Receiver};
pub use people::People;
pub use prices::Prices;
pub use rules::{Granted, Rules};
pub use sessions::{Ending, GivenUsage, HoldSize, Initializing, Sessions, Settling, Spent};
pub use sweeper::Sweeper;
pub use usage::{Recording, Usage};
