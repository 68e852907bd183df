//! The stories that the platform as a whole must get right, one file each, on the real services and databases.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod admin_manages_credits;
mod admin_scripts;
mod api_keys;
mod chat_spends_credits;
mod client_leaves;
mod clients;
mod contract;
mod credits_come_by_themselves;
mod documents;
mod flowise_misbehaves;
mod forged_tokens;
mod holds_never_overspend;
mod hostile_streams;
mod import_makes_a_class;
mod keys_are_rotated;
mod logout_reaches_everybody;
mod outages;
mod payment_table;
mod people_leave;
mod price_by_usage;
mod proxy_is_killed;
mod registration_to_first_credits;
mod roles;
mod same_ids;
mod secrets_change;
mod secrets_stay_out;
mod stand_in_flowise;
mod visitors_open_nothing;
mod web_client;
