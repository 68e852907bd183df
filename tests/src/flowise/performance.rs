//! A running prediction: plays its steps, keeps count, listens for an abort.

use std::{collections::VecDeque, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{script::Step, server::State, template::token_frame};

/// How long Flowise lets a stream be silent.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);

/// Between two tokens of an answer without an end.
const BETWEEN_ENDLESS: Duration = Duration::from_millis(10);

/// Counts one prediction from its start to its end, however that comes.
#[derive(Debug)]
pub(super) struct Running {
    state: Arc<State>,
    key: (String, String),
    pub(super) abort: CancellationToken,
    is_over: bool,
}

impl Running {
    /// Registers a prediction under the key that an abort names it by. The newest owner of a key is the one that counts.
    pub(super) fn new(state: &Arc<State>, chatflow: &str, chat_id: &str) -> Self {
        let key = (chatflow.to_owned(), chat_id.to_owned());
        let abort = CancellationToken::new();
        state.register(key.clone(), abort.clone());
        state.counters.add(|counters| &counters.running);
        Self {
            state: Arc::clone(state),
            key,
            abort,
            is_over: false,
        }
    }

    /// The prediction has got as far as was meant.
    pub(super) fn finish(&mut self) {
        if !self.is_over {
            self.is_over = true;
            self.state.counters.add(|counters| &counters.finished);
        }
    }

    /// An abort has ended the prediction.
    pub(super) fn mark_aborted(&self) {
        self.state.counters.add(|counters| &counters.aborted);
    }

    /// The prediction hangs from now on.
    pub(super) fn hang(&self) -> Hanging {
        Hanging::new(&self.state)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.unregister(&self.key, &self.abort);
        if !self.is_over {
            self.state.counters.add(|counters| &counters.left);
        }
        self.state.counters.subtract(|counters| &counters.running);
    }
}

/// A prediction that says nothing until it is released. Counted until then, or until it is given up.
#[derive(Debug)]
pub(super) struct Hanging {
    state: Arc<State>,
    releases: watch::Receiver<()>,
}

impl Hanging {
    fn new(state: &Arc<State>) -> Self {
        // Listens before it is counted, so that whoever sees the count can release it.
        let releases = state.releases();
        state.counters.add(|counters| &counters.hanging);
        Self {
            state: Arc::clone(state),
            releases,
        }
    }

    /// Ends with the first release since this hangs.
    pub(super) async fn released(&mut self) {
        // The sender lives in the state that is held here.
        let _ = self.releases.changed().await;
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.state.counters.subtract(|counters| &counters.hanging);
    }
}

/// Plays a streamed answer.
pub(super) struct Performance {
    pub(super) steps: VecDeque<Step>,
    /// What to play instead of the rest when the prediction is aborted; a flow without it cannot be aborted.
    pub(super) on_abort: Option<VecDeque<Step>>,
    pub(super) heartbeat: Duration,
    /// Before `running`, so that what is counted as running no more is not counted as hanging either.
    pub(super) hanging: Option<Hanging>,
    pub(super) running: Running,
}

impl Performance {
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut performance| async move {
            let write = performance.next_write().await?;
            Some((write, performance))
        })
    }

    /// Plays on whether or not somebody reads; what comes back is what this reader gets of it.
    pub(super) fn run_on(mut self) -> impl Stream<Item = io::Result<Bytes>> {
        let (state, chat_id) = (Arc::clone(&self.running.state), self.running.key.1.clone());
        let reader = state.chats.open(&chat_id);
        actix_web::rt::spawn(async move {
            while let Some(Ok(bytes)) = self.next_write().await {
                state.chats.write(&chat_id, bytes).await;
            }
            state.chats.close(&chat_id);
        });
        stream::unfold(reader, |mut reader| async move {
            let bytes = reader.recv().await?;
            Some((Ok(bytes), reader))
        })
    }

    async fn next_write(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.running.abort.is_cancelled() {
                self.give_up();
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => {
                    // A client may close as soon as it has read the last event, before the body has ended.
                    if self.steps.is_empty() {
                        self.running.finish();
                    }
                    return Some(Ok(bytes));
                }
                Some(Step::Wait(Duration::ZERO)) => tokio::task::yield_now().await,
                Some(Step::Wait(pause)) => {
                    let end = Instant::now() + pause;
                    if is_quiet_until(tokio::time::sleep_until(end), self.abortable(), self.heartbeat).await {
                        continue;
                    }
                    self.steps
                        .push_front(Step::Wait(end.saturating_duration_since(Instant::now())));
                    return Some(Ok(heartbeat()));
                }
                Some(Step::Hang) => {
                    let abort = self.abortable();
                    // Kept over heartbeats, or a release between two of them would be missed.
                    let hanging = self.hanging.get_or_insert_with(|| self.running.hang());
                    if is_quiet_until(hanging.released(), abort, self.heartbeat).await {
                        self.hanging = None;
                        continue;
                    }
                    self.steps.push_front(Step::Hang);
                    return Some(Ok(heartbeat()));
                }
                Some(Step::Endless) => {
                    self.steps.push_front(Step::Endless);
                    self.steps.push_front(Step::Wait(BETWEEN_ENDLESS));
                    return Some(Ok(token_frame("on and on ")));
                }
                Some(Step::Cut) => {
                    self.running.finish();
                    return Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut as told")));
                }
                None => {
                    self.running.finish();
                    return None;
                }
            }
        }
    }

    fn abortable(&self) -> Option<CancellationToken> {
        self.on_abort.as_ref().map(|_tail| self.running.abort.clone())
    }

    fn give_up(&mut self) {
        if let Some(tail) = self.on_abort.take() {
            self.steps = tail;
            self.running.mark_aborted();
        }
    }
}

/// Waits for `end` or for an abort; says no when a heartbeat is due before both.
async fn is_quiet_until(
    end: impl Future<Output = ()>,
    abort: Option<CancellationToken>,
    heartbeat: Duration,
) -> bool {
    let aborted = async move {
        match abort {
            Some(abort) => abort.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = end => true,
        () = aborted => true,
        () = tokio::time::sleep(heartbeat) => false,
    }
}

fn heartbeat() -> Bytes {
    Bytes::from_static(b":heartbeat\n\n")
}
