//! Proofs of what the ledger promises: sizes from the environment, small ones in continuous integration, large ones by
//! `make prove`. Every one prints its size and its seed, and stops by itself.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a proof that cannot go on stops where it is, and tells whoever runs it what it did"
)]

mod accounts_against_a_model;
mod deadlocks;
mod hot_account;
mod killed;
mod ledger;
mod model;
mod repeated_requests;
