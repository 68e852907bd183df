//! Chat turns, between a fake Flowise and a fake accounting-service.
//!
//! What people are promised of all this stands in `proto-docs/promises.md`. The flaws of the platform before us that turns
//! and streams had, by their numbers in its review, and what guards against each (files of this folder; `flows/` and
//! `proofs/` are those of `tests/`):
//!
//! | flaw | guarded by |
//! |---|---|
//! | S1 somebody else's session | `sessions`, `resuming::nobody_reads…`, `flows/same_ids` |
//! | S3 any `overrideConfig` | `bad_input`, `stream::flowise_is_asked_with_ids_of_ours…` |
//! | S4 access outlives its end | `bad_input::who_is_shut_out…`, `catalog/assignments`, `catalog/background`, `flows/people_leave` |
//! | S13 unbounded input | `bad_input`, `memory`, `sessions::one_turn_at_a_time…`, `flows/hostile_streams` |
//! | S14 addresses as uploads | `bad_input` |
//! | M1 charged for nothing | `payment`, `leaving`, `stopped`, `bad_input`, `proofs/clients_leave` |
//! | M2 check, then deduct | `flows/holds_never_overspend`, `sessions::turns_that_begin_together…` |
//! | M3 accounting away is "no credits" | `accounting`, `flows/outages`, `proofs/outages_under_load` |
//! | M4 usage twice or never | `flows/payment_table`, `payment`, `takeover`, `proofs/streams_killed` |
//! | M5 the cost is always 1 | `by_usage`, `catalog/prices`, `flows/price_by_usage` |
//! | M6 settled with the user's token | `accounting::a_token_that_runs_out…`; the fake one checks who calls |
//! | M7 a retry is charged again | `idempotency` |
//! | A1 one chat blocks all others | `stream::an_answer_that_hangs_holds_up_nobody_else` |
//! | A2 text lost at cuts | `stream::frames_and_characters_may_be_cut_anywhere`, `flows/hostile_streams` |
//! | A3 the question is asked twice | `payment`: each turn asks once, however it fails |
//! | A4 a stream without `end` | `payment`, `stream::a_flow_that_cannot_stream…`, `stopping`, `stopped` |
//! | A5 the answer lost with the client | `leaving`, `resuming`, `flows/client_leaves` |
//! | A6 no time-out, heartbeat, abort | `payment::silence…`, `stream::a_silent_flowise…`, `stopped`, `leaving` |
//! | A7 `data:` taken out of answers | `flows/hostile_streams` |
//! | A8 uploads fail where nothing is stored | `stream::a_stream_that_is_not_stored…` |
//! | A9 `Bearer None` | `stream::without_a_key_flowise_gets_none` |
//! | A11 files of failed answers left over | `files::files_of_an_answer_that_failed…`, `uploads::what_was_left_half_done…` |
//! | B13, B14 names in Chinese, tables, documents | `documents`, `uploads::names_of_any_kind…` |
//! | B26 the whole answer drops what was sent | `whole::files_earlier_messages…` |
//! | B2, B17 deleting history | `sessions::deleting…`, `resuming::the_events_go…` |
//! | B18 a session nobody made | `sessions`, `flows/same_ids` |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

pub(crate) mod support;

mod accounting;
mod bad_input;
mod by_usage;
mod documents;
mod files;
mod history;
mod idempotency;
mod inner_events;
mod leaving;
mod memory;
mod payment;
mod resuming;
mod retention;
mod sessions;
mod stopped;
mod stopping;
mod stream;
mod takeover;
mod uploads;
mod whole;
