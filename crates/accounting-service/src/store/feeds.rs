//! `feed_cursors`: how far the feeds of other services have been taken in.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;

use super::{Database, schema::feed_cursors};
use crate::error::Result;

/// The cursors.
#[derive(Clone)]
pub struct FeedStore {
    database: Database,
}

impl FeedStore {
    /// Cursors in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Where the feed goes on; empty when it has never been read.
    pub async fn find_cursor(&self, feed: &str) -> Result<String> {
        let mut connection = self.database.connection().await?;
        let cursor: Option<String> = feed_cursors::table
            .find(feed)
            .select(feed_cursors::cursor)
            .first(&mut connection)
            .await
            .optional()?;
        Ok(cursor.unwrap_or_default())
    }

    /// Notes where the feed goes on. Replicas follow by themselves; when the slower one writes last, something is read
    /// twice, which does no harm.
    pub async fn update_cursor(&self, feed: &str, cursor: &str, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::insert_into(feed_cursors::table)
            .values((
                feed_cursors::feed.eq(feed),
                feed_cursors::cursor.eq(cursor),
                feed_cursors::updated_at.eq(now),
            ))
            .on_conflict(feed_cursors::feed)
            .do_update()
            .set((feed_cursors::cursor.eq(cursor), feed_cursors::updated_at.eq(now)))
            .execute(&mut connection)
            .await?;
        Ok(())
    }
}
