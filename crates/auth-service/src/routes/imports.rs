//! Tables of people coming in.

use std::{fs::File, time::Duration};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    dev::Decompress,
    http::header::{self, Accept, Header as _},
    web,
};
use bytes::Bytes;
use common_http::{CurrentUser, Query};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt as _, sync::mpsc, task::spawn_blocking};

use crate::{
    domain::{
        import::{HandOver, RowResult},
        origin::Origin,
        user::UserId,
    },
    error::{Error, Result},
    service::{
        bulk::OnBehalf,
        imports::{ImportOptions, Imports, Report, Summary},
    },
};

/// The form with one result a line.
const NDJSON: &str = "application/x-ndjson";

/// What browsers and programs call a table; Excel on Windows makes browsers say the last.
const CSV_TYPES: [&str; 3] = ["text/csv", "application/csv", "application/vnd.ms-excel"];

/// A client that sends nothing for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The most bytes a table may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableBytesMax(pub(crate) usize);

/// How to import.
#[derive(Debug, Deserialize)]
pub(crate) struct ImportQuery {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    atomic: bool,
    #[serde(default = "yes")]
    invite: bool,
}

const fn yes() -> bool {
    true
}

/// What became of a row.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResultBody {
    line: u64,
    email: String,
    username: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invited: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chatflows: Option<&'static str>,
}

/// What became of the table.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SummaryBody {
    total: u64,
    created: u64,
    valid: u64,
    unchanged: u64,
    failed: u64,
    invited: u64,
    gifts_handed_over: u64,
    gifts_queued: u64,
    dry_run: bool,
    atomic: bool,
    applied: bool,
    encoding: &'static str,
    separator: char,
    ignored_columns: Vec<String>,
}

/// `POST /api/admin/users/import`: makes the people of a table, and tells what became of each row while it does.
pub(crate) async fn import_users(
    request: HttpRequest,
    admin: CurrentUser,
    Query(query): Query<ImportQuery>,
    payload: web::Payload,
    origin: Origin,
    max: web::Data<TableBytesMax>,
    imports: web::Data<Imports>,
) -> Result<HttpResponse> {
    if !CSV_TYPES.contains(&request.content_type().to_lowercase().as_str()) {
        return Err(Error::NotCsv);
    }
    let turn = imports.take_turn()?;
    let table = imports.prepare(spool(&request, payload, max.0).await?).await?;
    let behalf = OnBehalf {
        actor: UserId::parse(&admin.id),
        origin: Some(origin),
    };
    let reports = imports.start(table, query.options(), behalf, turn);
    Ok(if wants_lines(&request) {
        lines(reports)
    } else {
        object(reports)
    })
}

/// Keeps the body in a file without a name, which is gone with the process, however that ends.
async fn spool(request: &HttpRequest, payload: web::Payload, max: usize) -> Result<File> {
    let mut pieces = Decompress::from_headers(payload.into_inner(), request.headers());
    let mut file = tokio::fs::File::from_std(spawn_blocking(tempfile::tempfile).await??);
    let mut length = 0;
    loop {
        let piece = tokio::time::timeout(SILENCE_MAX, pieces.next()).await;
        let Some(piece) = piece.or(Err(Error::UnreadableBody))? else {
            break;
        };
        let piece = piece.or(Err(Error::UnreadableBody))?;
        length += piece.len();
        if length > max {
            return Err(Error::TableTooLarge { limit_bytes: max });
        }
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(file.into_std().await)
}

fn wants_lines(request: &HttpRequest) -> bool {
    Accept::parse(request).is_ok_and(|accept| accept.ranked().iter().any(|mime| mime.essence_str() == NDJSON))
}

/// One object; its results are written as they become known.
fn object(reports: mpsc::Receiver<Report>) -> HttpResponse {
    let mut is_first = true;
    let pieces = pieces(reports, move |report| {
        let mut text = Vec::new();
        match report {
            Report::Rows(rows) => {
                for row in rows {
                    let before = if std::mem::take(&mut is_first) {
                        "\n"
                    } else {
                        ",\n"
                    };
                    text.extend_from_slice(before.as_bytes());
                    serde_json::to_writer(&mut text, &ResultBody::from(row))?;
                }
            }
            Report::Summary(summary) => {
                text.extend_from_slice(b"\n],\"summary\":");
                serde_json::to_writer(&mut text, &SummaryBody::from(*summary))?;
                text.extend_from_slice(b"}\n");
            }
        }
        Ok(text)
    });
    let begin = stream::once(std::future::ready(Ok(Bytes::from_static(b"{\"results\":["))));
    HttpResponse::Ok()
        .content_type(header::ContentType::json())
        .streaming(Box::pin(begin.chain(pieces)))
}

/// One object a line; the last holds the summary.
fn lines(reports: mpsc::Receiver<Report>) -> HttpResponse {
    let pieces = pieces(reports, |report| {
        let mut text = Vec::new();
        match report {
            Report::Rows(rows) => {
                for row in rows {
                    serde_json::to_writer(&mut text, &ResultBody::from(row))?;
                    text.push(b'\n');
                }
            }
            Report::Summary(summary) => {
                let summary = SummaryBody::from(*summary);
                serde_json::to_writer(&mut text, &serde_json::json!({ "summary": summary }))?;
                text.push(b'\n');
            }
        }
        Ok(text)
    });
    HttpResponse::Ok()
        .content_type(NDJSON)
        .streaming(Box::pin(pieces))
}

/// The reports as bytes. An import that broke off breaks the answer off, so that nobody takes a part for the whole.
fn pieces(
    reports: mpsc::Receiver<Report>,
    write: impl FnMut(Report) -> serde_json::Result<Vec<u8>>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some((reports, write)), |state| async move {
        let (mut reports, mut write) = state?;
        let Some(report) = reports.recv().await else {
            let broken = std::io::Error::other("the import broke off");
            return Some((Err(broken), None));
        };
        let is_last = matches!(report, Report::Summary(_));
        let text = write(report).map(Bytes::from).map_err(std::io::Error::from);
        Some((text, (!is_last).then_some((reports, write))))
    })
}

impl ImportQuery {
    fn options(&self) -> ImportOptions {
        ImportOptions {
            dry_run: self.dry_run,
            atomic: self.atomic,
            invite: self.invite,
        }
    }
}

impl From<RowResult> for ResultBody {
    fn from(result: RowResult) -> Self {
        Self {
            line: result.line,
            email: result.email,
            username: result.username,
            status: result.status.as_str(),
            message: result.message,
            user_id: result.user_id.map(|id| id.to_string()),
            invited: result.invited,
            credits: result.credits.map(HandOver::as_str),
            chatflows: result.chatflows.map(HandOver::as_str),
        }
    }
}

impl From<Summary> for SummaryBody {
    fn from(summary: Summary) -> Self {
        Self {
            total: summary.total,
            created: summary.created,
            valid: summary.valid,
            unchanged: summary.unchanged,
            failed: summary.failed,
            invited: summary.invited,
            gifts_handed_over: summary.handed_over,
            gifts_queued: summary.queued,
            dry_run: summary.options.dry_run,
            atomic: summary.options.atomic,
            applied: summary.is_applied,
            encoding: summary.survey.encoding.as_str(),
            separator: summary.survey.header.separator,
            ignored_columns: summary.survey.header.ignored,
        }
    }
}
