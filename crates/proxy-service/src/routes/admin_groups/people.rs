//! Who is in a group.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{Access, Body, Caller, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        group::{Membership, Part},
        person::{Person, user_id},
    },
    error::{Error, Result},
    routes::{
        bodies::{CrowdBody, role_of},
        paging::{Paging, present},
        table_body::TableBody,
    },
    service::{assignments::BULK_EMAILS_MAX, crowds::Crowds, groups::Groups},
};

/// `group` is the path of one group.
pub(super) fn table(routes: &mut Routes<'_>, group: &str) {
    let members = format!("{group}/members");
    routes
        .get(&members, Access::Admin, list_group_members)
        .post(&members, Access::Admin, add_group_members)
        .post(&format!("{members}/import"), Access::Admin, import_group_members)
        .post(
            &format!("{members}/by-role"),
            Access::Admin,
            add_group_members_by_role,
        )
        .delete(
            &format!("{members}/{{user_id}}"),
            Access::Admin,
            remove_group_member,
        );
}

#[derive(Deserialize)]
struct ListMembers {
    part: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct AddMembers {
    #[serde(default)]
    emails: Vec<String>,
    #[serde(default)]
    user_ids: Vec<String>,
    part: Option<String>,
}

#[derive(Deserialize)]
struct AddByRole {
    role: String,
    part: Option<String>,
}

#[derive(Deserialize)]
struct RemoveMember {
    part: Option<String>,
}

#[derive(Serialize)]
struct MemberBody {
    user_id: String,
    username: String,
    email: String,
    part: &'static str,
    added_at: Timestamp,
}

/// `GET /api/v1/admin/groups/{group_id}/members?part=`.
async fn list_group_members(
    request: HttpRequest,
    group_id: Path<String>,
    Query(query): Query<ListMembers>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    let part = part_of(query.part.as_deref())?;
    let paging = Paging::new(query.limit, query.cursor);
    let Some(page) = paging.read(2)? else {
        let all = groups.people(&group_id, part, None, None).await?;
        let bodies: Vec<_> = all.into_iter().map(MemberBody::from).collect();
        return Ok(HttpResponse::Ok().json(bodies));
    };
    let rows = groups
        .people(&group_id, part, page.two_keys(), Some(page.one_more()))
        .await?;
    let keys =
        |(one, _): &(Membership, Option<Person>)| vec![one.user_id.clone(), one.part.as_str().to_owned()];
    Ok(page.answer(&request, rows, keys, MemberBody::from))
}

/// `POST /api/v1/admin/groups/{group_id}/members`: people by address or id.
async fn add_group_members(
    admin: Caller,
    group_id: Path<String>,
    Body(body): Body<AddMembers>,
    crowds: web::Data<Crowds>,
) -> Result<HttpResponse> {
    let part = part_of(body.part.as_deref())?.unwrap_or_default();
    let people: Vec<_> = body.emails.into_iter().chain(body.user_ids).collect();
    if people.is_empty() || people.len() > BULK_EMAILS_MAX {
        let message = format!("and user_ids must have 1 to {BULK_EMAILS_MAX} people together");
        return Err(Error::invalid("emails", message));
    }
    let report = crowds.join_people(admin, &group_id, people, part).await?;
    Ok(HttpResponse::Ok().json(CrowdBody::from(report)))
}

/// `POST /api/v1/admin/groups/{group_id}/members/import`: everybody in a table.
async fn import_group_members(
    admin: Caller,
    group_id: Path<String>,
    body: TableBody,
    crowds: web::Data<Crowds>,
) -> Result<HttpResponse> {
    let report = crowds.join_table(admin, &group_id, &body.table).await?;
    Ok(HttpResponse::Ok().json(CrowdBody::from(report)))
}

/// `POST /api/v1/admin/groups/{group_id}/members/by-role`: everybody who has the role now.
async fn add_group_members_by_role(
    admin: Caller,
    group_id: Path<String>,
    Body(body): Body<AddByRole>,
    crowds: web::Data<Crowds>,
) -> Result<HttpResponse> {
    let role = role_of(&body.role)?;
    let part = part_of(body.part.as_deref())?.unwrap_or_default();
    let report = crowds.join_role(admin, &group_id, role, part).await?;
    Ok(HttpResponse::Ok().json(CrowdBody::from(report)))
}

/// `DELETE /api/v1/admin/groups/{group_id}/members/{user_id}?part=`: without `part`, in whatever part they are in it.
async fn remove_group_member(
    path: Path<(String, String)>,
    Query(query): Query<RemoveMember>,
    groups: web::Data<Groups>,
) -> Result<HttpResponse> {
    let (group_id, member) = path.0;
    let part = part_of(query.part.as_deref())?;
    let member = user_id(&member).ok_or(Error::MemberNotFound)?;
    groups.leave(&group_id, &member, part).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn part_of(text: Option<&str>) -> Result<Option<Part>> {
    present(text)
        .map(|text| Part::parse(text).ok_or_else(|| Error::invalid("part", "must be member or lead")))
        .transpose()
}

impl From<(Membership, Option<Person>)> for MemberBody {
    fn from((membership, person): (Membership, Option<Person>)) -> Self {
        let (username, email) = person
            .map(|person| (person.known.username, person.known.email))
            .unwrap_or_default();
        Self {
            user_id: membership.user_id,
            username,
            email,
            part: membership.part.as_str(),
            added_at: Timestamp(membership.added_at),
        }
    }
}
