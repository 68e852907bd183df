//! Which accounts own credits that have expired: what the sweep has to write off.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::Database;
use crate::{
    domain::ids::UserId,
    error::{Error, Result},
};

/// How far back the sweep looks behind the place it had come to, for replicas whose clocks differ.
const LOOK_BACK: TimeDelta = TimeDelta::hours(1);

const THROUGH: &str = "SELECT lapsed_through FROM ledger_state";

const ADVANCE: &str = "UPDATE ledger_state SET lapsed_through = $1 WHERE lapsed_through < $1";

/// By the time first: the index of accounts would be read from end to end for the few that it concerns.
const LIST: &str = "
    WITH lapsed AS MATERIALIZED (
        SELECT user_id FROM credit_allocations
        WHERE expires_at > $1 AND expires_at <= $2 AND remaining_credits > 0)
    SELECT DISTINCT user_id FROM lapsed WHERE user_id > $3 ORDER BY user_id LIMIT $4";

#[derive(QueryableByName)]
struct Through {
    #[diesel(sql_type = Timestamptz)]
    lapsed_through: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Owner {
    #[diesel(sql_type = Text)]
    user_id: String,
}

/// Expired credits.
#[derive(Clone)]
pub struct LapseStore {
    database: Database,
}

impl LapseStore {
    /// Expired credits in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// From when on expired credits may still be in the books.
    pub async fn since(&self) -> Result<DateTime<Utc>> {
        let mut connection = self.database.connection().await?;
        let row: Through = diesel::sql_query(THROUGH).get_result(&mut connection).await?;
        Ok(row.lapsed_through - LOOK_BACK)
    }

    /// Notes that whatever had expired by `now` is written off.
    pub async fn advance(&self, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::sql_query(ADVANCE)
            .bind::<Timestamptz, _>(now)
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Accounts, behind `after`, with credits that expired between `since` and `now` and are in the books.
    pub async fn list_accounts(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<UserId>> {
        let mut connection = self.database.connection().await?;
        let rows: Vec<Owner> = diesel::sql_query(LIST)
            .bind::<Timestamptz, _>(since)
            .bind::<Timestamptz, _>(now)
            .bind::<Text, _>(after.map_or("", UserId::as_str))
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?;
        let unreadable = Error::Unreadable("credit_allocations.user_id");
        let owners: Option<_> = rows.iter().map(|row| UserId::parse(&row.user_id)).collect();
        owners.ok_or(unreadable)
    }
}
