//! Looks for assignments that give nobody anything: of people who are gone or switched off, to chatflows that are gone.
//!
//! People are looked up among the copies kept here, which follow what happens at auth-service. Who has no copy is asked
//! for there, up to a bound; beyond it `POST /api/v1/admin/users/sync` makes copies of everybody.

use std::collections::HashMap;

use bson::{Bson, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_http::{Caller, Clock};
use futures_util::{StreamExt as _, stream};

use super::{
    access::Access,
    assignments::{ends_the_batch, name_of},
    people::People,
};
use crate::{
    domain::{
        chatflow::{Chatflow, SyncStatus},
        person::{Who, user_id},
    },
    error::{Error, Result},
    store::{
        assignments::{AssignmentStore, AuditedAssignment},
        chatflows::ChatflowStore,
        people::PersonStore,
    },
};

/// Assignments looked at together.
const PIECE: usize = 500;

/// People without a copy who are asked for in one audit, and at a time.
const LOOKUPS_MAX: usize = 1_000;
const LOOKUPS_AT_ONCE: usize = 8;

/// Invalid assignments a report names one by one; further ones are only counted.
pub(crate) const DETAILS_MAX: usize = 1_000;

/// Audits assignments.
#[derive(Clone)]
pub(crate) struct Audits {
    rows: AssignmentStore,
    chatflows: ChatflowStore,
    copies: PersonStore,
    people: People,
    access: Access,
    clock: Clock,
}

/// What is wrong with an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issue {
    UserNotFound,
    UserInactive,
    UserUnknown,
    ChatflowNotFound,
    ChatflowDeleted,
}

impl Issue {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UserNotFound => "user_not_found",
            Self::UserInactive => "user_inactive",
            Self::UserUnknown => "user_unknown",
            Self::ChatflowNotFound => "chatflow_not_found",
            Self::ChatflowDeleted => "chatflow_deleted",
        }
    }

    /// A sentence for administrators.
    pub(crate) const fn details(self) -> &'static str {
        match self {
            Self::UserNotFound => "auth-service knows nobody with this id",
            Self::UserInactive => "the account is shut, or its address is not proven",
            Self::UserUnknown => "nobody has looked this person up yet; synchronise users",
            Self::ChatflowNotFound => "there is no such chatflow",
            Self::ChatflowDeleted => "Flowise does not list the chatflow any more",
        }
    }

    /// Whether cleaning up may touch it: nobody is deprived of anything because they were not looked up.
    const fn is_certain(self) -> bool {
        !matches!(self, Self::UserUnknown)
    }
}

/// An assignment that gives nobody anything.
#[derive(Clone, Debug)]
pub(crate) struct Invalid {
    pub(crate) assignment: AuditedAssignment,
    pub(crate) chatflow_name: Option<String>,
    pub(crate) issue: Issue,
}

/// What an audit found.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) checked: usize,
    pub(crate) invalid: usize,
    /// As many of them as a report has room for.
    pub(crate) details: Vec<Invalid>,
    pub(crate) at: DateTime<Utc>,
}

/// What becomes of invalid assignments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CleanUp {
    Deactivate,
    Delete,
}

/// What was found and what was done.
#[derive(Debug)]
pub(crate) struct CleanedUp {
    pub(crate) audit: Audit,
    pub(crate) deactivated: u64,
    pub(crate) deleted: u64,
}

/// What is remembered while one audit goes on.
struct Run<'a> {
    admin: &'a Caller,
    chatflows: HashMap<String, Chatflow>,
    lookups: usize,
    found: Vec<Bson>,
    audit: Audit,
}

impl Audits {
    /// Audits these stores.
    pub(crate) fn new(
        rows: AssignmentStore,
        chatflows: ChatflowStore,
        copies: PersonStore,
        people: People,
        access: Access,
        clock: Clock,
    ) -> Self {
        Self {
            rows,
            chatflows,
            copies,
            people,
            access,
            clock,
        }
    }

    /// Looks at every active assignment, or at those of these chatflows.
    pub(crate) async fn audit(&self, admin: &Caller, flowise_ids: Option<&[String]>) -> Result<Audit> {
        let done = self
            .clean_up(admin, flowise_ids, CleanUp::Deactivate, true)
            .await?;
        Ok(done.audit)
    }

    /// The same, and ends or removes what is invalid beyond doubt, unless it is a rehearsal.
    pub(crate) async fn clean_up(
        &self,
        admin: &Caller,
        flowise_ids: Option<&[String]>,
        action: CleanUp,
        is_rehearsal: bool,
    ) -> Result<CleanedUp> {
        let (mut deactivated, mut deleted) = (0, 0);
        let by = name_of(admin);
        let mut after = None;
        let scope = self.scope(flowise_ids).await?;
        let mut run = self.begin(admin);
        while let Some(last) = self
            .look_at_piece(&mut run, scope.as_deref(), after.as_ref())
            .await?
        {
            after = Some(last);
            let found = std::mem::take(&mut run.found);
            if is_rehearsal || found.is_empty() {
                continue;
            }
            match action {
                CleanUp::Deactivate => {
                    deactivated += self.rows.revoke_ids(&found, &by, self.clock.now()).await?;
                }
                CleanUp::Delete => deleted += self.rows.delete_ids(&found).await?,
            }
            self.access.forget();
        }
        Ok(CleanedUp {
            audit: run.audit,
            deactivated,
            deleted,
        })
    }

