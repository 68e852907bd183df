//! The events of turns, for readers who lost their connection: the collection `turn_events`.
//!
//! A turn's events are written in pieces of many. They go by themselves after a while: the answer is in the history.

use std::time::Duration;

use bson::{Document, doc};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, IndexModel, options::IndexOptions};
use serde::Deserialize;

use super::{
    Result,
    indexes::ensure_index,
    messages::Place,
    writer::{Change, WriteError, Writer},
};

const COLLECTION: &str = "turn_events";

/// How long events are kept after they were written. No turn takes longer than half of it.
const KEPT: TimeDelta = TimeDelta::minutes(30);

/// Pieces read at once: together they fit the memory a reader may take.
const PIECES_MAX: i64 = 4;

/// Some events of a turn that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The number of the first of them.
    pub(crate) first: u64,
    /// The number of the last of them.
    pub(crate) last: u64,
    /// JSON objects, a newline after each.
    pub(crate) lines: String,
    /// Whether the turn has no more.
    pub(crate) ends: bool,
}

#[derive(Deserialize)]
struct Row {
    first: i64,
    last: i64,
    lines: String,
    ends: bool,
}

impl From<Row> for Piece {
    fn from(row: Row) -> Self {
        Self {
            first: u64::try_from(row.first).unwrap_or_default(),
            last: u64::try_from(row.last).unwrap_or_default(),
            lines: row.lines,
            ends: row.ends,
        }
    }
}

/// Events of turns.
#[derive(Clone, Debug)]
pub(crate) struct TurnEventStore {
    pieces: Collection<Document>,
    writer: Writer,
}

impl TurnEventStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let pieces = database.collection(COLLECTION);
        ensure_index(&pieces, doc! { "user_id": 1, "session_id": 1 }).await?;
        let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let index = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(expiry);
        pieces.create_index(index.build()).await?;
        Ok(Self {
            pieces,
            writer: Writer::open(database, COLLECTION),
        })
    }

    /// Writes a piece.
    pub(crate) async fn insert(
        &self,
        place: Place<'_>,
        piece: &Piece,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let document = doc! {
            "user_id": place.user,
            "session_id": place.session,
            "first": to_stored(piece.first),
            "last": to_stored(piece.last),
            "lines": &piece.lines,
            "ends": piece.ends,
            "expires_at": bson::DateTime::from_chrono(now + KEPT),
        };
        self.writer
            .write(Change::insert(key(place.turn, piece.last), document))
            .await
    }

    /// The first pieces with anything that comes after event `number`, in order.
    pub(crate) async fn list_after(&self, turn_id: &str, number: u64) -> Result<Vec<Piece>> {
        let pieces = self.pieces.clone_with_type::<Row>();
        let rows = pieces.find(doc! { "_id": after(turn_id, number) });
        let rows = rows.sort(doc! { "_id": 1 }).limit(PIECES_MAX).await?;
        rows.map_ok(Piece::from).try_collect().await
    }

    /// The last piece there is.
    pub(crate) async fn find_last(&self, turn_id: &str) -> Result<Option<Piece>> {
        let pieces = self.pieces.clone_with_type::<Row>();
        let row = pieces
            .find_one(doc! { "_id": after(turn_id, 0) })
            .sort(doc! { "_id": -1 })
            .await?;
        Ok(row.map(Piece::from))
    }

    /// Forgets the events of somebody who is gone.
    pub(crate) async fn delete_of(&self, user_id: &str) -> Result<()> {
        self.pieces.delete_many(doc! { "user_id": user_id }).await?;
        Ok(())
    }

    /// Forgets the events of these sessions.
    pub(crate) async fn delete(&self, user_id: &str, session_ids: &[String]) -> Result<()> {
        let filter = doc! { "user_id": user_id, "session_id": { "$in": session_ids } };
        self.pieces.delete_many(filter).await?;
        Ok(())
    }
}

/// A piece is found by its last event, so that what comes after an event is one range of the primary index.
fn key(turn_id: &str, last: u64) -> String {
    format!("{turn_id}:{last:010}")
}

fn after(turn_id: &str, number: u64) -> Document {
    doc! { "$gt": key(turn_id, number), "$lt": format!("{turn_id};") }
}

fn to_stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
