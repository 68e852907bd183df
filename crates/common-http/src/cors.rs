//! Which web pages may read our answers.

use actix_cors::Cors;
use actix_web::http::{Method, header};

/// How long a browser may remember a preflight answer.
const PREFLIGHT_SECS: usize = 600;

/// Cross-origin rules for exactly these origins. `*` admits every page, then without cookies (`allow_credentials` is
/// ignored): the two together would hand every page the user's session.
pub fn cors(origins: &[String], allow_credentials: bool) -> Cors {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let headers = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_NONE_MATCH,
        header::RANGE,
        header::HeaderName::from_static("idempotency-key"),
        header::HeaderName::from_static("last-event-id"),
        header::HeaderName::from_static("traceparent"),
        header::HeaderName::from_static("x-request-id"),
    ];
    let cors = Cors::default()
        .allowed_methods(methods)
        .allowed_headers(headers)
        .expose_headers([
            "content-disposition",
            "content-range",
            "etag",
            "idempotency-replayed",
            "link",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-request-id",
            "x-turn-id",
        ])
        .max_age(PREFLIGHT_SECS)
        // An unlisted origin gets an answer without CORS headers; the browser withholds it from the page.
        .block_on_origin_mismatch(false);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin().send_wildcard();
    }
    let cors = origins
        .iter()
        .fold(cors, |cors, origin| cors.allowed_origin(origin));
    if allow_credentials {
        cors.supports_credentials()
    } else {
        cors
    }
}
