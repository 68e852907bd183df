//! Finishes what was left half done: uploads that broke off with their process, deletions that did not come to their
//! end, and uploads that no message ever used.

use chrono::TimeDelta;

use super::Files;
use crate::{error::Result, store::files::Whose};

/// How long an upload may take from its announcement. The HTTP server gives up slower ones.
const ANNOUNCED_FOR: TimeDelta = TimeDelta::minutes(10);

/// How long whoever deletes is left alone with it.
const DELETING_FOR: TimeDelta = TimeDelta::minutes(1);

/// How long an upload waits for the message that uses it.
const UNUSED_FOR: TimeDelta = TimeDelta::hours(24);

impl Files {
    /// Does so once.
    pub(crate) async fn tidy(&self) -> Result<()> {
        let now = self.clock.now();
        self.rows
            .doom_forgotten(now - ANNOUNCED_FOR, now - UNUSED_FOR, now)
            .await?;
        self.remove_doomed(Whose::LeftBefore(now - DELETING_FOR)).await?;
        Ok(())
    }

    /// Counts what is kept, for the metrics.
    pub(crate) async fn measure(&self) -> Result<()> {
        self.metrics.counted(self.rows.count_all().await?);
        Ok(())
    }
}
