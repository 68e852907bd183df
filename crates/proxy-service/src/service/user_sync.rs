//! Copies of everybody auth-service knows, renewed on demand.
//!
//! Everybody is read page by page and compared with the copies kept here; whoever auth-service does not name any more is
//! switched off. One run at a time on all replicas. A run goes on to its end when whoever asked for it has left; how it
//! stands can be asked for at any replica.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use common_http::{Caller, Clock, RequestContext};
use mongodb::Database;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{access::Access, people::People};
use crate::{
    domain::person::KnownPerson,
    error::{Error, Result},
    store::{
        leases::LeaseStore,
        people::PersonStore,
        user_syncs::{UserSyncCounts, UserSyncRun, UserSyncStore},
    },
    upstream::Failure,
};

/// The lease that lets one run at a time.
const LEASE: &str = "user-sync";

/// How long one page may take before another run may begin.
const PAGE_MAX: Duration = Duration::from_mins(1);

/// How long the answer waits for the end: less than the web client does.
const PATIENCE: Duration = Duration::from_secs(20);

/// Synchronises people.
#[derive(Clone)]
pub(crate) struct UserSync {
    people: People,
    copies: PersonStore,
    runs: UserSyncStore,
    access: Access,
    clock: Clock,
    database: Database,
    tasks: TaskTracker,
    runtime: Handle,
}

impl UserSync {
    /// Runs as tasks of the runtime this is called on.
    pub(crate) fn new(
        people: People,
        copies: PersonStore,
        access: Access,
        clock: Clock,
        database: &Database,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            people,
            copies,
            runs: UserSyncStore::new(database),
            access,
            clock,
            database: database.clone(),
            tasks,
            runtime: Handle::current(),
        }
    }

    /// Begins a run unless one is under way, and waits a while for its end. What is returned may still be running.
    pub(crate) async fn run(&self, admin: Caller) -> Result<UserSyncRun> {
        // A holder of its own for each run: two runs of one replica exclude each other too.
        let lease = LeaseStore::new(&self.database, Uuid::new_v4().to_string());
        if !lease.acquire(LEASE, PAGE_MAX).await? {
            let latest = self.latest().await?;
            return Ok(latest.unwrap_or_else(|| UserSyncRun::begun(self.clock.now())));
        }
        let begun = UserSyncRun::begun(self.clock.now());
        self.runs.save(&begun).await?;
        let sync = self.clone();
        let run = begun.clone();
        let work = async move { sync.run_to_the_end(admin, run, lease).await };
        let work = RequestContext::current().scope(work);
        let mut running = self.tasks.spawn_on(work, &self.runtime);
        match timeout(PATIENCE, &mut running).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                tracing::error!(%error, "the synchronisation of people broke off");
                Err(Error::Stopping)
            }
            Err(_) => Ok(self.latest().await?.unwrap_or(begun)),
        }
    }

    /// How the latest run stands or ended.
    pub(crate) async fn latest(&self) -> Result<Option<UserSyncRun>> {
        Ok(self.runs.find().await?)
    }

    async fn run_to_the_end(
        &self,
        admin: Caller,
        mut run: UserSyncRun,
        lease: LeaseStore,
    ) -> Result<UserSyncRun> {
        let done = self.copy_everybody(&admin, &mut run, &lease).await;
        run.finished_at = Some(self.clock.now());
        run.failure = done.as_ref().err().map(|error| error.code().to_owned());
        let saved = self.runs.save(&run).await;
        // Whoever waits need not wait for it to run out; where this fails they do.
        if let Err(error) = lease.release(LEASE).await {
            tracing::warn!(%error, "the lease of the synchronisation of people was not given back");
        }
        done?;
        saved?;
        Ok(run)
    }

    async fn copy_everybody(&self, admin: &Caller, run: &mut UserSyncRun, lease: &LeaseStore) -> Result<()> {
        let began_at = run.began_at;
        let counts = &mut run.counts;
        // The copies as they are before a page is written are what it is compared with.
        let mut pages = self.people.pages(admin, None);
        while let Some(page) = pages.next().await? {
            if !lease.acquire(LEASE, PAGE_MAX).await? {
                // Another run has begun since: this one was thought dead.
                return Err(Error::Stopping);
            }
            self.compare(&page, counts).await?;
            self.copies.upsert_many(&page, self.clock.now()).await?;
            self.runs.save_progress(counts).await?;
        }
        if counts.total == 0 {
            // The administrator who asks is somebody: an empty list is an answer of something else.
            return Err(Error::AuthUnavailable(Failure::NotJson));
        }
        let gone = self
            .copies
            .deactivate_not_copied_since(began_at, self.clock.now())
            .await?;
        counts.deactivated += gone;
        self.access.forget();
        Ok(())
    }

    async fn compare(&self, page: &[KnownPerson], counts: &mut UserSyncCounts) -> Result<()> {
        let ids: Vec<_> = page.iter().map(|person| person.external_id.as_str()).collect();
        let before = self.copies.list_by_external_ids(&ids).await?;
        let before: HashMap<_, _> = before
            .into_iter()
            .map(|person| (person.known.external_id.clone(), person.known))
            .collect();
        for person in page {
            counts.total += 1;
            *match before.get(&person.external_id) {
                None => &mut counts.created,
                Some(before) if before == person => &mut counts.unchanged,
                Some(before) if before.is_active && !person.is_active => &mut counts.deactivated,
                Some(_) => &mut counts.updated,
            } += 1;
        }
        Ok(())
    }
}

impl UserSyncRun {
    fn begun(began_at: DateTime<Utc>) -> Self {
        Self {
            began_at,
            finished_at: None,
            failure: None,
            counts: UserSyncCounts::default(),
        }
    }
}
