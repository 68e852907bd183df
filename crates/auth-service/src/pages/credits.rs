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
pub(super) const ENTRIES: u32 = 50;

#[derive(Template)]
#[template(path = "credits.html")]
struct CreditsPage<'a> {
    f: &'a Frame,
    balance: Option<Balance>,
    statement: Option<Statement>,
}

/// What somebody can spend.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Balance {
    pub(super) total_credits: i64,
    pub(super) active_allocations: Vec<Allocation>,
}

/// A part of it, which ends by itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allocation {
    pub(super) id: uuid::Uuid,
    pub(super) remaining_credits: i64,
    pub(super) total_credits: i64,
    expires_at: String,
}

/// A page of what happened to somebody's credits.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement {
    pub(super) transactions: Vec<Entry>,
    pub(super) next_cursor: Option<String>,
}

/// A line of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) amount: i64,
    pub(super) balance_after: i64,
    pub(super) description: Option<String>,
    created_at: String,
}

/// Where in the statement.
#[derive(Debug, Deserialize)]
pub(super) struct StatementQuery {
    cursor: Option<String>,
}

impl StatementQuery {
    /// The parameter that leads there. A cursor is a UUID; anything else is none.
    pub(super) fn after(&self) -> String {
        let cursor = self.cursor.as_deref();
        let cursor = cursor.and_then(|text| uuid::Uuid::parse_str(text).ok());
        cursor
            .map(|cursor| format!("&cursor={cursor}"))
            .unwrap_or_default()
    }
}

impl Allocation {
    pub(super) fn ends(&self) -> Option<Shown> {
        Shown::parse(&self.expires_at)
    }
}

impl Entry {
    /// What a person has written beside it. Of turns the ledger notes ids of its own, which tell their owner nothing.
    pub(super) fn note(&self) -> Option<&str> {
        let is_of_turn = matches!(self.kind.as_str(), "hold" | "capture" | "void" | "expire");
        self.description.as_deref().filter(|_| !is_of_turn)
    }

    pub(super) fn at(&self) -> Option<Shown> {
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
    let path = format!("/api/credits/transactions?limit={ENTRIES}{}", query.after());
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
