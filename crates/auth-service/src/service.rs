//! The use cases: rules that span several stores.

pub(crate) mod accounts;
pub(crate) mod administration;
pub(crate) mod admins;
pub(crate) mod deletion;
pub(crate) mod guesses;
pub(crate) mod introspection;
pub(crate) mod keyed_hash;
pub(crate) mod limits;
pub(crate) mod logins;
pub(crate) mod new_devices;
pub(crate) mod passwords;
pub(crate) mod personal_data;
pub(crate) mod registration;
pub(crate) mod revocations;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod spraying;
pub(crate) mod throttle;
pub(crate) mod tokens;
pub(crate) mod user_changes;
