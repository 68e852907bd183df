//! The chat page: where people who have an account talk to their chatflows.
//!
//! The page holds no data, so everybody may load it: what it shows, its scripts ask of the public API, with the cookie of
//! the browser's session. Nothing is inline and nothing comes from elsewhere, and the policy says so to the browser.

mod files;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _,
    cookie::Cookie,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web,
};
use common_http::{Access, Path, Problem, Query, Routes};
use serde::Deserialize;

pub(crate) use self::files::ChatPage;

/// What the page may do. Pictures are ours, or made by its own scripts out of files that were just chosen. Text becomes
/// markup nowhere, which the browser enforces.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// No other window holds on to this one.
const OPENER_POLICY: (&str, &str) = ("cross-origin-opener-policy", "same-origin");

/// Keeps the language that somebody chose; the pages of auth-service set it.
const LANGUAGE_COOKIE: &str = "flowgateLanguage";

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    routes.get("/chat", Access::Public, show_page).get(
        "/chat/assets/{version}/{name}",
        Access::Public,
        show_file,
    );
}

#[derive(Deserialize)]
struct Wanted {
    language: Option<String>,
}

/// `GET /chat`: the page, in the language that its address names, else in the one that was chosen on a page of
/// auth-service, else in the one the browser prefers.
#[tracing::instrument(skip_all)]
async fn show_page(request: HttpRequest, query: Query<Wanted>, page: web::Data<ChatPage>) -> HttpResponse {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let accepted = text(header::ACCEPT_LANGUAGE).unwrap_or_default();
    let chosen = request.cookie(LANGUAGE_COOKIE);
    let wanted = [query.language.as_deref(), chosen.as_ref().map(Cookie::value)];
    let mut response = HttpResponse::Ok();
    response
        // It has another address for each version of its files.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::VARY, "Accept-Language, Cookie"))
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header(OPENER_POLICY);
    page.in_language(&wanted, accepted).answer(&request, response)
}

/// `GET /chat/assets/{version}/{name}`: a script, a style sheet or the texts in a language.
async fn show_file(
    request: HttpRequest,
    path: Path<(String, String)>,
    page: web::Data<ChatPage>,
) -> HttpResponse {
    let (version, name) = &*path;
    let Some((file, kept)) = page.part(version, name) else {
        return nothing_here().error_response();
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, kept));
    file.answer(&request, response)
}

/// As for every address that there is not.
fn nothing_here() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address",
    )
}
