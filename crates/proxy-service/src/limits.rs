//! Limits at the door: an address before anything is read, a person as soon as they are known. What is left to them
//! stands on every answer: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and for visitors of
//! widgets also the `X-RateLimit-*` headers that the documented ones know.

use std::{cell::RefCell, sync::Arc};

use actix_web::{
    Error as ActixError, HttpResponse, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web,
};
use common_http::{ClientAddress, Clock, Problem, SessionCheck};

use crate::{
    error::{Error, Result},
    service::{
        limits::{Limit, Limits, Told},
        widget::protection::Ruling,
    },
};

/// What has to be answered whoever asks how often: orchestrators and Prometheus decide by it.
const EXEMPT: [&str; 4] = ["/livez", "/readyz", "/health", "/metrics"];

tokio::task_local! {
    static TOLD: RefCell<Vec<Told>>;
}

/// The middleware, for `actix_web::middleware::from_fn`.
pub(crate) async fn limit<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    let limits = request.app_data::<web::Data<Limits>>().cloned();
    let Some(limits) = limits.filter(|_| !EXEMPT.contains(&request.path())) else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let clock = request.app_data::<web::Data<Clock>>().cloned();
    let now = clock.map_or(0, |clock| clock.now().timestamp());
    let ClientAddress(address) = ClientAddress::of(request.request());
    let told = limits.of_address(address).await;
    if let Some(retry_after_secs) = told.and_then(|told| told.retry_after_secs) {
        let refused: HttpResponse = Error::RateLimited { retry_after_secs }.error_response();
        let mut response = request.into_response(refused).map_into_right_body();
        show(response.headers_mut(), told.as_slice(), now);
        remember(&mut response, told.into_iter().collect());
        return Ok(response);
    }
    let work = async {
        let response = next.call(request).await;
        (response, TOLD.with(RefCell::take))
    };
    let (response, told) = TOLD.scope(RefCell::new(told.into_iter().collect()), work).await;
    let mut response = response?.map_into_left_body();
    show(response.headers_mut(), &told, now);
    remember(&mut response, told);
    Ok(response)
}

/// For doors whose clients read other headers.
fn remember<B>(response: &mut ServiceResponse<B>, told: Vec<Told>) {
    response.response_mut().extensions_mut().insert(told);
}

/// The same for people, where their token is checked.
pub(crate) fn of_people(limits: Limits) -> SessionCheck {
    Arc::new(move |user| {
        let limits = limits.clone();
        Box::pin(async move {
            // What is too fast for the key is not taken from its owner.
            if let Some(key) = &user.key {
                judge(limits.of_key(key).await)?;
            }
            judge(limits.of_user(&user).await)
        })
    })
}

fn judge(told: Option<Told>) -> std::result::Result<(), Problem> {
    tell(told);
    match told.and_then(|told| told.retry_after_secs) {
        Some(retry_after_secs) => Err(Error::RateLimited { retry_after_secs }.problem()),
        None => Ok(()),
    }
}

/// The same for visitors: what they are told goes on the answer, what they may do to the handler.
pub(crate) fn of_visitor(ruling: Ruling) -> Result<()> {
    tell(ruling.told);
    ruling.outcome
}

fn tell(told: impl IntoIterator<Item = Told>) {
    // Outside of a request there is nobody to tell.
    let _ = TOLD.try_with(|all| all.borrow_mut().extend(told));
}

fn show(headers: &mut HeaderMap, told: &[Told], now: i64) {
    if told.is_empty() {
        return;
    }
    show_documented(headers, told, now);
    let list = |item: fn(&Told) -> String| told.iter().map(item).collect::<Vec<_>>().join(", ");
    let policy = list(|told| {
        let (name, quota) = (told.limit.name(), told.quota);
        format!("\"{name}\";q={};w={}", quota.quota, quota.window_secs)
    });
    let left = list(|told| {
        let (name, quota) = (told.limit.name(), told.quota);
        format!("\"{name}\";r={};t={}", quota.remaining, quota.full_in_secs)
    });
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// One limit of a visitor's: that which refused them, else that of their address.
fn show_documented(headers: &mut HeaderMap, told: &[Told], now: i64) {
    let of_visitors = || {
        told.iter()
            .filter(|told| !matches!(told.limit, Limit::Address | Limit::User | Limit::ApiKey))
    };
    let refused = of_visitors().find(|told| told.retry_after_secs.is_some());
    let Some(told) = refused.or_else(|| of_visitors().find(|told| told.limit == Limit::WidgetAddressMinute))
    else {
        return;
    };
    let reset = now.saturating_add_unsigned(told.quota.full_in_secs);
    for (name, value) in [
        ("x-ratelimit-limit", told.quota.quota.to_string()),
        ("x-ratelimit-remaining", told.quota.remaining.to_string()),
        ("x-ratelimit-reset", reset.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
