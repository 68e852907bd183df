//! What is kept about a person, for auth-service, which hands it to that person.

use actix_web::{HttpResponse, web};
use common_http::{Path, json_array, json_text};
use futures_util::StreamExt as _;

use crate::{
    domain::ids::UserId,
    error::{Error, Result},
    store::PersonalStore,
};

/// `GET /internal/people/{user_id}/data`: everything, written as it is read. Of somebody who is not known the account
/// is null and the lists are empty.
pub(super) async fn show_personal_data(
    Path(user_id): Path<String>,
    personal: web::Data<PersonalStore>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::UserNotFound)?;
    let account = personal.find_account(&id).await?;
    let account = serde_json::to_vec(&account).or(Err(Error::Unavailable))?;
    let whole = json_text(r#"{"account":"#)
        .chain(json_text(account))
        .chain(json_text(r#","allocations":"#))
        .chain(json_array(personal.allocations(&id)))
        .chain(json_text(r#","ledger":"#))
        .chain(json_array(personal.entries(&id)))
        .chain(json_text(r#","usage":"#))
        .chain(json_array(personal.usage(&id)))
        .chain(json_text("}"));
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(Box::pin(whole)))
}
