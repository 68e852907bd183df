//! What administrators change of accounts.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path};
use common_jwt::Role;
use serde::Deserialize;

use crate::{
    domain::{
        email::EmailAddress,
        origin::Origin,
        user::{Edit, UserId, parse_role},
        username::Username,
    },
    error::{Error, Result, field_error},
    routes::bodies::{ChangeRole, UserBody, UserEnvelope},
    service::administration::Administration,
};

/// `PATCH /api/admin/users/{user_id}`. Missing and null members leave things as they are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EditUser {
    username: Option<String>,
    email: Option<String>,
    role: Option<String>,
    is_active: Option<bool>,
    is_verified: Option<bool>,
}

impl EditUser {
    /// Reports everything wrong at once.
    fn parse(self) -> Result<Edit> {
        let username = self.username.as_deref().map(Username::parse).transpose();
        let email = self.email.as_deref().map(EmailAddress::parse).transpose();
        let role = self.role.as_deref().map(parse_known_role).transpose();
        match (username, email, role) {
            (Ok(username), Ok(email), Ok(role)) => Ok(Edit {
                username,
                email,
                role,
                is_active: self.is_active,
                is_verified: self.is_verified,
            }),
            (username, email, role) => {
                let mistakes = [
                    ("username", username.err()),
                    ("email", email.err()),
                    ("role", role.err()),
                ];
                let errors = mistakes
                    .into_iter()
                    .filter_map(|(field, message)| Some(field_error(field, message?)));
                Err(Error::Invalid(errors.collect()))
            }
        }
    }
}

/// `PATCH /api/admin/users/{user_id}`: whatever an administrator may change.
pub(crate) async fn edit_user(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    Body(body): Body<EditUser>,
    origin: Origin,
    administration: web::Data<Administration>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let edit = body.parse()?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let user = administration.edit(id, edit, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(UserEnvelope {
        user: UserBody::from(user),
    }))
}

/// `PUT /api/admin/users/{user_id}/role`: ends the user's sessions too.
pub(crate) async fn change_role(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    Body(body): Body<ChangeRole>,
    origin: Origin,
    administration: web::Data<Administration>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let role = parse_known_role(&body.role).map_err(|message| Error::invalid("role", message))?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let user = administration.change_role(id, role, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(UserEnvelope {
        user: UserBody::from(user),
    }))
}

fn parse_known_role(text: &str) -> Result<Role, &'static str> {
    parse_role(text).ok_or("must be admin, supervisor, enduser or user")
}
