//! `credit_allocations`, as they are read. Only the ledger's writer changes them.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName, Selectable,
    SelectableHelper as _,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{Database, schema::credit_allocations};
use crate::{
    domain::{credits::Credits, ids::UserId},
    error::{Error, Result},
};

/// What can be spent of one allocation.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = credit_allocations, check_for_backend(diesel::pg::Pg))]
pub struct AllocationRow {
    /// Its id.
    pub id: Uuid,
    /// What it began with.
    pub total_credits: i64,
    /// What is left.
    pub remaining_credits: i64,
    /// When it was granted.
    pub allocated_at: DateTime<Utc>,
    /// From then on it cannot be spent.
    pub expires_at: DateTime<Utc>,
}

/// An allocation with its owner, for reports.
#[derive(Clone, Debug, QueryableByName)]
pub struct ListedAllocation {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub user_id: String,
    /// What it began with.
    #[diesel(sql_type = BigInt)]
    pub total_credits: i64,
    /// What is left.
    #[diesel(sql_type = BigInt)]
    pub remaining_credits: i64,
    /// Who granted it.
    #[diesel(sql_type = Text)]
    pub allocated_by: String,
    /// A remark.
    #[diesel(sql_type = Nullable<Text>)]
    pub notes: Option<String>,
    /// When it was granted.
    #[diesel(sql_type = Timestamptz)]
    pub allocated_at: DateTime<Utc>,
    /// From then on it cannot be spent.
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
    /// The owner's name.
    #[diesel(sql_type = Text)]
    pub username: String,
    /// The owner's address, when it is known.
    #[diesel(sql_type = Nullable<Text>)]
    pub email: Option<String>,
}

/// One allocation, whatever is left of it.
#[derive(Clone, Debug)]
pub struct FoundAllocation {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// What it began with.
    pub total_credits: i64,
    /// From then on it cannot be spent.
    pub expires_at: DateTime<Utc>,
}

/// One page in the order owner, expiry, id, after the allocation `$1`.
const PAGE: &str = "
    SELECT a.id, a.user_id, a.total_credits, a.remaining_credits, a.allocated_by, a.notes, a.allocated_at,
           a.expires_at, u.username, u.email
    FROM credit_allocations a JOIN user_accounts u USING (user_id)
    WHERE $1 IS NULL
       OR (a.user_id, a.expires_at, a.id) > (SELECT c.user_id, c.expires_at, c.id
                                             FROM credit_allocations c WHERE c.id = $1)
    ORDER BY a.user_id, a.expires_at, a.id
    LIMIT $2";

/// Allocations.
#[derive(Clone)]
pub struct AllocationStore {
    database: Database,
}

impl AllocationStore {
    /// Allocations in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// What the user can spend, soonest expiry first.
    pub async fn list_spendable(&self, user: &UserId, now: DateTime<Utc>) -> Result<Vec<AllocationRow>> {
        let mut connection = self.database.connection().await?;
        Ok(credit_allocations::table
            .filter(credit_allocations::user_id.eq(user.as_str()))
            .filter(credit_allocations::expires_at.gt(now))
            .filter(credit_allocations::remaining_credits.gt(0))
            .order((credit_allocations::expires_at, credit_allocations::id))
            .select(AllocationRow::as_select())
            .load(&mut connection)
            .await?)
    }

    /// The allocation of this id.
    pub async fn find(&self, id: Uuid) -> Result<Option<FoundAllocation>> {
        let mut connection = self.database.connection().await?;
        let row: Option<(String, i64, DateTime<Utc>)> = credit_allocations::table
            .find(id)
            .select((
                credit_allocations::user_id,
                credit_allocations::total_credits,
                credit_allocations::expires_at,
            ))
            .first(&mut connection)
            .await
            .optional()?;
        let Some((user_id, total_credits, expires_at)) = row else {
            return Ok(None);
        };
        let user_id = UserId::parse(&user_id).ok_or(Error::Unreadable("credit_allocations.user_id"))?;
        Ok(Some(FoundAllocation {
            id,
            user_id,
            total_credits,
            expires_at,
        }))
    }

    /// How much the user can spend.
    pub async fn balance(&self, user: &UserId, now: DateTime<Utc>) -> Result<Credits> {
        let mut connection = self.database.connection().await?;
        // PostgreSQL sums bigints to numeric; what one account owns always fits back.
        let total: Option<i64> = credit_allocations::table
            .filter(credit_allocations::user_id.eq(user.as_str()))
            .filter(credit_allocations::expires_at.gt(now))
            .select(diesel::dsl::sql::<Nullable<BigInt>>(
                "sum(remaining_credits)::bigint",
            ))
            .first(&mut connection)
            .await?;
        Ok(Credits::new(total.unwrap_or_default()).unwrap_or_default())
    }

    /// Everybody's allocations, spent and expired ones included: at most `limit` after the allocation `cursor`.
    pub async fn list_all(&self, cursor: Option<Uuid>, limit: i64) -> Result<Vec<ListedAllocation>> {
        let mut connection = self.database.connection().await?;
        Ok(diesel::sql_query(PAGE)
            .bind::<Nullable<SqlUuid>, _>(cursor)
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?)
    }
}
