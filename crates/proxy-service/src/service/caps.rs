//! How many turns may be begun in a day: of one person, of all on one chatflow, of one person on one chatflow.
//!
//! A turn is counted before its credits are held and given back when it fails before any content: a day's messages are
//! for answers. What a process that dies had counted stays counted, so that a cap is never exceeded.

use chrono::{DateTime, TimeDelta, Utc};
use common_http::Clock;

use super::access::Grant;
use crate::{
    domain::{day::DayZone, embed::Budget},
    error::{Error, Result},
    store::daily_turns::DailyTurnStore,
};

/// How long a day's counters are kept after its end: longer than the longest turn.
const KEPT: TimeDelta = TimeDelta::days(1);

/// The same for those of a month.
const MONTH_KEPT: TimeDelta = TimeDelta::days(33);

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
pub(crate) struct Counted(Vec<(String, i64)>);

/// What caps apply to a turn.
#[derive(Clone, Debug)]
pub(crate) enum Capped {
    /// Those of a person and of the chatflow they use.
    Person(Grant),
    /// The budget of an embed's owner.
    Embed {
        /// Which embed.
        id: String,
        /// Its budget.
        budget: Budget,
        /// What the turn may cost.
        credits: i64,
    },
}

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
    pub(crate) async fn take(&self, talker_id: &str, capped: &Capped) -> Result<Counted> {
        let now = self.clock.now();
        let resets_at = self.zone.next_day_at(now);
        let (caps, by, kept) = match capped {
            Capped::Person(grant) => (self.caps(talker_id, grant, now), 1, KEPT),
            Capped::Embed { id, budget, credits } => {
                (self.budget_caps(id, *budget, now), *credits, MONTH_KEPT)
            }
        };
        let mut counted = Counted::default();
        for cap in caps {
            let taken = self
                .store
                .take(&cap.counter, by, cap.limit, resets_at + kept)
                .await;
            match taken {
                Ok(true) => counted.0.push((cap.counter, by)),
                Ok(false) => {
                    self.give_back(counted).await;
                    return Err(match capped {
                        Capped::Person(_) => reached(&cap, resets_at, now),
                        Capped::Embed { .. } => Error::BudgetReached,
                    });
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
        for (counter, by) in counted.0 {
            if let Err(error) = self.store.give_back(&counter, by).await {
                tracing::warn!(%error, "a turn that failed stays counted for today");
            }
        }
    }

    /// The counters of credits; they take part in no report.
    fn budget_caps(&self, embed_id: &str, budget: Budget, now: DateTime<Utc>) -> Vec<Cap> {
        let day = self.zone.day_of(now);
        let caps = [
            (format!("{day}/embed/{embed_id}"), budget.per_day),
            (
                format!("{}/embed/{embed_id}", day.format("%Y-%m")),
                budget.per_month,
            ),
        ];
        let with_limit = |(counter, limit): (String, Option<i64>)| {
            limit.map(|limit| Cap {
                scope: "embed",
                counter,
                limit,
            })
        };
        caps.into_iter().filter_map(with_limit).collect()
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
