//! Deleting accounts: somebody else's, everybody's, one's own.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, OptionalBody, Path};
use common_jwt::Role;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::{bodies::Done, cookies::Cookies, second_factors::proof_of},
    service::deletion::Deletion,
};

/// What whoever deletes everybody has to write.
const PHRASE: &str = "DELETE_ALL_USERS";

/// `DELETE /api/admin/users`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteAll {
    #[serde(default)]
    confirm_delete: Value,
    preserve_admins: Option<Value>,
}

/// `DELETE /api/profile`.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteOwn {
    password: SecretString,
    /// A code of the authenticator app, where there is a second factor.
    #[serde(rename = "totpCode", alias = "totp_code")]
    totp_code: Option<SecretString>,
    /// A recovery code in its place.
    #[serde(rename = "recoveryCode", alias = "recovery_code")]
    recovery_code: Option<SecretString>,
}

/// The answer to a deletion.
#[derive(Debug, Serialize)]
struct UserDeleted {
    message: &'static str,
    user: DeletedUser,
}

/// Who is gone.
#[derive(Debug, Serialize)]
struct DeletedUser {
    username: String,
    email: String,
    role: Role,
}

/// The answer to the deletion of everybody.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AllDeleted {
    message: String,
    preserved_admins: bool,
}

/// `DELETE /api/admin/users/{user_id}`, and `DELETE /api/users/{user_id}` as the scripts call it.
pub(crate) async fn delete_user(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    origin: Origin,
    deletion: web::Data<Deletion>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let user = deletion.delete(id, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(UserDeleted {
        message: "User deleted successfully",
        user: DeletedUser {
            username: user.username,
            email: user.email,
            role: user.role,
        },
    }))
}

/// `DELETE /api/admin/users`: everybody but the caller.
pub(crate) async fn delete_all_users(
    admin: CurrentUser,
    OptionalBody(body): OptionalBody<DeleteAll>,
    origin: Origin,
    deletion: web::Data<Deletion>,
) -> Result<HttpResponse> {
    if body.confirm_delete != PHRASE {
        return Err(Error::ConfirmationMissing);
    }
    let preserve_admins = body.preserve_admins.as_ref().is_none_or(is_truthy);
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let count = deletion.delete_all(preserve_admins, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(AllDeleted {
        message: format!("{count} users deleted successfully"),
        preserved_admins: preserve_admins,
    }))
}

/// `DELETE /api/profile`: the caller's own account.
pub(crate) async fn delete_own_account(
    user: CurrentUser,
    Body(body): Body<DeleteOwn>,
    origin: Origin,
    deletion: web::Data<Deletion>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let proof = proof_of(body.totp_code, body.recovery_code)?;
    deletion
        .delete_own(id, &body.password, proof.as_ref(), &origin)
        .await?;
    let mut response = HttpResponse::Ok();
    for cookie in cookies.cleared() {
        response.cookie(cookie);
    }
    Ok(response.json(Done {
        message: "Your account was deleted",
    }))
}

/// What counts as true where the documented clients were written.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn truth_is_what_it_is_in_a_browser() {
        for value in [json!(true), json!("false"), json!(1), json!([]), json!({})] {
            assert!(is_truthy(&value), "{value}");
        }
        for value in [json!(false), json!(""), json!(0), Value::Null] {
            assert!(!is_truthy(&value), "{value}");
        }
    }
}
