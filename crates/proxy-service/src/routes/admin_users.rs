//! Copies of people, renewed by administrators.

use actix_web::{HttpResponse, web};
use common_http::{Access, Body, Caller, Routes, Timestamp};
use serde::{Deserialize, Serialize};

use super::parse_email;
use crate::{domain::person::Person, error::Result, service::people::People};

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::ADMIN {
        routes.post(
            &format!("{base}/users/sync-by-email"),
            Access::Admin,
            sync_user_by_email,
        );
    }
}

#[derive(Deserialize)]
struct SyncUser {
    email: String,
}

#[derive(Serialize)]
struct UserSynced {
    status: &'static str,
    message: &'static str,
    user_details: UserDetails,
}

#[derive(Serialize)]
struct UserDetails {
    id: String,
    username: String,
    email: String,
    role: String,
    is_active: bool,
    external_id: String,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

/// `POST /api/v1/admin/users/sync-by-email`: reads a person from auth-service anew.
async fn sync_user_by_email(
    admin: Caller,
    Body(body): Body<SyncUser>,
    people: web::Data<People>,
) -> Result<HttpResponse> {
    let person = people.sync_by_email(&admin, &parse_email(&body.email)?).await?;
    Ok(HttpResponse::Ok().json(UserSynced {
        status: "success",
        message: "User synchronized successfully.",
        user_details: person.into(),
    }))
}

impl From<Person> for UserDetails {
    fn from(person: Person) -> Self {
        Self {
            id: person.id,
            username: person.known.username,
            email: person.known.email,
            role: person.known.role,
            is_active: person.known.is_active,
            external_id: person.known.external_id,
            created_at: person.created_at.map(Timestamp),
            updated_at: person.updated_at.map(Timestamp),
        }
    }
}
