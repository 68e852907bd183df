//! Giving people a chatflow and taking it away.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

use bson::oid::ObjectId;
use common_http::{Caller, Clock};
use futures_util::{StreamExt as _, stream};

use super::{access::Access, people::People};
use crate::{
    domain::{
        assignment::{Assignment, AssignmentChange},
        chatflow::{Chatflow, SyncStatus},
        person::{Email, Person, Who},
        window::Window,
    },
    error::{Error, Result},
    store::{assignments::AssignmentStore, chatflows::ChatflowStore, people::PersonStore},
};

/// Addresses one bulk assignment may name.
pub(crate) const BULK_EMAILS_MAX: usize = 1_000;

/// People of one bulk assignment that are looked up at a time.
const BULK_LOOKUPS: usize = 8;

/// Assigns people to chatflows.
#[derive(Clone)]
pub(crate) struct Assignments {
    people: People,
    chatflows: ChatflowStore,
    rows: AssignmentStore,
    copies: PersonStore,
    access: Access,
    clock: Clock,
}

/// What became of one address of a bulk assignment.
#[derive(Debug)]
pub(crate) struct BulkOutcome {
    /// The address or the id as it was sent.
    pub(crate) who: String,
    /// What changed, or a sentence saying why nothing did.
    pub(crate) change: Result<AssignmentChange, String>,
}

impl Assignments {
    /// Assigns in these stores.
    pub(crate) fn new(
        people: People,
        chatflows: ChatflowStore,
        rows: AssignmentStore,
        copies: PersonStore,
        access: Access,
        clock: Clock,
    ) -> Self {
        Self {
            people,
            chatflows,
            rows,
            copies,
            access,
            clock,
        }
    }

    /// Gives the chatflow to somebody, who is told along with what changed.
    pub(crate) async fn assign(
        &self,
        admin: &Caller,
        flowise_id: &str,
        who: &Who,
        window: Option<Window>,
    ) -> Result<(Person, AssignmentChange)> {
        let chatflow = self.assignable(flowise_id).await?;
        let person = self.people.sync(admin, who).await?;
        let change = self
            .assign_id(&name_of(admin), &chatflow, &person.known.external_id, window)
            .await?;
        Ok((person, change))
    }

    /// A window in which somebody could use something.
    pub(crate) fn check(&self, window: Window) -> Result<Window> {
        let checked = window.check(self.clock.now());
        checked.map_err(|empty| Error::invalid("ends_at", empty.reason()))
    }

    /// Everything somebody was given and has not been deprived of, with the chatflow it is about.
    pub(crate) async fn list_chatflows_of(&self, user_id: &str) -> Result<Vec<(Assignment, Chatflow)>> {
        let rows = self.rows.list_given_to(user_id).await?;
        let ids: Vec<_> = rows
            .iter()
            .filter_map(|row| ObjectId::parse_str(&row.chatflow_id).ok())
            .collect();
        let chatflows = self.chatflows.list_by_ids(&ids).await?;
        let chatflows: HashMap<_, _> = chatflows
            .into_iter()
            .map(|chatflow| (chatflow.id.to_hex(), chatflow))
            .collect();
        let with_chatflow = |row: Assignment| {
            let chatflow = chatflows.get(&row.chatflow_id)?.clone();
            Some((row, chatflow))
        };
        Ok(rows.into_iter().filter_map(with_chatflow).collect())
    }

    /// Gives the chatflow to somebody who is known already.
    pub(super) async fn assign_id(
        &self,
        by: &str,
        chatflow: &Chatflow,
        user_id: &str,
        window: Option<Window>,
    ) -> Result<AssignmentChange> {
        let now = self.clock.now();
        let change = self.rows.assign(user_id, chatflow.id, window, by, now).await?;
        self.access.forget();
        Ok(change)
    }

    /// Gives the chatflow to many. Each address succeeds or fails for itself; nothing at all was done when
    /// auth-service could be asked about none.
    pub(crate) async fn assign_many(
        &self,
        admin: &Caller,
        flowise_id: &str,
        people: Vec<String>,
        window: Option<Window>,
    ) -> Result<Vec<BulkOutcome>> {
        let chatflow = self.assignable(flowise_id).await?;
        let mut seen = HashSet::new();
        let distinct = people
            .into_iter()
            .filter(|who| seen.insert(who.trim().to_lowercase()));
        let hopeless = AtomicBool::new(false);
        let outcomes = stream::iter(distinct).map(async |typed| {
            if hopeless.load(Ordering::Relaxed) {
                return (typed, None);
            }
            let outcome = self.assign_typed(admin, &chatflow, &typed, window).await;
            if outcome.as_ref().is_err_and(ends_the_batch) {
                hopeless.store(true, Ordering::Relaxed);
            }
            (typed, Some(outcome))
        });
        let outcomes: Vec<_> = outcomes.buffered(BULK_LOOKUPS).collect().await;
        report(outcomes)
    }

    async fn assign_typed(
        &self,
        admin: &Caller,
        chatflow: &Chatflow,
        typed: &str,
        window: Option<Window>,
    ) -> Result<AssignmentChange> {
        let who = Who::parse(typed).map_err(|reason| Error::invalid("email", reason))?;
        let person = self.people.sync(admin, &who).await?;
        let user_id = &person.known.external_id;
        self.assign_id(&name_of(admin), chatflow, user_id, window).await
    }

