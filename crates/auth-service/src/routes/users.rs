//! What administrators see and change of others.

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use common_http::{Body, Caller, CurrentUser, Path};
use common_jwt::{Right, Role};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::{
        origin::Origin,
        user::{User, UserId, parse_role},
    },
    error::{Error, Result},
    routes::bodies::{CreateUser, PublicUser, UserBody, UserCreated, UserEnvelope, UserInBothStyles},
    service::{
        accounts::{NewAccount, Verification},
        limits::{Limit, Limits},
        registration::Registration,
    },
    store::users::UserStore,
};

/// Users written in one piece of an answer.
const PIECE: usize = 100;

/// `GET /api/admin/users`: everybody.
pub(crate) async fn list_users(users: web::Data<UserStore>) -> Result<HttpResponse> {
    let users = users.list().await?;
    Ok(streamed(r#"{"users":["#, users, UserBody::from, "]}"))
}

/// `GET /api/users`: everybody, as a bare array.
pub(crate) async fn list_users_bare(users: web::Data<UserStore>) -> Result<HttpResponse> {
    let users = users.list().await?;
    Ok(streamed("[", users, UserBody::from, "]"))
}

/// Writes users as they are read, so that a list of a million costs no more memory than one of a hundred. When the
/// database fails half way the connection is cut: the client sees an incomplete answer, not a short list.
pub(crate) fn streamed<T: Serialize + 'static>(
    before: &'static str,
    users: impl Stream<Item = Result<User>> + 'static,
    show: fn(User) -> T,
    after: &'static str,
) -> HttpResponse {
    let mut is_first = true;
    let pieces = users.map_ok(show).try_chunks(PIECE).map(move |piece| {
        let users = piece.map_err(|error| error.1)?;
        let mut text = Vec::new();
        for user in users {
            if !std::mem::take(&mut is_first) {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &user).map_err(std::io::Error::from)?;
        }
        Ok(Bytes::from(text))
    });
    let edge =
        |text: &'static str| stream::once(std::future::ready(Ok::<_, actix_web::Error>(Bytes::from(text))));
    let whole = edge(before).chain(pieces).chain(edge(after));
    HttpResponse::Ok()
        .content_type("application/json")
        .streaming(Box::pin(whole))
}

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
) -> Result<HttpResponse> {
    let role = match body.role.as_deref() {
        None => Role::EndUser,
        Some(text) => role_of(text)?,
    };
    if role == Role::Admin {
        return Err(Error::AdminNotCreatable);
    }
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let account = NewAccount::parse(&body.username, &body.email, body.password)?;
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
