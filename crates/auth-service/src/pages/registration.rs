//! Making an account and proving its address.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use secrecy::ExposeSecret as _;

use super::{door::see_other, forms::Form, frame::Frame};
use crate::{
    domain::{origin::Origin, settings::RegistrationRule, user::User},
    error::{Error, Result},
    service::{
        accounts::NewAccount,
        limits::{Limit, Limits},
        registration::Registration,
        settings::RuntimeSettings,
    },
};

#[derive(Template)]
#[template(path = "register.html")]
struct RegisterPage<'a> {
    f: &'a Frame,
    is_closed: bool,
    domains: String,
    asks_for_invitation: bool,
    invitation: &'a str,
    password_min_length: usize,
}

#[derive(Template)]
#[template(path = "verify.html")]
struct VerifyPage<'a> {
    f: &'a Frame,
    email: &'a str,
    code: &'a str,
}

/// `GET /register`.
pub(super) async fn show_registration(
    f: Frame,
    query: web::Query<std::collections::BTreeMap<String, String>>,
    settings: web::Data<RuntimeSettings>,
) -> HttpResponse {
    let invitation = query.get("invitation").map_or("", String::as_str);
    registration_page(&f, StatusCode::OK, invitation, &settings)
}

fn registration_page(
    f: &Frame,
    status: StatusCode,
    invitation: &str,
    settings: &RuntimeSettings,
) -> HttpResponse {
    let current = settings.current();
    let settings = &current.settings;
    let domains = match settings.registration {
        RegistrationRule::Domain => settings.registration_domains.join(", "),
        RegistrationRule::Open
        | RegistrationRule::Invitation
        | RegistrationRule::Approval
        | RegistrationRule::Closed => String::new(),
    };
    let page = RegisterPage {
        f,
        is_closed: settings.registration == RegistrationRule::Closed,
        domains,
        asks_for_invitation: settings.registration == RegistrationRule::Invitation || !invitation.is_empty(),
        invitation,
        password_min_length: settings.password_min_length,
    };
    f.show_as(status, &page)
}

/// `POST /register`.
pub(super) async fn register(
    f: Frame,
    form: Form,
    origin: Origin,
    registration: web::Data<Registration>,
    settings: web::Data<RuntimeSettings>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    match try_register(&form, &registration, &limits, &origin).await {
        Ok(user) if user.is_verified && user.awaits_approval => Ok(see_other("/login?done=awaits_approval")),
        Ok(user) if user.is_verified => Ok(see_other("/login?done=registered_at_once")),
        Ok(user) => {
            let email: String = url::form_urlencoded::byte_serialize(user.email.as_bytes()).collect();
            Ok(see_other(&format!("/verify?email={email}&done=registered")))
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(registration_page(&f, status, form.text("invitation"), &settings))
        }
    }
}

async fn try_register(
    form: &Form,
    registration: &Registration,
    limits: &Limits,
    origin: &Origin,
) -> Result<User> {
    limits.admit(Limit::SignUp, origin.address).await?;
    let password = form.required_secret("password")?;
    if password.expose_secret() != form.secret("password_repeat").expose_secret() {
        return Err(Error::invalid("password_repeat", "passwords_differ"));
    }
    let account = NewAccount::parse(form.required("username")?, form.required("email")?, password)?;
    let invitation = form.given("invitation").map(Into::into);
    registration.sign_up(account, invitation, origin).await
}

/// `GET /verify`. The mail's address carries the code; it is used up by whoever presses the button, and not by a program
/// that looks into mails.
pub(super) async fn show_verification(
    f: Frame,
    query: web::Query<std::collections::BTreeMap<String, String>>,
) -> HttpResponse {
    let asked = |name: &str| query.get(name).map_or("", String::as_str);
    f.show(&VerifyPage {
        f: &f,
        email: asked("email"),
        code: asked("code"),
    })
}

/// `POST /verify`.
pub(super) async fn verify(
    f: Frame,
    form: Form,
    origin: Origin,
    registration: web::Data<Registration>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    match try_verify(&form, &registration, &limits, &origin).await {
        Ok(()) => Ok(see_other("/login?done=verified")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            let page = VerifyPage {
                f: &f,
                email: form.text("email"),
                code: "",
            };
            Ok(f.show_as(status, &page))
        }
    }
}

async fn try_verify(
    form: &Form,
    registration: &Registration,
    limits: &Limits,
    origin: &Origin,
) -> Result<()> {
    limits.admit(Limit::Codes, origin.address).await?;
    let code = form.required("code")?;
    let email = form.given("email");
    registration.verify(code, email.as_deref(), origin).await
}

/// `POST /verify/again`: one answer, whether there is such an account or not.
pub(super) async fn send_again(
    f: Frame,
    form: Form,
    origin: Origin,
    registration: web::Data<Registration>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    let asked = async {
        limits.admit(Limit::Mails, origin.address).await?;
        form.required("email")
    };
    match asked.await {
        Ok(email) => {
            registration.resend(email.to_owned());
            let email: String = url::form_urlencoded::byte_serialize(email.as_bytes()).collect();
            Ok(see_other(&format!("/verify?email={email}&done=code_sent")))
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            let page = VerifyPage {
                f: &f,
                email: form.text("email"),
                code: "",
            };
            Ok(f.show_as(status, &page))
        }
    }
}
