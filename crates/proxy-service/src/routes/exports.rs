//! A person's own conversations, searched and taken away.

use actix_web::{HttpResponse, http::header, web};
use bytes::Bytes;
use common_http::{CurrentUser, Path, Query, Routes, Timestamp};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{READING, READING_ALL, paging::Paging};
use crate::{
    domain::file_name::disposition,
    error::{Error, Result},
    service::conversations::{Conversations, Format, Found, Search},
};

/// Characters that can be searched for.
const WANTED_CHARS_MAX: usize = 200;

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        routes
            .get(
                &format!("{prefix}/sessions/{{id}}/export"),
                READING,
                export_session,
            )
            .get(&format!("{prefix}/history/export"), READING_ALL, export_history)
            .get(&format!("{prefix}/history/search"), READING_ALL, search_history);
    }
}

#[derive(Deserialize)]
struct ExportQuery {
    format: Option<String>,
}

impl ExportQuery {
    fn format(&self) -> Result<Format> {
        match self.format.as_deref() {
            None | Some("json") => Ok(Format::Json),
            Some("markdown") => Ok(Format::Markdown),
            Some(_) => Err(Error::invalid("format", "must be `json` or `markdown`")),
        }
    }
}

#[derive(Deserialize)]
struct SearchQuery {
    q: String,
    chatflow_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct FoundBody {
    message_id: String,
    session_id: String,
    chatflow_id: String,
    role: String,
    created_at: Timestamp,
    snippet: String,
}

impl From<Found> for FoundBody {
    fn from(found: Found) -> Self {
        Self {
            message_id: found.message_id,
            session_id: found.session_id,
            chatflow_id: found.chatflow_id,
            role: found.role,
            created_at: Timestamp(found.created_at),
            snippet: found.quotation,
        }
    }
}

/// `GET /api/v1/chat/sessions/{id}/export`: one conversation as a file.
#[tracing::instrument(skip_all)]
async fn export_session(
    user: CurrentUser,
    session_id: Path<String>,
    query: Query<ExportQuery>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    let format = query.format()?;
    conversations.admit(&user, &session_id).await?;
    let pieces = conversations.export(&user.id, &session_id, format).await?;
    Ok(as_file(format, "conversation", pieces))
}

/// `GET /api/v1/chat/history/export`: all conversations as a file.
#[tracing::instrument(skip_all)]
async fn export_history(
    user: CurrentUser,
    query: Query<ExportQuery>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    let format = query.format()?;
    let pieces = conversations.export_all(&user.id, format);
    Ok(as_file(format, "conversations", pieces))
}

/// `GET /api/v1/chat/history/search`: the caller's messages that say something.
#[tracing::instrument(skip_all)]
async fn search_history(
    user: CurrentUser,
    query: Query<SearchQuery>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    let wanted = searched(&query.q)?;
    let page = Paging::new(query.limit.clone(), query.cursor.clone()).read_timed()?;
    let search = Search {
        wanted,
        chatflow_id: query.chatflow_id.as_deref(),
        limit: page.limit,
        before: page.after,
    };
    let (found, next) = conversations.search(&user.id, search).await?;
    let found: Vec<_> = found.into_iter().map(FoundBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({
        "results": found,
        "count": found.len(),
        "next_cursor": next.map(|next| next.to_string()),
    })))
}

/// What is searched for.
pub(super) fn searched(text: &str) -> Result<&str> {
    let wanted = text.trim();
    if wanted.is_empty() || wanted.chars().nth(WANTED_CHARS_MAX).is_some() {
        return Err(Error::invalid(
            "q",
            format!("must have 1 to {WANTED_CHARS_MAX} characters"),
        ));
    }
    Ok(wanted)
}

fn as_file(format: Format, name: &str, pieces: impl Stream<Item = Result<Bytes>> + 'static) -> HttpResponse {
    let (content_type, ending) = match format {
        Format::Json => ("application/json", "json"),
        Format::Markdown => ("text/markdown; charset=utf-8", "md"),
    };
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((
            header::CONTENT_DISPOSITION,
            disposition("attachment", &format!("{name}.{ending}")),
        ))
        .streaming(Box::pin(pieces))
}
