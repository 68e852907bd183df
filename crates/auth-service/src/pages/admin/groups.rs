//! Groups: classes, departments. People are put into them, and chatflows and credits are given to all of one at once.
//! proxy-service keeps them.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{Access, CurrentUser, Path, Query, Routes};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    pages::{
        chatflows::{paged, with_query},
        door::see_other,
        forms::Form,
        frame::{Frame, Hindrance},
        neighbours::{Neighbour, Neighbours, Refusal, Rows},
        outer_id::OuterId,
        times::Shown,
    },
};

/// The groups at proxy-service.
const GROUPS: &str = "/api/v1/admin/groups";

/// Rows on one page.
const ROWS: usize = 50;

/// People who are put into a group at once.
const PEOPLE_MAX: usize = 1_000;

/// Registers what there is about groups.
pub(super) fn routes(routes: &mut Routes<'_>) {
    use Access::Admin;
    routes
        .get("/admin/groups", Admin, list)
        .post("/admin/groups", Admin, create)
        .get("/admin/groups/{group_id}", Admin, show)
        .post("/admin/groups/{group_id}", Admin, change)
        .post("/admin/groups/{group_id}/members", Admin, add_members)
        .post(
            "/admin/groups/{group_id}/members/{user_id}/remove",
            Admin,
            remove_member,
        )
        .post("/admin/groups/{group_id}/delete", Admin, delete);
}

#[derive(Template)]
#[template(path = "admin/groups.html")]
struct ListPage<'a> {
    f: &'a Frame,
    /// `None` where proxy-service is away.
    groups: Option<Vec<Listed>>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/group.html")]
struct GroupPage<'a> {
    f: &'a Frame,
    group: Group,
    /// `None` where they cannot be shown at the moment.
    members: Option<Rows<Member>>,
    chatflows: Option<Vec<Chatflow>>,
    report: Option<Report>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    name: String,
    description: Option<String>,
}

/// A group, and how many are in it.
#[derive(Deserialize)]
struct Group {
    id: String,
    name: String,
    description: Option<String>,
    members: u64,
    leads: u64,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Member {
    user_id: String,
    username: String,
    email: String,
    part: String,
    added_at: Option<String>,
}

#[derive(Deserialize)]
struct Chatflow {
    flowise_id: String,
    name: String,
}

/// What became of people who were to be put into it.
#[derive(Deserialize)]
struct Report {
    added: u64,
    updated: u64,
    unchanged: u64,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    who: String,
    message: String,
}

/// Where in a list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

impl Group {
    fn description(&self) -> &str {
        self.description.as_deref().unwrap_or_default()
    }
}

impl Member {
    fn since(&self) -> Option<Shown> {
        self.added_at.as_deref().and_then(Shown::parse)
    }
}

impl Report {
    fn text(&self, f: &Frame) -> String {
        let counts = [self.added, self.updated, self.unchanged].map(|count| f.number(count));
        f.fill("groups.report", &counts.each_ref().map(String::as_str))
    }
}

/// `GET /admin/groups`.
pub(super) async fn list(
    f: Frame,
    admin: CurrentUser,
    Query(query): Query<ListQuery>,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    list_page(&f, StatusCode::OK, query.cursor.as_deref(), &admin, &neighbours).await
}

async fn list_page(
    f: &Frame,
    status: StatusCode,
    cursor: Option<&str>,
    admin: &CurrentUser,
    neighbours: &Neighbours,
) -> HttpResponse {
    let path = paged(GROUPS, ROWS, cursor);
    let listed = neighbours.list::<Listed>(Neighbour::Proxy, &path, admin).await;
    let (status, groups, next) = match listed {
        Ok(Rows { rows, next }) => (status, Some(rows), next),
        Err(Refusal::Away) => (StatusCode::SERVICE_UNAVAILABLE, None, None),
        Err(refusal) => return f.show_refusal(&refusal),
    };
    let next = next.map(|cursor| with_query("/admin/groups", &[("cursor", &cursor)]));
    f.show_as(status, &ListPage { f, groups, next })
}

/// `POST /admin/groups`: an empty one, and on to it.
pub(super) async fn create(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    neighbours: web::Data<Neighbours>,
) -> Result<HttpResponse> {
    match try_create(&form, &admin, &neighbours).await {
        Ok(made) => Ok(see_other(&format!("/admin/groups/{}?done=group_made", made.id))),
        Err(hindrance) => {
            let (f, status) = f.hindered(&form, hindrance)?;
            Ok(list_page(&f, status, None, &admin, &neighbours).await)
        }
    }
}

async fn try_create(
    form: &Form,
    admin: &CurrentUser,
    neighbours: &Neighbours,
) -> std::result::Result<Made, Hindrance> {
    let body = settings_of(form)?;
    let made = neighbours.ask(Method::POST, Neighbour::Proxy, GROUPS, admin, Some(&body));
    Ok(made.await?)
}

fn settings_of(form: &Form) -> Result<Value> {
    Ok(json!({ "name": form.required("name")?, "description": form.given("description") }))
}

/// `GET /admin/groups/{group_id}`.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    Query(query): Query<ListQuery>,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    let shown = Asked {
        id: &id,
        cursor: query.cursor.as_deref(),
        report: None,
    };
    group_page(&f, StatusCode::OK, shown, &admin, &neighbours).await
}

/// What is to be seen of a group.
struct Asked<'a> {
    id: &'a OuterId,
    cursor: Option<&'a str>,
    report: Option<Report>,
}

