//! What usage adds up to, out of the roll-ups: whole days and months are read from the sums, and only the ends of a
//! period that cut a day from the log itself. All numbers of one answer are of one snapshot.

#[cfg(test)]
mod plans;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    QueryableByName,
    pg::Pg,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_query,
    sql_types::{BigInt, Date, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;
use uuid::Uuid;

use super::Database;
use crate::{
    domain::{
        calendar::{Aligned, Part, Period, in_months, midnight},
        ids::UserId,
    },
    error::Result,
};

/// Services, models and chatflows that an answer names; those with the most credits.
const NAMES_MAX: i64 = 1_000;

/// Records that an answer shows.
const RECENT_MAX: i64 = 10;

/// A query whose parameters are bound one after the other.
type Bindable<'a> = BoxedSqlQuery<'a, Pg, SqlQuery>;

/// Sums by one thing, those with the most credits first.
pub type Sums = Vec<(String, i64)>;

/// What usage adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// How many records.
    pub records: i64,
    /// Their credits.
    pub credits: i64,
    /// Credits by service.
    pub by_service: Sums,
    /// Credits by UTC day, in the order of time.
    pub by_day: BTreeMap<String, i64>,
    /// Credits by what chats ran on.
    pub by_model: Sums,
    /// Credits by chatflow.
    pub by_chatflow: Sums,
}

/// A record of the usage log.
#[derive(Clone, Debug, QueryableByName)]
pub struct LoggedUsage {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Whose usage.
    #[diesel(sql_type = Text)]
    pub user_id: String,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub timestamp: DateTime<Utc>,
    /// Which part of the platform was used.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// What was done there.
    #[diesel(sql_type = Text)]
    pub operation: String,
    /// What it cost.
    #[diesel(sql_type = BigInt)]
    pub credits: i64,
    /// Whatever else is worth knowing.
    #[diesel(sql_type = Jsonb)]
    pub metadata: Value,
}

/// A user in the order of credits used.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct RankedUser {
    /// Who.
    #[diesel(sql_type = Text)]
    pub user_id: String,
    /// How much they used.
    #[diesel(sql_type = BigInt)]
    pub credits: i64,
}

/// Which users are wanted.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// The last user of the page before.
    pub after: Option<RankedUser>,
    /// How many at most.
    pub limit: i64,
}

/// What is asked of whom: the sums of one user, or of all.
const FACTS_OF_USER: &str = "
    WITH facts AS (
        SELECT day, service, model, chatflow, records, credits FROM usage_daily
        WHERE user_id = $1 AND day >= $2 AND day < $3
        UNION ALL
        SELECT day, service, model, chatflow, $6, credits * $6 FROM usage_facts
        WHERE user_id = $1 AND $6 <> 0 AND \"timestamp\" >= $4 AND \"timestamp\" < $5
        UNION ALL
        SELECT day, service, model, chatflow, $9, credits * $9 FROM usage_facts
        WHERE user_id = $1 AND $9 <> 0 AND \"timestamp\" >= $7 AND \"timestamp\" < $8)";

/// The first parameter is not looked at; that keeps the numbers of the others.
const FACTS_OF_ALL: &str = "
    WITH facts AS (
        SELECT day, service, model, chatflow, records, credits FROM usage_totals
        WHERE $1 IS NULL AND day >= $2 AND day < $3
        UNION ALL
        SELECT day, service, model, chatflow, $6, credits * $6 FROM usage_facts
        WHERE $6 <> 0 AND \"timestamp\" >= $4 AND \"timestamp\" < $5
        UNION ALL
        SELECT day, service, model, chatflow, $9, credits * $9 FROM usage_facts
        WHERE $9 <> 0 AND \"timestamp\" >= $7 AND \"timestamp\" < $8)";

/// The bits of GROUPING tell what a row is summed by: the unset one is what stands in `key`.
const SUMS: &str = "
    , sums AS (
        SELECT GROUPING(day, service, model, chatflow) AS grouping,
               coalesce(to_char(day, 'YYYY-MM-DD'), service, model, chatflow, '') AS key,
               sum(records)::bigint AS records, sum(credits) AS credits
        FROM facts GROUP BY GROUPING SETS ((), (day), (service), (model), (chatflow))
        HAVING sum(records) > 0),
    places AS (
        SELECT *, row_number() OVER (PARTITION BY grouping ORDER BY credits DESC, key) AS place FROM sums
        WHERE grouping = 15 OR key <> '')
    SELECT grouping, key, records, least(credits, 9223372036854775807)::bigint AS credits FROM places
    WHERE grouping = 7 OR place <= $10 ORDER BY grouping, place";

#[derive(QueryableByName)]
struct SumLine {
    #[diesel(sql_type = Integer)]
    grouping: i32,
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = BigInt)]
    records: i64,
    #[diesel(sql_type = BigInt)]
    credits: i64,
}

const RECENT: &str = "
    SELECT id, user_id, \"timestamp\", service, operation, credits, metadata FROM usage_logs
    WHERE user_id = $1 AND \"timestamp\" >= $2 AND \"timestamp\" < $3
    ORDER BY \"timestamp\" DESC, id DESC LIMIT $4";

