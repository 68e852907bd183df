//! `supervisor_allocations`: what each supervisor has granted on a day.

use chrono::NaiveDate;
use diesel::sql_types::{BigInt, Date, Text};
use diesel_async::RunQueryDsl as _;

use super::Database;
use crate::{domain::ids::UserId, error::Result};

/// Adds unless the sum would exceed the cap: the condition and the change are one statement.
const ADD: &str = "
    INSERT INTO supervisor_allocations AS known (supervisor, day, credits)
    SELECT $1, $2, $3 WHERE $3 <= $4
    ON CONFLICT (supervisor, day) DO UPDATE SET credits = known.credits + excluded.credits
    WHERE known.credits + excluded.credits <= $4";

const SUBTRACT: &str = "
    UPDATE supervisor_allocations SET credits = greatest(credits - $3, 0) WHERE supervisor = $1 AND day = $2";

const FORGET: &str = "DELETE FROM supervisor_allocations WHERE day < $1";

/// Sums of days.
#[derive(Clone)]
pub struct AllowanceStore {
    database: Database,
}

impl AllowanceStore {
    /// Sums in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Adds `credits` to a supervisor's day, if the sum stays within `cap`; else nothing changes and the result is
    /// false.
    pub async fn add(&self, supervisor: &UserId, day: NaiveDate, credits: i64, cap: i64) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let added = diesel::sql_query(ADD)
            .bind::<Text, _>(supervisor.as_str())
            .bind::<Date, _>(day)
            .bind::<BigInt, _>(credits)
            .bind::<BigInt, _>(cap)
            .execute(&mut connection)
            .await?;
        Ok(added == 1)
    }

    /// Takes `credits` off a supervisor's day.
    pub async fn subtract(&self, supervisor: &UserId, day: NaiveDate, credits: i64) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::sql_query(SUBTRACT)
            .bind::<Text, _>(supervisor.as_str())
            .bind::<Date, _>(day)
            .bind::<BigInt, _>(credits)
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Forgets the days before `day`.
    pub async fn delete_before(&self, day: NaiveDate) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::sql_query(FORGET)
            .bind::<Date, _>(day)
            .execute(&mut connection)
            .await?;
        Ok(())
    }
}
