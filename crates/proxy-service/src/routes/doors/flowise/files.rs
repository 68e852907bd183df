//! The files of a chat: read before a question, and given back.

use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use common_http::{CurrentUser, Path, Query};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use tokio::time::timeout;

use super::body::{read_field, upload_of};
use crate::{
    domain::session_name::SessionName,
    error::{Error, Result},
    routes::{chat_body::share_of, files::give, uploads::form_of},
    service::{
        chats::{Chats, Sent},
        files::Files,
    },
    upload_memory::Share,
};

/// Files in one form.
const FILES_MAX: usize = 10;

/// How long they may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_mins(5);

/// `POST /api/v1/attachments/{flowise_id}/{chat_id}`: has files read, whose content the client then sends with a question.
#[tracing::instrument(skip_all)]
pub(super) async fn attach_files(
    user: CurrentUser,
    request: HttpRequest,
    path: Path<(String, String)>,
    payload: web::Payload,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let (flowise_id, chat_id) = &*path;
    let name = SessionName::parse(chat_id).ok_or_else(|| Error::invalid("chatId", "is too long"))?;
    if !request.content_type().eq_ignore_ascii_case("multipart/form-data") {
        return Err(Error::NotMultipart);
    }
    let mut share = share_of(&request).or(Err(Error::Overloaded))?;
    let reading = read(&request, payload, &mut share);
    let sent = timeout(READ_TIMEOUT, reading)
        .await
        .or(Err(Error::UploadTooSlow))??;
    let read = chats.attach(&user, flowise_id, &name, sent).await?;
    Ok(HttpResponse::Ok().json(read))
}

async fn read(request: &HttpRequest, payload: web::Payload, share: &mut Share) -> Result<Vec<Sent>> {
    let mut room = |bytes| share.reach(bytes).map_err(|error| error.problem());
    let mut form = form_of(request, payload.into_inner());
    let mut sent = Vec::new();
    let mut bytes = 0;
    while let Some(field) = form.try_next().await.or(Err(Error::MalformedMultipart))? {
        let file = upload_of(&field);
        let content = read_field(field, &mut bytes, &mut room).await?;
        let Some(file) = file else { continue };
        if sent.len() == FILES_MAX {
            return Err(Error::invalid("files", format!("may be at most {FILES_MAX}")));
        }
        sent.push(Sent {
            name: file.name,
            declared: file.mime,
            bytes: content,
        });
    }
    if sent.is_empty() {
        return Err(Error::invalid("files", "are required"));
    }
    Ok(sent)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    chatflow_id: String,
    chat_id: String,
    file_name: String,
    download: Option<bool>,
}

/// `GET /api/v1/get-upload-file`: one of the caller's files in a chat, by its name.
#[tracing::instrument(skip_all)]
pub(super) async fn show_upload(
    user: CurrentUser,
    request: HttpRequest,
    Query(wanted): Query<Wanted>,
    chats: web::Data<Chats>,
    files: web::Data<Files>,
) -> Result<HttpResponse> {
    let file = chats
        .file(&user, &wanted.chatflow_id, &wanted.chat_id, &wanted.file_name)
        .await?;
    give(&request, &file, &files, wanted.download == Some(true)).await
}