const RANKING: &str = "
    WITH facts AS (
        SELECT user_id, records, credits FROM usage_monthly WHERE month >= $1 AND month < $2
        UNION ALL
        SELECT user_id, records * $5, credits * $5 FROM usage_user_days WHERE $5 <> 0 AND day >= $3 AND day < $4
        UNION ALL
        SELECT user_id, records * $8, credits * $8 FROM usage_user_days WHERE $8 <> 0 AND day >= $6 AND day < $7
        UNION ALL
        SELECT user_id, $11, credits * $11 FROM usage_logs WHERE $11 <> 0 AND \"timestamp\" >= $9 AND \"timestamp\" < $10
        UNION ALL
        SELECT user_id, $14, credits * $14 FROM usage_logs WHERE $14 <> 0 AND \"timestamp\" >= $12 AND \"timestamp\" < $13),
    sums AS (
        SELECT user_id, least(sum(credits), 9223372036854775807)::bigint AS credits FROM facts
        GROUP BY user_id HAVING sum(records) > 0)
    SELECT user_id, credits FROM sums
    WHERE $15 IS NULL OR credits < $16 OR (credits = $16 AND user_id > $15)
    ORDER BY credits DESC, user_id LIMIT $17";

/// Statistics.
#[derive(Clone)]
pub struct StatisticsStore {
    database: Database,
}

impl StatisticsStore {
    /// Statistics in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// What a user's usage adds up to, and their last records, newest first.
    pub async fn of_user(&self, user: &UserId, period: &Period) -> Result<(Statistics, Vec<LoggedUsage>)> {
        let mut connection = self.database.connection().await?;
        let mut transaction = connection.build_transaction().repeatable_read().read_only();
        let read = async |connection: &mut AsyncPgConnection| {
            let sums = sums_of_user(user, period).load(connection).await?;
            let recent = recent(user, period).load(connection).await?;
            Ok((statistics(sums), recent))
        };
        transaction.run(read).await
    }

    /// What everybody's usage adds up to, and who used the most.
    pub async fn of_all(&self, period: &Period, ranking: &Ranking) -> Result<(Statistics, Vec<RankedUser>)> {
        let mut connection = self.database.connection().await?;
        let mut transaction = connection.build_transaction().repeatable_read().read_only();
        let read = async |connection: &mut AsyncPgConnection| {
            let sums = sums_of_all(period).load(connection).await?;
            let users = ranked(period, ranking).load(connection).await?;
            Ok((statistics(sums), users))
        };
        transaction.run(read).await
    }
}

fn sums_of_user<'a>(user: &'a UserId, period: &Period) -> Bindable<'a> {
    let query = sql_query(format!("{FACTS_OF_USER}{SUMS}")).into_boxed();
    bind_days(query.bind::<Text, _>(user.as_str()), &period.in_days()).bind::<BigInt, _>(NAMES_MAX)
}

fn sums_of_all<'a>(period: &Period) -> Bindable<'a> {
    let query = sql_query(format!("{FACTS_OF_ALL}{SUMS}")).into_boxed();
    bind_days(query.bind::<Nullable<Text>, _>(None::<&str>), &period.in_days()).bind::<BigInt, _>(NAMES_MAX)
}

fn recent<'a>(user: &'a UserId, period: &Period) -> Bindable<'a> {
    let span = period.span();
    sql_query(RECENT)
        .into_boxed()
        .bind::<Text, _>(user.as_str())
        .bind::<Timestamptz, _>(span.start)
        .bind::<Timestamptz, _>(span.end)
        .bind::<BigInt, _>(RECENT_MAX)
}

fn ranked<'a>(period: &Period, ranking: &'a Ranking) -> Bindable<'a> {
    let days = period.in_days();
    let months = in_months(days.cells);
    let after = ranking.after.as_ref();
    let mut query = sql_query(RANKING)
        .into_boxed()
        .bind::<Date, _>(months.cells.start)
        .bind::<Date, _>(months.cells.end);
    for part in two_parts(&months.parts, months.cells.start) {
        query = query
            .bind::<Date, _>(part.span.start)
            .bind::<Date, _>(part.span.end)
            .bind::<BigInt, _>(part.sign);
    }
    query = bind_moments(query, &days.parts, period.span().start);
    query
        .bind::<Nullable<Text>, _>(after.map(|user| user.user_id.as_str()))
        .bind::<Nullable<BigInt>, _>(after.map(|user| user.credits))
        .bind::<BigInt, _>(ranking.limit)
}

/// Binds the days, and then the moments at their ends.
fn bind_days<'a>(query: Bindable<'a>, days: &Aligned<NaiveDate, DateTime<Utc>>) -> Bindable<'a> {
    let query = query
        .bind::<Date, _>(days.cells.start)
        .bind::<Date, _>(days.cells.end);
    let anywhere = midnight(days.cells.start);
    bind_moments(query, &days.parts, anywhere)
}

fn bind_moments<'a>(
    mut query: Bindable<'a>,
    parts: &[Part<DateTime<Utc>>],
    anywhere: DateTime<Utc>,
) -> Bindable<'a> {
    for part in two_parts(parts, anywhere) {
        query = query
            .bind::<Timestamptz, _>(part.span.start)
            .bind::<Timestamptz, _>(part.span.end)
            .bind::<BigInt, _>(part.sign);
    }
    query
}

/// Always two parts: the statements have places for two, and do not look where the sign is 0.
fn two_parts<T: Copy>(parts: &[Part<T>], anywhere: T) -> impl Iterator<Item = Part<T>> {
    let nothing = Part {
        span: anywhere..anywhere,
        sign: 0,
    };
    let parts = parts.iter().cloned().chain([nothing.clone(), nothing]);
    parts.take(2).collect::<Vec<_>>().into_iter()
}

fn statistics(lines: Vec<SumLine>) -> Statistics {
    let mut statistics = Statistics::default();
    for line in lines {
        let sum = (line.key, line.credits);
        match line.grouping {
            7 => statistics.by_day.extend([sum]),
            11 => statistics.by_service.push(sum),
            13 => statistics.by_model.push(sum),
            14 => statistics.by_chatflow.push(sum),
            _ => {
                statistics.records = line.records;
                statistics.credits = line.credits;
            }
        }
    }
    statistics
}
