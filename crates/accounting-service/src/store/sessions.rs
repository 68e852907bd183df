//! `streaming_sessions`, which are holds, as they are read. Only the ledger's writer changes them.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName, Selectable,
    SelectableHelper as _,
    sql_types::{BigInt, Nullable, Timestamptz},
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
