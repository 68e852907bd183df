//! The headers that clients of this API read: how much is left to them, and whether to try again by themselves.

use actix_web::{
    Error as ActixError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};

use crate::service::limits::{Limit, Told};

/// Whoever has to wait for longer would not: these clients then go by a few seconds of their own.
const RETRY_SECS_MAX: u64 = 60;

/// The middleware, for `actix_web::middleware::from_fn`.
pub(crate) async fn openai_headers<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, ActixError> {
    let is_here = super::has(request.path());
    let mut response = next.call(request).await?;
    if is_here {
        let told = response.response().extensions().get::<Vec<Told>>().cloned();
        show_limits(response.headers_mut(), &told.unwrap_or_default());
        show_retry(response.headers_mut());
    }
    Ok(response)
}

/// Of the limits of a request the one that refused it, else the person's, else that of the address.
fn show_limits(headers: &mut HeaderMap, told: &[Told]) {
    let refused = told.iter().find(|told| told.retry_after_secs.is_some());
    let of_user = || told.iter().find(|told| told.limit == Limit::User);
    let Some(Told { quota, .. }) = refused.or_else(of_user).or(told.first()) else {
        return;
    };
    for (name, value) in [
        ("x-ratelimit-limit-requests", quota.quota.to_string()),
        ("x-ratelimit-remaining-requests", quota.remaining.to_string()),
        ("x-ratelimit-reset-requests", format!("{}s", quota.full_in_secs)),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn show_retry(headers: &mut HeaderMap) {
    let secs = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let secs = secs.and_then(|secs| secs.parse::<u64>().ok());
    if secs.is_some_and(|secs| secs > RETRY_SECS_MAX) {
        let name = HeaderName::from_static("x-should-retry");
        headers.insert(name, HeaderValue::from_static("false"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pace::Quota;

    fn told(limit: Limit, remaining: u64, retry_after_secs: Option<u64>) -> Told {
        let quota = Quota {
            quota: 60,
            window_secs: 60,
            remaining,
            full_in_secs: 7,
        };
        Told {
            limit,
            quota,
            retry_after_secs,
        }
    }

    fn remaining(told: &[Told]) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        show_limits(&mut headers, told);
        headers.get("x-ratelimit-remaining-requests").cloned()
    }

    #[test]
    fn one_limit_is_shown_and_it_is_the_one_that_matters() {
        let (address, user) = (told(Limit::Address, 50, None), told(Limit::User, 3, None));
        let refused = told(Limit::Address, 0, Some(1));
        assert_eq!(remaining(&[address, user]).unwrap(), "3");
        assert_eq!(remaining(&[address]).unwrap(), "50");
        assert_eq!(remaining(&[refused, user]).unwrap(), "0");
        assert_eq!(remaining(&[]), None);
    }

    #[test]
    fn who_has_to_wait_long_is_told_not_to_try() {
        for (secs, expected) in [("5", None), ("60", None), ("61", Some("false")), ("soon", None)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(secs));
            show_retry(&mut headers);
            let shown = headers.get("x-should-retry").map(|value| value.to_str().unwrap());
            assert_eq!(shown, expected, "{secs}");
        }
    }
}
