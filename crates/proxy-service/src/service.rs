//! Use cases.

pub(crate) mod access;
pub(crate) mod assignments;
pub(crate) mod catalog_sync;
pub(crate) mod chatflows;
pub(crate) mod conversations;
pub(crate) mod departures;
pub(crate) mod files;
pub(crate) mod housekeeping;
pub(crate) mod people;
pub(crate) mod personal_data;
pub(crate) mod sign_in;
pub(crate) mod turns;
pub(crate) mod user_changes;
