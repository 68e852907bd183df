//! Everything that is kept about the caller.

use actix_web::{HttpResponse, http::header, web};
use common_http::CurrentUser;
use serde_json::json;

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::bodies::UserBody,
    service::personal_data::PersonalData,
};

/// `GET /api/profile/export`: a file to be saved.
pub(crate) async fn export_own_data(
    user: CurrentUser,
    origin: Origin,
    data: web::Data<PersonalData>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let document = data
        .export(id, &origin, |user| json!(UserBody::from(user)))
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
