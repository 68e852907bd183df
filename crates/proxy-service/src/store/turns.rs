//! Chat turns: who is running one, what is held for it, and what accounting-service must still be told.
//!
//! The collection is the durable outbox. A turn is written before credits are held, so that a crash at any later point
//! leaves a trace, and it is `due` to somebody until it is settled: to the process that runs it as long as that renews
//! its lease, then to whoever takes it over.

mod asking;
mod rows;

use std::{io, time::Duration};

use bson::{Bson, Document, doc};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, IndexModel, error::Error, options::IndexOptions};
use tokio::time::timeout;

use self::rows::{BacklogRow, RUNNING, SETTLED, SETTLING, StateRow, settlement_to_bson, time};
use super::{
    Result,
    writer::{Change, WriteError, Writer},
};
use crate::domain::{
    payment::Hold,
    turn::{Due, KEPT, new_turn_id},
};

pub(crate) use self::asking::OwnTurn;
pub(crate) use self::rows::{Known, Overdue, Stage, StoredAnswer};

/// Reports read it too.
pub(super) const COLLECTION: &str = "turns";

/// How long the beginning of a turn may take to be written.
const OPENING_TIMEOUT: Duration = Duration::from_secs(3);

/// One running turn a session.
const ONE_RUNNING: &str = "one_running_turn";
/// At most so many running turns a person: each takes a numbered slot.
const SLOTS: &str = "running_turn_slots";
/// One turn an idempotency key.
const KEYS: &str = "idempotency_keys";

/// Turns in flight and those to be settled.
#[derive(Clone, Debug)]
pub(crate) struct TurnStore {
    turns: Collection<Document>,
    writer: Writer,
    /// This process, in the leases it holds.
    owner: String,
    /// How long a turn belongs to the process that runs it, unless that process says again that it lives.
    lease: TimeDelta,
}

/// A turn as it begins.
#[derive(Clone, Debug)]
pub(crate) struct NewTurn<'a> {
    pub(crate) id: &'a str,
    /// Who talks.
    pub(crate) user_id: &'a str,
    /// Who pays, where that is somebody else.
    pub(crate) payer_id: Option<&'a str>,
    /// The chatflow that is run, where it is not called so.
    pub(crate) flow_id: Option<&'a str>,
    pub(crate) session_id: &'a str,
    pub(crate) chatflow_id: &'a str,
    /// What pays for it. How much is held for a price by usage only accounting-service's answer says.
    pub(crate) hold: Hold,
    pub(crate) slot: i32,
    pub(crate) key: Option<&'a Key>,
    /// What the caller reads of it: the name of a delivery.
    pub(crate) delivery: &'a str,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The route and the client's key.
    pub(crate) key: String,
    /// A hash of the request.
    pub(crate) fingerprint: String,
}

/// Why a turn cannot begin.
#[derive(Debug)]
pub(crate) enum Conflict {
    /// A turn of this session is running.
    SessionIsBusy,
    /// The slot is taken; another one may be free.
    SlotIsTaken,
    /// The idempotency key has been used.
    KeyIsUsed,
    /// The database failed.
    Failed(WriteError),
}

impl From<WriteError> for Conflict {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Duplicate(index) if index == ONE_RUNNING => Self::SessionIsBusy,
            WriteError::Duplicate(index) if index == SLOTS => Self::SlotIsTaken,
            WriteError::Duplicate(index) if index == KEYS => Self::KeyIsUsed,
            WriteError::Duplicate(_) | WriteError::Refused(_) | WriteError::Database(_) => {
                Self::Failed(error)
            }
        }
    }
}

