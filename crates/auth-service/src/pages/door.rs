//! What stands before the pages: who the browser's cookies say is there, and what a browser gets in place of a problem.
//!
//! A page that is opened by a link from elsewhere (a mail, a provider) is shown to whoever is signed in: opening changes
//! nothing. Everything that is sent to a page must come from one of ours. A session whose access token has ended is
//! continued on the way, so that nobody without scripts is sent to sign in every quarter of an hour.

use actix_web::{
    Error as ActixError, FromRequest as _, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use common_http::{Authenticator, Caller, Problem, SessionCookies, is_from_own_page};
use url::form_urlencoded;

use super::frame::Frame;
use crate::{
    domain::origin::Origin,
    error::Error,
    routes::cookies::Cookies,
    service::sessions::{Sessions, TokenPair},
};

/// The first parts of the pages' paths.
const PAGES: [&str; 14] = [
    "",
    "login",
    "logout",
    "register",
    "verify",
    "forgot",
    "forgot-password",
    "reset",
    "reset-password",
    "language",
    "account",
    "my-chatflows",
    "credits",
    "hello",
];

/// The same for those of administrators, which are beside nothing else.
const ADMINISTRATION: &str = "admin";

/// For `actix_web::middleware::from_fn`.
pub(crate) async fn open<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, ActixError> {
    if !is_page(request.path()) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let renewed = carry_session(&mut request).await;
    let response = next.call(request).await?;
    let mut response = match refusal(&response) {
        Some(page) => response.into_response(page).map_into_right_body(),
        None => response.map_into_left_body(),
    };
    if let Some((pair, cookies)) = renewed {
        keep(&mut response, &pair, &cookies);
    }
    Ok(response)
}

fn is_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    path.starts_with('/') && !path.starts_with("//") && (first == ADMINISTRATION || PAGES.contains(&first))
}

/// Lets the request say who sends it, as programs do, where the browser's cookies know.
async fn carry_session(request: &mut ServiceRequest) -> Option<(TokenPair, web::Data<Cookies>)> {
    if request.headers().contains_key(header::AUTHORIZATION) || !may_use_session(request.request()) {
        return None;
    }
    let cookies = request.app_data::<web::Data<Cookies>>()?.clone();
    let authenticator = request.app_data::<web::Data<Authenticator>>()?.clone();
    let names = cookies.names();
    if let Some(token) = names.access_of(request.request())
        && authenticator.access(&token).await.is_ok()
    {
        authorize(request, &token);
        return None;
    }
    let pair = renew(request.request(), names).await?;
    authorize(request, &pair.access);
    Some((pair, cookies))
}

async fn renew(request: &HttpRequest, names: SessionCookies) -> Option<TokenPair> {
    let token = names.refresh_of(request)?;
    let sessions = request.app_data::<web::Data<Sessions>>()?;
    let origin = Origin::extract(request).into_inner().ok()?;
    // Whoever has no session any more is asked to sign in.
    sessions.refresh(&token, &origin).await.ok()
}

/// A page of ours, or a person who opens a page.
fn may_use_session(request: &HttpRequest) -> bool {
    let text = |name: &'static str| {
        let value = request.headers().get(HeaderName::from_static(name));
        value.and_then(|value| value.to_str().ok())
    };
    let opens = matches!(*request.method(), Method::GET | Method::HEAD)
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document");
    opens || is_from_own_page(request)
}

fn authorize(request: &mut ServiceRequest, token: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
}

/// The session that was continued on the way, unless the answer has set another one.
fn keep<B>(response: &mut ServiceResponse<B>, pair: &TokenPair, cookies: &Cookies) {
    let ours = cookies.session(pair);
    let has_set = response
        .response()
        .cookies()
        .any(|cookie| cookie.name() == ours[0].name());
    if has_set {
        return;
    }
    for cookie in ours {
        // Names and values are ours, so they can be written.
        let _ = response.response_mut().add_cookie(&cookie);
    }
}

/// What a browser gets in the place of a problem. Programs get the problem.
fn refusal<B>(response: &ServiceResponse<B>) -> Option<HttpResponse> {
    let status = response.status();
    let request = response.request();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json");
    if !is_problem || !wants_page(request) {
        return None;
    }
    let code = code_of(response.response()).unwrap_or_default();
    if status == StatusCode::UNAUTHORIZED {
        return Some(see_other(&sign_in_address(request)));
    }
    if code == "password_change_required" {
        return Some(see_other("/account/password"));
    }
    let caller = request.extensions().get::<Caller>().cloned();
    let frame = Frame::new(request, caller.as_ref());
    let mut page = frame.show_problem(status, code);
    if let Some(after) = response.headers().get(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, after.clone());
    }
    Some(page)
}

fn code_of<B>(response: &HttpResponse<B>) -> Option<&'static str> {
    let error = response.error()?;
    if let Some(problem) = error.as_error::<Problem>() {
        return Some(problem.code());
    }
    error.as_error::<Error>().map(|error| error.problem().code())
}

fn wants_page(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(header::ACCEPT);
    accepted
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.contains("text/html"))
}

/// Where one signs in, and comes back from, to what was asked for if that can be asked for again.
fn sign_in_address(request: &HttpRequest) -> String {
    let asked = match *request.method() {
        Method::GET | Method::HEAD => request.uri().path_and_query().map_or("/", |path| path.as_str()),
        _ => "/account",
    };
    let next: String = form_urlencoded::byte_serialize(asked.as_bytes()).collect();
    format!("/login?next={next}")
}

/// Sends a browser on.
pub(super) fn see_other(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_everything_else() {
        for path in [
            "/",
            "/login",
            "/login/code",
            "/account/devices/x",
            "/admin",
            "/admin/users",
            "/credits",
            "/my-chatflows",
        ] {
            assert!(is_page(path), "{path}");
        }
        for path in [
            "/api/admin/users",
            "/session/refresh",
            "/assets/1/a.css",
            "/health",
            "/administrate",
            "//login",
            "login",
            "/sessions/me",
            "/chatflows",
        ] {
            assert!(!is_page(path), "{path}");
        }
    }
}
