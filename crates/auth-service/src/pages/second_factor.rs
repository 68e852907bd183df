//! The second factor of one's account: an authenticator app, and recovery codes.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common_http::CurrentUser;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, id_of},
    sign_in::proof,
};
use crate::{
    domain::{origin::Origin, user::UserId},
    error::Result,
    service::second_factors::{SecondFactors, Setup, Status},
};

#[derive(Template)]
#[template(path = "two_factor.html")]
struct StatusPage<'a> {
    f: &'a Frame,
    status: Status,
}

#[derive(Template)]
#[template(path = "two_factor_setup.html")]
struct SetupPage<'a> {
    f: &'a Frame,
    setup: Option<Drawn>,
}

#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct CodesPage<'a> {
    f: &'a Frame,
    codes: Vec<&'a str>,
}

/// What an app reads, for this one page.
struct Drawn {
    secret: String,
    uri: String,
    picture: String,
}

impl From<Setup> for Drawn {
    fn from(setup: Setup) -> Self {
        let svg = STANDARD.encode(setup.qr_svg.expose_secret());
        Self {
            secret: setup.secret.expose_secret().to_owned(),
            uri: setup.uri.expose_secret().to_owned(),
            picture: format!("data:image/svg+xml;base64,{svg}"),
        }
    }
}

/// `GET /account/two-factor`.
pub(super) async fn show(
    f: Frame,
    user: CurrentUser,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    status_page(&f, StatusCode::OK, id_of(&user)?, &second_factors).await
}

async fn status_page(
    f: &Frame,
    status: StatusCode,
    id: UserId,
    second_factors: &SecondFactors,
) -> Result<HttpResponse> {
    let page = StatusPage {
        f,
        status: second_factors.status(id).await?,
    };
    Ok(f.show_as(status, &page))
}

/// `POST /account/two-factor`: a secret for the app, to be proven with a first code.
pub(super) async fn set_up(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    let made = async {
        let password = form.required_secret("password")?;
        second_factors.set_up(id, &password, &origin).await
    };
    match made.await {
        Ok(setup) => Ok(f.show(&SetupPage {
            f: &f,
            setup: Some(setup.into()),
        })),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            status_page(&f, status, id, &second_factors).await
        }
    }
}

/// `POST /account/two-factor/enable`: the first code. A wrong one may be tried again, without the picture: the app has it.
pub(super) async fn enable(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    let enabled = async {
        let code: String = form
            .required("code")?
            .chars()
            .filter(|character| !character.is_whitespace())
            .collect();
        second_factors
            .enable(id_of(&user)?, &SecretString::from(code), &origin)
            .await
    };
    match enabled.await {
        Ok(codes) => Ok(codes_page(&f, &codes)),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(status, &SetupPage { f: &f, setup: None }))
        }
    }
}

/// `POST /account/two-factor/disable`: password and a code, for the last time.
pub(super) async fn disable(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    let disabled = async {
        let password = form.required_secret("password")?;
        let proof = proof(form.required("code")?)?;
        second_factors.disable(id, &password, &proof, &origin).await
    };
    match disabled.await {
        Ok(()) => Ok(see_other("/account/two-factor?done=two_factor_off")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            status_page(&f, status, id, &second_factors).await
        }
    }
}

/// `POST /account/two-factor/codes`: ten new recovery codes; the old ones are worthless.
pub(super) async fn renew_codes(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    let renewed = async {
        let password = form.required_secret("password")?;
        let proof = proof(form.required("code")?)?;
        second_factors
            .renew_recovery_codes(id, &password, &proof, &origin)
            .await
    };
    match renewed.await {
        Ok(codes) => Ok(codes_page(&f, &codes)),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            status_page(&f, status, id, &second_factors).await
        }
    }
}

/// Shown once: nobody can look them up again.
fn codes_page(f: &Frame, codes: &[SecretString]) -> HttpResponse {
    let codes = codes.iter().map(SecretString::expose_secret).collect();
    f.show(&CodesPage { f, codes })
}
