//! Proofs of what the ledger promises: sizes from the environment, small ones in continuous integration, large ones by
//! `make prove`. Every one prints its size and its seed, and stops by itself.

#![expect(
    clippy::unwrap_used,
    reason = "a proof that is not given what it needs fails here"
)]

mod accounts_against_a_model;
mod deadlocks;
mod hot_account;
mod killed;
mod ledger;
mod model;
mod repeated_requests;