async fn group_page(
    f: &Frame,
    status: StatusCode,
    asked: Asked<'_>,
    admin: &CurrentUser,
    neighbours: &Neighbours,
) -> HttpResponse {
    let one = format!("{GROUPS}/{}", asked.id);
    let (members, chatflows) = (
        paged(&format!("{one}/members"), ROWS, asked.cursor),
        format!("{one}/chatflows"),
    );
    let (group, members, chatflows) = futures_util::join!(
        neighbours.ask::<Group>(Method::GET, Neighbour::Proxy, &one, admin, None),
        neighbours.list::<Member>(Neighbour::Proxy, &members, admin),
        neighbours.list::<Chatflow>(Neighbour::Proxy, &chatflows, admin),
    );
    let group = match group {
        Ok(group) => group,
        Err(refusal) => return f.show_refusal(&refusal),
    };
    let page = GroupPage {
        f,
        members: members.ok().map(|members| Rows {
            next: members
                .next
                .map(|cursor| with_query(&format!("/admin/groups/{}", group.id), &[("cursor", &cursor)])),
            rows: members.rows,
        }),
        chatflows: chatflows.ok().map(|chatflows| chatflows.rows),
        report: asked.report,
        group,
    };
    f.show_as(status, &page)
}

/// Back to the group with what was wrong.
async fn hindered(
    f: Frame,
    form: &Form,
    hindrance: Hindrance,
    id: &OuterId,
    (admin, neighbours): (&CurrentUser, &Neighbours),
) -> Result<HttpResponse> {
    let (f, status) = f.hindered(form, hindrance)?;
    let asked = Asked {
        id,
        cursor: None,
        report: None,
    };
    Ok(group_page(&f, status, asked, admin, neighbours).await)
}

/// `POST /admin/groups/{group_id}`: its name, and what it is.
pub(super) async fn change(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    neighbours: web::Data<Neighbours>,
) -> Result<HttpResponse> {
    let path = format!("{GROUPS}/{id}");
    let changed: std::result::Result<(), Hindrance> = async {
        let body = settings_of(&form)?;
        let tell = neighbours.tell(Method::PATCH, Neighbour::Proxy, &path, &admin, Some(&body));
        Ok(tell.await?)
    }
    .await;
    match changed {
        Ok(()) => Ok(see_other(&format!("/admin/groups/{id}?done=saved"))),
        Err(hindrance) => hindered(f, &form, hindrance, &id, (&admin, &neighbours)).await,
    }
}

/// `POST /admin/groups/{group_id}/members`: people by their addresses. The page says what became of them; sent again,
/// those who are in it stay.
pub(super) async fn add_members(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    neighbours: web::Data<Neighbours>,
) -> Result<HttpResponse> {
    match try_add(&form, &id, &admin, &neighbours).await {
        Ok(report) => {
            let asked = Asked {
                id: &id,
                cursor: None,
                report: Some(report),
            };
            Ok(group_page(&f, StatusCode::OK, asked, &admin, &neighbours).await)
        }
        Err(hindrance) => hindered(f, &form, hindrance, &id, (&admin, &neighbours)).await,
    }
}

async fn try_add(
    form: &Form,
    id: &OuterId,
    admin: &CurrentUser,
    neighbours: &Neighbours,
) -> std::result::Result<Report, Hindrance> {
    let between = |character: char| character.is_whitespace() || matches!(character, ',' | ';');
    let emails: Vec<_> = form
        .required("emails")?
        .split(between)
        .filter(|email| !email.is_empty())
        .collect();
    if emails.len() > PEOPLE_MAX {
        return Err(Error::invalid("emails", "must be at most 1,000 addresses").into());
    }
    let part = if form.text("part") == "lead" {
        "lead"
    } else {
        "member"
    };
    let body = json!({ "emails": emails, "part": part });
    let path = format!("{GROUPS}/{id}/members");
    let added = neighbours.ask(Method::POST, Neighbour::Proxy, &path, admin, Some(&body));
    Ok(added.await?)
}

/// `POST /admin/groups/{group_id}/members/{user_id}/remove`: whoever has left already stays away.
pub(super) async fn remove_member(
    f: Frame,
    admin: CurrentUser,
    Path((id, user_id)): Path<(OuterId, OuterId)>,
    _: Form,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    let path = format!("{GROUPS}/{id}/members/{user_id}");
    let told = neighbours.tell(Method::DELETE, Neighbour::Proxy, &path, &admin, None);
    match told.await {
        Err(Refusal::Said(said)) if said.code == "member_not_found" => {}
        Err(refusal) => return f.show_refusal(&refusal),
        Ok(()) => {}
    }
    see_other(&format!("/admin/groups/{id}?done=member_removed"))
}

/// `POST /admin/groups/{group_id}/delete`: with what was given to it, once that is understood.
pub(super) async fn delete(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    neighbours: web::Data<Neighbours>,
) -> Result<HttpResponse> {
    if !form.is_on("understood") {
        let untold = Error::invalid("understood", "tick_to_go_on");
        return hindered(f, &form, untold.into(), &id, (&admin, &neighbours)).await;
    }
    let path = format!("{GROUPS}/{id}");
    let told = neighbours.tell(Method::DELETE, Neighbour::Proxy, &path, &admin, None);
    match told.await {
        Err(Refusal::Said(said)) if said.code == "group_not_found" => {}
        Err(refusal) => return hindered(f, &form, refusal.into(), &id, (&admin, &neighbours)).await,
        Ok(()) => {}
    }
    Ok(see_other("/admin/groups?done=group_deleted"))
}
