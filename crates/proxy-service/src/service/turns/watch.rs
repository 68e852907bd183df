//! Watches over a running turn: who still listens, and until when it may go on.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{WholeAnswer, running::Live};
use crate::{
    domain::{failure::Failure, turn::streaming_grace},
    relay,
};

/// How long a reader that has stalled may take for the last events. The turn is settled by then.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Who a turn is made for.
#[derive(Debug)]
pub(super) enum Listener {
    /// Somebody who reads events as they come.
    Stream(relay::Sender),
    /// Somebody who waits for the whole answer.
    Whole(mpsc::Sender<WholeAnswer>),
}

impl Listener {
    async fn send(&self, events: Bytes) -> Result<(), relay::Gone> {
        match self {
            Self::Stream(relay) => relay.send(events).await,
            Self::Whole(_) => Ok(()),
        }
    }

    async fn gone(&self) {
        match self {
            Self::Stream(relay) => relay.closed().await,
            Self::Whole(answer) => answer.closed().await,
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Stream(relay) => relay.is_closed(),
            Self::Whole(answer) => answer.is_closed(),
        }
    }
}

/// How long turns may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In all.
    pub(super) streaming_max: Duration,
    /// After the client has left.
    pub(super) abandoned_drain: Duration,
    /// From SIGTERM to the end of the process.
    pub(super) shutdown_grace: Duration,
}

/// The watch over one turn.
#[derive(Debug)]
pub(super) struct Watch {
    listener: Option<Listener>,
    live: Arc<Live>,
    limits: Limits,
    ends_at: Instant,
    abandoned_until: Option<Instant>,
    stop: CancellationToken,
    stops_at: Option<Instant>,
}

impl Watch {
    /// Begins now.
    pub(super) fn new(listener: Listener, live: Arc<Live>, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            listener: Some(listener),
            live,
            limits,
            ends_at: Instant::now() + limits.streaming_max,
            abandoned_until: None,
            stop,
            stops_at: None,
        }
    }

    /// Whether nobody listens any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.listener.as_ref().is_none_or(Listener::is_gone) && self.live.watched_until().is_none()
    }

    /// Whether its owner has stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.live.stop.is_cancelled()
    }

    /// Does `work` unless the turn has to end first.
    pub(super) async fn guard<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = pin!(work);
        loop {
            let (at, why) = self.end();
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.live.stop.cancelled() => return Err(Failure::Stopped),
                () = gone(self.listener.as_ref()) => self.abandon(),
                () = self.stop.cancelled(), if self.stops_at.is_none() => {
                    self.stops_at = Some(Instant::now() + streaming_grace(self.limits.shutdown_grace));
                }
                () = sleep_until(at) => match self.live.watched_until() {
                    // Whoever lost the connection has come back to where the events are written down.
                    Some(until) if why == Failure::Abandoned => {
                        self.abandoned_until = Some(until + self.limits.abandoned_drain);
                    }
                    _ => return Err(why),
                },
            }
        }
    }

    /// Sends events, waiting for a slow reader; a reader who has gone is not waited for.
    pub(super) async fn deliver(&mut self, events: Bytes) -> Result<(), Failure> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let sent = self.guard(listener.send(events)).await;
        match sent {
            Ok(Err(relay::Gone)) => self.abandon(),
            Ok(Ok(())) | Err(_) => self.listener = Some(listener),
        }
        sent.map(|_| ())
    }

    /// Sends the last events and ends the stream, or hands over the whole answer.
    pub(super) async fn finish(self, events: Bytes, answer: impl FnOnce() -> WholeAnswer) {
        match self.listener {
            Some(Listener::Stream(relay)) => {
                let sent = timeout(FAREWELL_TIMEOUT, relay.send(events)).await;
                if sent.is_err() {
                    tracing::warn!("the reader has stalled; the stream ends without its last events");
                }
            }
            Some(Listener::Whole(whole)) => {
                // There is room for one, and this is it; or nobody waits.
                let _ = whole.try_send(answer());
            }
            None => {}
        }
    }

    fn abandon(&mut self) {
        self.listener = None;
        self.abandoned_until = Some(Instant::now() + self.limits.abandoned_drain);
    }

    /// When the turn has to end, and why.
    fn end(&self) -> (Instant, Failure) {
        let ends = [
            Some((self.ends_at, Failure::TooLong)),
            self.abandoned_until.map(|at| (at, Failure::Abandoned)),
            self.stops_at.map(|at| (at, Failure::Stopping)),
        ];
        let first = ends.into_iter().flatten().min_by_key(|(at, _)| *at);
        first.unwrap_or((self.ends_at, Failure::TooLong))
    }
}

async fn gone(listener: Option<&Listener>) {
    match listener {
        Some(listener) => listener.gone().await,
        None => std::future::pending().await,
    }
}
