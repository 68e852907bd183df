//! Usage, for supervisors: what the members of the groups they lead did, by day. Admins see everybody's.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
    web,
};
use bytes::Bytes;
use chrono::{Days, NaiveDate};
use common_http::{Access, Clock, CurrentUser, Query, Routes, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::paging::{Paging, cursor_of, present};
use crate::{
    domain::usage::Usage,
    error::{Error, Result},
    service::usage::{NamedUsage, UsageQuestion, UsageReports},
};

/// Days one report may cover: a school year.
const DAYS_MAX: i64 = 366;

/// Days a report covers when nothing is said, the present one included.
const DAYS_DEFAULT: u64 = 30;

const COLUMNS: [&str; 10] = [
    "day",
    "user_id",
    "username",
    "email",
    "chatflow_id",
    "chatflow_name",
    "turns",
    "failed",
    "credits",
    "tokens",
];

pub(crate) fn table(routes: &mut Routes<'_>) {
    routes
        .get("/api/v1/reports/groups", Access::Supervisor, list_reported_groups)
        .get("/api/v1/reports/usage", Access::Supervisor, show_usage)
        .get("/api/v1/reports/usage.csv", Access::Supervisor, export_usage);
}

#[derive(Deserialize)]
pub(super) struct AskUsage {
    from: Option<String>,
    to: Option<String>,
    group_id: Option<String>,
    user_id: Option<String>,
    pub(super) chatflow_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct ReportedGroup {
    id: String,
    name: String,
    description: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct UsageBody {
    from: NaiveDate,
    to: NaiveDate,
    time_zone: String,
    total: TotalBody,
    by_day: Vec<DayBody>,
    rows: Vec<RowBody>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct TotalBody {
    turns: i64,
    failed: i64,
    credits: i64,
    tokens: i64,
}

#[derive(Serialize)]
struct DayBody {
    day: NaiveDate,
    #[serde(flatten)]
    usage: TotalBody,
}

#[derive(Serialize)]
struct RowBody {
    day: NaiveDate,
    user_id: String,
    username: Option<String>,
    email: Option<String>,
    chatflow_id: String,
    chatflow_name: Option<String>,
    #[serde(flatten)]
    usage: TotalBody,
}

/// `GET /api/v1/reports/groups`: the groups the caller leads; all of them for an admin.
async fn list_reported_groups(user: CurrentUser, reports: web::Data<UsageReports>) -> Result<HttpResponse> {
    let groups = reports.groups_of(&user).await?;
    let bodies = groups.into_iter().map(|group| ReportedGroup {
        id: group.id,
        name: group.name,
        description: group.description,
        created_at: Timestamp(group.created_at),
        updated_at: Timestamp(group.updated_at),
    });
    Ok(HttpResponse::Ok().json(bodies.collect::<Vec<_>>()))
}

/// `GET /api/v1/reports/usage`: a page, and what all pages come to.
async fn show_usage(
    user: CurrentUser,
    Query(query): Query<AskUsage>,
    reports: web::Data<UsageReports>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    usage_page(&user, query, &reports, &clock).await
}

/// One page of a report.
pub(super) async fn usage_page(
    user: &CurrentUser,
    query: AskUsage,
    reports: &UsageReports,
    clock: &Clock,
) -> Result<HttpResponse> {
    let paging = Paging::new(query.limit.clone(), query.cursor.clone()).read_always(1)?;
    let question = query.question(reports, clock)?;
    let (from, to) = (question.from, question.to);
    let page = reports
        .page(user, question, paging.first_key(), paging.limit)
        .await?;
    Ok(HttpResponse::Ok().json(UsageBody {
        from,
        to,
        time_zone: reports.zone().to_string(),
        total: page.by_day.iter().map(|(_, usage)| usage).sum::<Usage>().into(),
        by_day: page.by_day.into_iter().map(DayBody::from).collect(),
        rows: page.rows.into_iter().map(RowBody::from).collect(),
        next_cursor: page.next.map(|next| cursor_of(&[next])),
    }))
}

/// `GET /api/v1/reports/usage.csv`: the whole report, written as it is read.
async fn export_usage(
    user: CurrentUser,
    Query(query): Query<AskUsage>,
    reports: web::Data<UsageReports>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let question = query.question(&reports, &clock)?;
    let name = format!(
        "attachment; filename=\"usage-{}-{}.csv\"",
        question.from, question.to
    );
    let pieces = reports.stream(&user, question).await?;
    // Spreadsheets know UTF-8 by its mark.
    let heading = std::iter::once("\u{feff}".to_owned() + &csv_of([COLUMNS.map(str::to_owned)]));
    let heading = stream::iter(heading).map(|text| Ok::<_, actix_web::Error>(Bytes::from(text)));
    let rows = pieces.map_ok(|rows| Bytes::from(csv_of(rows.iter().map(cells))));
    let rows = rows.map_err(|error| {
        tracing::warn!(%error, "a report broke off");
        actix_web::Error::from(error)
    });
    let mut response = HttpResponse::Ok();
    response.content_type("text/csv; charset=utf-8");
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.insert_header((header::CONTENT_DISPOSITION, name));
    }
    Ok(response.streaming(Box::pin(heading.chain(rows))))
}

impl AskUsage {
    fn question(self, reports: &UsageReports, clock: &Clock) -> Result<UsageQuestion> {
        let day = |field: &str, text: Option<&str>| {
            present(text)
                .map(str::parse::<NaiveDate>)
                .transpose()
                .map_err(|_error| Error::invalid(field, "must be a date such as 2026-09-01"))
        };
        let today = reports.zone().day_of(clock.now());
        let to = day("to", self.to.as_deref())?.unwrap_or(today);
        let earlier = to.checked_sub_days(Days::new(DAYS_DEFAULT - 1)).unwrap_or(to);
        let from = day("from", self.from.as_deref())?.unwrap_or(earlier);
        if from > to {
            return Err(Error::invalid("from", "must not be later than to"));
        }
        if (to - from).num_days() >= DAYS_MAX {
            return Err(Error::invalid(
                "from",
                format!("may be at most {DAYS_MAX} days before to"),
            ));
        }
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        Ok(UsageQuestion {
            from,
            to,
            group_id: given(self.group_id),
            user_id: given(self.user_id),
            chatflow_id: given(self.chatflow_id),
        })
    }
}

fn cells(named: &NamedUsage) -> [String; 10] {
    let row = &named.row;
    let (username, email) = named
        .person
        .as_ref()
        .map(|person| (person.username.clone(), person.email.clone()))
        .unwrap_or_default();
    [
        row.day.to_string(),
        row.user_id.clone(),
        username,
        email,
        row.chatflow_id.clone(),
        named.chatflow_name.clone().unwrap_or_default(),
        row.usage.turns.to_string(),
        row.usage.failed.to_string(),
        row.usage.credits.to_string(),
        row.usage.tokens.to_string(),
    ]
}

/// Rows with cells that no spreadsheet takes for a formula (CWE-1236): an apostrophe shows them as text.
fn csv_of(rows: impl IntoIterator<Item = [String; 10]>) -> String {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        let harmless = row.map(|cell| match cell.chars().next() {
            Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => {
                format!("'{cell}")
            }
            Some(_) | None => cell,
        });
        // Writing to memory cannot fail, and every row has as many cells as the first.
        let _ = writer.write_record(&harmless);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

impl From<Usage> for TotalBody {
    fn from(usage: Usage) -> Self {
        Self {
            turns: usage.turns,
            failed: usage.failed,
            credits: usage.credits,
            tokens: usage.tokens,
        }
    }
}

impl From<(NaiveDate, Usage)> for DayBody {
    fn from((day, usage): (NaiveDate, Usage)) -> Self {
        Self {
            day,
            usage: usage.into(),
        }
    }
}

impl From<NamedUsage> for RowBody {
    fn from(named: NamedUsage) -> Self {
        let (username, email) = named.person.map(|person| (person.username, person.email)).unzip();
        Self {
            day: named.row.day,
            user_id: named.row.user_id,
            username,
            email,
            chatflow_id: named.row.chatflow_id,
            chatflow_name: named.chatflow_name,
            usage: named.row.usage.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        let mut row = [(); 10].map(|()| String::new());
        row[2] = "=HYPERLINK(\"http://evil\")".to_owned();
        row[5] = "a,b".to_owned();
        row[6] = "12".to_owned();
        assert_eq!(
            csv_of([row]),
            ",,\"'=HYPERLINK(\"\"http://evil\"\")\",,,\"a,b\",12,,,\r\n"
        );
    }
}
