//! The catalog of chatflows: found, taken over from Flowise. proxy-service keeps it.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use common_http::{Access, CurrentUser, Query, Routes};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{assignments, chatflow};
use crate::{
    error::Result,
    pages::{
        chatflows::{paged, with_query},
        door::see_other,
        forms::Form,
        frame::Frame,
        neighbours::{Allowance, Neighbour, Neighbours, Refusal, Rows},
        times::Shown,
    },
};

/// The list at proxy-service.
pub(super) const CATALOG: &str = "/api/v1/admin/chatflows";

/// Rows on one page.
const ROWS: usize = 50;

/// A search reads so many pages of the catalog before it shows what it has found.
const SEARCHED_MAX: usize = 20;

/// Flowise lists its chatflows a page at a time, and may be slow.
const SYNC: Allowance = Allowance {
    wait: Duration::from_mins(1),
    ..Allowance::USUAL
};

/// Registers what there is about chatflows.
pub(super) fn routes(routes: &mut Routes<'_>) {
    use Access::Admin;
    routes
        .get("/admin/chatflows", Admin, list)
        .post("/admin/chatflows/sync", Admin, sync)
        .get("/admin/chatflows/{flowise_id}", Admin, chatflow::show)
        .post(
            "/admin/chatflows/{flowise_id}/price",
            Admin,
            chatflow::change_price,
        )
        .post(
            "/admin/chatflows/{flowise_id}/settings",
            Admin,
            chatflow::change_settings,
        )
        .post("/admin/chatflows/{flowise_id}/delete", Admin, chatflow::delete)
        .post("/admin/chatflows/{flowise_id}/give", Admin, assignments::give)
        .get(
            "/admin/chatflows/{flowise_id}/people/{user_id}/remove",
            Admin,
            assignments::confirm_person,
        )
        .post(
            "/admin/chatflows/{flowise_id}/people/{user_id}/remove",
            Admin,
            assignments::remove_person,
        )
        .get(
            "/admin/chatflows/{flowise_id}/groups/{group_id}/remove",
            Admin,
            assignments::confirm_group,
        )
        .post(
            "/admin/chatflows/{flowise_id}/groups/{group_id}/remove",
            Admin,
            assignments::remove_group,
        );
}

#[derive(Template)]
#[template(path = "admin/chatflows.html")]
struct ListPage<'a> {
    f: &'a Frame,
    query: &'a ListQuery,
    chatflows: Vec<Listed>,
    next: Option<String>,
    statistics: Option<Statistics>,
    report: Option<Report>,
}

/// A chatflow, as lists show it.
#[derive(Deserialize)]
struct Listed {
    flowise_id: String,
    name: String,
    description: Option<String>,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    sync_status: String,
    synced_at: Option<String>,
    price: Option<u64>,
}

#[derive(Deserialize)]
struct Statistics {
    active: u64,
    deleted: u64,
    error: u64,
    last_sync: Option<String>,
}

/// What taking over did.
#[derive(Deserialize)]
struct Report {
    total_fetched: u64,
    created: u64,
    updated: u64,
    deleted: u64,
    #[serde(default)]
    error_details: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    error: String,
    chatflow_id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
}

/// What narrows the list down, and what taking over did just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    cursor: Option<String>,
    /// Listed, new, known already, gone; with dots between.
    synced: Option<String>,
}

impl Listed {
    fn is_meant(&self, words: &str) -> bool {
        let texts = [
            Some(&self.name),
            Some(&self.flowise_id),
            self.description.as_ref(),
            self.category.as_ref(),
        ];
        let mut texts = texts.into_iter().flatten();
        texts.any(|text| text.to_lowercase().contains(words))
    }

    fn synced(&self) -> Option<Shown> {
        self.synced_at.as_deref().and_then(Shown::parse)
    }
}

impl Statistics {
    fn last(&self) -> Option<Shown> {
        self.last_sync.as_deref().and_then(Shown::parse)
    }
}

impl Report {
    fn text(&self, f: &Frame) -> String {
        let counts =
            [self.total_fetched, self.created, self.updated, self.deleted].map(|count| count.to_string());
        f.fill("chatflows.synced", &counts.each_ref().map(String::as_str))
    }

