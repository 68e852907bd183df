//! Forgetting, choosing and changing passwords.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::CurrentUser;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, id_of},
    sign_in::set,
};
use crate::{
    domain::origin::Origin,
    error::{Error, Result},
    routes::cookies::Cookies,
    service::{credentials::Credentials, resets::Resets, settings::RuntimeSettings},
};

#[derive(Template)]
#[template(path = "forgot.html")]
struct ForgotPage<'a> {
    f: &'a Frame,
}

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage<'a> {
    f: &'a Frame,
    reset_token: &'a str,
    password_min_length: usize,
}

#[derive(Template)]
#[template(path = "password.html")]
struct ChangePage<'a> {
    f: &'a Frame,
    must_change: bool,
    password_min_length: usize,
}

/// `GET /forgot`.
pub(super) async fn show_forgot(f: Frame) -> HttpResponse {
    f.show(&ForgotPage { f: &f })
}

/// `POST /forgot`: one answer, at once, whether there is such an account or not.
pub(super) async fn forgot(
    f: Frame,
    form: Form,
    origin: Origin,
    resets: web::Data<Resets>,
) -> Result<HttpResponse> {
    match form.required("email") {
        Ok(email) => {
            resets.request(email.to_owned(), origin);
            Ok(see_other("/forgot?done=reset_sent"))
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(status, &ForgotPage { f: &f }))
        }
    }
}

/// `GET /reset`: the link of the mail.
pub(super) async fn show_reset(
    f: Frame,
    query: web::Query<std::collections::BTreeMap<String, String>>,
    settings: web::Data<RuntimeSettings>,
) -> HttpResponse {
    let token = query.get("token").map_or("", String::as_str);
    reset_page(&f, StatusCode::OK, token, &settings)
}

fn reset_page(f: &Frame, status: StatusCode, token: &str, settings: &RuntimeSettings) -> HttpResponse {
    let page = ResetPage {
        f,
        reset_token: token,
        password_min_length: settings.current().settings.password_min_length,
    };
    f.show_as(status, &page)
}

/// `POST /reset`: ends all sessions, so one signs in afterwards.
pub(super) async fn reset(
    f: Frame,
    form: Form,
    origin: Origin,
    resets: web::Data<Resets>,
    settings: web::Data<RuntimeSettings>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let changed = async {
        let password = new_password(&form)?;
        resets.redeem(form.text("reset_token"), password, &origin).await
    };
    match changed.await {
        Ok(()) => {
            let mut response = see_other("/login?done=password_changed");
            for cookie in cookies.no_session() {
                set(&mut response, &cookie);
            }
            Ok(response)
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(reset_page(&f, status, form.text("reset_token"), &settings))
        }
    }
}

/// `GET /account/password`; also for those who have to choose another one before anything else.
pub(super) async fn show_change(
    f: Frame,
    user: CurrentUser,
    settings: web::Data<RuntimeSettings>,
) -> HttpResponse {
    change_page(&f, StatusCode::OK, &user, &settings)
}

fn change_page(
    f: &Frame,
    status: StatusCode,
    user: &CurrentUser,
    settings: &RuntimeSettings,
) -> HttpResponse {
    let page = ChangePage {
        f,
        must_change: user.must_change_password,
        password_min_length: settings.current().settings.password_min_length,
    };
    f.show_as(status, &page)
}

/// `POST /account/password`: ends all sessions and opens a new one here.
pub(super) async fn change(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    credentials: web::Data<Credentials>,
    settings: web::Data<RuntimeSettings>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    let changed = async {
        let current = form.required_secret("current_password")?;
        let password = new_password(&form)?;
        credentials.change(id, &current, password, &origin).await
    };
    match changed.await {
        Ok(pair) => {
            let mut response = see_other("/account?done=password_changed");
            for cookie in cookies.session(&pair) {
                set(&mut response, &cookie);
            }
            Ok(response)
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(change_page(&f, status, &user, &settings))
        }
    }
}

/// A password that was typed the same twice.
pub(super) fn new_password(form: &Form) -> Result<SecretString> {
    let password = form.required_secret("new_password")?;
    if password.expose_secret() != form.secret("password_repeat").expose_secret() {
        return Err(Error::invalid("password_repeat", "passwords_differ"));
    }
    Ok(password)
}
