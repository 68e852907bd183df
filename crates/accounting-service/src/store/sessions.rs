//! `streaming_sessions`, which are holds, as they are read. Only the ledger's writer changes them.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName, Selectable,
    SelectableHelper as _,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Database, schema::streaming_sessions};
use crate::{
    domain::{
        credits::Credits,
        ids::{Actor, SessionKey, UserId},
        ledger::{Draw, Hold, HoldStatus},
    },
    error::{Error, Result},
};

/// A row of the table.
#[derive(Queryable, Selectable, QueryableByName)]
#[diesel(table_name = streaming_sessions, check_for_backend(diesel::pg::Pg))]
pub(super) struct SessionRow {
    id: Uuid,
    owner: String,
    session_id: String,
    user_id: String,
    model_id: String,
    estimated_credits: i64,
    held_credits: i64,
    captured_credits: i64,
    status: String,
    succeeded: Option<bool>,
    draws: serde_json::Value,
    started_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
    price_id: Option<Uuid>,
}

/// A draw as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredDraw {
    allocation: Uuid,
    credits: i64,
    expires_at: DateTime<Utc>,
}

/// Draws as they are stored.
pub(super) fn stored_draws(draws: &[Draw]) -> serde_json::Value {
    let draws = draws.iter().map(|draw| {
        serde_json::json!(StoredDraw {
            allocation: draw.allocation_id,
            credits: draw.credits.get(),
            expires_at: draw.expires_at,
        })
    });
    draws.collect()
}

fn draws_of(stored: serde_json::Value) -> Result<Vec<Draw>> {
    let unreadable = || Error::Unreadable("streaming_sessions.draws");
    let stored: Vec<StoredDraw> = serde_json::from_value(stored).or(Err(unreadable()))?;
    let draws = stored.into_iter().map(|draw| {
        Ok(Draw {
            allocation_id: draw.allocation,
            credits: Credits::new(draw.credits).ok_or_else(unreadable)?,
            expires_at: draw.expires_at,
        })
    });
    draws.collect()
}

impl TryFrom<SessionRow> for Hold {
    type Error = Error;

    fn try_from(row: SessionRow) -> Result<Self> {
        let credits =
            |credits| Credits::new(credits).ok_or(Error::Unreadable("streaming_sessions, its credits"));
        Ok(Self {
            id: row.id,
            key: SessionKey {
                owner: Actor::from_stored(row.owner),
                session_id: row.session_id,
            },
            user_id: UserId::parse(&row.user_id).ok_or(Error::Unreadable("streaming_sessions.user_id"))?,
            model_id: row.model_id,
            price_id: row.price_id,
            estimated: credits(row.estimated_credits)?,
            held: credits(row.held_credits)?,
            captured: credits(row.captured_credits)?,
            status: HoldStatus::from_stored(&row.status)
                .ok_or(Error::Unreadable("streaming_sessions.status"))?,
            draws: draws_of(row.draws)?,
            succeeded: row.succeeded,
            started_at: row.started_at,
            expires_at: row.expires_at,
            settled_at: row.settled_at,
        })
    }
}

/// How many holds are open, and since when the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct OpenHolds {
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// When the oldest was made.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

/// Which open holds are wanted.
#[derive(Clone, Copy, Debug)]
pub struct HoldPage<'a> {
    /// Whose; everybody's when nobody is named.
    pub user_id: Option<&'a UserId>,
    /// Those behind this hold, which may have ended meanwhile.
    pub after: Option<Uuid>,
    /// How many at most.
    pub limit: i64,
}

const OPEN_HOLDS: &str = "
    SELECT * FROM streaming_sessions
    WHERE status = 'open' AND ($1 IS NULL OR user_id = $1)
        AND ($2 IS NULL OR (started_at, id) > (SELECT c.started_at, c.id FROM streaming_sessions c WHERE c.id = $2))
    ORDER BY started_at, id LIMIT $3";

