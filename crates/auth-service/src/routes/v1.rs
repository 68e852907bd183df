//! The account routes under `/api/v1`, whose shapes an older front end knows: `snake_case`, and `is_admin` where the
//! others say `role`. What they do is what the routes under `/api` do.

mod bodies;

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser};
use common_jwt::Role;
use secrecy::ExposeSecret as _;

use self::bodies::{
    Account, ListedPerson, LoggedIn, Person, PersonEnvelope, Register, RegisterOther, Registered,
};
use crate::{
    domain::{
        origin::Origin,
        user::{SignInRule, UserId},
    },
    error::{Error, Result},
    routes::{
        bodies::{Done, LogIn},
        second_factors::{proof_of, second_factor_needed},
        user_list::streamed,
    },
    service::{
        accounts::{Accounts, NewAccount, Verification},
        logins::{Logins, SignIn},
        registration::Registration,
        sessions::{EndReason, Sessions},
    },
    store::users::UserStore,
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
        SignIn::Done(pair) => HttpResponse::Ok().json(LoggedIn::from(pair)),
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
    sign_in_rule: web::Data<SignInRule>,
) -> Result<HttpResponse> {
    let account = NewAccount::parse(&body.username, &body.email, body.password)?;
    let user = registration.sign_up(account, &origin).await?;
    let access_token = if sign_in_rule.admits(&user) {
        Some(sessions.open(user.id, &origin).await?.access)
    } else {
        None
    };
    Ok(HttpResponse::Created().json(Registered {
        message: "User registered successfully; a verification code is on its way",
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
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let account = NewAccount::parse(&body.username, &body.email, body.password)?;
    let made = registration
        .create_for(account, Role::EndUser, Verification::Vouched, actor, &origin)
        .await?;
    let user = if body.is_admin == Some(true) {
        accounts.change_role(made.id, Role::Admin, actor, &origin).await?
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
pub(crate) async fn show_account(user: CurrentUser, users: web::Data<UserStore>) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(PersonEnvelope {
        message: None,
        user: Account::from(user),
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
