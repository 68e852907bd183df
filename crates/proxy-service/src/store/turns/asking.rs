//! What a person asks of a turn of theirs that runs somewhere: to be shown, to be stopped.
//!
//! The process that runs it may be another one. It finds what is asked of it in the turn's document.

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;

use super::{
    Result, TurnStore,
    rows::{RUNNING, Stage},
};

/// Turns in one list. More run at once only where an operator allows it.
const LISTED_MAX: i64 = 1_000;

/// A turn, for the person it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct OwnTurn {
    pub(crate) id: String,
    pub(crate) session_id: String,
    pub(crate) chatflow_id: String,
    pub(crate) stage: Stage,
    pub(crate) began_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// The name of its delivery; older turns have none.
    pub(crate) delivery: Option<String>,
}

/// What has been asked of a turn that runs here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    /// How often somebody said that they are reading.
    #[serde(default)]
    pub(crate) asks: i64,
    /// Whether it shall stop.
    #[serde(rename = "stop_asked", default)]
    pub(crate) must_stop: bool,
}

#[derive(Deserialize)]
struct OwnRow {
    #[serde(rename = "_id")]
    id: String,
    session_id: String,
    chatflow_id: String,
    state: Stage,
    created_at: bson::DateTime,
    ended_at: Option<bson::DateTime>,
    delivery: Option<String>,
}

impl From<OwnRow> for OwnTurn {
    fn from(row: OwnRow) -> Self {
        Self {
            id: row.id,
            session_id: row.session_id,
            chatflow_id: row.chatflow_id,
            stage: row.state,
            began_at: row.created_at.to_chrono(),
            ended_at: row.ended_at.map(bson::DateTime::to_chrono),
            delivery: row.delivery,
        }
    }
}

impl TurnStore {
    /// One of the person's turns.
    pub(crate) async fn find_own(&self, user_id: &str, id: &str) -> Result<Option<OwnTurn>> {
        let turns = self.turns.clone_with_type::<OwnRow>();
        let row = turns.find_one(doc! { "_id": id, "user_id": user_id });
        Ok(row.projection(own_members()).await?.map(OwnTurn::from))
    }

    /// The person's running turns, oldest first.
    pub(crate) async fn list_running(&self, user_id: &str) -> Result<Vec<OwnTurn>> {
        let turns = self.turns.clone_with_type::<OwnRow>();
        // What only keeps a session locked while it is deleted has no slot.
        let running = doc! { "user_id": user_id, "state": RUNNING, "slot": { "$exists": true } };
        let rows = turns.find(running).projection(own_members());
        let rows = rows.sort(doc! { "_id": 1 }).limit(LISTED_MAX).await?;
        rows.map_ok(OwnTurn::from).try_collect().await
    }

    /// The running turn of a session of the person.
    pub(crate) async fn find_running(&self, user_id: &str, session_id: &str) -> Result<Option<String>> {
        let turns = self.turns.clone_with_type::<OwnRow>();
        let running = doc! { "user_id": user_id, "session_id": session_id, "state": RUNNING };
        let row = turns.find_one(running).projection(own_members()).await?;
        Ok(row.map(|row| row.id))
    }

    /// Tells whoever runs the turn that it is being read; `false` when it runs no more.
    pub(crate) async fn ask_to_show(&self, id: &str) -> Result<bool> {
        let count = doc! { "$add": [{ "$ifNull": ["$asks", 0_i64] }, 1_i64] };
        self.ask(id, doc! { "asked_of": "$owner", "asks": count }).await
    }

    /// Tells whoever runs the turn to stop it; `false` when it runs no more.
    pub(crate) async fn ask_to_stop(&self, id: &str) -> Result<bool> {
        self.ask(id, doc! { "asked_of": "$owner", "stop_asked": true })
            .await
    }

    async fn ask(&self, id: &str, set: Document) -> Result<bool> {
        let update = vec![doc! { "$set": set }];
        let running = doc! { "_id": id, "state": RUNNING };
        Ok(self.turns.update_one(running, update).await?.matched_count > 0)
    }

    /// What has been asked of the turns of this process.
    pub(crate) async fn list_asked(&self) -> Result<Vec<Asked>> {
        let turns = self.turns.clone_with_type::<Asked>();
        let asked = turns.find(doc! { "asked_of": &self.owner });
        let members = doc! { "asks": 1, "stop_asked": 1 };
        asked.projection(members).await?.try_collect().await
    }
}

/// The answer that is kept for an idempotency key is large, and not asked for here.
fn own_members() -> Document {
    doc! { "session_id": 1, "chatflow_id": 1, "state": 1, "created_at": 1, "ended_at": 1, "delivery": 1 }
}
