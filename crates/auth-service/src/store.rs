//! The collections. Queries are built from typed values only, so nothing a client sends can become an operator.

pub(crate) mod api_keys;
pub(crate) mod audit;
mod days;
pub(crate) mod deletions;
pub(crate) mod failed_sign_ins;
pub(crate) mod invitations;
pub(crate) mod known_devices;
pub(crate) mod locks;
pub(crate) mod onboarding;
pub(crate) mod pending_sign_ins;
pub(crate) mod personal;
pub(crate) mod providers;
pub(crate) mod resets;
pub(crate) mod revocations;
pub(crate) mod second_factors;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod sign_in_flows;
pub(crate) mod throttles;
pub(crate) mod user_changes;
pub(crate) mod users;
pub(crate) mod verifications;

use std::time::Duration;

use bson::Document;
use mongodb::{IndexModel, options::IndexOptions};

/// An index over `keys` that admits each value once.
fn unique(keys: Document) -> IndexModel {
    let options = IndexOptions::builder().unique(true).build();
    IndexModel::builder().keys(keys).options(options).build()
}

/// An index that lets MongoDB remove a document `after` the time in its key.
fn expiring(keys: Document, after: Duration) -> IndexModel {
    let options = IndexOptions::builder().expire_after(after).build();
    IndexModel::builder().keys(keys).options(options).build()
}

/// An index that only makes look-ups fast.
fn plain(keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).build()
}

/// An index that only knows the documents that have its members.
fn sparse(keys: Document) -> IndexModel {
    let options = IndexOptions::builder().sparse(true).build();
    IndexModel::builder().keys(keys).options(options).build()
}
