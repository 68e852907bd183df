//! What is kept about one person, page by page, for that person to read.

use chrono::{DateTime, Utc};
use common_http::Timestamp;
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use futures_util::{Stream, TryStreamExt as _, stream};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::Database;
use crate::{domain::ids::UserId, error::Result};

/// Rows of one page.
const PAGE: i64 = 500;

/// The account.
#[derive(Debug, QueryableByName, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptAccount {
    #[diesel(sql_type = Text)]
    username: String,
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "as_timestamp")]
    created_at: DateTime<Utc>,
}

/// An allocation, spent and expired ones included.
#[derive(Debug, QueryableByName, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptAllocation {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    total_credits: i64,
    #[diesel(sql_type = BigInt)]
    remaining_credits: i64,
    #[diesel(sql_type = Nullable<Text>)]
    notes: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "as_timestamp")]
    allocated_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "as_timestamp")]
    expires_at: DateTime<Utc>,
}

/// An entry of the ledger.
#[derive(Debug, QueryableByName, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptEntry {
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    seq: i64,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = BigInt)]
    balance_after: i64,
    #[diesel(sql_type = Nullable<Text>)]
    description: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "as_timestamp")]
    created_at: DateTime<Utc>,
}

/// A record of use.
#[derive(Debug, QueryableByName, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptUsage {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    service: String,
    #[diesel(sql_type = Text)]
    operation: String,
    #[diesel(sql_type = BigInt)]
    credits: i64,
    #[diesel(sql_type = Jsonb)]
    metadata: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "as_timestamp")]
    recorded_at: DateTime<Utc>,
}

const ACCOUNT: &str = "SELECT username, email, role, created_at FROM user_accounts WHERE user_id = $1";

const ALLOCATIONS: &str = "
    SELECT id, total_credits, remaining_credits, notes, allocated_at, expires_at FROM credit_allocations
    WHERE user_id = $1 AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3";

const ENTRIES: &str = "
    SELECT seq, id, kind, amount, balance_after, description, created_at FROM credit_transactions
    WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

const USAGE: &str = "
    SELECT id, service, operation, credits, metadata, \"timestamp\" AS recorded_at FROM usage_logs
    WHERE user_id = $1 AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3";

/// Reads what is kept about people.
#[derive(Clone)]
pub struct PersonalStore {
    database: Database,
}

impl PersonalStore {
    /// What `database` keeps.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The person's account.
    pub async fn find_account(&self, user: &UserId) -> Result<Option<KeptAccount>> {
        let mut connection = self.database.connection().await?;
        let rows: Vec<KeptAccount> = diesel::sql_query(ACCOUNT)
            .bind::<Text, _>(user.as_str())
            .load(&mut connection)
            .await?;
        Ok(rows.into_iter().next())
    }

    /// The person's allocations, as they are read.
    pub fn allocations(&self, user: &UserId) -> impl Stream<Item = Result<KeptAllocation>> + use<> {
        self.by_id(ALLOCATIONS, user, |row: &KeptAllocation| row.id)
    }

    /// What the person's credits were used for, as it is read.
    pub fn usage(&self, user: &UserId) -> impl Stream<Item = Result<KeptUsage>> + use<> {
        self.by_id(USAGE, user, |row: &KeptUsage| row.id)
    }

    /// The person's entries of the ledger, in order, as they are read.
    pub fn entries(&self, user: &UserId) -> impl Stream<Item = Result<KeptEntry>> + use<> {
        let (store, user) = (self.clone(), user.clone());
        let pages = stream::try_unfold(Some(0), move |after: Option<i64>| {
            let (store, user) = (store.clone(), user.clone());
            async move {
                let Some(after) = after else {
                    return Ok(None);
                };
                let mut connection = store.database.connection().await?;
                let rows: Vec<KeptEntry> = diesel::sql_query(ENTRIES)
                    .bind::<Text, _>(user.as_str())
                    .bind::<BigInt, _>(after)
                    .bind::<BigInt, _>(PAGE)
                    .load(&mut connection)
                    .await?;
                let next = rows.last().map(|row| row.seq);
                Ok(Some((rows, next)))
            }
        });
        flattened(pages)
    }

    fn by_id<T>(
        &self,
        query: &'static str,
        user: &UserId,
        id_of: fn(&T) -> Uuid,
    ) -> impl Stream<Item = Result<T>> + use<T>
    where
        T: QueryableByName<diesel::pg::Pg> + Send + 'static,
    {
        let (store, user) = (self.clone(), user.clone());
        // Before the first page, after a row, or over.
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<Uuid>>| {
            let (store, user) = (store.clone(), user.clone());
            async move {
                let Some(after) = after else {
                    return Ok(None);
                };
                let mut connection = store.database.connection().await?;
                let rows: Vec<T> = diesel::sql_query(query)
                    .bind::<Text, _>(user.as_str())
                    .bind::<Nullable<SqlUuid>, _>(after)
                    .bind::<BigInt, _>(PAGE)
                    .load(&mut connection)
                    .await?;
                let next = rows.last().map(|row| Some(id_of(row)));
                Ok(Some((rows, next)))
            }
        });
        flattened(pages)
    }
}

fn flattened<T>(pages: impl Stream<Item = Result<Vec<T>>>) -> impl Stream<Item = Result<T>> {
    pages
        .map_ok(|rows| stream::iter(rows.into_iter().map(Ok)))
        .try_flatten()
}

fn as_timestamp<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Timestamp(*time).serialize(serializer)
}
