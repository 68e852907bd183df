//! Statements of an account, and receipts of single turns.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use chrono::SecondsFormat;
use common_http::{Path, Query};
use futures_util::stream;

use super::{
    bodies::{ListTransactions, NamedUser, ReceiptBody, StatementBody},
    paging::PageSize,
    request::{OwnAccount, Party, bound},
};
use crate::{
    domain::{
        calendar::Bound,
        csv::{harmless, push_line},
        ids::UserId,
        ledger::{Kind, Refusal},
    },
    error::{Error, Result},
    service::Accounts,
    store::{ReceiptStore, StatementFilter, Transaction, TransactionStore},
};

/// The usual and the longest page.
const PAGE: u16 = 100;
const PAGE_MAX: u16 = 1_000;

/// The head of a statement as a table.
const COLUMNS: [&str; 8] = [
    "id",
    "type",
    "amount",
    "balanceAfter",
    "description",
    "actor",
    "sessionId",
    "createdAt",
];

/// `GET /api/credits/transactions`: every change of the caller's credits, latest first; for supervisors anybody's.
pub(super) async fn list_transactions(
    request: HttpRequest,
    account: OwnAccount,
    query: Query<ListTransactions>,
    accounts: web::Data<Accounts>,
    transactions: web::Data<TransactionStore>,
) -> Result<HttpResponse> {
    let size = PageSize::of(query.limit, PAGE, PAGE_MAX)?;
    let as_table = wants_table(&request, query.format.as_deref())?;
    let user_id = account.subject(query.user_id.as_deref(), &accounts).await?;
    let filter = filter(&query, user_id)?;
    let before = match query.cursor {
        Some(cursor) => Some(
            transactions
                .find_place(&filter.user_id, cursor)
                .await?
                .ok_or_else(|| {
                    Error::invalid("cursor", "is not the `nextCursor` of a page of this account")
                })?,
        ),
        None => None,
    };
    if as_table {
        return table(transactions.as_ref().clone(), filter, before).await;
    }
    let mut rows = transactions.list(&filter, before, size.to_read()).await?;
    Ok(HttpResponse::Ok().json(StatementBody {
        next_cursor: size.cut(&mut rows, |row| row.id),
        transactions: rows.into_iter().map(Into::into).collect(),
    }))
}

/// `GET /api/credits/receipts/{sessionId}`: what one turn held, cost and gave back.
pub(super) async fn show_receipt(
    party: Party,
    session_id: Path<String>,
    query: Query<NamedUser>,
    accounts: web::Data<Accounts>,
    receipts: web::Data<ReceiptStore>,
) -> Result<HttpResponse> {
    let receipt = match (&party, query.user_id.as_deref()) {
        (Party::Person(account), named) => {
            let user_id = account.subject(named, &accounts).await?;
            receipts.find_of_person(&user_id, &session_id).await?
        }
        (Party::Service(_), Some(named)) => {
            let user_id = accounts.resolve(named).await?.id;
            receipts.find_of_person(&user_id, &session_id).await?
        }
        (Party::Service(actor), None) => receipts.find_of_opener(actor, &session_id).await?,
    };
    let receipt = receipt.ok_or(Refusal::SessionNotFound)?;
    Ok(HttpResponse::Ok().json(ReceiptBody::from(receipt)))
}

/// Whether a table is asked for: by `format`, else by `Accept`.
fn wants_table(request: &HttpRequest, format: Option<&str>) -> Result<bool> {
    match format {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(Error::invalid("format", "must be `csv` or `json`")),
        None => {
            let accept = request.headers().get(header::ACCEPT);
            let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
            Ok(accept.trim_start().to_ascii_lowercase().starts_with("text/csv"))
        }
    }
}

fn filter(query: &ListTransactions, user_id: UserId) -> Result<StatementFilter> {
    let kind = match &query.kind {
        Some(kind) => Some(
            Kind::from_stored(kind)
                .ok_or_else(|| Error::invalid("kind", "is none of the kinds of entries"))?,
        ),
        None => None,
    };
    Ok(StatementFilter {
        user_id,
        from: bound("from", query.from.as_deref())?.map(Bound::begins),
        until: bound("to", query.to.as_deref())?.map(Bound::is_over),
        kind,
    })
}

/// Where a table stands that is being written.
struct Table {
    transactions: TransactionStore,
    filter: StatementFilter,
    next: Next,
}

/// What is written next.
enum Next {
    /// The head, and the first page.
    First(Vec<Transaction>),
    /// The page before this place.
    Before(i64),
    /// Nothing.
    End,
}

impl Table {
    /// The next lines, and the table behind them.
    async fn lines(self) -> Result<Option<(Bytes, Self)>> {
        let mut text = String::new();
        let page = match self.next {
            Next::First(page) => {
                push_line(&mut text, COLUMNS);
                page
            }
            Next::Before(place) => {
                self.transactions
                    .list(&self.filter, Some(place), PAGE_MAX.into())
                    .await?
            }
            Next::End => return Ok(None),
        };
        for row in &page {
            push_row(&mut text, row);
        }
        let next = match page.last() {
            Some(last) if page.len() == usize::from(PAGE_MAX) => Next::Before(last.seq),
            _ => Next::End,
        };
        Ok(Some((text.into(), Self { next, ..self })))
    }
}

/// The whole statement as a table, page by page: no more than one page is held, however long it is. When the database
/// goes away meanwhile the answer breaks off, so that nobody takes a part for the whole.
async fn table(
    transactions: TransactionStore,
    filter: StatementFilter,
    before: Option<i64>,
) -> Result<HttpResponse> {
    // The first page is read before the head is sent: a database that is away is an answer of its own.
    let first = transactions.list(&filter, before, PAGE_MAX.into()).await?;
    let table = Table {
        transactions,
        filter,
        next: Next::First(first),
    };
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"transactions.csv\"",
        ))
        .streaming(Box::pin(stream::try_unfold(table, Table::lines))))
}

/// One entry as a line; what people wrote is made harmless.
fn push_row(text: &mut String, row: &Transaction) {
    push_line(
        text,
        [
            row.id.to_string().as_str(),
            &row.kind,
            &row.amount.to_string(),
            &row.balance_after.to_string(),
            &harmless(row.description.as_deref().unwrap_or_default()),
            &row.actor,
            &harmless(row.session_id.as_deref().unwrap_or_default()),
            &row.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        ],
    );
}
