//! Tells callers of limited routes what is left to them: `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers), on refusals and on all other answers of the same routes.
//!
//! A limit is applied deep inside, where no answer is at hand; so it leaves a note with the request's task.

use std::cell::Cell;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
};

use crate::domain::throttle::Quota;

tokio::task_local! {
    static NOTED: Cell<Option<Quota>>;
}

/// Notes what is left to the caller of the request that is being worked on.
pub(crate) fn note(quota: Quota) {
    // Outside of a request there is nobody to tell.
    let _ = NOTED.try_with(|noted| noted.set(Some(quota)));
}

/// The middleware, for `actix_web::middleware::from_fn`.
pub(crate) async fn show_quota(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let work = async {
        let response = next.call(request).await;
        (response, NOTED.with(Cell::get))
    };
    let (response, noted) = NOTED.scope(Cell::new(None), work).await;
    let mut response = response?;
    if let Some(quota) = noted {
        let policy = format!("\"{}\";q={};w={}", quota.name, quota.quota, quota.window_secs);
        let left = format!(
            "\"{}\";r={};t={}",
            quota.name, quota.remaining, quota.full_in_secs
        );
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
        }
    }
    Ok(response)
}
