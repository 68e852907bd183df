//! People's files over HTTP: read whole or in parts, in small, and deleted. Nobody but their owner reaches them.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _,
    body::SizedStream,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    web,
};
use common_http::{CurrentUser, Path, Query, Routes, Timestamp};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::{CHATTING, READING};
use crate::{
    domain::{
        byte_range::{Wanted, wanted},
        file_kind::FileKind,
        file_name::disposition,
    },
    error::{Error, Result},
    service::{conversations::Conversations, files::Files},
    store::files::StoredFile,
};

/// How long a browser may show a file again without asking. Its content never changes.
const CACHED: &str = "private, max-age=3600";

/// Whatever a file holds, a browser that opens it runs nothing of it.
const NO_SCRIPTS: &str = "default-src 'none'; sandbox";

/// The side of a thumbnail in pixels, where none is asked for.
const SIDE_DEFAULT: u32 = 200;
const SIDE_MAX: u32 = 1_024;

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        let file = format!("{prefix}/files/{{file_id}}");
        let thumbnail = format!("{file}/thumbnail");
        routes
            .get(&format!("{prefix}/files"), READING, show_file_usage)
            .get(
                &format!("{prefix}/files/session/{{session_id}}"),
                READING,
                list_session_files,
            )
            .get(
                &format!("{prefix}/files/message/{{message_id}}"),
                READING,
                list_message_files,
            )
            .get(&file, READING, show_file)
            .head(&file, READING, show_file)
            .delete(&file, CHATTING, delete_file)
            .get(&thumbnail, READING, show_thumbnail)
            .head(&thumbnail, READING, show_thumbnail);
    }
}

/// What the addresses of files begin with. Pages of another origin need it; without it addresses are relative.
#[derive(Clone, Debug)]
pub(crate) struct PublicBase(String);

impl PublicBase {
    /// With the address under which clients reach us, where it is known.
    pub(crate) fn new(url: Option<&Url>) -> Self {
        Self(url.map_or_else(String::new, |url| url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// A file beside the message it belongs to.
#[derive(Serialize)]
pub(super) struct UploadBody {
    file_id: String,
    name: String,
    mime: String,
    size: u64,
    #[serde(rename = "type")]
    kind: String,
    url: String,
    download_url: String,
    is_image: bool,
    uploaded_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail_url: Option<String>,
}

impl UploadBody {
    pub(super) fn new(file: StoredFile, base: &PublicBase) -> Self {
        let url = format!("{}/api/v1/chat/files/{}", base.0, file.id);
        let is_image = FileKind::stored(&file.mime).is_image();
        Self {
            download_url: format!("{url}?download=true"),
            thumbnail_url: is_image.then(|| format!("{url}/thumbnail")),
            url,
            is_image,
            file_id: file.id,
            name: file.name,
            mime: file.mime,
            size: file.size,
            kind: file.upload_type,
            uploaded_at: Timestamp(file.uploaded_at),
        }
    }
}

#[derive(Serialize)]
struct FileBody {
    file_id: String,
    original_name: String,
    mime_type: String,
    file_size: u64,
    upload_type: String,
    uploaded_at: Timestamp,
    processed: bool,
    metadata: Option<Value>,
}

impl From<StoredFile> for FileBody {
    fn from(file: StoredFile) -> Self {
        Self {
            file_id: file.id,
            original_name: file.name,
            mime_type: file.mime,
            file_size: file.size,
            upload_type: file.upload_type,
            uploaded_at: Timestamp(file.uploaded_at),
            processed: file.processed,
            metadata: file
                .metadata
                .and_then(|metadata| serde_json::to_value(metadata).ok()),
        }
    }
}

/// `GET /api/v1/chat/files`: how much the caller keeps, and may keep.
#[tracing::instrument(skip_all)]
async fn show_file_usage(user: CurrentUser, files: web::Data<Files>) -> Result<HttpResponse> {
    let (kept, limits) = files.usage(&user.id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "files": kept.files,
        "bytes": kept.bytes,
        "files_max": limits.files_max,
        "bytes_max": limits.bytes_max,
        "file_bytes_max": crate::service::files::FILE_BYTES_MAX,
    })))
}

/// `GET /api/v1/chat/files/session/{session_id}`: the files of one of the caller's conversations.
#[tracing::instrument(skip_all)]
async fn list_session_files(
    user: CurrentUser,
    session_id: Path<String>,
    files: web::Data<Files>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    conversations.admit(&user, &session_id).await?;
    let files = files.list_of_session(&user.id, &session_id).await?;
    let files: Vec<_> = files.into_iter().map(FileBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "session_id": *session_id, "files": files })))
}

/// `GET /api/v1/chat/files/message/{message_id}`: the caller's files in a message.
#[tracing::instrument(skip_all)]
async fn list_message_files(
    user: CurrentUser,
    message_id: Path<String>,
    files: web::Data<Files>,
) -> Result<HttpResponse> {
    let files = files.list_of_message(&user.id, &message_id).await?;
    let files: Vec<_> = files.into_iter().map(FileBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "message_id": *message_id, "files": files })))
}

