//! What administrators see and change of others.

use actix_web::{HttpResponse, web};
use common_http::{Body, Caller, CurrentUser, Path};
use common_jwt::{Right, Role};
use serde_json::Value;

use crate::{
    domain::{
        origin::Origin,
        user::{UserId, parse_role},
    },
    error::{Error, Result},
    routes::bodies::{CreateUser, PublicUser, UserBody, UserCreated, UserEnvelope, UserInBothStyles},
    service::{
        accounts::{Accounts, NewAccount, NewServiceAccount, Verification},
        limits::{Limit, Limits},
        registration::Registration,
    },
    store::users::UserStore,
};

/// `GET /api/admin/users/{user_id}`.
pub(crate) async fn show_user(
    Path(user_id): Path<String>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(UserEnvelope {
        user: UserInBothStyles::from(user),
    }))
}

/// `GET /api/admin/users/by-email/{email}`.
pub(crate) async fn show_user_by_email(
    Path(email): Path<String>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let user = users.find_by_email(&email).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(UserEnvelope {
        user: UserBody::from(user),
    }))
}

/// `POST /api/admin/users`: an account for somebody else.
pub(crate) async fn create_user(
    admin: CurrentUser,
    Body(body): Body<CreateUser>,
    origin: Origin,
    registration: web::Data<Registration>,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse> {
    let role = match body.role.as_deref() {
        None => Role::EndUser,
        Some(text) => role_of(text)?,
    };
    if role == Role::Admin {
        return Err(Error::AdminNotCreatable);
    }
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    if body.is_service_account == Value::Bool(true) {
        if body.password.is_some() {
            return Err(Error::invalid(
                "password",
                "must be left out: a service account has none",
            ));
        }
        let account = NewServiceAccount::parse(&body.username, body.email.as_deref())?;
        let user = accounts
            .create_service_account(account, role, actor, &origin)
            .await?;
        return Ok(HttpResponse::Created().json(UserCreated::new("Service account created", &user)));
    }
    let email = body.email.ok_or_else(|| Error::invalid("email", "is required"))?;
    let password = body
        .password
        .ok_or_else(|| Error::invalid("password", "is required"))?;
    let account = NewAccount::parse(&body.username, &email, password)?;
    let verification = if body.skip_verification == Value::Bool(true) {
        Verification::Vouched
    } else {
        Verification::Pending
    };
    let user = registration
        .create_for(account, role, verification, actor, &origin)
        .await?;
    Ok(HttpResponse::Created().json(UserCreated::new("User created successfully", &user)))
}

/// `GET /api/auth/users/{user_id}`: whether there is somebody, for whoever asks; more for admins and our services.
pub(crate) async fn show_public_user(
    caller: Option<Caller>,
    Path(user_id): Path<String>,
    origin: Origin,
    users: web::Data<UserStore>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    if caller.is_none() {
        limits.admit(Limit::UserLookup, origin.address).await?;
    }
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    let sees_all = match caller {
        Some(Caller::Service(_)) => true,
        Some(Caller::User(user)) => user.role.may(Right::ManageUsers),
        None => false,
    };
    Ok(HttpResponse::Ok().json(PublicUser::new(user, sees_all)))
}

fn role_of(text: &str) -> Result<Role> {
    parse_role(text).ok_or_else(|| Error::invalid("role", "must be admin, supervisor, enduser or user"))
}
