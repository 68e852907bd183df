//! Which sites' scripts may read the answers that visitors get: exactly those that some embed allows, by name, with their
//! cookies; and no others, whatever other routes allow.

use actix_web::{
    Error as ActixError, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};

use crate::{domain::origin::Origin, service::embeds::Embeds};

/// How long a browser may remember what it may do.
const PREFLIGHT_SECS: &str = "600";

const METHODS: &str = "GET, POST, DELETE, OPTIONS";

const REQUEST_HEADERS: &str = "accept, authorization, content-type, idempotency-key, x-request-id";

const ANSWER_HEADERS: &str = "idempotency-replayed, retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, x-ratelimit-remaining, \
     x-ratelimit-reset, x-request-id, x-turn-id";

/// The middleware, for `actix_web::middleware::from_fn`.
pub(crate) async fn visitor_cors<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    if !is_for_visitors(&request) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = match &origin {
        Some(origin) if is_allowed(&request, origin).await => Some(origin.clone()),
        Some(_) | None => None,
    };
    if request.method() == Method::OPTIONS && origin.is_some() {
        let mut response = HttpResponse::build(StatusCode::NO_CONTENT);
        if allowed.is_some() {
            response
                .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
                .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
                .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS));
        }
        let mut response = request.into_response(response.finish()).map_into_right_body();
        show(response.headers_mut(), allowed);
        return Ok(response);
    }
    let mut response = next.call(request).await?.map_into_left_body();
    show(response.headers_mut(), allowed);
    Ok(response)
}

/// Visitors' routes; a signed-in person's history is deleted under the same address as a visitor's is read.
fn is_for_visitors(request: &ServiceRequest) -> bool {
    let path = request.path();
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let method = asked.map_or(request.method().as_str().as_bytes(), HeaderValue::as_bytes);
    path.starts_with("/api/v1/session/")
        || path == "/api/v1/chat/message"
        || path == "/api/v1/chat/stream"
        || path.starts_with("/api/v1/chat/stream/")
        || (path == "/api/v1/chat/history" && method == b"GET")
        || (path.starts_with("/api/v1/chat/history/")
            && !path.ends_with("/export")
            && !path.ends_with("/search"))
}

async fn is_allowed(request: &ServiceRequest, origin: &HeaderValue) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(|text| Origin::parse(text).ok()) else {
        return false;
    };
    match request.app_data::<web::Data<Embeds>>() {
        // Where embeds cannot be read the request itself will say so.
        Some(embeds) => embeds.is_known_origin(&origin).await.unwrap_or(false),
        None => false,
    }
}

fn show(headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(
        HeaderName::from_static("access-control-expose-headers"),
        HeaderValue::from_static(ANSWER_HEADERS),
    );
}
