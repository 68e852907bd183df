//! What has to be tidied up now and then, by one replica at a time: files that were left half done, and conversations
//! that are older than they are to be kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common_http::{Clock, RequestContext};
use tokio_util::sync::CancellationToken;

use super::{conversations::Conversations, files::Files, widget::histories::Histories};
use crate::{
    error::{Error, Result},
    store::{leases::LeaseStore, sessions::SessionStore},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_mins(10);

/// The lease that lets one replica tidy up.
const LEASE: &str = "housekeeping";

/// How long the lease outlives the holder's next turn.
const LEASE_LIFETIME: Duration = Duration::from_mins(15);

/// Conversations looked at before it is asked again whether the service stops.
const BATCH: i64 = 100;

/// Tidies up.
pub(crate) struct Housekeeping {
    pub(crate) files: Files,
    pub(crate) conversations: Conversations,
    /// What visitors said.
    pub(crate) histories: Histories,
    pub(crate) sessions: SessionStore,
    pub(crate) leases: LeaseStore,
    /// How long a conversation is kept after its last message.
    pub(crate) retention: Option<Duration>,
    pub(crate) clock: Clock,
}

impl Housekeeping {
    /// Tidies up until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let round = RequestContext::background().scope(self.round(&stop));
            if let Err(error) = round.await {
                tracing::warn!(%error, "tidying up has not come to its end; it is tried again");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => break,
            }
        }
        // Whoever stops in the middle of it leaves the rest to another replica.
        let _ = self.leases.release(LEASE).await;
    }

    async fn round(&self, stop: &CancellationToken) -> Result<()> {
        self.files.measure().await?;
        if !self.leases.acquire(LEASE, LEASE_LIFETIME).await? {
            return Ok(());
        }
        self.files.tidy().await?;
        self.histories.expire(stop).await?;
        let Some(retention) = self.retention else {
            return Ok(());
        };
        let retention = TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX);
        let Some(cutoff) = self.clock.now().checked_sub_signed(retention) else {
            return Ok(());
        };
        let mut expired = 0;
        while !stop.is_cancelled() {
            let (looked_at, removed) = self.expire_batch(cutoff).await?;
            expired += removed;
            if looked_at == 0 {
                break;
            }
            self.leases.acquire(LEASE, LEASE_LIFETIME).await?;
        }
        if expired > 0 {
            tracing::info!(
                sessions = expired,
                "conversations came to the end of their retention"
            );
        }
        Ok(())
    }

    /// How many conversations will not be looked at again, and how many of them are gone.
    async fn expire_batch(&self, cutoff: DateTime<Utc>) -> Result<(u64, u64)> {
        let (mut done, mut removed) = (0, 0);
        for silent in self.sessions.list_silent(cutoff, BATCH).await? {
            match self
                .conversations
                .expire(&silent.user_id, &silent.id, cutoff)
                .await
            {
                Ok(is_gone) => {
                    done += 1;
                    removed += u64::from(is_gone);
                }
                // Somebody is talking in it at this moment.
                Err(Error::TurnRunning { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((done, removed))
    }
}
