//! One's profile, and what is kept about one.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use common_http::CurrentUser;
use serde_json::json;

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, id_of},
    sign_in::{proof, set},
};
use crate::{
    domain::{origin::Origin, user::User},
    error::{Error, Result},
    routes::{bodies::UserBody, cookies::Cookies},
    service::{
        accounts::Accounts, deletion::Deletion, email_changes::EmailChanges, personal_data::PersonalData,
    },
    store::users::UserStore,
};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    f: &'a Frame,
    user: User,
}

#[derive(Template)]
#[template(path = "data.html")]
struct DataPage<'a> {
    f: &'a Frame,
}

/// `GET /account`.
pub(super) async fn show_account(
    f: Frame,
    user: CurrentUser,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    account_page(&f, StatusCode::OK, &user, &users).await
}

async fn account_page(
    f: &Frame,
    status: StatusCode,
    user: &CurrentUser,
    users: &UserStore,
) -> Result<HttpResponse> {
    let user = users.find(id_of(user)?).await?.ok_or(Error::UserNotFound)?;
    Ok(f.show_as(status, &AccountPage { f, user }))
}

/// `POST /account/profile`: another name, at once; another address, once it is proven.
pub(super) async fn change_profile(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    accounts: web::Data<Accounts>,
    email_changes: web::Data<EmailChanges>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    match try_change(&user, &form, &origin, &accounts, &email_changes).await {
        Ok(None) => Ok(see_other("/account?done=saved")),
        Ok(Some(email)) => {
            let email: String = url::form_urlencoded::byte_serialize(email.as_bytes()).collect();
            Ok(see_other(&format!("/verify?email={email}&done=address_asked")))
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            account_page(&f, status, &user, &users).await
        }
    }
}

/// The address that is to be proven, where another is wanted.
async fn try_change(
    user: &CurrentUser,
    form: &Form,
    origin: &Origin,
    accounts: &Accounts,
    email_changes: &EmailChanges,
) -> Result<Option<String>> {
    let id = id_of(user)?;
    let password = form
        .given("current_password")
        .map(|_| form.secret("current_password"));
    let email = form.required("email")?;
    let prepared = email_changes
        .prepare(id, email, password.as_ref(), origin)
        .await?;
    accounts
        .change_profile(id, Some(form.required("username")?), origin)
        .await?;
    match prepared {
        Some(prepared) => Ok(Some(email_changes.ask(prepared, origin).await?)),
        None => Ok(None),
    }
}

/// `GET /account/data`.
pub(super) async fn show_data(f: Frame) -> HttpResponse {
    f.show(&DataPage { f: &f })
}

/// `POST /account/data/download`: everything that is kept about somebody, as a file.
pub(super) async fn download(
    user: CurrentUser,
    _form: Form,
    origin: Origin,
    data: web::Data<PersonalData>,
) -> Result<HttpResponse> {
    let document = data
        .export(id_of(&user)?, &origin, |user| json!(UserBody::from(user)))
        .await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((
            header::CONTENT_DISPOSITION,
            r#"attachment; filename="personal-data.json""#,
        ))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(document))
}

/// `POST /account/data/delete`: the account and all that is kept with it.
pub(super) async fn delete(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    deletion: web::Data<Deletion>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let deleted = async {
        let password = form.required_secret("password")?;
        if !form.is_on("understood") {
            return Err(Error::invalid("understood", "tick_to_delete"));
        }
        let proof = form.given("code").map(|code| proof(&code)).transpose()?;
        deletion
            .delete_own(id_of(&user)?, &password, proof.as_ref(), &origin)
            .await
    };
    match deleted.await {
        Ok(()) => {
            let mut response = see_other("/login?done=deleted");
            for cookie in cookies.no_session() {
                set(&mut response, &cookie);
            }
            Ok(response)
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(status, &DataPage { f: &f }))
        }
    }
}