impl TurnStore {
    /// Opens the collection and makes sure of its indexes. A turn whose process has not said for `lease` that it lives is
    /// taken over.
    pub(crate) async fn open(database: &Database, lease: TimeDelta) -> Result<Self> {
        let turns = database.collection(COLLECTION);
        let running = doc! { "state": RUNNING };
        let in_slot = doc! { "state": RUNNING, "slot": { "$exists": true } };
        let keyed = doc! { "idempotency_key": { "$exists": true } };
        let due = doc! { "due_at": { "$exists": true } };
        let asked = doc! { "asked_of": { "$exists": true } };
        let unique = |name: &str, keys, filter| {
            let options = IndexOptions::builder().name(name.to_owned());
            let options = options.unique(true).partial_filter_expression(filter).build();
            IndexModel::builder().keys(keys).options(options).build()
        };
        let due = IndexOptions::builder().partial_filter_expression(due).build();
        let asked = IndexOptions::builder().partial_filter_expression(asked).build();
        let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let indexes = [
            unique(ONE_RUNNING, doc! { "user_id": 1, "session_id": 1 }, running),
            unique(SLOTS, doc! { "user_id": 1, "slot": 1 }, in_slot),
            unique(KEYS, doc! { "user_id": 1, "idempotency_key": 1 }, keyed),
            IndexModel::builder()
                .keys(doc! { "due_at": 1 })
                .options(due)
                .build(),
            IndexModel::builder()
                .keys(doc! { "asked_of": 1 })
                .options(asked)
                .build(),
            IndexModel::builder()
                .keys(doc! { "expires_at": 1 })
                .options(expiry)
                .build(),
        ];
        turns.create_indexes(indexes).await?;
        Ok(Self {
            turns,
            writer: Writer::open(database, COLLECTION),
            owner: uuid::Uuid::new_v4().to_string(),
            lease,
        })
    }

    /// Begins a turn: takes its session, its slot and its idempotency key at once, or nothing.
    pub(crate) async fn insert(&self, turn: &NewTurn<'_>, now: DateTime<Utc>) -> Result<(), Conflict> {
        let mut document = doc! {
            "user_id": turn.user_id,
            "session_id": turn.session_id,
            "chatflow_id": turn.chatflow_id,
            "state": RUNNING,
            "slot": turn.slot,
            "delivery": turn.delivery,
            "held": turn.hold.credits(),
            "content": false,
            "attempts": 0_i64,
            "owner": &self.owner,
            "due_at": time(now + self.lease),
            "created_at": time(now),
        };
        if let Hold::ByUsage { estimated_tokens, .. } = turn.hold {
            document.insert("estimated_tokens", estimated_tokens);
        }
        if let Some(payer_id) = turn.payer_id {
            document.insert("payer_id", payer_id);
            document.insert("flow_id", turn.flow_id);
        }
        if let Some(key) = turn.key {
            document.insert("idempotency_key", &key.key);
            document.insert("fingerprint", &key.fingerprint);
        }
        let written = self.writer.write(Change::insert(turn.id, document));
        // Whoever asks does not wait for a database that is away. Should it be written later all the same, nobody
        // works on it and its lease runs out.
        let late = || WriteError::from(Error::from(io::Error::from(io::ErrorKind::TimedOut)));
        let written = timeout(OPENING_TIMEOUT, written).await;
        Ok(written.unwrap_or_else(|_| Err(late()))?)
    }

