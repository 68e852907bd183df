//! What the other services add up: credits by accounting-service, turns by proxy-service.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use common_http::CurrentUser;
use serde::Deserialize;
use url::form_urlencoded;

use crate::pages::{
    chart::count,
    neighbours::{Away, Neighbour, Neighbours},
};

/// Days a report may cover, as proxy-service has it: a school year.
pub(super) const DAYS_MAX: i64 = 366;

/// Days of the charts of the overview.
pub(super) const DAYS_SHOWN: u64 = 30;

/// Questions to proxy-service at the same time.
pub(super) const AT_ONCE: usize = 6;

/// From one day to another; both belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: NaiveDate,
    pub(super) to: NaiveDate,
}

/// What accounting-service says. Its days are days in UTC.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spent {
    pub(super) by_day: BTreeMap<String, i64>,
    pub(super) by_user: BTreeMap<String, i64>,
    pub(super) by_chatflow: BTreeMap<String, i64>,
    pub(super) next_cursor: Option<String>,
}

/// What proxy-service says. Its days begin at midnight in `time_zone`.
#[derive(Debug, Deserialize)]
pub(super) struct Turns {
    pub(super) to: NaiveDate,
    pub(super) time_zone: String,
    pub(super) total: Total,
    pub(super) by_day: Vec<TurnsOn>,
    pub(super) rows: Vec<TurnsOf>,
    pub(super) next_cursor: Option<String>,
}

/// What turns come to.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Total {
    pub(super) turns: i64,
    pub(super) failed: i64,
    pub(super) credits: i64,
    pub(super) tokens: i64,
}

/// What everybody did on a day.
#[derive(Debug, Deserialize)]
pub(super) struct TurnsOn {
    day: NaiveDate,
    turns: i64,
}

/// What somebody did on a day with a chatflow.
#[derive(Debug, Deserialize)]
pub(super) struct TurnsOf {
    pub(super) day: NaiveDate,
    pub(super) user_id: String,
    pub(super) username: Option<String>,
    pub(super) chatflow_id: String,
    pub(super) chatflow_name: Option<String>,
    #[serde(flatten)]
    pub(super) total: Total,
}

impl Period {
    /// So many days up to `last`.
    pub(super) fn up_to(last: NaiveDate, days: u64) -> Self {
        let from = last.checked_sub_days(Days::new(days.saturating_sub(1)));
        Self {
            from: from.unwrap_or(last),
            to: last,
        }
    }

    /// The days that charts of the overview show.
    pub(super) fn shown(now: DateTime<Utc>) -> Self {
        Self::up_to(now.date_naive(), DAYS_SHOWN)
    }

    /// Its first moment.
    pub(super) fn begins_at(self) -> DateTime<Utc> {
        self.from.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    /// Its days, no more than a report has.
    pub(super) fn days(self) -> impl Iterator<Item = NaiveDate> {
        let most = usize::try_from(DAYS_MAX).unwrap_or(usize::MAX);
        let days = self.from.iter_days().take(most);
        days.take_while(move |day| *day <= self.to)
    }
}

impl Spent {
    /// In this period, with a page of those who spent the most.
    pub(super) async fn ask(
        neighbours: &Neighbours,
        user: &CurrentUser,
        period: Period,
        people: u32,
        cursor: Option<&str>,
    ) -> Result<Self, Away> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("startDate", &period.from.to_string());
        query.append_pair("endDate", &period.to.to_string());
        query.append_pair("limit", &people.to_string());
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        let path = format!("/api/usage/system-stats?{}", query.finish());
        neighbours.get(Neighbour::Accounting, &path, user).await
    }

    /// A value for each day, also for those without any.
    pub(super) fn each_day(&self, period: Period) -> Vec<(String, u64)> {
        let of = |day: &String| self.by_day.get(day).map_or(0, |credits| count(*credits));
        let days = period.days().map(|day| day.to_string());
        days.map(|day| (day.clone(), of(&day))).collect()
    }
}

impl Turns {
    /// What this question is answered with, such as `from`, `to`, `user_id`, `limit`.
    pub(super) async fn ask(
        neighbours: &Neighbours,
        user: &CurrentUser,
        question: &[(&str, &str)],
    ) -> Result<Self, Away> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(question)
            .finish();
        let path = format!("/api/v1/reports/usage?{query}");
        neighbours.get(Neighbour::Proxy, &path, user).await
    }

    /// What all turns of a period come to, or those of one person, group or chatflow.
    pub(super) async fn total(
        neighbours: &Neighbours,
        user: &CurrentUser,
        period: Period,
        of: Option<(&str, &str)>,
    ) -> Result<Self, Away> {
        let (from, to) = (period.from.to_string(), period.to.to_string());
        let question = [("from", from.as_str()), ("to", to.as_str()), ("limit", "1")];
        let question: Vec<_> = question.into_iter().chain(of).collect();
        Self::ask(neighbours, user, &question).await
    }

    /// The turns of the last thirty days, and by whose midnight they are days.
    pub(super) async fn each_day(
        neighbours: &Neighbours,
        user: &CurrentUser,
    ) -> Result<(Vec<(String, u64)>, String), Away> {
        // So many days, up to what is today there, are what a report has when nothing else is asked for.
        let all = Self::ask(neighbours, user, &[("limit", "1")]).await?;
        let of = |day: NaiveDate| {
            all.by_day
                .iter()
                .find(|on| on.day == day)
                .map_or(0, |on| count(on.turns))
        };
        let days = Period::up_to(all.to, DAYS_SHOWN).days();
        let days = days.map(|day| (day.to_string(), of(day))).collect();
        Ok((days, all.time_zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_has_both_its_ends_and_no_more_days_than_a_report() {
        let period = Period::up_to(day("2026-03-02"), 3);
        let days: Vec<_> = period.days().map(|day| day.to_string()).collect();
        assert_eq!(days, ["2026-02-28", "2026-03-01", "2026-03-02"]);
        assert_eq!(period.begins_at().to_rfc3339(), "2026-02-28T00:00:00+00:00");
        let long = Period {
            from: NaiveDate::MIN,
            to: NaiveDate::MAX,
        };
        assert_eq!(long.days().count(), 366);
        assert_eq!(Period::up_to(NaiveDate::MIN, 30).from, NaiveDate::MIN);
    }

    #[test]
    fn days_without_credits_are_days_too() {
        let spent = Spent {
            by_day: BTreeMap::from([("2026-03-01".to_owned(), 7), ("2026-03-02".to_owned(), -1)]),
            ..Spent::default()
        };
        let days = spent.each_day(Period::up_to(day("2026-03-02"), 3));
        let values: Vec<_> = days.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [0, 7, 0]);
    }
}
