//! How long a caller waits for the writer, and what both know of each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// Either the writer begins a command or its caller gives it up; whoever comes first has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether the command is ours now. Only the first who asks gets it.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// The writer's side of what callers know of the database.
#[derive(Debug)]
pub(super) struct Outage(watch::Sender<bool>);

/// The callers' side.
#[derive(Clone, Debug)]
pub(super) struct OutageWatch(watch::Receiver<bool>);

impl Outage {
    /// No outage, so far.
    pub(super) fn new() -> (Self, OutageWatch) {
        let (outage, watch) = watch::channel(false);
        (Self(outage), OutageWatch(watch))
    }

    /// The database does not answer.
    pub(super) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// It does again.
    pub(super) fn end(&self) {
        self.0.send_if_modified(std::mem::take);
    }
}

impl OutageWatch {
    /// Waits until an outage has lasted so long, from now or from its later beginning.
    pub(super) async fn lasts(&self, duration: Duration) {
        let mut away = self.0.clone();
        loop {
            if away.wait_for(|away| *away).await.is_err() {
                // The writer is gone, and with it the question: the caller's channel says so.
                return std::future::pending().await;
            }
            tokio::select! {
                () = tokio::time::sleep(duration) => return,
                _ = away.wait_for(|away| !*away) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_claim_is_taken_once() {
        let claim = Claim::default();
        assert!(claim.take());
        assert!(!claim.clone().take() && !claim.take());
    }

    #[tokio::test]
    async fn only_an_outage_that_lasts_is_told() {
        let (outage, watch) = Outage::new();
        let now = || watch.lasts(Duration::ZERO).now_or_never();
        assert_eq!(now(), None, "there is none");

        outage.begin();
        let mut long = Box::pin(watch.lasts(Duration::from_hours(1)));
        assert_eq!((&mut long).now_or_never(), None, "it has only begun");
        watch.lasts(Duration::from_millis(1)).await;

        outage.end();
        assert_eq!((&mut long).now_or_never(), None, "it is over");
        assert_eq!(now(), None);
    }
}