    /// Keeps turns from running in these sessions, as a running turn of its own does in each. Returns the ids to
    /// [`TurnStore::delete`], or `None`, keeping nothing, when one of them is busy.
    pub(crate) async fn lock(
        &self,
        user_id: &str,
        session_ids: &[String],
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<String>>, WriteError> {
        let lock = |session_id: &String| {
            let id = new_turn_id();
            let document = doc! {
                "user_id": user_id,
                "session_id": session_id,
                "chatflow_id": "",
                "state": RUNNING,
                "held": 0_i64,
                "content": false,
                "attempts": 0_i64,
                "owner": &self.owner,
                "due_at": time(now + self.lease),
                "created_at": time(now),
            };
            async move {
                let outcome = self.writer.write(Change::insert(id.as_str(), document)).await;
                (id, outcome.map_err(Conflict::from))
            }
        };
        let outcomes = futures_util::future::join_all(session_ids.iter().map(lock)).await;
        let mut locks = Vec::with_capacity(outcomes.len());
        let mut refusal = None;
        for (id, outcome) in outcomes {
            match outcome {
                Ok(()) => locks.push(id),
                Err(conflict) => refusal = Some(conflict),
            }
        }
        let Some(refusal) = refusal else {
            return Ok(Some(locks));
        };
        self.delete(&locks).await.map_err(WriteError::from)?;
        match refusal {
            Conflict::Failed(error) => Err(error),
            Conflict::SessionIsBusy | Conflict::SlotIsTaken | Conflict::KeyIsUsed => Ok(None),
        }
    }

    /// Takes turns back that never were: refused before anything was held.
    pub(crate) async fn delete(&self, ids: &[String]) -> Result<()> {
        self.turns.delete_many(doc! { "_id": { "$in": ids } }).await?;
        Ok(())
    }

    /// The slots this person's running turns have taken.
    pub(crate) async fn list_slots(&self, user_id: &str) -> Result<Vec<i32>> {
        let filter = doc! { "user_id": user_id, "state": RUNNING, "slot": { "$exists": true } };
        let slots = self.turns.distinct("slot", filter).await?;
        Ok(slots.iter().filter_map(Bson::as_i32).collect())
    }

    /// The turn that used this idempotency key.
    pub(crate) async fn find_by_key(&self, user_id: &str, key: &str) -> Result<Option<Known>> {
        let filter = doc! { "user_id": user_id, "idempotency_key": key };
        let row = self.turns.clone_with_type::<StateRow>().find_one(filter).await?;
        Ok(row.map(Known::from))
    }

    /// Notes that content has come: from now on the turn is paid for, even if this process dies. How much is held then
    /// must be known as well.
    pub(crate) async fn mark_content(&self, id: &str, held: i64) -> Result<(), WriteError> {
        let filter = doc! { "_id": id, "state": RUNNING };
        let change = Change::update(filter, doc! { "$set": { "content": true, "held": held } });
        self.writer.write(change).await
    }

    /// Writes down how the turn ended and what becomes of its hold, and sets the session and the slot free. A turn that
    /// costs nothing gives its idempotency key free too: asking again is a new attempt.
    pub(crate) async fn record_settlement(
        &self,
        due: &Due,
        answer: Option<&StoredAnswer>,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let mut set = doc! {
            "state": SETTLING,
            "held": due.held,
            "settlement": settlement_to_bson(due.settlement, due.settlement.cost()),
            "success": due.success,
            "total_tokens": due.total_tokens,
            "ended_at": time(now),
            "due_at": time(now + self.lease),
        };
        let mut unset = doc! { "slot": "", "asked_of": "", "asks": "", "stop_asked": "" };
        match answer {
            Some(answer) => {
                set.insert("answer", answer.to_document());
            }
            None => {
                unset.insert("idempotency_key", "");
            }
        }
        let filter = doc! { "_id": &due.id, "owner": &self.owner, "state": RUNNING };
        let update = doc! { "$set": set, "$unset": unset };
        self.writer.write(Change::update(filter, update)).await
    }

    /// Notes that accounting-service knows, and what it says was paid.
    pub(crate) async fn mark_settled(
        &self,
        due: &Due,
        paid: i64,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let set = doc! {
            "state": SETTLED,
            "settlement": settlement_to_bson(due.settlement, Some(paid)),
            "settled_at": time(now),
            "expires_at": time(now + KEPT),
            "usage_due": true,
        };
        let update = doc! { "$set": set, "$unset": { "due_at": "", "owner": "", "slot": "" } };
        // Told twice, it is reported once.
        let filter = doc! { "_id": &due.id, "state": { "$ne": SETTLED } };
        self.writer.write(Change::update(filter, update)).await
    }

    /// Leaves a settlement for later.
    pub(crate) async fn postpone(&self, due: &Due, due_at: DateTime<Utc>) -> Result<(), WriteError> {
        let filter = doc! { "_id": &due.id, "owner": &self.owner, "state": SETTLING };
        let set = doc! { "attempts": i64::from(due.attempts), "due_at": time(due_at) };
        self.writer
            .write(Change::update(filter, doc! { "$set": set }))
            .await
    }

    /// Says that these turns are still being worked on.
    pub(crate) async fn renew(&self, ids: &[String], now: DateTime<Utc>) -> Result<()> {
        let filter = doc! { "_id": { "$in": ids }, "owner": &self.owner, "state": RUNNING };
        let update = doc! { "$set": { "due_at": time(now + self.lease) } };
        self.turns.update_many(filter, update).await?;
        Ok(())
    }

    /// Takes over one turn that is due: its process died while it ran, or its settlement did not succeed.
    pub(crate) async fn take_overdue(&self, now: DateTime<Utc>) -> Result<Option<Overdue>> {
        let filter = doc! { "due_at": { "$lte": time(now) } };
        self.take(filter, now).await
    }

    /// Takes one settlement of this process' own that has not succeeded, due or not.
    pub(crate) async fn take_own(&self, now: DateTime<Utc>) -> Result<Option<Overdue>> {
        let lease_is_old = doc! { "$ne": time(now + self.lease) };
        let filter = doc! { "owner": &self.owner, "state": SETTLING, "due_at": lease_is_old };
        self.take(filter, now).await
    }

    async fn take(&self, filter: Document, now: DateTime<Utc>) -> Result<Option<Overdue>> {
        let update = doc! { "$set": { "owner": &self.owner, "due_at": time(now + self.lease) } };
        let turns = self.turns.clone_with_type::<StateRow>();
        let row = turns.find_one_and_update(filter, update).await?;
        Ok(row.map(Overdue::from))
    }

    /// How many turns have ended and are not settled, and since when the oldest of them has waited.
    pub(crate) async fn backlog(&self) -> Result<(i64, Option<DateTime<Utc>>)> {
        let pipeline = [
            doc! { "$match": { "due_at": { "$exists": true }, "state": SETTLING } },
            doc! { "$group": { "_id": 0, "count": { "$sum": 1_i64 }, "oldest": { "$min": "$ended_at" } } },
        ];
        let mut groups = self.turns.aggregate(pipeline).with_type::<BacklogRow>().await?;
        let row = groups.try_next().await?;
        Ok(row.map_or((0, None), BacklogRow::into_parts))
    }

    /// Whether a turn of this person is running, or accounting-service does not know of its end yet.
    pub(crate) async fn has_open(&self, user_id: &str) -> Result<bool> {
        let theirs = doc! { "$or": [{ "user_id": user_id }, { "payer_id": user_id }] };
        let filter = doc! { "$and": [theirs, { "due_at": { "$exists": true } }] };
        Ok(self.turns.find_one(filter).await?.is_some())
    }

    /// Forgets all answers that were kept for somebody's idempotency keys.
    pub(crate) async fn delete_answers_of(&self, user_id: &str) -> Result<()> {
        let filter = doc! {
            "user_id": user_id, "idempotency_key": { "$exists": true }, "answer": { "$exists": true },
        };
        self.turns
            .update_many(filter, doc! { "$unset": { "answer": "" } })
            .await?;
        Ok(())
    }

    /// Forgets the answers that were kept for idempotency keys in these sessions.
    pub(crate) async fn delete_answers(&self, user_id: &str, session_ids: &[String]) -> Result<()> {
        let filter =
            doc! { "user_id": user_id, "session_id": { "$in": session_ids }, "answer": { "$exists": true } };
        self.turns
            .update_many(filter, doc! { "$unset": { "answer": "" } })
            .await?;
        Ok(())
    }
}
