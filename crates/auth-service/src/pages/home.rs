//! The way in, the choice of the language, and a greeting.

use actix_web::{HttpResponse, cookie::Cookie, web};
use askama::Template;
use common_http::CurrentUser;

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, LANGUAGE_KEPT, own_path},
    texts::{COOKIE, Texts},
};
use crate::{error::Result, routes::cookies::Cookies};

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage<'a> {
    f: &'a Frame,
    user: &'a CurrentUser,
}

#[derive(Template)]
#[template(path = "hello.html")]
struct HelloPage<'a> {
    f: &'a Frame,
}

/// `GET /`: where one can go, or the log-in page.
pub(super) async fn show_home(f: Frame) -> HttpResponse {
    match &f.person {
        Some(user) if user.must_change_password => see_other("/account/password"),
        Some(user) => f.show(&HomePage { f: &f, user }),
        None => see_other("/login"),
    }
}

/// `GET /hello`: what the documented page says, from the protected route of the same name.
pub(super) async fn greet(f: Frame) -> HttpResponse {
    f.show(&HelloPage { f: &f })
}

/// `POST /language`: keeps the choice, and goes back to where it was made.
pub(super) async fn choose_language(form: Form, cookies: web::Data<Cookies>) -> Result<HttpResponse> {
    let back = form.given("next").and_then(|path| own_path(&path));
    let mut response = see_other(back.as_deref().unwrap_or("/"));
    if let Some(texts) = Texts::of(form.text("language")) {
        let cookie: Cookie<'_> = cookies.lax(COOKIE, texts.code, LANGUAGE_KEPT);
        // The name and the two letters are ours, so they can be written.
        let _ = response.add_cookie(&cookie);
    }
    Ok(response)
}
