//! The account routes under `/api/v1`, whose shapes an older front end knows: `snake_case`, and `is_admin` where the
//! others say `role`. What they do is what the routes under `/api` do.

mod bodies;
pub(crate) mod invitations;
pub(crate) mod oauth;
pub(crate) mod providers;
pub(crate) mod registrations;
pub(crate) mod settings;

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path};
use common_jwt::Role;
use secrecy::ExposeSecret as _;

use self::bodies::{
    Account, AccountUpdated, ListedPerson, LoggedIn, Person, PersonEnvelope, Register, RegisterOther,
    Registered, RemovePassword, UpdateAccount, UpdateOther,
};
use crate::{
    domain::{origin::Origin, session::AuthMethod, user::UserId},
    error::{Error, Result},
    routes::{
        bodies::{Done, LogIn},
        registration::next_step_of,
        second_factors::{proof_of, second_factor_needed},
        user_list::streamed,
    },
    service::{
        accounts::{NewAccount, Verification},
        administration::Administration,
        credentials::{Credentials, GivenPassword},
        email_changes::EmailChanges,
        limits::{Limit, Limits},
        logins::{Logins, SignIn},
        registration::Registration,
        sessions::{EndReason, Sessions},
        settings::RuntimeSettings,
    },
    store::{providers::ProviderStore, users::UserStore},
};

/// `POST /api/v1/auth/login`: opens a session.
pub(crate) async fn log_in(
    Body(body): Body<LogIn>,
    origin: Origin,
    logins: web::Data<Logins>,
) -> Result<HttpResponse> {
    if body.username.trim().is_empty() {
        return Err(Error::invalid("username", "is required"));
    }
    if body.password.expose_secret().is_empty() {
        return Err(Error::invalid("password", "is required"));
    }
    let proof = proof_of(body.totp_code, body.recovery_code)?;
    let signing_in = logins.log_in(&body.username, &body.password, proof.as_ref(), &origin);
    Ok(match signing_in.await? {
        SignIn::Done(pair) => HttpResponse::Ok().json(LoggedIn::from(*pair)),
        SignIn::Pending(pending) => second_factor_needed(&pending),
    })
}

/// `POST /api/v1/auth/logout`: ends the session of the access token.
pub(crate) async fn log_out(
    user: CurrentUser,
    origin: Origin,
    sessions: web::Data<Sessions>,
) -> Result<HttpResponse> {
    let user_id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    sessions
        .end(&user.session_id, user_id, EndReason::Logout, Some(&origin))
        .await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "Logged out successfully",
    }))
}

/// `POST /api/v1/auth/register`: an account; signed in at once only where addresses need no proof.
pub(crate) async fn register(
    Body(body): Body<Register>,
    origin: Origin,
    registration: web::Data<Registration>,
    sessions: web::Data<Sessions>,
    limits: web::Data<Limits>,
    settings: web::Data<RuntimeSettings>,
) -> Result<HttpResponse> {
    limits.admit(Limit::SignUp, origin.address).await?;
    let account = NewAccount::parse(&body.username, &body.email, body.password)?;
    let user = registration.sign_up(account, body.invitation, &origin).await?;
    let access_token = if settings.sign_in_rule().admits(&user) && settings.admit(&user).is_ok() {
        Some(
            sessions
                .open(user.id, AuthMethod::PASSWORD, &origin)
                .await?
                .access,
        )
    } else {
        None
    };
    Ok(HttpResponse::Created().json(Registered {
        message: next_step_of(&user),
        access_token,
        user: user.into(),
    }))
}

