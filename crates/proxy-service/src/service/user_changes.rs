//! What auth-service says of people, taken in: copies are renewed, access ends for whoever was shut out, and whoever
//! was deleted is removed.

use common_http::{Clock, RequestContext, UserChangeBody, UserChangeKind, UserChangesBody};

use super::access::Access;
use crate::{
    domain::person::KnownPerson,
    error::Result,
    store::{
        assignments::AssignmentStore, departures::DepartureStore, feeds::FeedStore, groups::GroupStore,
        people::PersonStore,
    },
};

/// The feed's name in our database.
const FEED: &str = "user-changes";

/// Takes in the feed of user changes.
#[derive(Clone)]
pub(crate) struct UserChanges {
    people: PersonStore,
    assignments: AssignmentStore,
    groups: GroupStore,
    departures: DepartureStore,
    feeds: FeedStore,
    access: Access,
    clock: Clock,
}

impl UserChanges {
    /// Takes changes into these stores.
    pub(crate) fn new(
        people: PersonStore,
        assignments: AssignmentStore,
        groups: GroupStore,
        departures: DepartureStore,
        feeds: FeedStore,
        access: Access,
        clock: Clock,
    ) -> Self {
        Self {
            people,
            assignments,
            groups,
            departures,
            feeds,
            access,
            clock,
        }
    }

    /// Where the feed goes on.
    pub(crate) async fn cursor(&self) -> Result<String> {
        Ok(self.feeds.find_cursor(FEED).await?)
    }

    /// Does what the changes ask for, then notes the cursor. Done twice it does no more than once.
    pub(crate) async fn take_in(&self, changes: UserChangesBody) -> anyhow::Result<()> {
        let work = async {
            for change in &changes.changes {
                self.take_in_one(change).await?;
            }
            self.access.forget();
            self.feeds
                .update_cursor(FEED, &changes.cursor, self.clock.now())
                .await?;
            Ok(())
        };
        RequestContext::background().scope(work).await
    }

    async fn take_in_one(&self, change: &UserChangeBody) -> Result<()> {
        let now = self.clock.now();
        match (change.kind, known_person(change)) {
            (UserChangeKind::Deleted, _) => {
                self.departures.insert(&change.id, now).await?;
                // Access ends at once; conversations wait for turns that are running.
                self.assignments.delete_of(&change.id).await?;
                self.groups.delete_of(&change.id).await?;
                self.people.delete(&change.id).await?;
            }
            // Somebody we know nothing of is kept out too.
            (UserChangeKind::Disabled, Some(person)) => {
                self.people.upsert(&person, now).await?;
            }
            (UserChangeKind::Enabled | UserChangeKind::Updated, Some(person)) => {
                self.people.update(&person, now).await?;
            }
            (UserChangeKind::Disabled | UserChangeKind::Enabled | UserChangeKind::Updated, None) => {
                tracing::warn!("a change describes no account; it is skipped");
            }
            (UserChangeKind::Unknown, _) => {}
        }
        Ok(())
    }
}

fn known_person(change: &UserChangeBody) -> Option<KnownPerson> {
    Some(KnownPerson {
        external_id: change.id.clone(),
        username: change.username.clone()?,
        email: change.email.as_deref()?.trim().to_lowercase(),
        role: change.role.clone()?,
        is_active: change.kind != UserChangeKind::Disabled,
    })
}