    /// Our ids of these chatflows; all of them must be known.
    async fn scope(&self, flowise_ids: Option<&[String]>) -> Result<Option<Vec<String>>> {
        let Some(flowise_ids) = flowise_ids else {
            return Ok(None);
        };
        let asked: Vec<_> = flowise_ids.iter().map(String::as_str).collect();
        let chatflows = self.chatflows.list_by_flowise_ids(&asked).await?;
        let is_known = |id: &str| chatflows.iter().any(|chatflow| chatflow.flowise_id == id);
        if !asked.iter().all(|id| is_known(id)) {
            return Err(Error::ChatflowNotFound);
        }
        Ok(Some(
            chatflows.iter().map(|chatflow| chatflow.id.to_hex()).collect(),
        ))
    }

    fn begin<'a>(&self, admin: &'a Caller) -> Run<'a> {
        let audit = Audit {
            checked: 0,
            invalid: 0,
            details: Vec::new(),
            at: self.clock.now(),
        };
        Run {
            admin,
            chatflows: HashMap::new(),
            lookups: 0,
            found: Vec::new(),
            audit,
        }
    }

    /// Looks at the next assignments; the id of the last of them, or `None` when there are no more.
    async fn look_at_piece(
        &self,
        run: &mut Run<'_>,
        scope: Option<&[String]>,
        after: Option<&Bson>,
    ) -> Result<Option<Bson>> {
        let limit = i64::try_from(PIECE).unwrap_or(i64::MAX);
        let rows = self.rows.list_audited(scope, after, limit).await?;
        let Some(last) = rows.last().map(|row| row.id.clone()) else {
            return Ok(None);
        };
        self.read_chatflows(run, &rows).await?;
        let people = self.look_up(run, &rows).await?;
        run.audit.checked += rows.len();
        for assignment in rows {
            let chatflow = run.chatflows.get(&assignment.chatflow_id);
            let of_chatflow = match chatflow.map(|chatflow| chatflow.sync_status) {
                None => Some(Issue::ChatflowNotFound),
                Some(SyncStatus::Deleted) => Some(Issue::ChatflowDeleted),
                Some(SyncStatus::Active | SyncStatus::Error) => None,
            };
            let of_person = people.get(&assignment.external_user_id).copied().flatten();
            let Some(issue) = of_person.or(of_chatflow) else {
                continue;
            };
            run.audit.invalid += 1;
            if issue.is_certain() {
                run.found.push(assignment.id.clone());
            }
            if run.audit.details.len() < DETAILS_MAX {
                run.audit.details.push(Invalid {
                    chatflow_name: chatflow.map(|chatflow| chatflow.name.clone()),
                    assignment,
                    issue,
                });
            }
        }
        Ok(Some(last))
    }

    async fn read_chatflows(&self, run: &mut Run<'_>, rows: &[AuditedAssignment]) -> Result<()> {
        let unread = rows
            .iter()
            .filter(|row| !run.chatflows.contains_key(&row.chatflow_id));
        let ids: Vec<_> = unread
            .filter_map(|row| ObjectId::parse_str(&row.chatflow_id).ok())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let chatflows = self.chatflows.list_by_ids(&ids).await?;
        let by_id = |chatflow: Chatflow| (chatflow.id.to_hex(), chatflow);
        run.chatflows.extend(chatflows.into_iter().map(by_id));
        Ok(())
    }

    /// What is wrong with each of these people, if anything is.
    async fn look_up(
        &self,
        run: &mut Run<'_>,
        rows: &[AuditedAssignment],
    ) -> Result<HashMap<String, Option<Issue>>> {
        let ids: Vec<_> = rows.iter().map(|row| row.external_user_id.as_str()).collect();
        let copies = self.copies.list_by_external_ids(&ids).await?;
        let standing = |is_active: bool| (!is_active).then_some(Issue::UserInactive);
        let mut people: HashMap<_, _> = copies
            .into_iter()
            .map(|person| (person.known.external_id, standing(person.known.is_active)))
            .collect();
        let mut unknown: Vec<_> = ids.into_iter().filter(|id| !people.contains_key(*id)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let asked = unknown.len().min(LOOKUPS_MAX - run.lookups);
        let (asked, left) = unknown.split_at(asked);
        run.lookups += asked.len();
        people.extend(left.iter().map(|id| ((*id).to_owned(), Some(Issue::UserUnknown))));
        let admin = run.admin;
        let answers = stream::iter(asked).map(async |id| {
            let Some(who) = user_id(id).map(Who::Id) else {
                return Ok(((*id).to_owned(), Some(Issue::UserNotFound)));
            };
            match self.people.sync(admin, &who).await {
                Ok(person) => Ok(((*id).to_owned(), standing(person.known.is_active))),
                Err(error) if ends_the_batch(&error) => Err(error),
                Err(_) => Ok(((*id).to_owned(), Some(Issue::UserNotFound))),
            }
        });
        let mut answers = answers.buffer_unordered(LOOKUPS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            let (id, issue) = answer?;
            people.insert(id, issue);
        }
        Ok(people)
    }
}
