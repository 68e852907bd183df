//! Many people at once: whoever stands in a table, and everybody with a role.
//!
//! The work goes on to its end also when whoever asked for it has left, and does no harm when it is asked for again.

use std::collections::HashMap;

use common_http::{Caller, RequestContext};
use common_jwt::Role;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{
    assignments::{Assignments, ends_the_batch, name_of},
    groups::Groups,
    people::People,
};
use crate::{
    domain::{
        assignment::AssignmentChange,
        chatflow::Chatflow,
        group::Part,
        person::Who,
        roster::{self, BadRow, Row},
        window::Window,
    },
    error::{Error, Result},
};

/// People that are looked up, and written, at a time.
const AT_ONCE: usize = 8;

/// Rows whose people are sought in our own copies together.
const PIECE: usize = 500;

/// Failures that a report names one by one; further ones are only counted.
pub(crate) const FAILURES_MAX: usize = 1_000;

/// Gives chatflows and memberships to many.
#[derive(Clone)]
pub(crate) struct Crowds {
    people: People,
    assignments: Assignments,
    groups: Groups,
    tasks: TaskTracker,
    runtime: Handle,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct CrowdReport {
    /// People who were named.
    pub(crate) people: usize,
    /// Those who have now what they never had.
    pub(crate) added: usize,
    /// Those who have again what they had once.
    pub(crate) reactivated: usize,
    /// Those who have it at other times now.
    pub(crate) updated: usize,
    /// Those who had it already.
    pub(crate) unchanged: usize,
    /// Those who have it not.
    pub(crate) failed: usize,
    /// Why not, as far as a report has room.
    pub(crate) failures: Vec<BadRow>,
}

/// What many are given.
#[derive(Clone)]
enum Gift {
    Chatflow(Box<Chatflow>, Option<Window>),
    Membership(String, Option<Part>),
}

impl Crowds {
    /// Work runs as `tasks` of the runtime this is called on.
    pub(crate) fn new(people: People, assignments: Assignments, groups: Groups, tasks: TaskTracker) -> Self {
        Self {
            people,
            assignments,
            groups,
            tasks,
            runtime: Handle::current(),
        }
    }

    /// Gives a chatflow to everybody in a table; rows may say from when until when.
    pub(crate) async fn assign_table(
        &self,
        admin: Caller,
        flowise_id: &str,
        table: &[u8],
    ) -> Result<CrowdReport> {
        let rows = read(table)?;
        let chatflow = self.assignments.assignable(flowise_id).await?;
        self.give_rows(admin, Gift::Chatflow(Box::new(chatflow), None), rows)
            .await
    }

    /// Gives a chatflow to everybody with a role.
    pub(crate) async fn assign_role(
        &self,
        admin: Caller,
        flowise_id: &str,
        role: Role,
        window: Option<Window>,
    ) -> Result<CrowdReport> {
        let chatflow = self.assignments.assignable(flowise_id).await?;
        self.give_role(admin, Gift::Chatflow(Box::new(chatflow), window), role)
            .await
    }

    /// Puts everybody in a table into a group; rows may say as what.
    pub(crate) async fn join_table(
        &self,
        admin: Caller,
        group_id: &str,
        table: &[u8],
    ) -> Result<CrowdReport> {
        let rows = read(table)?;
        self.groups.find(group_id).await?;
        self.give_rows(admin, Gift::Membership(group_id.to_owned(), None), rows)
            .await
    }

    /// Puts these people into a group.
    pub(crate) async fn join_people(
        &self,
        admin: Caller,
        group_id: &str,
        people: Vec<String>,
        part: Part,
    ) -> Result<CrowdReport> {
        self.groups.find(group_id).await?;
        let row = |(number, who): (usize, String)| Row {
            line: u64::try_from(number).unwrap_or_default() + 1,
            who: who.trim().to_owned(),
            part,
            window: None,
        };
        let rows = people.into_iter().enumerate().map(row).collect();
        self.give_rows(
            admin,
            Gift::Membership(group_id.to_owned(), None),
            (rows, Vec::new()),
        )
        .await
    }

    /// Puts everybody with a role into a group.
    pub(crate) async fn join_role(
        &self,
        admin: Caller,
        group_id: &str,
        role: Role,
        part: Part,
    ) -> Result<CrowdReport> {
        self.groups.find(group_id).await?;
        self.give_role(admin, Gift::Membership(group_id.to_owned(), Some(part)), role)
            .await
    }

