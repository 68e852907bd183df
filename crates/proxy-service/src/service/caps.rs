//! How many turns may be begun in a day: of one person, of all on one chatflow, of one person on one chatflow.
//!
//! A turn is counted before its credits are held and given back when it fails before any content: a day's messages are
//! for answers. What a process that dies had counted stays counted, so that a cap is never exceeded.

use chrono::{DateTime, TimeDelta, Utc};
use common_http::Clock;

use super::access::Grant;
use crate::{
    domain::day::DayZone,
    error::{Error, Result},
    store::daily_turns::DailyTurnStore,
};

/// How long a day's counters are kept after its end: longer than the longest turn.
const KEPT: TimeDelta = TimeDelta::days(1);

/// The daily caps.
#[derive(Clone, Debug)]
pub(crate) struct Caps {
    store: DailyTurnStore,
    zone: DayZone,
    per_user: Option<i64>,
    clock: Clock,
}

/// The counters in which a turn was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted(Vec<String>);

struct Cap {
    scope: &'static str,
    counter: String,
    limit: i64,
}

impl Caps {
    /// Caps that begin anew with each day of `zone`; `per_user` turns for whoever has no cap of their own, zero for any
    /// number.
    pub(crate) fn new(store: DailyTurnStore, zone: DayZone, per_user: i64, clock: Clock) -> Self {
        Self {
            store,
            zone,
            per_user: (per_user > 0).then_some(per_user),
            clock,
        }
    }

    /// Counts a turn in every cap that applies to it, or in none when one of them is reached.
    pub(crate) async fn take(&self, user_id: &str, grant: &Grant) -> Result<Counted> {
        let now = self.clock.now();
        let resets_at = self.zone.next_day_at(now);
        let mut counted = Counted::default();
        for cap in self.caps(user_id, grant, now) {
            let taken = self.store.take(&cap.counter, cap.limit, resets_at + KEPT).await;
            match taken {
                Ok(true) => counted.0.push(cap.counter),
                Ok(false) => {
                    self.give_back(counted).await;
                    return Err(reached(&cap, resets_at, now));
                }
                Err(error) => {
                    self.give_back(counted).await;
                    return Err(error.into());
                }
            }
        }
        Ok(counted)
    }

    /// Takes a turn out of its counters. Where that fails it stays counted: too few messages, never too many.
    pub(crate) async fn give_back(&self, counted: Counted) {
        for counter in counted.0 {
            if let Err(error) = self.store.give_back(&counter).await {
                tracing::warn!(%error, "a turn that failed stays counted for today");
            }
        }
    }

    fn caps(&self, user_id: &str, grant: &Grant, now: DateTime<Utc>) -> Vec<Cap> {
        let day = self.zone.day_of(now);
        let flow = &grant.chatflow.flowise_id;
        let caps = [
            (
                "user",
                format!("{day}/user/{user_id}"),
                grant.daily_turns_max.or(self.per_user),
            ),
            (
                "user_chatflow",
                format!("{day}/user/{user_id}/{flow}"),
                grant.chatflow.daily_turns_per_user_max,
            ),
            (
                "chatflow",
                format!("{day}/chatflow/{flow}"),
                grant.chatflow.daily_turns_max,
            ),
        ];
        let with_limit = |(scope, counter, limit): (&'static str, String, Option<i64>)| {
            limit.map(|limit| Cap {
                scope,
                counter,
                limit,
            })
        };
        caps.into_iter().filter_map(with_limit).collect()
    }
}

fn reached(cap: &Cap, resets_at: DateTime<Utc>, now: DateTime<Utc>) -> Error {
    Error::DailyCapReached {
        scope: cap.scope,
        limit: cap.limit,
        resets_at,
        retry_after_secs: u64::try_from((resets_at - now).num_seconds()).map_or(1, |secs| secs + 1),
    }
}
