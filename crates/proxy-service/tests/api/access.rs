//! Who may use what, how much of it and how fast: groups, dates, caps, limits, reports, and the people they are about.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod audits;
mod caps;
mod dates;
mod groups;
mod limits;
mod paging;
mod people;
mod reports;
mod user_sync;