    fn address(&self) -> String {
        let Self {
            total_fetched,
            created,
            updated,
            deleted,
            ..
        } = self;
        format!("/admin/chatflows?synced={total_fetched}.{created}.{updated}.{deleted}")
    }

    fn parse(text: &str) -> Option<Self> {
        let counts: Vec<u64> = text.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [total_fetched, created, updated, deleted] = *counts.as_slice() else {
            return None;
        };
        Some(Self {
            total_fetched,
            created,
            updated,
            deleted,
            error_details: Vec::new(),
        })
    }
}

impl ListQuery {
    fn path(&self, cursor: Option<&str>) -> String {
        let mut path = paged(CATALOG, ROWS, cursor);
        if self.state == "all" {
            path.push_str("&include_deleted=true");
        }
        path
    }

    /// The same list from a cursor on.
    fn address(&self, cursor: &str) -> String {
        let pairs = [("q", self.q.as_str()), ("state", &self.state), ("cursor", cursor)];
        with_query("/admin/chatflows", &pairs)
    }

    /// One page; where something is searched for, as many as it takes to find a page full of it.
    async fn read(
        &self,
        neighbours: &Neighbours,
        admin: &CurrentUser,
    ) -> Result<(Vec<Listed>, Option<String>), Refusal> {
        let words = self.q.trim().to_lowercase();
        let (mut found, mut cursor) = (Vec::new(), self.cursor.clone());
        for _ in 0..SEARCHED_MAX {
            let path = self.path(cursor.as_deref());
            let Rows { rows, next } = neighbours.list(Neighbour::Proxy, &path, admin).await?;
            found.extend(rows.into_iter().filter(|row: &Listed| row.is_meant(&words)));
            cursor = next;
            if cursor.is_none() || words.is_empty() || found.len() >= ROWS {
                break;
            }
        }
        Ok((found, cursor))
    }
}

/// `GET /admin/chatflows`: a page of the catalog.
pub(super) async fn list(
    f: Frame,
    admin: CurrentUser,
    Query(query): Query<ListQuery>,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    let report = query.synced.as_deref().and_then(Report::parse);
    list_page(&f, &query, report, &neighbours, &admin).await
}

async fn list_page(
    f: &Frame,
    query: &ListQuery,
    report: Option<Report>,
    neighbours: &Neighbours,
    admin: &CurrentUser,
) -> HttpResponse {
    let statistics = format!("{CATALOG}/stats");
    let (listed, statistics) = futures_util::join!(
        query.read(neighbours, admin),
        neighbours.get(Neighbour::Proxy, &statistics, admin),
    );
    match listed {
        Ok((chatflows, next)) => f.show(&ListPage {
            f,
            query,
            chatflows,
            next: next.map(|cursor| query.address(&cursor)),
            statistics: statistics.ok(),
            report,
        }),
        Err(refusal) => f.show_refusal(&refusal),
    }
}

/// `POST /admin/chatflows/sync`: takes over Flowise's list now, and says what that did. What went wrong is shown at once,
/// since it is too long for an address.
pub(super) async fn sync(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    neighbours: web::Data<Neighbours>,
) -> Result<HttpResponse> {
    let path = format!("{CATALOG}/sync");
    let wish = json!({ "confirm_empty": form.is_on("confirm_empty") });
    let report = neighbours
        .ask_within::<Report>(SYNC, Method::POST, Neighbour::Proxy, &path, &admin, Some(&wish))
        .await;
    Ok(match report {
        Ok(report) if report.error_details.is_empty() => see_other(&report.address()),
        Ok(report) => list_page(&f, &ListQuery::default(), Some(report), &neighbours, &admin).await,
        Err(refusal) => f.show_refusal(&refusal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_taking_over_did_stands_in_an_address() {
        let report = Report::parse("12.1.11.0").unwrap();
        assert_eq!((report.total_fetched, report.created), (12, 1));
        assert_eq!(report.address(), "/admin/chatflows?synced=12.1.11.0");
        for text in ["", "1.2.3", "1.2.3.4.5", "a.b.c.d", "-1.0.0.0"] {
            assert!(Report::parse(text).is_none(), "{text}");
        }
    }
}
