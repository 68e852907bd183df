//! Who may use a chatflow, for administrators.

use actix_web::{HttpResponse, web};
use common_http::{Access, Body, Caller, OptionalBody, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    domain::{
        assignment::{Assignment, AssignmentChange},
        person::Person,
    },
    error::{Error, Result},
    routes::parse_email,
    service::assignments::{Assignments, BULK_EMAILS_MAX, BulkOutcome},
};

/// `chatflows` is the path of the collection.
pub(super) fn table(routes: &mut Routes<'_>, chatflows: &str) {
    let users = format!("{chatflows}/{{flowise_id}}/users");
    routes
        .post(
            &format!("{chatflows}/add-users-by-email"),
            Access::Admin,
            add_users_by_email,
        )
        .post(
            &format!("{users}/bulk-add"),
            Access::AdminOrService,
            bulk_add_users,
        )
        .get(&users, Access::Admin, list_chatflow_users)
        .post(&users, Access::Admin, add_user)
        .delete(&users, Access::Admin, remove_user);
}

#[derive(Deserialize)]
struct AddUser {
    email: String,
}

#[derive(Deserialize)]
struct BulkAddUsers {
    emails: Vec<String>,
}

#[derive(Deserialize)]
struct AddUsersByEmail {
    chatflow_id: String,
    emails: Vec<String>,
}

#[derive(Default, Deserialize)]
struct RemoveUser {
    email: Option<String>,
}

#[derive(Serialize)]
struct AssignmentBody {
    email: String,
    status: &'static str,
    message: String,
}

#[derive(Serialize)]
struct BulkBody {
    successful_assignments: Vec<AssignmentBody>,
    failed_assignments: Vec<AssignmentBody>,
}

#[derive(Serialize)]
struct ChatflowUser {
    username: String,
    email: String,
    external_user_id: String,
    assigned_at: Option<Timestamp>,
}

/// `GET /api/v1/admin/chatflows/{flowise_id}/users`.
async fn list_chatflow_users(
    flowise_id: Path<String>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let people = assignments.list_people(&flowise_id).await?;
    let bodies: Vec<_> = people.into_iter().map(ChatflowUser::from).collect();
    Ok(HttpResponse::Ok().json(bodies))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users`: gives one person the chatflow.
async fn add_user(
    admin: Caller,
    flowise_id: Path<String>,
    Body(body): Body<AddUser>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let email = parse_email(&body.email)?;
    let change = assignments.assign(&admin, &flowise_id, &email).await?;
    Ok(HttpResponse::Ok().json(AssignmentBody::new(email.as_str().to_owned(), change)))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users/bulk-add`: gives many people the chatflow. A
/// service does it for people it has just made.
async fn bulk_add_users(
    admin: Caller,
    flowise_id: Path<String>,
    Body(body): Body<BulkAddUsers>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    bulk_add(&admin, &flowise_id, body.emails, &assignments).await
}

/// `POST /api/v1/admin/chatflows/add-users-by-email`: the same with the chatflow in the body.
async fn add_users_by_email(
    admin: Caller,
    Body(body): Body<AddUsersByEmail>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    bulk_add(&admin, &body.chatflow_id, body.emails, &assignments).await
}

async fn bulk_add(
    admin: &Caller,
    flowise_id: &str,
    emails: Vec<String>,
    assignments: &Assignments,
) -> Result<HttpResponse> {
    if emails.is_empty() || emails.len() > BULK_EMAILS_MAX {
        return Err(Error::invalid(
            "emails",
            format!("must have 1 to {BULK_EMAILS_MAX} addresses"),
        ));
    }
    let outcomes = assignments.assign_many(admin, flowise_id, emails).await?;
    Ok(HttpResponse::Ok().json(BulkBody::from(outcomes)))
}

/// `DELETE /api/v1/admin/chatflows/{flowise_id}/users`: takes the chatflow from a person, named by `?email=` or, as the
/// web client does, by a body.
async fn remove_user(
    admin: Caller,
    flowise_id: Path<String>,
    query: Query<RemoveUser>,
    OptionalBody(body): OptionalBody<RemoveUser>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    // A plus sign that was not escaped reads as a space, and no address has a space.
    let in_query = query.email.as_deref().map(|email| email.trim().replace(' ', "+"));
    let typed = in_query
        .or(body.email)
        .ok_or_else(|| Error::invalid("email", "is required"))?;
    let email = parse_email(&typed)?;
    assignments.revoke(&admin, &flowise_id, &email).await?;
    Ok(HttpResponse::Ok().json(json!({
        "email": email.as_str(),
        "status": "Deactivated",
        "message": "User access has been successfully revoked.",
    })))
}

impl AssignmentBody {
    fn new(email: String, change: AssignmentChange) -> Self {
        Self {
            email,
            status: change.status(),
            message: change.message().to_owned(),
        }
    }
}

impl From<Vec<BulkOutcome>> for BulkBody {
    fn from(outcomes: Vec<BulkOutcome>) -> Self {
        let mut body = Self {
            successful_assignments: Vec::new(),
            failed_assignments: Vec::new(),
        };
        for BulkOutcome { email, change } in outcomes {
            match change {
                Ok(change) => body
                    .successful_assignments
                    .push(AssignmentBody::new(email, change)),
                Err(message) => body.failed_assignments.push(AssignmentBody {
                    email,
                    status: "Failed",
                    message,
                }),
            }
        }
        body
    }
}

impl From<(Assignment, Option<Person>)> for ChatflowUser {
    fn from((assignment, person): (Assignment, Option<Person>)) -> Self {
        // Somebody who was never looked up still has access, and administrators have to see that.
        let known = person.map(|person| person.known);
        let (username, email) = known
            .map(|known| (known.username, known.email))
            .unwrap_or_default();
        Self {
            username,
            email,
            external_user_id: assignment.external_user_id,
            assigned_at: assignment.assigned_at.map(Timestamp),
        }
    }
}
