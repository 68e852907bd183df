//! `credit_transactions`, as they are read: statements of one account, and the whole ledger for export. Only the
//! ledger's writer adds to them.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryableByName,
    sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::SecretString;
use uuid::Uuid;

use super::{Database, connect, schema::credit_transactions};
use crate::{
    domain::{ids::UserId, ledger::Kind},
    error::Result,
};

/// An entry of the ledger.
#[derive(Clone, Debug, QueryableByName)]
pub struct Transaction {
    /// The command's id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Its place in the ledger.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Whose account.
    #[diesel(sql_type = Text)]
    pub user_id: String,
    /// Which command.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What it changed, with its sign.
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    /// The sum of the amounts up to here.
    #[diesel(sql_type = BigInt)]
    pub balance_after: i64,
    /// Why, in words.
    #[diesel(sql_type = Nullable<Text>)]
    pub description: Option<String>,
    /// Who wanted it.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// The request it came with.
    #[diesel(sql_type = Text)]
    pub request_id: String,
    /// The session it concerns.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_id: Option<String>,
    /// What went into and out of which allocation.
    #[diesel(sql_type = Jsonb)]
    pub draws: serde_json::Value,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// Which entries of an account are wanted.
#[derive(Clone, Debug)]
pub struct StatementFilter {
    /// Whose.
    pub user_id: UserId,
    /// Not before then.
    pub from: Option<DateTime<Utc>>,
    /// Before then.
    pub until: Option<DateTime<Utc>>,
    /// Of this kind only.
    pub kind: Option<Kind>,
}

const COLUMNS: &str = "
    t.id, t.seq, t.user_id, t.kind, t.amount, t.balance_after, t.description, t.actor, t.request_id, s.session_id,
    t.draws, t.created_at
    FROM credit_transactions t LEFT JOIN streaming_sessions s ON s.id = t.hold_id";

/// Latest first, from before the entry `$2`.
const STATEMENT: &str = "
    WHERE t.user_id = $1 AND t.seq < $2 AND ($3 IS NULL OR t.created_at >= $3) AND ($4 IS NULL OR t.created_at < $4)
        AND ($5 IS NULL OR t.kind = $5)
    ORDER BY t.seq DESC LIMIT $6";

/// Account by account, in the order in which things happened.
const LEDGER: &str = "
    WHERE (t.user_id, t.seq) > ($1, $2) AND ($3 IS NULL OR t.user_id = $3)
    ORDER BY t.user_id, t.seq LIMIT $4";

/// The snapshot in which a whole ledger is read, however long that takes.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Statements.
#[derive(Clone)]
pub struct TransactionStore {
    database: Database,
}

impl TransactionStore {
    /// Entries in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// At most `limit` entries, latest first, of those before the place `before`.
    pub async fn list(
        &self,
        filter: &StatementFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Transaction>> {
        let mut connection = self.database.connection().await?;
        let query = diesel::sql_query(format!("SELECT {COLUMNS} {STATEMENT}"))
            .bind::<Text, _>(filter.user_id.as_str())
            .bind::<BigInt, _>(before.unwrap_or(i64::MAX))
            .bind::<Nullable<Timestamptz>, _>(filter.from)
            .bind::<Nullable<Timestamptz>, _>(filter.until)
            .bind::<Nullable<Text>, _>(filter.kind.map(Kind::as_str))
            .bind::<BigInt, _>(limit);
        Ok(query.load(&mut connection).await?)
    }

    /// The place of an entry of this account.
    pub async fn find_place(&self, user_id: &UserId, id: Uuid) -> Result<Option<i64>> {
        let mut connection = self.database.connection().await?;
        let place = credit_transactions::table
            .filter(credit_transactions::id.eq(id))
            .filter(credit_transactions::user_id.eq(user_id.as_str()))
            .select(credit_transactions::seq)
            .first(&mut connection)
            .await;
        Ok(place.optional()?)
    }
}

/// The whole ledger, page by page, as it was at one moment.
pub struct LedgerExport {
    connection: AsyncPgConnection,
    user_id: Option<UserId>,
    after: (String, i64),
}

impl LedgerExport {
    /// Begins to read the ledger, or one account of it.
    pub async fn begin(url: &SecretString, user_id: Option<UserId>) -> Result<Self> {
        let mut connection = connect(url).await?;
        connection.batch_execute(SNAPSHOT).await?;
        Ok(Self {
            connection,
            user_id,
            after: (String::new(), 0),
        })
    }

    /// The next entries, at most `limit`; none at the end.
    pub async fn next_page(&mut self, limit: i64) -> Result<Vec<Transaction>> {
        let page: Vec<Transaction> = diesel::sql_query(format!("SELECT {COLUMNS} {LEDGER}"))
            .bind::<Text, _>(&self.after.0)
            .bind::<BigInt, _>(self.after.1)
            .bind::<Nullable<Text>, _>(self.user_id.as_ref().map(UserId::as_str))
            .bind::<BigInt, _>(limit)
            .load(&mut self.connection)
            .await?;
        if let Some(last) = page.last() {
            self.after = (last.user_id.clone(), last.seq);
        }
        Ok(page)
    }
}
