//! One struct per collection.

pub(crate) mod assignments;
pub(crate) mod blobs;
pub(crate) mod chatflows;
pub(crate) mod daily_turns;
pub(crate) mod departures;
pub(crate) mod embeds;
pub(crate) mod feeds;
pub(crate) mod files;
pub(crate) mod groups;
mod indexes;
pub(crate) mod leases;
pub(crate) mod left_runs;
pub(crate) mod messages;
pub(crate) mod people;
pub(crate) mod sessions;
pub(crate) mod turn_events;
pub(crate) mod turns;
pub(crate) mod usage_days;
pub(crate) mod used_tickets;
pub(crate) mod user_syncs;
pub(crate) mod visitors;
pub(crate) mod writer;

/// What a store returns.
pub(crate) type Result<T, E = mongodb::error::Error> = std::result::Result<T, E>;
