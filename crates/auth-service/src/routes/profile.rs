//! What people see and change of themselves.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser};

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::bodies::{
        Dashboard, DashboardUser, Greeting, UpdateProfile, UpdatedProfile, UserBody, UserEnvelope,
    },
    service::{accounts::Accounts, email_changes::EmailChanges},
    store::users::UserStore,
};

/// `GET /api/profile`: the caller as the database knows them now.
pub(crate) async fn show_profile(user: CurrentUser, users: web::Data<UserStore>) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    Ok(HttpResponse::Ok().json(UserEnvelope {
        user: UserBody::from(user),
    }))
}

/// `PUT /api/profile`: another name, at once; another address, once it is proven. Either both are taken or neither.
pub(crate) async fn update_profile(
    user: CurrentUser,
    Body(body): Body<UpdateProfile>,
    origin: Origin,
    accounts: web::Data<Accounts>,
    email_changes: web::Data<EmailChanges>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let username = body.username.filter(|text| !text.is_empty());
    let email = body.email.filter(|text| !text.is_empty());
    let password = body.current_password.as_ref();
    let prepared = match &email {
        Some(email) => email_changes.prepare(id, email, password, &origin).await?,
        None => None,
    };
    let user = accounts.change_profile(id, username.as_deref(), &origin).await?;
    let pending_email = match prepared {
        Some(prepared) => Some(email_changes.ask(prepared, &origin).await?),
        None => None,
    };
    Ok(HttpResponse::Ok().json(UpdatedProfile {
        user: UserBody::from(user),
        pending_email,
    }))
}

/// `GET /api/dashboard`: who the token says the caller is.
pub(crate) async fn show_dashboard(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(Dashboard {
        message: "Welcome to your dashboard",
        user: DashboardUser {
            user_id: user.id,
            username: user.username,
            role: user.role,
        },
    })
}

/// `GET /api/admin/dashboard`: open to every role in spite of its path, as documented.
pub(crate) async fn show_user_dashboard(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(Greeting {
        message: "User dashboard accessed successfully",
        role: user.role,
    })
}

/// `GET /api/admin/reports`: shows that the caller may see reports.
pub(crate) async fn show_reports(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(Greeting {
        message: "Reports accessed successfully",
        role: user.role,
    })
}
