//! Signing in, the catalog and who may use what.

mod access_table;
mod assignments;
mod background;
mod bulk;
mod chatflows;
mod credits;
mod fakes;
mod settings;
mod sign_in;
mod sync;
mod takeover;
