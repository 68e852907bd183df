//! The use cases: rules that span several stores.

pub(crate) mod accounts;
pub(crate) mod administration;
pub(crate) mod admins;
pub(crate) mod codes;
pub(crate) mod credentials;
pub(crate) mod deletion;
pub(crate) mod email_changes;
pub(crate) mod guesses;
pub(crate) mod introspection;
pub(crate) mod logins;
pub(crate) mod passwords;
pub(crate) mod pending_sign_ins;
pub(crate) mod personal_data;
pub(crate) mod registration;
pub(crate) mod resets;
pub(crate) mod revocations;
pub(crate) mod second_factors;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod testing;
pub(crate) mod throttle;
pub(crate) mod tokens;
pub(crate) mod user_changes;
