//! Giving people a chatflow and taking it away.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

use common_http::{Caller, Clock};
use futures_util::{StreamExt as _, stream};

use super::{access::Access, people::People};
use crate::{
    domain::{
        assignment::{Assignment, AssignmentChange},
        chatflow::{Chatflow, SyncStatus},
        person::{Email, Person},
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
    /// The address as it was sent.
    pub(crate) email: String,
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

    /// Gives the chatflow to the person with this address.
    pub(crate) async fn assign(
        &self,
        admin: &Caller,
        flowise_id: &str,
        email: &Email,
    ) -> Result<AssignmentChange> {
        let chatflow = self.assignable(flowise_id).await?;
        self.assign_to(admin, &chatflow, email).await
    }

    /// Gives the chatflow to many. Each address succeeds or fails for itself; nothing at all was done when
    /// auth-service could be asked about none.
    pub(crate) async fn assign_many(
        &self,
        admin: &Caller,
        flowise_id: &str,
        emails: Vec<String>,
    ) -> Result<Vec<BulkOutcome>> {
        let chatflow = self.assignable(flowise_id).await?;
        let mut seen = HashSet::new();
        let distinct = emails
            .into_iter()
            .filter(|email| seen.insert(email.trim().to_lowercase()));
        let hopeless = AtomicBool::new(false);
        let outcomes = stream::iter(distinct).map(async |typed| {
            if hopeless.load(Ordering::Relaxed) {
                return (typed, None);
            }
            let outcome = self.assign_typed(admin, &chatflow, &typed).await;
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
    ) -> Result<AssignmentChange> {
        let email = Email::parse(typed).map_err(|reason| Error::invalid("email", reason))?;
        self.assign_to(admin, chatflow, &email).await
    }

    async fn assign_to(
        &self,
        admin: &Caller,
        chatflow: &Chatflow,
        email: &Email,
    ) -> Result<AssignmentChange> {
        let person = self.people.sync_by_email(admin, email).await?;
        let external_id = &person.known.external_id;
        let now = self.clock.now();
        let change = self
            .rows
            .assign(external_id, chatflow.id, &name_of(admin), now)
            .await?;
        self.access.forget();
        Ok(change)
    }

    /// Takes the chatflow from the person with this address.
    pub(crate) async fn revoke(&self, admin: &Caller, flowise_id: &str, email: &Email) -> Result<()> {
        let chatflow = self.known(flowise_id).await?;
        for person in self.people.candidates(admin, email).await? {
            let external_id = &person.known.external_id;
            let now = self.clock.now();
            if self
                .rows
                .revoke(external_id, chatflow.id, &name_of(admin), now)
                .await?
            {
                self.access.forget();
                return Ok(());
            }
        }
        Err(Error::AssignmentNotFound)
    }

    /// Who has the chatflow. Somebody who was never looked up has an assignment and no copy.
    pub(crate) async fn list_people(&self, flowise_id: &str) -> Result<Vec<(Assignment, Option<Person>)>> {
        let chatflow = self.known(flowise_id).await?;
        let assignments = self.rows.list_active_of_chatflow(chatflow.id).await?;
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

    async fn known(&self, flowise_id: &str) -> Result<Chatflow> {
        self.chatflows
            .find(flowise_id)
            .await?
            .ok_or(Error::ChatflowNotFound)
    }

    /// A chatflow that has gone from Flowise is not given to anybody, and giving it does not bring it back.
    async fn assignable(&self, flowise_id: &str) -> Result<Chatflow> {
        let chatflow = self.known(flowise_id).await?;
        match chatflow.sync_status {
            SyncStatus::Active | SyncStatus::Error => Ok(chatflow),
            SyncStatus::Deleted => Err(Error::ChatflowNotFound),
        }
    }
}

/// Who assigns, as the assignment names them: a user id, or one of our services.
fn name_of(admin: &Caller) -> String {
    match admin {
        Caller::User(user) => user.id.clone(),
        Caller::Service(service) => format!("service:{}", service.name),
    }
}

/// Failures that have nothing to do with the one address.
fn ends_the_batch(error: &Error) -> bool {
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
    for (email, outcome) in outcomes {
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
        report.push(BulkOutcome { email, change });
    }
    Ok(report)
}