    async fn give_rows(
        &self,
        admin: Caller,
        gift: Gift,
        (rows, bad): (Vec<Row>, Vec<BadRow>),
    ) -> Result<CrowdReport> {
        let crowds = self.clone();
        self.to_the_end(async move {
            let mut report = CrowdReport::default();
            for row in bad {
                report.fail(row);
            }
            for piece in rows.chunks(PIECE) {
                crowds.give_piece(&admin, &gift, piece, &mut report).await?;
            }
            Ok(report)
        })
        .await
    }

    /// Who is known here is not looked up again: a table of a whole school would be thousands of questions.
    async fn give_piece(
        &self,
        admin: &Caller,
        gift: &Gift,
        rows: &[Row],
        report: &mut CrowdReport,
    ) -> Result<()> {
        let named: Vec<_> = rows.iter().filter_map(|row| Who::parse(&row.who).ok()).collect();
        let known = self.people.known_ids(&named).await?;
        for rows in rows.chunks(AT_ONCE) {
            let given = rows.iter().map(|row| self.give_row(admin, gift, &known, row));
            for (row, outcome) in rows.iter().zip(join_all(given).await) {
                match outcome {
                    Ok(change) => report.count(change),
                    // What was given until then stays given, and giving it again changes nothing.
                    Err(error) if ends_the_batch(&error) => return Err(error),
                    Err(error) => report.fail(BadRow {
                        line: row.line,
                        who: row.who.clone(),
                        reason: error.problem().detail().to_owned(),
                    }),
                }
            }
        }
        Ok(())
    }

    async fn give_row(
        &self,
        admin: &Caller,
        gift: &Gift,
        known: &HashMap<Who, String>,
        row: &Row,
    ) -> Result<AssignmentChange> {
        let who = Who::parse(&row.who).map_err(|reason| Error::invalid("email", reason))?;
        let user_id = match known.get(&who) {
            Some(user_id) => user_id.clone(),
            None => self.people.sync(admin, &who).await?.known.external_id,
        };
        self.give(admin, gift, &user_id, row).await
    }

    async fn give_role(&self, admin: Caller, gift: Gift, role: Role) -> Result<CrowdReport> {
        let crowds = self.clone();
        self.to_the_end(async move {
            let mut report = CrowdReport::default();
            let row = Row {
                line: 0,
                who: String::new(),
                part: Part::default(),
                window: None,
            };
            let mut pages = crowds.people.pages(&admin, Some(role));
            while let Some(page) = pages.next().await? {
                crowds.people.copy(&page).await?;
                let active: Vec<_> = page.into_iter().filter(|person| person.is_active).collect();
                for people in active.chunks(AT_ONCE) {
                    let given = people
                        .iter()
                        .map(|person| crowds.give(&admin, &gift, &person.external_id, &row));
                    for outcome in join_all(given).await {
                        report.count(outcome?);
                    }
                }
            }
            Ok(report)
        })
        .await
    }

    async fn give(&self, admin: &Caller, gift: &Gift, user_id: &str, row: &Row) -> Result<AssignmentChange> {
        match gift {
            Gift::Chatflow(chatflow, window) => {
                let window = match row.window {
                    Some(window) => Some(self.assignments.check(window)?),
                    None => *window,
                };
                self.assignments
                    .assign_id(&name_of(admin), chatflow, user_id, window)
                    .await
            }
            Gift::Membership(group_id, part) => {
                let part = part.unwrap_or(row.part);
                let is_new = self.groups.join(admin, group_id, user_id, part).await?;
                Ok(if is_new {
                    AssignmentChange::Assigned
                } else {
                    AssignmentChange::Unchanged
                })
            }
        }
    }

    /// Does `work` to its end, whoever still waits for it.
    async fn to_the_end(
        &self,
        work: impl Future<Output = Result<CrowdReport>> + Send + 'static,
    ) -> Result<CrowdReport> {
        let work = RequestContext::current().scope(work);
        let done = self.tasks.spawn_on(work, &self.runtime).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "the work for many people broke off");
            Err(Error::Stopping)
        })
    }
}

fn read(table: &[u8]) -> Result<(Vec<Row>, Vec<BadRow>)> {
    roster::read(table).map_err(|unreadable| Error::invalid("body", unreadable.to_string()))
}

impl CrowdReport {
    fn count(&mut self, change: AssignmentChange) {
        self.people += 1;
        *match change {
            AssignmentChange::Assigned => &mut self.added,
            AssignmentChange::Reactivated => &mut self.reactivated,
            AssignmentChange::Rescheduled => &mut self.updated,
            AssignmentChange::Unchanged => &mut self.unchanged,
        } += 1;
    }

    fn fail(&mut self, row: BadRow) {
        self.people += 1;
        self.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(row);
        }
    }
}
