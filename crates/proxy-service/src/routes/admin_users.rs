//! Copies of people, renewed by administrators, and what each may use.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{Access, Body, Caller, Path, Query, Routes, Timestamp, json_array};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::{bodies::UserDetails, paging::Paging, parse_email};
use crate::{
    domain::{
        chatflow::{Cap, DAILY_TURNS_MAX},
        person::user_id,
        window::Window,
    },
    error::{Error, Result},
    service::{assignments::Assignments, groups::Groups, people::People, user_sync::UserSync},
    store::user_syncs::UserSyncRun,
};

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::ADMIN {
        let users = format!("{base}/users");
        let sync = format!("{users}/sync");
        routes
            .post(
                &format!("{users}/sync-by-email"),
                Access::Admin,
                sync_user_by_email,
            )
            .post(&sync, Access::Admin, sync_users)
            .get(&sync, Access::Admin, show_user_sync)
            .get(&users, Access::Admin, list_users)
            .patch(&format!("{users}/{{user_id}}"), Access::Admin, update_user)
            .get(
                &format!("{users}/{{user_id}}/chatflows"),
                Access::Admin,
                list_user_chatflows,
            );
    }
}

#[derive(Deserialize)]
struct SyncUser {
    email: String,
}

#[derive(Deserialize)]
struct UpdateUser {
    #[serde(default, deserialize_with = "super::admin_chatflows::cap")]
    daily_turns_max: Option<Cap>,
}

#[derive(Serialize)]
struct UserSynced {
    status: &'static str,
    message: &'static str,
    user_details: UserDetails,
}

#[derive(Serialize)]
struct UserSyncBody {
    status: &'static str,
    total: u64,
    created: u64,
    updated: u64,
    deactivated: u64,
    unchanged: u64,
    began_at: Timestamp,
    finished_at: Option<Timestamp>,
    error: Option<String>,
}

#[derive(Serialize)]
struct UserChatflow {
    id: String,
    name: String,
    sync_status: &'static str,
    assigned_at: Option<Timestamp>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    group_id: Option<String>,
    group_name: Option<String>,
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

/// `POST /api/v1/admin/users/sync`: reads everybody anew; 202 when that takes longer than anybody wants to wait.
async fn sync_users(admin: Caller, sync: web::Data<UserSync>) -> Result<HttpResponse> {
    let run = sync.run(admin).await?;
    let mut response = match run.finished_at {
        Some(_) => HttpResponse::Ok(),
        None => HttpResponse::Accepted(),
    };
    Ok(response.json(UserSyncBody::from(run)))
}

/// `GET /api/v1/admin/users/sync`: how the latest run stands or ended.
async fn show_user_sync(sync: web::Data<UserSync>) -> Result<HttpResponse> {
    let run = sync.latest().await?.ok_or(Error::NeverSynchronised)?;
    Ok(HttpResponse::Ok().json(UserSyncBody::from(run)))
}

/// `GET /api/v1/admin/users`: copies of everybody, or a page of them, by their ids.
async fn list_users(
    request: HttpRequest,
    query: Query<Paging>,
    people: web::Data<People>,
) -> Result<HttpResponse> {
    let Some(page) = query.read(1)? else {
        let everybody = people
            .stream()
            .await?
            .map_ok(UserDetails::from)
            .map_err(Error::from);
        return Ok(HttpResponse::Ok()
            .content_type("application/json")
            .streaming(Box::pin(json_array(everybody))));
    };
    let rows = people.page(page.first_key(), page.one_more()).await?;
    let keys = |person: &crate::domain::person::Person| vec![person.known.external_id.clone()];
    Ok(page.answer(&request, rows, keys, UserDetails::from))
}

/// `PATCH /api/v1/admin/users/{user_id}`: how many turns a day they may begin; `null`: as many as anybody.
async fn update_user(
    path: Path<String>,
    Body(body): Body<UpdateUser>,
    people: web::Data<People>,
) -> Result<HttpResponse> {
    let cap = body
        .daily_turns_max
        .ok_or_else(|| Error::invalid("daily_turns_max", "is required"))?;
    if cap
        .turns()
        .is_some_and(|turns| !(0..=DAILY_TURNS_MAX).contains(&turns))
    {
        let message = format!("must be from 0 to {DAILY_TURNS_MAX}");
        return Err(Error::invalid("daily_turns_max", message));
    }
    let person = people.set_daily_turns_max(&known(&path)?, cap.turns()).await?;
    Ok(HttpResponse::Ok().json(UserDetails::from(person)))
}

/// `GET /api/v1/admin/users/{user_id}/chatflows`: what somebody was given, themselves or with a group.
async fn list_user_chatflows(
    path: Path<String>,
    assignments: web::Data<Assignments>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    let user_id = known(&path)?;
    let own = assignments.list_chatflows_of(&user_id).await?;
    let of_groups = groups.given_to(&user_id).await?;
    let own = own
        .into_iter()
        .map(|(row, chatflow)| UserChatflow::new(chatflow, row.assigned_at, row.window, None));
    let of_groups = of_groups.into_iter().map(|(grant, group, chatflow)| {
        let group = Some((group.id, group.name));
        UserChatflow::new(chatflow, Some(grant.granted_at), grant.window, group)
    });
    Ok(HttpResponse::Ok().json(own.chain(of_groups).collect::<Vec<_>>()))
}

/// An id of somebody; what has not its form names nobody.
fn known(text: &str) -> Result<String> {
    user_id(text).ok_or_else(|| Error::invalid("user_id", "must be 24 hex digits"))
}

impl UserChatflow {
    fn new(
        chatflow: crate::domain::chatflow::Chatflow,
        since: Option<chrono::DateTime<chrono::Utc>>,
        window: Window,
        group: Option<(String, String)>,
    ) -> Self {
        let (group_id, group_name) = group.unzip();
        Self {
            id: chatflow.flowise_id,
            name: chatflow.name,
            sync_status: chatflow.sync_status.as_str(),
            assigned_at: since.map(Timestamp),
            starts_at: window.starts_at.map(Timestamp),
            ends_at: window.ends_at.map(Timestamp),
            group_id,
            group_name,
        }
    }
}

impl From<UserSyncRun> for UserSyncBody {
    fn from(run: UserSyncRun) -> Self {
        let status = match (run.finished_at, &run.failure) {
            (None, _) => "running",
            (Some(_), None) => "success",
            (Some(_), Some(_)) => "failed",
        };
        Self {
            status,
            total: run.counts.total,
            created: run.counts.created,
            updated: run.counts.updated,
            deactivated: run.counts.deactivated,
            unchanged: run.counts.unchanged,
            began_at: Timestamp(run.began_at),
            finished_at: run.finished_at.map(Timestamp),
            error: run.failure,
        }
    }
}
