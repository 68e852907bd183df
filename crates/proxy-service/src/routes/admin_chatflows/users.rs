//! Who may use a chatflow, for administrators.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{Access, Body, Caller, OptionalBody, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    domain::{
        assignment::{Assignment, AssignmentChange},
        person::{Person, Who, user_id},
        window::Window,
    },
    error::{Error, Result},
    routes::{
        bodies::{CrowdBody, WindowBody, role_of},
        paging::Paging,
        parse_email,
        table_body::TableBody,
    },
    service::{
        assignments::{Assignments, BULK_EMAILS_MAX, BulkOutcome},
        crowds::Crowds,
    },
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
        .post(&format!("{chatflows}/add-users"), Access::Admin, add_users)
        .post(&format!("{users}/import"), Access::Admin, import_chatflow_users)
        .post(&format!("{users}/by-role"), Access::Admin, add_users_by_role)
        .get(&users, Access::Admin, list_chatflow_users)
        .post(&users, Access::Admin, add_user)
        .delete(&users, Access::Admin, remove_user)
        .post(&format!("{users}/{{user_id}}"), Access::Admin, add_user_by_id)
        .delete(&format!("{users}/{{user_id}}"), Access::Admin, remove_user_by_id);
}

#[derive(Deserialize)]
struct AddUser {
    email: String,
    #[serde(flatten)]
    window: WindowBody,
}

#[derive(Deserialize)]
struct BulkAddUsers {
    emails: Vec<String>,
    #[serde(flatten)]
    window: WindowBody,
}

#[derive(Deserialize)]
struct AddUsersByEmail {
    chatflow_id: String,
    emails: Vec<String>,
    #[serde(flatten)]
    window: WindowBody,
}

#[derive(Deserialize)]
struct AddUsers {
    chatflow_id: String,
    #[serde(default)]
    user_ids: Vec<String>,
    #[serde(default)]
    emails: Vec<String>,
    #[serde(flatten)]
    window: WindowBody,
}

