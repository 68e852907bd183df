//! What happens around every request: its id, its log line, its metrics, and the headers every answer carries.

use std::time::Instant;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use tracing::Instrument as _;

use crate::{context::RequestContext, lifecycle::Lifecycle, metrics::Metrics};

/// On answers of an API: never framed, never sniffed, never run as a page.
const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-site"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
];

/// What orchestrators, Traefik and Prometheus ask all the time.
const PROBES: [&str; 4] = ["/livez", "/readyz", "/health", "/metrics"];

/// The label of every path that is no route.
const UNMATCHED: &str = "unmatched";

/// The outermost middleware, for `actix_web::middleware::from_fn`.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let context = RequestContext::from_headers(request.headers());
    let method = request.method().clone();
    let route = request.match_pattern().unwrap_or_else(|| UNMATCHED.to_owned());
    let metrics = request.app_data::<web::Data<Metrics>>().cloned();
    let lifecycle = request.app_data::<web::Data<Lifecycle>>().cloned();
    let in_progress = metrics
        .as_ref()
        .map(|metrics| InProgress::begin(metrics, &method));

    let request_id = context.request_id().to_owned();
    let span = context.span(&method, &route);
    let work = async {
        let response = next.call(request).await;
        let status = response.as_ref().map_or_else(
            |error| error.as_response_error().status_code(),
            actix_web::dev::ServiceResponse::status,
        );
        let cause = response
            .as_ref()
            .ok()
            .and_then(|response| response.response().error());
        log(&route, status, started, cause);
        tracing::Span::current().record("status", status.as_u16());
        (response, status)
    };
    let (response, status) = context.clone().scope(work).instrument(span).await;
    drop(in_progress);
    if let Some(metrics) = metrics {
        metrics.answered(&method, &route, status.as_u16(), started.elapsed().as_secs_f64());
    }
    let mut response = response?;
    decorate(response.headers_mut(), &request_id);
    if lifecycle.is_some_and(|lifecycle| lifecycle.is_stopping()) {
        // Whoever keeps connections open would send the next request into a closing one.
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Counts a request in progress until it is dropped, also when the client leaves and the future with it.
struct InProgress {
    metrics: web::Data<Metrics>,
    method: Method,
}

impl InProgress {
    fn begin(metrics: &web::Data<Metrics>, method: &Method) -> Self {
        metrics.began(method);
        Self {
            metrics: metrics.clone(),
            method: method.clone(),
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.metrics.ended(&self.method);
    }
}

/// One line a request. A 5xx shows its cause, with its sources, here and nowhere else. Probes that went well, of which
/// there are some every second, are told at `debug`.
fn log(route: &str, status: StatusCode, started: Instant, cause: Option<&Error>) {
    let (status, duration_ms) = (
        status.as_u16(),
        u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
    match (status, cause) {
        (500.., Some(cause)) => tracing::error!(status, duration_ms, error = ?cause, "request failed"),
        (500.., None) => tracing::error!(status, duration_ms, "request failed"),
        (400.., Some(cause)) => tracing::warn!(status, duration_ms, reason = %cause, "request refused"),
        _ if is_routine(route, status) => tracing::debug!(status, duration_ms, "request answered"),
        _ => tracing::info!(status, duration_ms, "request answered"),
    }
}

/// Whether an answer names pages that may frame it. `X-Frame-Options` knows only one other page, so that it cannot say
/// the same; browsers that know `frame-ancestors` would ignore it, and older ones show nothing.
fn may_be_framed(headers: &HeaderMap) -> bool {
    let policy = headers.get(header::CONTENT_SECURITY_POLICY);
    let policy = policy.and_then(|policy| policy.to_str().ok()).unwrap_or_default();
    let ancestors = policy
        .split(';')
        .find_map(|rule| rule.trim().strip_prefix("frame-ancestors "));
    ancestors.is_some_and(|ancestors| ancestors.trim() != "'none'")
}

fn is_routine(route: &str, status: u16) -> bool {
    status < 400 && PROBES.contains(&route)
}

fn decorate(headers: &mut HeaderMap, request_id: &str) {
    let is_framed = may_be_framed(headers);
    for (name, value) in SECURITY_HEADERS {
        let name = HeaderName::from_static(name);
        if name == header::X_FRAME_OPTIONS && is_framed {
            continue;
        }
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(crate::REQUEST_ID_HEADER), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_that_went_well_are_routine() {
        assert!(is_routine("/readyz", 200) && is_routine("/metrics", 200));
        assert!(!is_routine("/readyz", 503), "not ready is worth a line");
        assert!(!is_routine("/api/v1/chat/predict", 200));
    }
}
