//! API keys of others, and of service accounts.

use actix_web::{HttpResponse, web};
use askama::Template;
use common_http::{CurrentUser, Path};

use super::users::{Reading, known};
use crate::{
    domain::origin::Origin,
    error::Result,
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, id_of},
        keys::wish_of,
    },
    service::api_keys::ApiKeys,
};

#[derive(Template)]
#[template(path = "admin/user_key.html")]
struct MadePage<'a> {
    f: &'a Frame,
    user_id: &'a str,
    name: &'a str,
    secret: &'a str,
}

/// `POST /admin/users/{user_id}/keys`: the answer is the one page that shows the key.
pub(super) async fn create(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    keys: web::Data<ApiKeys>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    match keys.create(id, wish_of(&form), id_of(&admin)?, &origin).await {
        Ok((key, secret)) => Ok(f.show(&MadePage {
            f: &f,
            user_id: &user_id,
            name: &key.terms.name,
            secret: secret.text(),
        })),
        Err(error) => reading.answer(f, &form, &admin, id, "saved", Err(error)).await,
    }
}

/// `POST /admin/users/{user_id}/keys/{key_id}`: revokes it.
pub(super) async fn revoke(
    admin: CurrentUser,
    Path((user_id, key_id)): Path<(String, String)>,
    _form: Form,
    origin: Origin,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    keys.revoke(&key_id, id, id_of(&admin)?, &origin).await?;
    Ok(see_other(&format!("/admin/users/{id}?done=key_revoked")))
}
