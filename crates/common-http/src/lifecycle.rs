//! How a service stops: readiness fails first, then open work ends or drains, then the process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::dev::{Server, ServerHandle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The life of one service. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    stopping: Arc<AtomicBool>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Says that the service is about to stop while it still takes requests: `/readyz` fails, connections are closed
    /// after their answer, so that whoever routes here goes elsewhere before the port is closed.
    pub fn announce_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the service has begun to stop; `/readyz` answers 503 from then on.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Cancelled when the service begins to stop.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Work that the process waits for before it ends, up to the grace.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Begins to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.cancel.cancel();
    }

    /// Runs `server` until it ends, a signal arrives or [`Lifecycle::stop`] is called; then lets open requests and
    /// tracked tasks finish for at most `grace`. After a signal requests are taken for another `delay`; a second
    /// signal, or `stop`, cuts that short. Build the server with `.disable_signals()`.
    pub async fn run(&self, server: Server, delay: Duration, grace: Duration) -> std::io::Result<()> {
        let handle: ServerHandle = server.handle();
        let mut server = tokio::spawn(server);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            ended = &mut server => return ended.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.cancel.cancelled() => {}
        }
        tracing::info!("stopping");
        self.announce_stop();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.cancel.cancelled() => {}
        }
        self.stop();
        self.tasks.close();
        let drain = async {
            handle.stop(true).await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            tracing::warn!("the grace ran out before all work was done");
        }
        tracing::info!("stopped");
        Ok(())
    }
}