/// `POST /api/v1/register`: an account for somebody else, for whose address the admin vouches.
pub(crate) async fn register_other(
    admin: CurrentUser,
    Body(body): Body<RegisterOther>,
    origin: Origin,
    registration: web::Data<Registration>,
    administration: web::Data<Administration>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let account = NewAccount::parse(&body.username, &body.email, body.password)?;
    let made = registration
        .create_for(account, Role::EndUser, Verification::Vouched, actor, &origin)
        .await?;
    let user = if body.is_admin == Some(true) {
        administration
            .change_role(made.id, Role::Admin, actor, &origin)
            .await?
    } else {
        made
    };
    Ok(HttpResponse::Created().json(PersonEnvelope {
        message: Some("User created successfully"),
        user: Person::from(user),
    }))
}

/// `GET /api/v1/users`: everybody.
pub(crate) async fn list_users(users: web::Data<UserStore>) -> Result<HttpResponse> {
    let users = users.list().await?;
    Ok(streamed(r#"{"users":["#, users, ListedPerson::from, "]}"))
}

/// `GET /api/v1/me`: the caller as the database knows them now.
pub(crate) async fn show_me(user: CurrentUser, users: web::Data<UserStore>) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(PersonEnvelope {
        message: None,
        user: Person::from(user),
    }))
}

/// `GET /api/v1/auth/account`: the caller and the ways they can sign in.
pub(crate) async fn show_account(
    user: CurrentUser,
    users: web::Data<UserStore>,
    providers: web::Data<ProviderStore>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(PersonEnvelope {
        message: None,
        user: Account::new(user, &providers.list_names().await?),
    }))
}

/// `PUT /api/v1/auth/account`: another address, once it is proven; another password, at once. Either needs the current
/// password. A new password ends every session, this one too.
pub(crate) async fn update_account(
    user: CurrentUser,
    Body(body): Body<UpdateAccount>,
    origin: Origin,
    users: web::Data<UserStore>,
    email_changes: web::Data<EmailChanges>,
    credentials: web::Data<Credentials>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let current = body.current_password.as_ref();
    let email = body.email.filter(|text| !text.is_empty());
    let prepared = match &email {
        Some(email) => email_changes.prepare(id, email, current, &origin).await?,
        None => None,
    };
    if let Some(prepared) = prepared {
        email_changes.ask(prepared, &origin).await?;
    }
    let password = body.password.filter(|text| !text.expose_secret().is_empty());
    let pair = match password {
        Some(password) => {
            let current = current
                .ok_or_else(|| Error::invalid("current_password", "is required to change the password"))?;
            Some(credentials.change(id, current, password, &origin).await?)
        }
        None => None,
    };
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(AccountUpdated::new(user, pair)))
}

/// `DELETE /api/v1/auth/account/password`: from now on only providers sign the caller in. Ends every session.
pub(crate) async fn remove_password(
    user: CurrentUser,
    Body(body): Body<RemovePassword>,
    origin: Origin,
    credentials: web::Data<Credentials>,
    providers: web::Data<ProviderStore>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let open = providers.list_open().await?;
    credentials
        .remove(id, &body.current_password, &open, &origin)
        .await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "Password removed; sign in by way of a linked provider",
    }))
}

/// `PUT /api/v1/users/{user_id}`: what an administrator may change of somebody.
pub(crate) async fn update_user(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    Body(body): Body<UpdateOther>,
    origin: Origin,
    administration: web::Data<Administration>,
    credentials: web::Data<Credentials>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let (edit, password) = body.parse()?;
    let mut user = administration.edit(id, edit, actor, &origin).await?;
    if let Some(password) = password {
        let given = GivenPassword::Chosen(password);
        (user, _) = credentials.give(id, given, actor, &origin).await?;
    }
    Ok(HttpResponse::Ok().json(PersonEnvelope {
        message: Some("User updated successfully"),
        user: ListedPerson::from(user),
    }))
}

/// `GET /api/v1/hello`: shows that the caller is signed in.
pub(crate) async fn greet() -> HttpResponse {
    HttpResponse::Ok().json(Done {
        message: "hello world",
    })
}

/// `GET /api/v1/test`: shows that the service is there.
pub(crate) async fn show_test() -> HttpResponse {
    HttpResponse::Ok().json(Done {
        message: "auth-service is running",
    })
}
