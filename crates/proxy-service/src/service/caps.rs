//! How many turns may be begun in a day: of one person, of all on one chatflow, of one person on one chatflow.
//!
//! A turn is counted before its credits are held and given back when it fails before any content: a day's messages are
//! for answers. What a process that dies had counted stays counted, so that a cap is never exceeded.
//!
//! The credits that may be spent by way of an API key are counted in the same way, over the whole life of the key.

use chrono::{DateTime, TimeDelta, Utc};
use common_http::{Clock, CurrentUser};

use super::access::Grant;
use crate::{
    domain::{day::DayZone, embed::Budget, payment::Hold},
    error::{Error, Result},
    store::daily_turns::{Counter, DailyTurnStore},
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
pub(crate) struct Counted {
    turns: Vec<(String, i64)>,
    /// The credits of an API key.
    credits: Option<(String, i64)>,
}

/// What caps apply to a turn.
#[derive(Clone, Debug)]
pub(crate) enum Capped {
    /// Those of a person and of the chatflow they use, and of the API key that stands for them.
    Person(Grant, Option<KeyBudget>),
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

/// The credits that may be spent by way of an API key.
#[derive(Clone, Debug)]
pub(crate) struct KeyBudget {
    key_id: String,
    owner_id: String,
    cap: i64,
    /// Until when the key is good, where it ends.
    ends_at: Option<DateTime<Utc>>,
    /// What the turn holds; `None` where only its hold says how much that is.
    credits: Option<i64>,
}

impl Capped {
    /// What applies to somebody who may use a chatflow.
    pub(crate) fn person(grant: Grant, user: &CurrentUser) -> Self {
        let budget = user.key.as_ref().and_then(|key| {
            Some(KeyBudget {
                key_id: key.id.clone(),
                owner_id: user.id.clone(),
                cap: key.credit_cap?,
                ends_at: key.expires_at.map(|_| user.expires_at),
                credits: match grant.chatflow.price.hold_to_be() {
                    Hold::None => Some(0),
                    Hold::Flat(credits) => Some(credits),
                    Hold::ByUsage { .. } => None,
                },
            })
        });
        Self::Person(grant, budget)
    }

    /// The budget of an API key that is counted once the hold says how much it is.
    fn budget_by_hold(&self) -> Option<&KeyBudget> {
        match self {
            Self::Person(_, budget) => budget.as_ref().filter(|budget| budget.credits.is_none()),
            Self::Embed { .. } => None,
        }
    }
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

    /// Where is counted.
    pub(crate) fn store(&self) -> DailyTurnStore {
        self.store.clone()
    }

    /// Counts a turn in every cap that applies to it, or in none when one of them is reached.
    pub(crate) async fn take(&self, talker_id: &str, capped: &Capped) -> Result<Counted> {
        let now = self.clock.now();
        let resets_at = self.zone.next_day_at(now);
        let (caps, by, kept) = match capped {
            Capped::Person(grant, _) => (self.caps(talker_id, grant, now), 1, KEPT),
            Capped::Embed { id, budget, credits } => {
                (self.budget_caps(id, *budget, now), *credits, MONTH_KEPT)
            }
        };
        let mut counted = Counted::default();
        for cap in caps {
            let tally = Counter {
                name: &cap.counter,
                max: cap.limit,
                expires_at: Some(resets_at + kept),
                owner_id: None,
            };
            match self.store.take(tally, by).await {
                Ok(true) => counted.turns.push((cap.counter, by)),
                Ok(false) => {
                    self.give_back(counted).await;
                    return Err(match capped {
                        Capped::Person(..) => reached(&cap, resets_at, now),
                        Capped::Embed { .. } => Error::BudgetReached,
                    });
                }
                Err(error) => {
                    self.give_back(counted).await;
                    return Err(error.into());
                }
            }
        }
        if let Capped::Person(_, Some(budget)) = capped
            && let Some(credits) = budget.credits
        {
            return self.take_credits(budget, credits, counted).await;
        }
        Ok(counted)
    }

    /// Counts what is held for a turn whose price nobody knew before.
    pub(crate) async fn take_held(&self, capped: &Capped, hold: Hold, counted: Counted) -> Result<Counted> {
        match capped.budget_by_hold() {
            Some(budget) => self.take_credits(budget, hold.credits(), counted).await,
            None => Ok(counted),
        }
    }

    /// Counts credits of an API key, or takes the turn out of every counter.
    async fn take_credits(&self, budget: &KeyBudget, credits: i64, mut counted: Counted) -> Result<Counted> {
        if credits == 0 {
            return Ok(counted);
        }
        let name = format!("key/{}", budget.key_id);
        let tally = Counter {
            name: &name,
            max: budget.cap,
            expires_at: budget.ends_at.map(|end| end + KEPT),
            owner_id: Some(&budget.owner_id),
        };
        match self.store.take(tally, credits).await {
            Ok(true) => {
                counted.credits = Some((name, credits));
                Ok(counted)
            }
            Ok(false) => {
                self.give_back(counted).await;
                Err(Error::ApiKeyCapReached)
            }
            Err(error) => {
                self.give_back(counted).await;
                Err(error.into())
            }
        }
    }

    /// Gives the credits of an API key back that were held and not paid.
    pub(crate) async fn give_back_unpaid(&self, counted: Counted, paid: i64) {
        let Some((name, held)) = counted.credits.filter(|(_, held)| *held > paid) else {
            return;
        };
        let rest = Counted {
            turns: Vec::new(),
            credits: Some((name, held - paid)),
        };
        self.give_back(rest).await;
    }

    /// Takes a turn out of its counters. Where that fails it stays counted: too few messages, never too many.
    pub(crate) async fn give_back(&self, counted: Counted) {
        for (counter, by) in counted.turns.into_iter().chain(counted.credits) {
            if let Err(error) = self.store.give_back(&counter, by).await {
                tracing::warn!(%error, "a turn that failed stays counted");
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