    /// Takes the chatflow from the person with this address.
    pub(crate) async fn revoke(&self, admin: &Caller, flowise_id: &str, email: &Email) -> Result<()> {
        let chatflow = self.known(flowise_id).await?;
        for person in self.people.candidates(admin, email).await? {
            let user_id = &person.known.external_id;
            if self.revoke_from(admin, &chatflow, user_id).await? {
                return Ok(());
            }
        }
        Err(Error::AssignmentNotFound)
    }

    /// Takes the chatflow from the person with this id, whether or not auth-service still knows them.
    pub(crate) async fn revoke_id(&self, admin: &Caller, flowise_id: &str, user_id: &str) -> Result<()> {
        let chatflow = self.known(flowise_id).await?;
        if self.revoke_from(admin, &chatflow, user_id).await? {
            return Ok(());
        }
        Err(Error::AssignmentNotFound)
    }

    async fn revoke_from(&self, admin: &Caller, chatflow: &Chatflow, user_id: &str) -> Result<bool> {
        let (by, now) = (name_of(admin), self.clock.now());
        let had = self.rows.revoke(user_id, chatflow.id, &by, now).await?;
        self.access.forget();
        Ok(had)
    }

    /// Who has the chatflow now or later, by an assignment of their own. Somebody who was never looked up has an
    /// assignment and no copy.
    pub(crate) async fn list_people(&self, flowise_id: &str) -> Result<Vec<(Assignment, Option<Person>)>> {
        let chatflow = self.known(flowise_id).await?;
        let now = self.clock.now();
        let assignments = self.rows.list_active_of_chatflow(chatflow.id, now).await?;
        self.with_people(assignments).await
    }

    /// A page of the same, by people's ids.
    pub(crate) async fn page_people(
        &self,
        flowise_id: &str,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<(Assignment, Option<Person>)>> {
        let chatflow = self.known(flowise_id).await?;
        let now = self.clock.now();
        let assignments = self.rows.page_of_chatflow(chatflow.id, now, after, limit).await?;
        self.with_people(assignments).await
    }

    async fn with_people(&self, assignments: Vec<Assignment>) -> Result<Vec<(Assignment, Option<Person>)>> {
        let ids: Vec<_> = assignments
            .iter()
            .map(|row| row.external_user_id.as_str())
            .collect();
        let people = self.copies.list_by_external_ids(&ids).await?;
        let mut people: HashMap<_, _> = people
            .into_iter()
            .map(|person| (person.known.external_id.clone(), person))
            .collect();
        let with_person = |row: Assignment| {
            let person = people.remove(&row.external_user_id);
            (row, person)
        };
        Ok(assignments.into_iter().map(with_person).collect())
    }

    pub(super) async fn known(&self, flowise_id: &str) -> Result<Chatflow> {
        self.chatflows
            .find(flowise_id)
            .await?
            .ok_or(Error::ChatflowNotFound)
    }

    /// A chatflow that has gone from Flowise is not given to anybody, and giving it does not bring it back.
    pub(super) async fn assignable(&self, flowise_id: &str) -> Result<Chatflow> {
        let chatflow = self.known(flowise_id).await?;
        match chatflow.sync_status {
            SyncStatus::Active | SyncStatus::Error => Ok(chatflow),
            SyncStatus::Deleted => Err(Error::ChatflowNotFound),
        }
    }
}

/// Who assigns, as the assignment names them: a user id, or one of our services.
pub(super) fn name_of(admin: &Caller) -> String {
    match admin {
        Caller::User(user) => user.id.clone(),
        Caller::Service(service) => format!("service:{}", service.name),
    }
}

/// Failures that have nothing to do with the one address.
pub(super) fn ends_the_batch(error: &Error) -> bool {
    matches!(
        error,
        Error::AuthUnavailable(_)
            | Error::Database(_)
            | Error::TokenRefused
            | Error::Forbidden
            | Error::TooManyAttempts { .. }
    )
}

/// What the administrator is told of each address; the failure itself when it is all there is to tell. Addresses that
/// were not tried any more share the fate of the one before them.
fn report(outcomes: Vec<(String, Option<Result<AssignmentChange>>)>) -> Result<Vec<BulkOutcome>> {
    let nothing_done = !outcomes.iter().any(|(_, outcome)| matches!(outcome, Some(Ok(_))));
    let (mut report, mut hopeless) = (Vec::with_capacity(outcomes.len()), None);
    for (who, outcome) in outcomes {
        let change = match outcome {
            Some(Err(error)) if ends_the_batch(&error) && nothing_done => return Err(error),
            Some(Err(error)) => {
                let detail = error.problem().detail().to_owned();
                if ends_the_batch(&error) {
                    hopeless = Some(detail.clone());
                }
                Err(detail)
            }
            Some(Ok(change)) => Ok(change),
            None => Err(hopeless.clone().unwrap_or_default()),
        };
        report.push(BulkOutcome { who, change });
    }
    Ok(report)
}
