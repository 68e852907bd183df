//! Groups of people and what they are given, for administrators.

mod people;

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{Access, Body, Caller, OptionalBody, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};

use super::{bodies::WindowBody, paging::Paging};
use crate::{
    domain::{
        chatflow::Chatflow,
        group::{Group, GroupGrant, description_of, name_of},
    },
    error::{Error, Result},
    service::groups::{CountedGroup, Groups},
    store::groups::GroupChange,
};

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::ADMIN {
        let groups = format!("{base}/groups");
        let one = format!("{groups}/{{group_id}}");
        let chatflows = format!("{one}/chatflows");
        let chatflow = format!("{chatflows}/{{flowise_id}}");
        routes
            .get(&groups, Access::Admin, list_groups)
            .post(&groups, Access::Admin, create_group)
            .get(&one, Access::Admin, show_group)
            .patch(&one, Access::Admin, update_group)
            .delete(&one, Access::Admin, delete_group)
            .get(&chatflows, Access::Admin, list_group_chatflows)
            .put(&chatflow, Access::Admin, give_group_chatflow)
            .delete(&chatflow, Access::Admin, take_group_chatflow);
        people::table(routes, &one);
    }
}

#[derive(Deserialize)]
struct CreateGroup {
    name: String,
    description: Option<String>,
}

#[derive(Deserialize)]
struct UpdateGroup {
    name: Option<String>,
    description: Option<String>,
}

#[derive(Serialize)]
struct GroupBody {
    id: String,
    name: String,
    description: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct CountedGroupBody {
    #[serde(flatten)]
    group: GroupBody,
    members: u64,
    leads: u64,
    chatflows: usize,
}

#[derive(Serialize)]
struct GroupChatflow {
    flowise_id: String,
    name: String,
    sync_status: &'static str,
    granted_at: Timestamp,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct GrantBody {
    group_id: String,
    flowise_id: String,
    name: String,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

/// `GET /api/v1/admin/groups`: by name.
async fn list_groups(
    request: HttpRequest,
    query: Query<Paging>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    let Some(page) = query.read(1)? else {
        let all = groups.list(None, None).await?;
        let bodies: Vec<_> = all.into_iter().map(GroupBody::from).collect();
        return Ok(HttpResponse::Ok().json(bodies));
    };
    let rows = groups.list(page.first_key(), Some(page.one_more())).await?;
    Ok(page.answer(&request, rows, |group| vec![group.name.clone()], GroupBody::from))
}

/// `POST /api/v1/admin/groups`.
async fn create_group(Body(body): Body<CreateGroup>, groups: web::Data<Groups>) -> Result<HttpResponse> {
    let name = name_of(&body.name).map_err(|reason| Error::invalid("name", reason))?;
    let description = body.description.as_deref().unwrap_or_default();
    let description = description_of(description).map_err(|reason| Error::invalid("description", reason))?;
    let group = groups.create(name, description).await?;
    Ok(HttpResponse::Created().json(GroupBody::from(group)))
}

/// `GET /api/v1/admin/groups/{group_id}`.
async fn show_group(group_id: Path<String>, groups: web::Data<Groups>) -> Result<HttpResponse> {
    let group = groups.counted(&group_id).await?;
    Ok(HttpResponse::Ok().json(CountedGroupBody::from(group)))
}

/// `PATCH /api/v1/admin/groups/{group_id}`: an empty description takes it away.
async fn update_group(
    group_id: Path<String>,
    Body(body): Body<UpdateGroup>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    if body.name.is_none() && body.description.is_none() {
        return Err(Error::invalid("body", "has neither name nor description"));
    }
    let name = body.name.as_deref().map(name_of).transpose();
    let description = body.description.as_deref().map(description_of).transpose();
    let change = GroupChange {
        name: name.map_err(|reason| Error::invalid("name", reason))?,
        description: description
            .map_err(|reason| Error::invalid("description", reason))?
            .map(Option::unwrap_or_default),
    };
    let group = groups.update(&group_id, change).await?;
    Ok(HttpResponse::Ok().json(GroupBody::from(group)))
}

/// `DELETE /api/v1/admin/groups/{group_id}`: with everything in it.
async fn delete_group(group_id: Path<String>, groups: web::Data<Groups>) -> Result<HttpResponse> {
    groups.delete(&group_id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/v1/admin/groups/{group_id}/chatflows`.
async fn list_group_chatflows(group_id: Path<String>, groups: web::Data<Groups>) -> Result<HttpResponse> {
    let grants = groups.grants(&group_id).await?;
    let bodies: Vec<_> = grants.into_iter().map(GroupChatflow::from).collect();
    Ok(HttpResponse::Ok().json(bodies))
}

/// `PUT /api/v1/admin/groups/{group_id}/chatflows/{flowise_id}`: gives it, or changes from when until when.
async fn give_group_chatflow(
    admin: Caller,
    path: Path<(String, String)>,
    OptionalBody(body): OptionalBody<WindowBody>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    let (group_id, flowise_id) = path.0;
    let window = body.window()?.unwrap_or_default();
    let chatflow = groups.grant(&admin, &group_id, &flowise_id, window).await?;
    Ok(HttpResponse::Ok().json(GrantBody {
        group_id,
        flowise_id,
        name: chatflow.name,
        starts_at: window.starts_at.map(Timestamp),
        ends_at: window.ends_at.map(Timestamp),
    }))
}

/// `DELETE /api/v1/admin/groups/{group_id}/chatflows/{flowise_id}`.
async fn take_group_chatflow(
    path: Path<(String, String)>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    let (group_id, flowise_id) = path.0;
    groups.revoke(&group_id, &flowise_id).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl From<Group> for GroupBody {
    fn from(group: Group) -> Self {
        Self {
            id: group.id,
            name: group.name,
            description: group.description,
            created_at: Timestamp(group.created_at),
            updated_at: Timestamp(group.updated_at),
        }
    }
}

impl From<CountedGroup> for CountedGroupBody {
    fn from(counted: CountedGroup) -> Self {
        Self {
            group: counted.group.into(),
            members: counted.members,
            leads: counted.leads,
            chatflows: counted.chatflows,
        }
    }
}

impl From<(GroupGrant, Chatflow)> for GroupChatflow {
    fn from((grant, chatflow): (GroupGrant, Chatflow)) -> Self {
        Self {
            flowise_id: chatflow.flowise_id,
            name: chatflow.name,
            sync_status: chatflow.sync_status.as_str(),
            granted_at: Timestamp(grant.granted_at),
            starts_at: grant.window.starts_at.map(Timestamp),
            ends_at: grant.window.ends_at.map(Timestamp),
        }
    }
}