#[derive(Deserialize)]
struct Shown {
    download: Option<bool>,
}

/// `GET /api/v1/chat/files/{file_id}`: the file, or the part of it that is asked for.
#[tracing::instrument(skip_all)]
async fn show_file(
    user: CurrentUser,
    request: HttpRequest,
    file_id: Path<String>,
    query: Query<Shown>,
    files: web::Data<Files>,
) -> Result<HttpResponse> {
    let file = files.find(&user.id, &file_id).await?;
    give(&request, &file, &files, query.download == Some(true)).await
}

/// The file, or the part of it that is asked for.
pub(super) async fn give(
    request: &HttpRequest,
    file: &StoredFile,
    files: &Files,
    download: bool,
) -> Result<HttpResponse> {
    let length = files.length(file).await?;
    let kind = FileKind::stored(&file.mime);
    let inline = kind.inline && !kind.contradicts(&file.name) && !download;
    let tag = format!("\"{}\"", file.hash.as_deref().unwrap_or(&file.id));
    let how = disposition(if inline { "inline" } else { "attachment" }, &file.name);
    let dress = |mut response: HttpResponseBuilder| {
        dress(&mut response, &tag, &how, &kind.content_type());
        response.insert_header((header::ACCEPT_RANGES, "bytes"));
        response
    };
    if is_known(request, &tag) {
        return Ok(dress(HttpResponse::NotModified()).finish());
    }
    let (mut response, range) = match wanted(range_of(request, &tag), length) {
        Wanted::Whole => (dress(HttpResponse::Ok()), 0..length),
        Wanted::Part(range) => {
            let mut response = dress(HttpResponse::PartialContent());
            let part = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            response.insert_header((header::CONTENT_RANGE, part));
            (response, range)
        }
        Wanted::Unsatisfiable => return Ok(unsatisfiable(length)),
    };
    let size = range.end - range.start;
    if request.method() == Method::HEAD {
        let nothing = stream::empty::<Result<web::Bytes, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(size, nothing)));
    }
    let bytes = files.read(file, range).await?;
    Ok(response.body(SizedStream::new(size, Box::pin(bytes))))
}

#[derive(Deserialize)]
struct Side {
    size: Option<u32>,
}

/// `GET /api/v1/chat/files/{file_id}/thumbnail`: an image in small.
#[tracing::instrument(skip_all)]
async fn show_thumbnail(
    user: CurrentUser,
    request: HttpRequest,
    file_id: Path<String>,
    query: Query<Side>,
    files: web::Data<Files>,
) -> Result<HttpResponse> {
    let side = query.size.unwrap_or(SIDE_DEFAULT);
    if !(1..=SIDE_MAX).contains(&side) {
        return Err(Error::invalid("size", format!("must be from 1 to {SIDE_MAX}")));
    }
    let file = files.find(&user.id, &file_id).await?;
    let tag = format!("\"{}-{side}\"", file.hash.as_deref().unwrap_or(&file.id));
    let how = disposition("inline", &format!("thumb_{}", file.name));
    if is_known(&request, &tag) {
        let mut response = HttpResponse::NotModified();
        dress(&mut response, &tag, &how, "image/jpeg");
        return Ok(response.finish());
    }
    let picture = files.thumbnail(&file, side).await?;
    let mut response = HttpResponse::Ok();
    dress(&mut response, &tag, &how, &picture.mime);
    if request.method() == Method::HEAD {
        let length = u64::try_from(picture.bytes.len()).unwrap_or_default();
        let nothing = stream::empty::<Result<web::Bytes, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(length, nothing)));
    }
    Ok(response.body(picture.bytes))
}

/// `DELETE /api/v1/chat/files/{file_id}`.
#[tracing::instrument(skip_all)]
async fn delete_file(
    user: CurrentUser,
    file_id: Path<String>,
    files: web::Data<Files>,
) -> Result<HttpResponse> {
    files.delete(&user.id, &file_id).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "File deleted successfully", "file_id": *file_id })))
}

/// The headers of every answer about a file's content.
fn dress(response: &mut HttpResponseBuilder, tag: &str, disposition: &str, content_type: &str) {
    response
        .content_type(content_type)
        .insert_header((header::ETAG, tag))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::CACHE_CONTROL, CACHED))
        // The same browser may be somebody else's tomorrow.
        .append_header((header::VARY, "Authorization, Cookie"))
        .insert_header((header::CONTENT_SECURITY_POLICY, NO_SCRIPTS))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ));
}

fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Whether the client has this already (RFC 9110 section 13.1.2).
fn is_known(request: &HttpRequest, tag: &str) -> bool {
    let matches = |known: &str| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    };
    text(request, &header::IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(matches))
}

/// The `Range` header, unless it is meant for another version of the file.
fn range_of<'a>(request: &'a HttpRequest, tag: &str) -> Option<&'a str> {
    let same = text(request, &header::IF_RANGE).is_none_or(|known| known.trim() == tag);
    text(request, &header::RANGE).filter(|_| same)
}

fn unsatisfiable(length: u64) -> HttpResponse {
    let mut response = Error::RangeNotSatisfiable { length }.error_response();
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}