#[derive(Deserialize)]
struct AddByRole {
    role: String,
    #[serde(flatten)]
    window: WindowBody,
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
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

/// `GET /api/v1/admin/chatflows/{flowise_id}/users`: everybody, the longest assigned first; or a page, by ids.
async fn list_chatflow_users(
    request: HttpRequest,
    flowise_id: Path<String>,
    query: Query<Paging>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let Some(page) = query.read(1)? else {
        let people = assignments.list_people(&flowise_id).await?;
        let bodies: Vec<_> = people.into_iter().map(ChatflowUser::from).collect();
        return Ok(HttpResponse::Ok().json(bodies));
    };
    let rows = assignments
        .page_people(&flowise_id, page.first_key(), page.one_more())
        .await?;
    let keys = |(row, _): &(Assignment, Option<Person>)| vec![row.external_user_id.clone()];
    Ok(page.answer(&request, rows, keys, ChatflowUser::from))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users`: gives one person the chatflow.
async fn add_user(
    admin: Caller,
    flowise_id: Path<String>,
    Body(body): Body<AddUser>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let email = parse_email(&body.email)?;
    let window = checked(&body.window, &assignments)?;
    let who = Who::Email(email.clone());
    let (_, change) = assignments.assign(&admin, &flowise_id, &who, window).await?;
    Ok(HttpResponse::Ok().json(AssignmentBody::new(email.as_str().to_owned(), change)))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users/{user_id}`: the same by the person's id.
async fn add_user_by_id(
    admin: Caller,
    path: Path<(String, String)>,
    OptionalBody(body): OptionalBody<WindowBody>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let (flowise_id, id) = path.0;
    let window = checked(&body, &assignments)?;
    let who = Who::Id(known_id(&id)?);
    let (person, change) = assignments.assign(&admin, &flowise_id, &who, window).await?;
    Ok(HttpResponse::Ok().json(AssignmentBody::new(person.known.email, change)))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users/bulk-add`: gives many people the chatflow. A
/// service does it for people it has just made.
async fn bulk_add_users(
    admin: Caller,
    flowise_id: Path<String>,
    Body(body): Body<BulkAddUsers>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    bulk_add(&admin, &flowise_id, body.emails, &body.window, &assignments).await
}

/// `POST /api/v1/admin/chatflows/add-users-by-email`: the same with the chatflow in the body.
async fn add_users_by_email(
    admin: Caller,
    Body(body): Body<AddUsersByEmail>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    bulk_add(&admin, &body.chatflow_id, body.emails, &body.window, &assignments).await
}

/// `POST /api/v1/admin/chatflows/add-users`: the same by ids, addresses or both.
async fn add_users(
    admin: Caller,
    Body(body): Body<AddUsers>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let people: Vec<_> = body.user_ids.into_iter().chain(body.emails).collect();
    bulk_add(&admin, &body.chatflow_id, people, &body.window, &assignments).await
}

async fn bulk_add(
    admin: &Caller,
    flowise_id: &str,
    people: Vec<String>,
    window: &WindowBody,
    assignments: &Assignments,
) -> Result<HttpResponse> {
    if people.is_empty() || people.len() > BULK_EMAILS_MAX {
        return Err(Error::invalid(
            "emails",
            format!("must have 1 to {BULK_EMAILS_MAX} addresses"),
        ));
    }
    let window = checked(window, assignments)?;
    let outcomes = assignments.assign_many(admin, flowise_id, people, window).await?;
    Ok(HttpResponse::Ok().json(BulkBody::from(outcomes)))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users/import`: gives everybody in a table the chatflow.
async fn import_chatflow_users(
    admin: Caller,
    flowise_id: Path<String>,
    body: TableBody,
    crowds: web::Data<Crowds>,
) -> Result<HttpResponse> {
    let report = crowds.assign_table(admin, &flowise_id, &body.table).await?;
    Ok(HttpResponse::Ok().json(CrowdBody::from(report)))
}

/// `POST /api/v1/admin/chatflows/{flowise_id}/users/by-role`: gives everybody who has the role now the chatflow.
async fn add_users_by_role(
    admin: Caller,
    flowise_id: Path<String>,
    Body(body): Body<AddByRole>,
    assignments: web::Data<Assignments>,
    crowds: web::Data<Crowds>,
) -> Result<HttpResponse> {
    let role = role_of(&body.role)?;
    let window = checked(&body.window, &assignments)?;
    let report = crowds.assign_role(admin, &flowise_id, role, window).await?;
    Ok(HttpResponse::Ok().json(CrowdBody::from(report)))
}

/// `DELETE /api/v1/admin/chatflows/{flowise_id}/users/{user_id}`: also from somebody auth-service knows no longer.
async fn remove_user_by_id(
    admin: Caller,
    path: Path<(String, String)>,
    assignments: web::Data<Assignments>,
) -> Result<HttpResponse> {
    let (flowise_id, id) = path.0;
    let id = known_id(&id)?;
    assignments.revoke_id(&admin, &flowise_id, &id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "user_id": id,
        "status": "Deactivated",
        "message": "User access has been successfully revoked.",
    })))
}

fn checked(window: &WindowBody, assignments: &Assignments) -> Result<Option<Window>> {
    window
        .window()?
        .map(|window| assignments.check(window))
        .transpose()
}

fn known_id(text: &str) -> Result<String> {
    user_id(text).ok_or_else(|| Error::invalid("user_id", "must be 24 hex digits"))
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
        for BulkOutcome { who, change } in outcomes {
            match change {
                Ok(change) => body.successful_assignments.push(AssignmentBody::new(who, change)),
                Err(message) => body.failed_assignments.push(AssignmentBody {
                    email: who,
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
            starts_at: assignment.window.starts_at.map(Timestamp),
            ends_at: assignment.window.ends_at.map(Timestamp),
        }
    }
}
