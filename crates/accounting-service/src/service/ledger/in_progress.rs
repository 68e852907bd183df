//! Idempotency keys whose requests are being worked on in this process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::idempotency::IdempotencyKey;

type Keys = Arc<Mutex<HashSet<(String, String)>>>;

/// The keys in use. There are never more than requests that wait or run.
#[derive(Clone, Debug, Default)]
pub struct InProgress(Keys);

/// A key in use, until it is dropped.
#[derive(Debug)]
pub struct KeyInUse {
    keys: Keys,
    key: (String, String),
}

impl InProgress {
    /// Takes the key for one request; `None` when another has it.
    pub fn enter(&self, key: &IdempotencyKey) -> Option<KeyInUse> {
        let key = (key.scope.clone(), key.key.clone());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone()).then(|| KeyInUse {
            keys: self.0.clone(),
            key,
        })
    }
}

impl Drop for KeyInUse {
    fn drop(&mut self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Actor;

    #[test]
    fn a_key_is_in_use_until_it_is_let_go() {
        let in_progress = InProgress::default();
        let key = |caller: &Actor| IdempotencyKey::new(caller, "POST /x", "k".to_owned(), &1).unwrap();
        let (mine, others) = (key(&Actor::system()), key(&Actor::service("proxy-service")));

        let first = in_progress.enter(&mine);
        assert!(first.is_some() && in_progress.enter(&mine).is_none());
        assert!(in_progress.enter(&others).is_some(), "another caller's key");
        drop(first);
        assert!(in_progress.enter(&mine).is_some());
    }
}
