//! The turns that run in this process, whose leases have to be renewed.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The ids of running turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    ids: Arc<Mutex<HashSet<String>>>,
}

impl Running {
    /// Adds a turn until what is returned is dropped.
    pub(super) fn enter(&self, id: &str) -> Entered {
        self.lock().insert(id.to_owned());
        Entered {
            running: self.clone(),
            id: id.to_owned(),
        }
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One running turn.
#[derive(Debug)]
pub(super) struct Entered {
    running: Running,
    id: String,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}
