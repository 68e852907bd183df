//! What somebody can spend, what of it ends when, and where it went. accounting-service knows; when it is away, the page
//! says so.

use actix_web::{HttpResponse, web};
use askama::Template;
use common_http::CurrentUser;
use serde::Deserialize;

use super::{
    frame::Frame,
    neighbours::{Neighbour, Neighbours},
    times::Shown,
};

/// Entries on one page.
const ENTRIES: u32 = 50;

#[derive(Template)]
#[template(path = "credits.html")]
struct CreditsPage<'a> {
    f: &'a Frame,
    balance: Option<Balance>,
    statement: Option<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    total_credits: i64,
    active_allocations: Vec<Allocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    remaining_credits: i64,
    total_credits: i64,
    expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    transactions: Vec<Entry>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    amount: i64,
    balance_after: i64,
    description: Option<String>,
    created_at: String,
}

/// Where in the statement.
#[derive(Debug, Deserialize)]
pub(super) struct StatementQuery {
    cursor: Option<String>,
}

impl Allocation {
    fn ends(&self) -> Option<Shown> {
        Shown::parse(&self.expires_at)
    }
}

impl Entry {
    fn at(&self) -> Option<Shown> {
        Shown::parse(&self.created_at)
    }
}

/// `GET /credits`.
pub(super) async fn show_credits(
    f: Frame,
    user: CurrentUser,
    query: web::Query<StatementQuery>,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    // A cursor is a UUID; anything else is none.
    let cursor = query
        .cursor
        .as_deref()
        .and_then(|text| uuid::Uuid::parse_str(text).ok());
    let after = cursor
        .map(|cursor| format!("&cursor={cursor}"))
        .unwrap_or_default();
    let path = format!("/api/credits/transactions?limit={ENTRIES}{after}");
    let (balance, statement) = futures_util::join!(
        neighbours.get::<Balance>(Neighbour::Accounting, "/api/credits/balance", &user),
        neighbours.get::<Statement>(Neighbour::Accounting, &path, &user),
    );
    f.show(&CreditsPage {
        f: &f,
        balance: balance.ok(),
        statement: statement.ok(),
    })
}