/// Each of the three kinds is cut before they are put together, so that no more than three times `$3` rows are sorted.
const RECENT: &str = "
    SELECT * FROM (
        (SELECT *, 1 AS place FROM streaming_sessions
         WHERE status = 'open' AND ($1 IS NULL OR user_id = $1)
         ORDER BY started_at DESC, id LIMIT $3)
        UNION ALL
        (SELECT *, 2 AS place FROM streaming_sessions
         WHERE status = 'captured' AND succeeded AND settled_at >= $2 AND ($1 IS NULL OR user_id = $1)
         ORDER BY settled_at DESC, id LIMIT $3)
        UNION ALL
        (SELECT *, 3 AS place FROM streaming_sessions
         WHERE status <> 'open' AND NOT (status = 'captured' AND succeeded) AND settled_at >= $2
            AND ($1 IS NULL OR user_id = $1)
         ORDER BY settled_at DESC, id LIMIT $3)) AS recent
    ORDER BY place, coalesce(settled_at, started_at) DESC, id LIMIT $3";

/// Sessions.
#[derive(Clone)]
pub struct SessionStore {
    database: Database,
}

impl SessionStore {
    /// Whether something of this account is held.
    pub async fn has_open(&self, user: &UserId) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let open: i64 = streaming_sessions::table
            .filter(streaming_sessions::user_id.eq(user.as_str()))
            .filter(streaming_sessions::status.eq("open"))
            .count()
            .get_result(&mut connection)
            .await?;
        Ok(open > 0)
    }

    /// Sessions in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The hold behind a session, open or not.
    pub async fn find(&self, key: &SessionKey) -> Result<Option<Hold>> {
        let mut connection = self.database.connection().await?;
        let row = streaming_sessions::table
            .filter(streaming_sessions::owner.eq(key.owner.as_str()))
            .filter(streaming_sessions::session_id.eq(&key.session_id))
            .select(SessionRow::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.map(Hold::try_from).transpose()
    }

    /// The user's open holds, oldest first. The limit of open holds keeps the list short.
    pub async fn list_open(&self, user: &UserId) -> Result<Vec<Hold>> {
        let mut connection = self.database.connection().await?;
        let rows = streaming_sessions::table
            .filter(streaming_sessions::user_id.eq(user.as_str()))
            .filter(streaming_sessions::status.eq(HoldStatus::Open.as_str()))
            .order((streaming_sessions::started_at, streaming_sessions::id))
            .select(SessionRow::as_select())
            .load(&mut connection)
            .await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// The hold of this id.
    pub async fn find_by_id(&self, id: Uuid) -> Result<Option<Hold>> {
        let mut connection = self.database.connection().await?;
        let row = streaming_sessions::table
            .find(id)
            .select(SessionRow::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.map(Hold::try_from).transpose()
    }

    /// Open holds of one account, or of all, oldest first.
    pub async fn list_holds(&self, page: &HoldPage<'_>) -> Result<Vec<Hold>> {
        let mut connection = self.database.connection().await?;
        let rows: Vec<SessionRow> = diesel::sql_query(OPEN_HOLDS)
            .bind::<Nullable<Text>, _>(page.user_id.map(UserId::as_str))
            .bind::<Nullable<SqlUuid>, _>(page.after)
            .bind::<BigInt, _>(page.limit)
            .load(&mut connection)
            .await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// Sessions that run, and those that ended since `since`: at most `limit`, running ones first, then completed, then
    /// failed ones, each kind with the latest first.
    pub async fn list_recent(
        &self,
        user: Option<&UserId>,
        since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Hold>> {
        let mut connection = self.database.connection().await?;
        let rows: Vec<SessionRow> = diesel::sql_query(RECENT)
            .bind::<Nullable<Text>, _>(user.map(UserId::as_str))
            .bind::<Timestamptz, _>(since)
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// Open holds whose time is up, those that are overdue longest first.
    pub async fn list_overdue(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Hold>> {
        let mut connection = self.database.connection().await?;
        let rows = streaming_sessions::table
            .filter(streaming_sessions::status.eq(HoldStatus::Open.as_str()))
            .filter(streaming_sessions::expires_at.le(now))
            .order(streaming_sessions::expires_at)
            .limit(limit)
            .select(SessionRow::as_select())
            .load(&mut connection)
            .await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// How many holds are open in all, and since when the oldest.
    pub async fn count_open(&self) -> Result<OpenHolds> {
        let mut connection = self.database.connection().await?;
        let query = "SELECT count(*) AS count, min(started_at) AS oldest FROM streaming_sessions WHERE status = 'open'";
        Ok(diesel::sql_query(query).get_result(&mut connection).await?)
    }
}
