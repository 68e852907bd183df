//! Flowise as it really answers: every recording replayed, cut, late, too much, and away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod asked;
mod breaker;
mod catalogs;
mod cuts;
mod flaws;
mod left_runs;
mod oversized;
mod places;
mod recordings;
mod replay;
