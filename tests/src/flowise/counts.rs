//! How often what happened, and a way to wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::watch;

/// A look at the counts. Those of predictions include every one that named a chatflow of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests of every kind, but for those to `/_control`.
    pub requests: u64,
    /// Predictions that were asked for.
    pub predictions: u64,
    /// Predictions that run now.
    pub running: u64,
    /// Running predictions that are silent until they are released.
    pub hanging: u64,
    /// Predictions that were answered as far as was meant, errors included.
    pub finished: u64,
    /// Predictions whose client left before that.
    pub left: u64,
    /// Calls of abort, also those that named nothing that ran.
    pub abort_calls: u64,
    /// Predictions that ended early because of such a call.
    pub aborted: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) predictions: AtomicU64,
    pub(super) running: AtomicU64,
    pub(super) hanging: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) abort_calls: AtomicU64,
    pub(super) aborted: AtomicU64,
    changed: watch::Sender<()>,
}

impl Counters {
    pub(super) fn add(&self, counter: impl Fn(&Self) -> &AtomicU64) {
        counter(self).fetch_add(1, Ordering::SeqCst);
        self.changed.send_replace(());
    }

    pub(super) fn subtract(&self, counter: impl Fn(&Self) -> &AtomicU64) {
        counter(self).fetch_sub(1, Ordering::SeqCst);
        self.changed.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            requests: read(&self.requests),
            predictions: read(&self.predictions),
            running: read(&self.running),
            hanging: read(&self.hanging),
            finished: read(&self.finished),
            left: read(&self.left),
            abort_calls: read(&self.abort_calls),
            aborted: read(&self.aborted),
        }
    }
}
