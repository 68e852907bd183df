//! Reads what a request carries; every refusal is a problem, and nothing unbounded is held in memory.

use std::{fmt, ops::Deref};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::{Decompress, Payload},
    http::{StatusCode, header},
    web::{self, Bytes, BytesMut},
};
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture};
use serde::de::DeserializeOwned;

use crate::problem::{FieldError, Problem};

/// The largest body of an ordinary route, counted after decompression.
pub const BODY_BYTES_MAX: usize = 100 * 1024;

/// The status of a body that is JSON but not what the route needs: 400, or 422 where the documented service says so.
#[derive(Clone, Copy, Debug)]
pub struct ValidationStatus(pub StatusCode);

impl ValidationStatus {
    /// The service's choice.
    fn of(request: &HttpRequest) -> StatusCode {
        request
            .app_data::<web::Data<Self>>()
            .map_or(StatusCode::BAD_REQUEST, |status| status.0)
    }
}

/// A JSON body of at most `MAX` bytes.
#[derive(Debug)]
pub struct Body<T, const MAX: usize = BODY_BYTES_MAX>(pub T);

impl<T, const MAX: usize> Body<T, MAX> {
    /// What was read.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: DeserializeOwned + 'static, const MAX: usize> FromRequest for Body<T, MAX> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let read = read_json(&request, payload, MAX, |_bytes| Ok(()));
            read.await.map(Self)
        }
        .boxed_local()
    }
}

/// Reads a JSON body of at most `max` bytes, for extractors that have to count memory: `room` is asked with the whole
/// length, as far as it is known, before so much is kept.
pub async fn read_json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    max: usize,
    room: impl FnMut(u64) -> Result<(), Problem>,
) -> Result<T, Problem> {
    if !is_json(request) {
        return Err(not_json());
    }
    let bytes = read_bytes(request, payload, max, room).await?;
    parse(&bytes, ValidationStatus::of(request))
}

/// A JSON body that may be missing altogether.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalBody<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let bytes = read_bytes(&request, payload, BODY_BYTES_MAX, |_bytes| Ok(())).await?;
            if bytes.trim_ascii().is_empty() {
                return Ok(Self(T::default()));
            }
            if !is_json(&request) {
                return Err(not_json());
            }
            parse(&bytes, ValidationStatus::of(&request)).map(Self)
        }
        .boxed_local()
    }
}

/// A form (`application/x-www-form-urlencoded`), as the OAuth standards want it, or a JSON object. Each member of a form
/// is given once (RFC 6749 section 3.2).
#[derive(Debug)]
pub struct FormOrJson<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for FormOrJson<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let is_form = request.content_type() == "application/x-www-form-urlencoded";
            if !is_form && !is_json(&request) {
                return Err(neither_form_nor_json());
            }
            let bytes = read_bytes(&request, payload, BODY_BYTES_MAX, |_bytes| Ok(())).await?;
            let status = ValidationStatus::of(&request);
            if is_form {
                parse_form(&bytes, status).map(Self)
            } else {
                parse(&bytes, status).map(Self)
            }
        }
        .boxed_local()
    }
}

/// Reads a body of at most `max` bytes, of whatever kind; `room` as for [`read_json`].
pub async fn read_bytes(
    request: &HttpRequest,
    payload: Payload,
    max: usize,
    mut room: impl FnMut(u64) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if let Some(length) = declared.and_then(|text| text.parse::<u64>().ok()) {
        if length > as_u64(max) {
            return Err(too_large(max));
        }
        room(length)?;
    }
    let mut chunks = Decompress::from_headers(payload, request.headers());
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::debug!(%error, "request body broke off");
            Problem::new(
                StatusCode::BAD_REQUEST,
                "unreadable_body",
                "the request body could not be read",
            )
        })?;
        if bytes.len() + chunk.len() > max {
            return Err(too_large(max));
        }
        room(as_u64(bytes.len() + chunk.len()))?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn is_json(request: &HttpRequest) -> bool {
    request
        .mime_type()
        .ok()
        .flatten()
        .is_some_and(|mime| mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json"))
}

fn not_json() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "the body must be JSON, with Content-Type: application/json",
    )
}

fn neither_form_nor_json() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "the body must be a form (application/x-www-form-urlencoded) or JSON",
    )
}

fn too_large(max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body may have at most {max} bytes"),
    )
    .with("limit_bytes", max)
}

/// Reads a JSON object and names the member that is wrong. Structs could also be read from arrays, by position; nobody
/// who sends one means that.
fn parse<T: DeserializeOwned>(bytes: &[u8], status: StatusCode) -> Result<T, Problem> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(invalid(status, ".", "expected an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            invalid(status, &path, &error.to_string())
        } else {
            malformed(&error)
        }
    })?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Reads a form as an object of texts.
fn parse_form<T: DeserializeOwned>(bytes: &[u8], status: StatusCode) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).or(Err(invalid(status, ".", "expected UTF-8")))?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
        .or(Err(invalid(status, ".", "expected a form")))?
        .into_inner();
    let mut members = serde_json::Map::new();
    for (name, value) in pairs {
        if members.contains_key(&name) {
            return Err(invalid(status, &name, "expected one value"));
        }
        members.insert(name, value.into());
    }
    serde_path_to_error::deserialize(serde_json::Value::Object(members)).map_err(|error| {
        let path = error.path().to_string();
        invalid(status, &path, &error.into_inner().to_string())
    })
}

fn malformed(error: &serde_json::Error) -> Problem {
    let place = format!(
        "the body is not valid JSON (line {}, column {})",
        error.line(),
        error.column()
    );
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", place)
}

/// Turns serde's message into a field and a sentence. Its `invalid type: string "…"` repeats what was sent, which may be
/// a password: only what was expected is passed on.
fn invalid(status: StatusCode, path: &str, message: &str) -> Problem {
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_owned);
    let (field, message) = if message.starts_with("missing field") {
        (
            join(path, &quoted(message).unwrap_or_default()),
            "is required".to_owned(),
        )
    } else if let Some((_, expected)) = message.rsplit_once("expected ") {
        let expected = expected.split(" at line").next().unwrap_or(expected);
        (join(path, ""), format!("must be {expected}"))
    } else {
        (join(path, ""), "is not valid".to_owned())
    };
    Problem::invalid(status, vec![FieldError { field, message }])
}

fn join(path: &str, field: &str) -> String {
    match (path, field) {
        ("." | "", "") => "body".to_owned(),
        ("." | "", field) => field.to_owned(),
        (path, "") => path.to_owned(),
        (path, field) => format!("{path}.{field}"),
    }
}

/// The path's parameters.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Path<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let path = web::Path::<T>::from_request(request, payload).into_inner();
        std::future::ready(path.map(|path| Self(path.into_inner())).map_err(|error| {
            tracing::debug!(%error, "path refused");
            Problem::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this address",
            )
        }))
    }
}

/// The query's parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = web::Query::<T>::from_query(request.query_string());
        std::future::ready(query.map(|query| Self(query.into_inner())).map_err(|error| {
            let field = FieldError {
                field: "query".to_owned(),
                message: error.to_string(),
            };
            Problem::invalid(ValidationStatus::of(request), vec![field])
        }))
    }
}

impl<T> Deref for Path<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Display> fmt::Display for Path<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
