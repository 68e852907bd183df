//! The turns that run in this process: their leases have to be renewed, and others may want something of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::journal::Journal;

/// How long a reader who comes back counts as listening after the last sign of it.
const WATCHED_FOR: Duration = Duration::from_secs(5);

/// The running turns by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    turns: Arc<Mutex<HashMap<String, Arc<Live>>>>,
}

/// What others may want of a running turn.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) turn_id: String,
    pub(super) user_id: String,
    pub(super) session_id: String,
    /// What it has said.
    pub(super) journal: Journal,
    /// Cancelled when its owner wants no more of it.
    pub(super) stop: CancellationToken,
    watched_until: Mutex<Option<Instant>>,
}

impl Live {
    /// A turn whose events can be read again, when `is_kept` says so.
    pub(super) fn new(turn_id: &str, user_id: &str, session_id: &str, is_kept: bool) -> Self {
        Self {
            turn_id: turn_id.to_owned(),
            user_id: user_id.to_owned(),
            session_id: session_id.to_owned(),
            journal: Journal::new(is_kept),
            stop: CancellationToken::new(),
            watched_until: Mutex::default(),
        }
    }

    /// Notes that somebody reads its events from where they are written down.
    pub(super) fn watch(&self) {
        *self.watched() = Some(Instant::now() + WATCHED_FOR);
    }

    /// Until when somebody reads them so, when somebody does.
    pub(super) fn watched_until(&self) -> Option<Instant> {
        self.watched().filter(|until| Instant::now() < *until)
    }

    fn watched(&self) -> MutexGuard<'_, Option<Instant>> {
        self.watched_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Adds a turn until what is returned is dropped.
    pub(super) fn enter(&self, live: Live) -> Entered {
        let live = Arc::new(live);
        self.lock().insert(live.turn_id.clone(), live.clone());
        Entered {
            running: self.clone(),
            live,
        }
    }

    /// One of them.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.lock().get(id).cloned()
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One running turn.
#[derive(Debug)]
pub(super) struct Entered {
    running: Running,
    /// What others may want of it.
    pub(super) live: Arc<Live>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.lock().remove(&self.live.turn_id);
    }
}
