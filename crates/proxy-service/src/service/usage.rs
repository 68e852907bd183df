//! Reports on usage: kept up with the turns that end, read by supervisors for the groups they lead and by admins.

use std::{collections::HashMap, time::Duration};

use chrono::NaiveDate;
use common_http::{CurrentUser, RequestContext};
use common_jwt::Role;
use futures_util::{Stream, TryStreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        day::DayZone,
        group::{Group, Part},
        person::KnownPerson,
        usage::{Usage, UsageDay},
    },
    error::{Error, Result},
    store::{
        chatflows::ChatflowStore,
        groups::GroupStore,
        people::PersonStore,
        usage_days::{UsageDayStore, UsageFilter, row_id},
    },
};

/// How often ended turns are taken in.
const EVERY: Duration = Duration::from_secs(1);

/// Members of all groups a supervisor leads; more are looked at one group at a time.
const MEMBERS_MAX: usize = 20_000;

/// Rows whose names are looked up together.
const PIECE: usize = 500;

/// Reads and keeps up reports.
#[derive(Clone)]
pub(crate) struct UsageReports {
    days: UsageDayStore,
    groups: GroupStore,
    people: PersonStore,
    chatflows: ChatflowStore,
    zone: DayZone,
}

/// What a report is asked for.
#[derive(Clone, Debug)]
pub(crate) struct UsageQuestion {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
    pub(crate) group_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) chatflow_id: Option<String>,
}

/// A row with the names people know.
#[derive(Clone, Debug)]
pub(crate) struct NamedUsage {
    pub(crate) row: UsageDay,
    pub(crate) person: Option<KnownPerson>,
    pub(crate) chatflow_name: Option<String>,
}

/// A page of a report.
#[derive(Debug)]
pub(crate) struct UsagePage {
    pub(crate) rows: Vec<NamedUsage>,
    /// What all pages come to on each day that has anything.
    pub(crate) by_day: Vec<(NaiveDate, Usage)>,
    /// Where the next page begins.
    pub(crate) next: Option<String>,
}

impl UsageReports {
    /// Reports from these stores, by days of `zone`.
    pub(crate) fn new(
        days: UsageDayStore,
        groups: GroupStore,
        people: PersonStore,
        chatflows: ChatflowStore,
        zone: DayZone,
    ) -> Self {
        Self {
            days,
            groups,
            people,
            chatflows,
            zone,
        }
    }

    /// By whose midnight days begin.
    pub(crate) fn zone(&self) -> DayZone {
        self.zone
    }

    /// Takes in turns that have ended, until `stop`.
    pub(crate) async fn keep_up(self, stop: CancellationToken) {
        let mut is_up = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            match RequestContext::background().scope(self.take_in_all()).await {
                Ok(()) => is_up = true,
                Err(error) => {
                    if is_up {
                        tracing::warn!(%error, "ended turns cannot be added to the reports; trying on");
                    }
                    is_up = false;
                }
            }
        }
    }

    async fn take_in_all(&self) -> Result<()> {
        while self.days.take_in(self.zone).await? > 0 {}
        Ok(())
    }

    /// The groups whose usage the caller may see, by name.
    pub(crate) async fn groups_of(&self, caller: &CurrentUser) -> Result<Vec<Group>> {
        if caller.role == Role::Admin {
            return Ok(self.groups.list(None, None).await?);
        }
        let led = self.groups.list_group_ids(&caller.id, Part::Lead).await?;
        Ok(self.groups.list_by_ids(&led).await?)
    }

    /// One page of a report.
    pub(crate) async fn page(
        &self,
        caller: &CurrentUser,
        question: UsageQuestion,
        after: Option<&str>,
        limit: usize,
    ) -> Result<UsagePage> {
        let filter = self.filter(caller, question).await?;
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let (mut rows, by_day) = futures_util::try_join!(
            self.days.page(&filter, after, one_more),
            self.days.list_by_day(&filter)
        )?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(row_id);
        Ok(UsagePage {
            rows: self.named(rows).await?,
            by_day,
            next,
        })
    }

    /// A whole report, as it is read.
    pub(crate) async fn stream(
        &self,
        caller: &CurrentUser,
        question: UsageQuestion,
    ) -> Result<impl Stream<Item = Result<Vec<NamedUsage>>> + use<>> {
        let filter = self.filter(caller, question).await?;
        let rows = self.days.stream(&filter).await?;
        let reports = self.clone();
        let pieces = rows.try_chunks(PIECE).map_err(|error| Error::from(error.1));
        Ok(pieces.and_then(move |rows| {
            let reports = reports.clone();
            async move { reports.named(rows).await }
        }))
    }

    /// Which rows the caller may see of what they ask for. Of whoever is in none of their groups a supervisor is told
    /// what they would be told of somebody who does not exist.
    async fn filter(&self, caller: &CurrentUser, question: UsageQuestion) -> Result<UsageFilter> {
        let groups = match (caller.role, &question.group_id) {
            (Role::Admin, None) => None,
            (Role::Admin, Some(id)) => {
                self.groups.find(id).await?.ok_or(Error::GroupNotFound)?;
                Some(vec![id.clone()])
            }
            (Role::Supervisor | Role::EndUser, asked) => {
                let led = self.groups.list_group_ids(&caller.id, Part::Lead).await?;
                match asked {
                    None => Some(led),
                    Some(id) if led.contains(id) => Some(vec![id.clone()]),
                    Some(_) => return Err(Error::GroupNotFound),
                }
            }
        };
        let members =
            match groups {
                None => None,
                Some(groups) => {
                    let members = self.groups.member_ids(&groups, MEMBERS_MAX).await?;
                    Some(members.ok_or_else(|| {
                        Error::invalid("group_id", "is required: there are too many members")
                    })?)
                }
            };
        let user_ids = match (members, question.user_id) {
            (members, None) => members,
            (None, Some(user_id)) => Some(vec![user_id]),
            (Some(members), Some(user_id)) if members.contains(&user_id) => Some(vec![user_id]),
            (Some(_), Some(_)) => return Err(Error::MemberNotFound),
        };
        Ok(UsageFilter {
            from: question.from,
            to: question.to,
            user_ids,
            chatflow_id: question.chatflow_id,
        })
    }

    async fn named(&self, rows: Vec<UsageDay>) -> Result<Vec<NamedUsage>> {
        let user_ids: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
        let flow_ids: Vec<_> = rows.iter().map(|row| row.chatflow_id.as_str()).collect();
        let (people, chatflows) = futures_util::try_join!(
            self.people.list_by_external_ids(&user_ids),
            self.chatflows.list_by_flowise_ids(&flow_ids),
        )?;
        let people: HashMap<_, _> = people
            .into_iter()
            .map(|person| (person.known.external_id.clone(), person.known))
            .collect();
        let names: HashMap<_, _> = chatflows
            .into_iter()
            .map(|chatflow| (chatflow.flowise_id, chatflow.name))
            .collect();
        let with_names = |row: UsageDay| NamedUsage {
            person: people.get(&row.user_id).cloned(),
            chatflow_name: names.get(&row.chatflow_id).cloned(),
            row,
        };
        Ok(rows.into_iter().map(with_names).collect())
    }
}
