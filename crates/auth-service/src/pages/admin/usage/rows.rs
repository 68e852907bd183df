//! The rows of a report: accounting-service ranks, proxy-service says how many turns that were.

use std::collections::{BTreeMap, HashMap};

use common_http::CurrentUser;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use url::form_urlencoded;

use super::{Chart, Period, Total, Turns, TurnsOf, UserStore};
use crate::{
    domain::user::UserId,
    error::Result,
    pages::{
        admin::reports::{AT_ONCE, Spent},
        chart::{count, share},
        neighbours::{Neighbour, Neighbours, Rows},
    },
};

/// Rows on one page, where each is asked for by itself.
const ROWS: u32 = 20;

/// The same where they come together.
const DETAILS: &str = "50";

/// What a report is made of.
pub(super) struct Wanted<'a> {
    pub(super) neighbours: &'a Neighbours,
    pub(super) users: &'a UserStore,
    pub(super) admin: &'a CurrentUser,
    /// Whether proxy-service is there.
    pub(super) counts_turns: bool,
    pub(super) period: Period,
    pub(super) cursor: Option<&'a str>,
    pub(super) page: u32,
}

/// A report, by what was asked for.
pub(super) enum Grouped {
    Days(Chart),
    Rows(Vec<Row>),
    Details(Vec<TurnsOf>),
}

/// What a person, a chatflow or a group used.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) address: Option<String>,
    /// `None` where who counts them is away.
    pub(super) total: Option<Total>,
    pub(super) credits: Option<u64>,
    /// The length of its bar.
    pub(super) share: u64,
}

/// Where the next page begins: the parameter that says so.
type Next = Option<(&'static str, String)>;

#[derive(Deserialize)]
struct Group {
    id: String,
    name: String,
}

impl Wanted<'_> {
    /// `None` where whoever knows is away.
    pub(super) async fn grouped(&self, by: &str) -> Result<Option<(Grouped, Next)>> {
        Ok(match by {
            "person" => self.by_person().await?,
            "chatflow" => self.by_chatflow().await,
            "group" => self.by_group().await,
            "detail" => self.details().await,
            _ => {
                let spent = self.spent(1, None).await;
                spent.map(|spent| (Grouped::Days(Chart::new(spent.each_day(self.period))), None))
            }
        })
    }

    async fn spent(&self, people: u32, cursor: Option<&str>) -> Option<Spent> {
        let asked = Spent::ask(self.neighbours, self.admin, self.period, people, cursor);
        asked.await.ok()
    }

    async fn by_person(&self) -> Result<Option<(Grouped, Next)>> {
        let Some(spent) = self.spent(ROWS, self.cursor).await else {
            return Ok(None);
        };
        let ranked = ranked(spent.by_user);
        let ids: Vec<UserId> = ranked.iter().filter_map(|(id, _)| UserId::parse(id)).collect();
        let names: HashMap<String, String> = self
            .users
            .list_names(&ids)
            .await?
            .into_iter()
            .map(|(id, name)| (id.to_string(), name))
            .collect();
        let mut rows = self.counted("user_id", ranked).await;
        for (id, row) in &mut rows {
            // Whoever is gone keeps their id.
            if let Some(name) = names.get(id) {
                row.name.clone_from(name);
                row.address = Some(format!("/admin/users/{id}"));
            }
        }
        let next = spent.next_cursor.map(|cursor| ("cursor", cursor));
        Ok(Some((Grouped::Rows(drawn(rows)), next)))
    }

    async fn by_chatflow(&self) -> Option<(Grouped, Next)> {
        let ranked = ranked(self.spent(1, None).await?.by_chatflow);
        let size = usize::try_from(ROWS).unwrap_or(usize::MAX);
        let first = usize::try_from(self.page.max(1) - 1).unwrap_or(usize::MAX);
        let first = first.saturating_mul(size);
        let has_more = ranked.len() > first.saturating_add(size);
        let page = ranked.into_iter().skip(first).take(size).collect();
        let rows = self.counted("chatflow_id", page).await;
        let next = has_more.then(|| ("page", self.page.max(1).saturating_add(1).to_string()));
        Some((Grouped::Rows(drawn(rows)), next))
    }

    async fn by_group(&self) -> Option<(Grouped, Next)> {
        let mut query = form_urlencoded::Serializer::new(format!("limit={ROWS}"));
        if let Some(cursor) = self.cursor {
            query.append_pair("cursor", cursor);
        }
        let path = format!("/api/v1/admin/groups?{}", query.finish());
        let page = self.neighbours.list::<Group>(Neighbour::Proxy, &path, self.admin);
        let Rows { rows: groups, next } = page.await.ok()?;
        let (ids, names): (Vec<_>, Vec<_>) = groups.into_iter().map(|group| (group.id, group.name)).unzip();
        let ids = ids.into_iter().map(|id| (id, None)).collect();
        let mut rows = self.counted("group_id", ids).await;
        for ((_, row), name) in rows.iter_mut().zip(names) {
            row.name = name;
        }
        Some((Grouped::Rows(drawn(rows)), next.map(|cursor| ("cursor", cursor))))
    }

    async fn details(&self) -> Option<(Grouped, Next)> {
        let (from, to) = (self.period.from.to_string(), self.period.to.to_string());
        let question = [("from", from.as_str()), ("to", to.as_str()), ("limit", DETAILS)];
        let cursor = self.cursor.map(|cursor| ("cursor", cursor));
        let question: Vec<_> = question.into_iter().chain(cursor).collect();
        let turns = Turns::ask(self.neighbours, self.admin, &question).await.ok()?;
        let next = turns.next_cursor.map(|cursor| ("cursor", cursor));
        Some((Grouped::Details(turns.rows), next))
    }

    /// The turns of each of these; credits as they were ranked by, else those of the turns.
    async fn counted(&self, member: &str, ranked: Vec<(String, Option<u64>)>) -> Vec<(String, Row)> {
        let row = |(id, credits): (String, Option<u64>)| async move {
            let of = Some((member, id.as_str()));
            let told = if self.counts_turns {
                Turns::total(self.neighbours, self.admin, self.period, of)
                    .await
                    .ok()
            } else {
                None
            };
            // Every row of this report is about this one chatflow.
            let named = told.as_ref().and_then(|turns| turns.rows.first());
            let named = named.filter(|_| member == "chatflow_id");
            let total = told.as_ref().map(|turns| turns.total);
            let row = Row {
                name: named
                    .and_then(|row| row.chatflow_name.clone())
                    .unwrap_or_else(|| id.clone()),
                address: None,
                credits: credits.or(total.map(|total| count(total.credits))),
                total,
                share: 0,
            };
            (id, row)
        };
        stream::iter(ranked).map(row).buffered(AT_ONCE).collect().await
    }
}

/// Those with the most first.
fn ranked(sums: BTreeMap<String, i64>) -> Vec<(String, Option<u64>)> {
    let mut ranked: Vec<_> = sums.into_iter().collect();
    ranked.sort_by_key(|(_, credits)| std::cmp::Reverse(*credits));
    ranked
        .into_iter()
        .map(|(id, credits)| (id, Some(count(credits))))
        .collect()
}

/// The longest bar is that of the row with the most credits.
fn drawn(rows: Vec<(String, Row)>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let largest = rows.iter().filter_map(|row| row.credits).max().unwrap_or(0);
    for row in &mut rows {
        row.share = row.credits.map_or(0, |credits| share(credits, largest));
    }
    rows
}
