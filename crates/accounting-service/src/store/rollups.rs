//! The sums of usage beside the usage itself: whether they agree, and making them agree.
//!
//! Usage and its sums are written in one transaction, so any one snapshot shows how far they are apart, whatever is being
//! written meanwhile; and a difference that is added to a sum is right whatever has been added since. So nothing is
//! locked but the sums that are wrong, and a second run finds nothing to do.

use chrono::NaiveDate;
use diesel::{
    QueryResult, QueryableByName, sql_query,
    sql_types::{Bool, Date},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::invariants::{Check, check};
use crate::error::Result;

/// Held while sums are corrected: a difference must not be added twice. The number spells "roll".
const LOCK: i64 = 0x726F_6C6C;

/// Sums of users, checked account by account.
pub(super) const OF_ACCOUNTS: [Check; 3] = [
    check(
        "R1",
        "the daily sums of users are those of their usage",
        "SELECT 'daily sum of ' || user_id || ' on ' || day AS subject,
                (coalesce(kept.records, 0), coalesce(kept.credits, 0))
                <> (coalesce(used.records, 0), coalesce(used.credits, 0)) AS broken
         FROM (SELECT user_id, day, service, model, chatflow, count(*) AS records, sum(credits) AS credits
               FROM usage_facts WHERE user_id > $1 AND user_id <= $2 GROUP BY 1, 2, 3, 4, 5) used
         FULL JOIN (SELECT * FROM usage_daily WHERE user_id > $1 AND user_id <= $2) kept
             USING (user_id, day, service, model, chatflow)",
    ),
    check(
        "R2",
        "what users used on a day is the sum of their daily sums",
        "SELECT 'sum of ' || user_id || ' on ' || day AS subject,
                (coalesce(kept.records, 0), coalesce(kept.credits, 0))
                <> (coalesce(used.records, 0), coalesce(used.credits, 0)) AS broken
         FROM (SELECT user_id, day, sum(records) AS records, sum(credits) AS credits
               FROM usage_daily WHERE user_id > $1 AND user_id <= $2 GROUP BY 1, 2) used
         FULL JOIN (SELECT * FROM usage_user_days WHERE user_id > $1 AND user_id <= $2) kept USING (user_id, day)",
    ),
    check(
        "R3",
        "the monthly sums of users are those of their days",
        "SELECT 'monthly sum of ' || user_id || ' for ' || month AS subject,
                (coalesce(kept.records, 0), coalesce(kept.credits, 0))
                <> (coalesce(used.records, 0), coalesce(used.credits, 0)) AS broken
         FROM (SELECT user_id, date_trunc('month', day)::date AS month, sum(records) AS records,
                      sum(credits) AS credits
               FROM usage_user_days WHERE user_id > $1 AND user_id <= $2 GROUP BY 1, 2) used
         FULL JOIN (SELECT * FROM usage_monthly WHERE user_id > $1 AND user_id <= $2) kept USING (user_id, month)",
    ),
];

/// The sums of everybody, checked as a whole: there are as many as days, services, models and chatflows.
pub(super) const OF_ALL: Check = check(
    "R4",
    "the daily totals are those of all users together",
    "SELECT 'total of ' || day AS subject,
            (coalesce(kept.records, 0), coalesce(kept.credits, 0))
            <> (coalesce(used.records, 0), coalesce(used.credits, 0)) AS broken
     FROM (SELECT day, service, model, chatflow, sum(records) AS records, sum(credits) AS credits
           FROM usage_daily GROUP BY 1, 2, 3, 4) used
     FULL JOIN (SELECT day, service, model, chatflow, sum(records) AS records, sum(credits) AS credits
                FROM usage_totals GROUP BY 1, 2, 3, 4) kept USING (day, service, model, chatflow)",
);

/// Every day that the log or a sum knows; one pass over the log.
const DAYS: &str = "
    SELECT DISTINCT usage_day(\"timestamp\") AS day FROM usage_logs
    UNION SELECT DISTINCT day FROM usage_daily
    UNION SELECT DISTINCT day FROM usage_user_days
    UNION SELECT DISTINCT day FROM usage_totals
    ORDER BY day";

const MONTHS: &str = "
    SELECT DISTINCT date_trunc('month', day)::date AS day FROM usage_user_days
    UNION SELECT DISTINCT month FROM usage_monthly
    ORDER BY day";

#[derive(QueryableByName)]
struct DayLine {
    #[diesel(sql_type = Date)]
    day: NaiveDate,
}

const CORRECT_DAILY: &str = "
    WITH used AS (
        SELECT user_id, service, model, chatflow, count(*) AS records, sum(credits) AS credits FROM usage_facts
        WHERE \"timestamp\" >= $1::timestamp AT TIME ZONE 'UTC'
          AND \"timestamp\" < ($1 + 1)::timestamp AT TIME ZONE 'UTC'
        GROUP BY 1, 2, 3, 4)
    INSERT INTO usage_daily AS known (user_id, day, service, model, chatflow, records, credits)
    SELECT user_id, $1, service, model, chatflow, coalesce(used.records, 0) - coalesce(kept.records, 0) AS records,
           coalesce(used.credits, 0) - coalesce(kept.credits, 0) AS credits
    FROM used FULL JOIN (SELECT * FROM usage_daily WHERE day = $1) kept USING (user_id, service, model, chatflow)
    WHERE (coalesce(kept.records, 0), coalesce(kept.credits, 0))
       <> (coalesce(used.records, 0), coalesce(used.credits, 0))
    ORDER BY user_id, service, model, chatflow
    ON CONFLICT (user_id, day, service, model, chatflow)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits";

const CORRECT_USER_DAYS: &str = "
    WITH used AS (
        SELECT user_id, sum(records) AS records, sum(credits) AS credits FROM usage_daily WHERE day = $1 GROUP BY 1)
    INSERT INTO usage_user_days AS known (day, user_id, records, credits)
    SELECT $1, user_id, coalesce(used.records, 0) - coalesce(kept.records, 0),
           coalesce(used.credits, 0) - coalesce(kept.credits, 0)
    FROM used FULL JOIN (SELECT * FROM usage_user_days WHERE day = $1) kept USING (user_id)
    WHERE (coalesce(kept.records, 0), coalesce(kept.credits, 0))
       <> (coalesce(used.records, 0), coalesce(used.credits, 0))
    ORDER BY user_id
    ON CONFLICT (day, user_id)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits";

const CORRECT_MONTHLY: &str = "
    WITH used AS (
        SELECT user_id, sum(records) AS records, sum(credits) AS credits FROM usage_user_days
        WHERE day >= $1 AND day < ($1 + interval '1 month')::date GROUP BY 1)
    INSERT INTO usage_monthly AS known (month, user_id, records, credits)
    SELECT $1, user_id, coalesce(used.records, 0) - coalesce(kept.records, 0),
           coalesce(used.credits, 0) - coalesce(kept.credits, 0)
    FROM used FULL JOIN (SELECT * FROM usage_monthly WHERE month = $1) kept USING (user_id)
    WHERE (coalesce(kept.records, 0), coalesce(kept.credits, 0))
       <> (coalesce(used.records, 0), coalesce(used.credits, 0))
    ORDER BY user_id
    ON CONFLICT (month, user_id)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits";

/// What a total lacks is added to its first shard, and taken from it where a total is too much: only the sum of the
/// shards means something.
const CORRECT_TOTALS: &str = "
    WITH used AS (
        SELECT service, model, chatflow, sum(records) AS records, sum(credits) AS credits FROM usage_daily
        WHERE day = $1 GROUP BY 1, 2, 3),
    kept AS (
        SELECT service, model, chatflow, sum(records) AS records, sum(credits) AS credits FROM usage_totals
        WHERE day = $1 GROUP BY 1, 2, 3)
    INSERT INTO usage_totals AS known (day, service, model, chatflow, shard, records, credits)
    SELECT $1, service, model, chatflow, 0, coalesce(used.records, 0) - coalesce(kept.records, 0),
           coalesce(used.credits, 0) - coalesce(kept.credits, 0)
    FROM used FULL JOIN kept USING (service, model, chatflow)
    WHERE (coalesce(kept.records, 0), coalesce(kept.credits, 0))
       <> (coalesce(used.records, 0), coalesce(used.credits, 0))
    ORDER BY service, model, chatflow
    ON CONFLICT (day, service, model, chatflow, shard)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits";

/// Sums of nothing. One that somebody is adding to is left alone, so that nobody waits here.
const FORGET_DAILY: &str = "
    DELETE FROM usage_daily WHERE (user_id, day, service, model, chatflow) IN (
        SELECT user_id, day, service, model, chatflow FROM usage_daily
        WHERE day = $1 AND records = 0 AND credits = 0 FOR UPDATE SKIP LOCKED)";

const FORGET_USER_DAYS: &str = "
    DELETE FROM usage_user_days WHERE (day, user_id) IN (
        SELECT day, user_id FROM usage_user_days
        WHERE day = $1 AND records = 0 AND credits = 0 FOR UPDATE SKIP LOCKED)";

const FORGET_MONTHLY: &str = "
    DELETE FROM usage_monthly WHERE (month, user_id) IN (
        SELECT month, user_id FROM usage_monthly
        WHERE month = $1 AND records = 0 AND credits = 0 FOR UPDATE SKIP LOCKED)";

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// What was put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corrected {
    /// Days that were gone through.
    pub days: u64,
    /// Sums of users that were wrong, by day or by month.
    pub sums: usize,
    /// Totals that were wrong.
    pub totals: usize,
}

/// Makes the sums what the usage log says, day by day. `None` when somebody else is doing it.
pub async fn rebuild_rollups(connection: &mut AsyncPgConnection) -> Result<Option<Corrected>> {
    let lock = format!("SELECT pg_try_advisory_lock({LOCK}) AS locked");
    let Locked { locked } = sql_query(lock).get_result(connection).await?;
    if !locked {
        return Ok(None);
    }
    let mut corrected = Corrected::default();
    let days: Vec<DayLine> = sql_query(DAYS).load(connection).await?;
    for DayLine { day } in days {
        corrected.days += 1;
        corrected.sums += correct(connection, CORRECT_DAILY, day).await?;
        correct(connection, FORGET_DAILY, day).await?;
        corrected.sums += correct(connection, CORRECT_USER_DAYS, day).await?;
        correct(connection, FORGET_USER_DAYS, day).await?;
        corrected.totals += correct(connection, CORRECT_TOTALS, day).await?;
    }
    // Out of the days, which are right by now.
    let months: Vec<DayLine> = sql_query(MONTHS).load(connection).await?;
    for DayLine { day } in months {
        corrected.sums += correct(connection, CORRECT_MONTHLY, day).await?;
        correct(connection, FORGET_MONTHLY, day).await?;
    }
    sql_query(format!("SELECT pg_advisory_unlock({LOCK})"))
        .execute(connection)
        .await?;
    Ok(Some(corrected))
}

async fn correct(connection: &mut AsyncPgConnection, statement: &str, day: NaiveDate) -> QueryResult<usize> {
    sql_query(statement)
        .bind::<Date, _>(day)
        .execute(connection)
        .await
}
