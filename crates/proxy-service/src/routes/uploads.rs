//! A file that is sent by itself, to be used by a later message.

use std::{future::ready, time::Duration};

use actix_multipart::{Field, Multipart};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, dev::Payload, web};
use bytes::Bytes;
use common_http::{CurrentUser, Routes};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    domain::file_name::clean,
    error::{Error, Result},
    service::files::{FILE_BYTES_MAX, Files, Incoming, KeptFile},
};

/// What stands around the file in the form.
const FORM_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a field other than the file.
const FIELD_BYTES_MAX: usize = 200;

/// Fields of the form.
const FIELDS_MAX: usize = 16;

/// Stands behind every form, where nothing is read any more. A form that is cut off right after a line would leave its
/// parser waiting for the rest of a boundary; so it meets something that is none.
const BEYOND_THE_END: &[u8] = b"\r\n~~~~";

/// How long an upload may take in all.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        routes.post(&format!("{prefix}/upload"), super::CHATTING, upload_file);
    }
}

/// `POST /api/v1/chat/upload`: stores a file as it comes.
#[tracing::instrument(skip_all)]
async fn upload_file(
    user: CurrentUser,
    request: HttpRequest,
    payload: web::Payload,
    files: web::Data<Files>,
) -> Result<HttpResponse> {
    let is_form = request.content_type().eq_ignore_ascii_case("multipart/form-data");
    if !is_form {
        return Err(Error::NotMultipart);
    }
    let declared = request.headers().get("content-length");
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > FILE_BYTES_MAX + FORM_BYTES_MAX) {
        return Err(Error::FileRefused(crate::domain::refusal::Refusal::TooLarge));
    }
    let form = form_of(&request, payload.into_inner());
    let received = timeout(UPLOAD_TIMEOUT, receive(&user, form, &files)).await;
    let kept = received.or(Err(Error::UploadTooSlow))??;
    Ok(HttpResponse::Ok().json(json!({
        "file_id": kept.id,
        "message": "File uploaded successfully",
        "name": kept.name,
        "mime": kept.mime,
        "size": kept.size,
    })))
}

/// The fields of a form, one by one.
pub(super) fn form_of(request: &HttpRequest, payload: Payload) -> Multipart {
    let end = stream::once(ready(Ok(Bytes::from_static(BEYOND_THE_END))));
    Multipart::new(request.headers(), payload.chain(end))
}

/// Reads the fields. The session may stand before the file or after it: only before can it be checked before the bytes
/// are stored, and after it a file that came for nothing is removed.
async fn receive(user: &CurrentUser, mut form: Multipart, files: &Files) -> Result<KeptFile> {
    let mut session_id: Option<String> = None;
    let mut kept: Option<KeptFile> = None;
    for _ in 0..FIELDS_MAX {
        let field = match form.try_next().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return Err(give_back(user, kept, files, malformed(&error)).await),
        };
        match field.name().unwrap_or_default() {
            "file" if kept.is_none() => {
                kept = Some(receive_file(user, session_id.as_deref(), field, files).await?);
            }
            "session_id" => {
                let outcome = read_session(user, field, files).await;
                let outcome = match (outcome, &kept) {
                    (Ok(Some(id)), Some(file)) => {
                        let moved = files.move_to_session(&user.id, &file.id, &id).await;
                        moved.map(|()| Some(id))
                    }
                    (outcome, _) => outcome,
                };
                match outcome {
                    Ok(id) => session_id = id,
                    Err(error) => return Err(give_back(user, kept, files, error).await),
                }
            }
            _ => {
                if let Err(error) = read_text(field).await {
                    return Err(give_back(user, kept, files, error).await);
                }
            }
        }
    }
    kept.ok_or_else(|| Error::invalid("file", "is required"))
}

async fn receive_file(
    user: &CurrentUser,
    session_id: Option<&str>,
    field: Field,
    files: &Files,
) -> Result<KeptFile> {
    let said = field.content_disposition();
    let said = said.and_then(|said| {
        said.get_filename_ext().map_or_else(
            || said.get_filename().map(str::to_owned),
            |name| String::from_utf8(name.value.clone()).ok(),
        )
    });
    let name = clean(&said.unwrap_or_default());
    let declared = field
        .content_type()
        .map_or_else(String::new, |mime| mime.essence_str().to_owned());
    let incoming = Incoming {
        user_id: &user.id,
        session_id,
        name: &name,
        declared: &declared,
    };
    files.receive(incoming, pieces(field)).await
}

fn pieces(field: Field) -> impl Stream<Item = Result<Bytes>> {
    field.map_err(|error| malformed(&error))
}

async fn read_session(user: &CurrentUser, field: Field, files: &Files) -> Result<Option<String>> {
    let id = read_text(field).await?;
    if id.is_empty() {
        return Ok(None);
    }
    files.check_session(&user.id, &id).await?;
    Ok(Some(id))
}

async fn read_text(field: Field) -> Result<String> {
    let mut text = Vec::new();
    let mut pieces = std::pin::pin!(pieces(field));
    while let Some(piece) = pieces.try_next().await? {
        if text.len() + piece.len() > FIELD_BYTES_MAX {
            return Err(Error::MalformedMultipart);
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).or(Err(Error::MalformedMultipart))
}

/// Removes a file whose form turned out to be wrong behind it.
async fn give_back(user: &CurrentUser, kept: Option<KeptFile>, files: &Files, why: Error) -> Error {
    if let Some(file) = kept
        && let Err(error) = files.delete(&user.id, &file.id).await
    {
        tracing::warn!(%error, "the file of a refused form stays until it is tidied up");
    }
    why
}

fn malformed(error: &actix_multipart::MultipartError) -> Error {
    tracing::debug!(%error, "a form could not be read");
    Error::MalformedMultipart
}
