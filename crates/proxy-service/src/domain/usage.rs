//! Who used which chatflow how much on which day.

use std::{collections::BTreeMap, iter::Sum};

use chrono::{DateTime, NaiveDate, Utc};

use super::day::DayZone;

/// What one person did with one chatflow on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Turns that ended.
    pub turns: i64,
    /// Those of them that have no whole answer.
    pub failed: i64,
    /// Credits paid.
    pub credits: i64,
    /// Tokens taken, as far as they are known.
    pub tokens: i64,
}

impl<'a> Sum<&'a Self> for Usage {
    fn sum<I: Iterator<Item = &'a Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            turns: sum.turns + part.turns,
            failed: sum.failed + part.failed,
            credits: sum.credits + part.credits,
            tokens: sum.tokens + part.tokens,
        })
    }
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDay {
    /// The day.
    pub day: NaiveDate,
    /// The person.
    pub user_id: String,
    /// The chatflow, by Flowise's id.
    pub chatflow_id: String,
    /// What it came to.
    pub usage: Usage,
}

/// A turn that has ended and is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedTurn {
    /// The person.
    pub user_id: String,
    /// The chatflow, by Flowise's id.
    pub chatflow_id: String,
    /// When it began: that day it counts for.
    pub began_at: DateTime<Utc>,
    /// Whether its answer was whole.
    pub success: bool,
    /// Credits paid.
    pub credits: i64,
    /// The tokens it took.
    pub total_tokens: Option<i64>,
}

/// Adds turns up by day, person and chatflow.
pub fn roll_up(turns: impl IntoIterator<Item = EndedTurn>, zone: DayZone) -> Vec<UsageDay> {
    let mut days: BTreeMap<(NaiveDate, String, String), Usage> = BTreeMap::new();
    for turn in turns {
        let key = (zone.day_of(turn.began_at), turn.user_id, turn.chatflow_id);
        let usage = days.entry(key).or_default();
        usage.turns += 1;
        usage.failed += i64::from(!turn.success);
        usage.credits += turn.credits;
        usage.tokens += turn.total_tokens.unwrap_or_default();
    }
    let row = |((day, user_id, chatflow_id), usage)| UsageDay {
        day,
        user_id,
        chatflow_id,
        usage,
    };
    days.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_added_up_for_the_day_they_began_on() {
        let turn = |began_at: &str, success, credits, total_tokens| EndedTurn {
            user_id: "mei".to_owned(),
            chatflow_id: "flow".to_owned(),
            began_at: began_at.parse().unwrap(),
            success,
            credits,
            total_tokens,
        };
        let turns = [
            turn("2026-11-20T15:59:59Z", true, 3, Some(7)),
            turn("2026-11-20T15:00:00Z", false, 0, None),
            turn("2026-11-20T16:00:00Z", true, 0, Some(5)),
        ];
        let rows = roll_up(turns, "Asia/Hong_Kong".parse().unwrap());
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let Usage {
                    turns,
                    failed,
                    credits,
                    tokens,
                } = row.usage;
                (row.day.to_string(), turns, failed, credits, tokens)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("2026-11-20".to_owned(), 2, 1, 3, 7),
                ("2026-11-21".to_owned(), 1, 0, 0, 5)
            ]
        );
    }
}
