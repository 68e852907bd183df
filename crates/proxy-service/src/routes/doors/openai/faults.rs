//! What goes wrong at this door, in the form its clients read, and the limits in the headers they read.

use actix_web::{
    Error as ActixError,
    body::{EitherBody, MessageBody, to_bytes_limited},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use serde_json::Value;

use crate::{
    domain::openai::fault,
    service::limits::{Limit, Told},
};

/// A problem of ours is far smaller.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

const PROBLEM: &str = "application/problem+json";

/// The middleware, for `actix_web::middleware::from_fn`.
pub(crate) async fn openai_faults<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    let is_here = request.path() == "/v1" || request.path().starts_with("/v1/");
    let mut response = next.call(request).await?;
    if !is_here {
        return Ok(response.map_into_left_body());
    }
    show_limits(&mut response);
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_none_or(|kind| kind != PROBLEM) {
        return Ok(response.map_into_left_body());
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let body = to_bytes_limited(body, PROBLEM_BYTES_MAX).await;
    let problem = body.ok().and_then(Result::ok);
    let problem = problem.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let fault = fault::of_problem(response.status().as_u16(), &problem.unwrap_or(Value::Null));
    *response.status_mut() = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(retry) = fault.retry {
        let value = HeaderValue::from_static(if retry { "true" } else { "false" });
        headers.insert(HeaderName::from_static("x-should-retry"), value);
    }
    let response = response.set_body(fault.body.to_string()).map_into_boxed_body();
    Ok(ServiceResponse::new(request, response).map_into_right_body())
}

/// Of the limits of a request the one that refused it, else the person's, else that of the address.
fn show_limits<B>(response: &mut ServiceResponse<B>) {
    let told = response.response().extensions().get::<Vec<Told>>().cloned();
    let told = told.unwrap_or_default();
    let refused = told.iter().find(|told| told.retry_after_secs.is_some());
    let of_user = || told.iter().find(|told| told.limit == Limit::User);
    if let Some(told) = refused.or_else(of_user).or(told.first()) {
        show_limit(response.headers_mut(), *told);
    }
}

fn show_limit(headers: &mut HeaderMap, told: Told) {
    for (name, value) in [
        ("x-ratelimit-limit-requests", told.quota.quota.to_string()),
        ("x-ratelimit-remaining-requests", told.quota.remaining.to_string()),
        ("x-ratelimit-reset-requests", format!("{}s", told.quota.full_in_secs)),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
