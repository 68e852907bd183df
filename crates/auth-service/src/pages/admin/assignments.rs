//! Who has a chatflow: people and groups, from when until when. proxy-service keeps it, and the groups.

use actix_web::HttpResponse;
use askama::Template;
use chrono::{Days, NaiveDate, NaiveTime};
use common_http::{CurrentUser, Path, Timestamp};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{chatflow::Desk, chatflows::CATALOG};
use crate::{
    domain::user::UserId,
    error::{Error, Result},
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, Hindrance},
        neighbours::{Neighbour, Refusal},
        outer_id::OuterId,
        times::Shown,
    },
    store::users::UserStore,
};

/// The groups at proxy-service.
const GROUPS: &str = "/api/v1/admin/groups";

#[derive(Template)]
#[template(path = "admin/confirm.html")]
struct ConfirmPage<'a> {
    f: &'a Frame,
    title: String,
    text: String,
    action: String,
    back: String,
}

/// Somebody who was given a chatflow.
#[derive(Deserialize)]
pub(super) struct Given {
    external_user_id: String,
    username: String,
    email: String,
    assigned_at: Option<String>,
    #[serde(flatten)]
    window: Window,
}

/// A group that was.
#[derive(Deserialize)]
pub(super) struct GivenToGroup {
    id: String,
    name: String,
    #[serde(flatten)]
    window: Window,
}

/// From when until when.
#[derive(Deserialize)]
struct Window {
    starts_at: Option<String>,
    ends_at: Option<String>,
}

/// A group, to choose from.
#[derive(Deserialize)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
}

/// A page of the people who have a chatflow.
pub(super) struct PeopleGiven {
    pub(super) rows: Vec<Row>,
    pub(super) next: Option<String>,
}

/// The groups that have one.
pub(super) struct GroupsGiven(pub(super) Vec<GivenToGroup>);

/// Who has it, as a line of a table.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) since: Option<Shown>,
    pub(super) starts: Option<Shown>,
    pub(super) ends: Option<Shown>,
}

impl Window {
    fn starts(&self) -> Option<Shown> {
        self.starts_at.as_deref().and_then(Shown::parse)
    }

    fn ends(&self) -> Option<Shown> {
        self.ends_at.as_deref().and_then(Shown::parse)
    }
}

impl PeopleGiven {
    /// By the names that we know them by: proxy-service may not have met them yet.
    pub(super) async fn read(given: Vec<Given>, next: Option<String>, users: &UserStore) -> Result<Self> {
        let ids: Vec<_> = given
            .iter()
            .filter_map(|given| UserId::parse(&given.external_user_id))
            .collect();
        let names = users.list_names(&ids).await?;
        let rows = given.into_iter().map(|given| {
            let known = UserId::parse(&given.external_user_id).and_then(|id| names.get(&id).cloned());
            let said = Some(given.username).filter(|name| !name.is_empty());
            Row {
                name: known.or(said).unwrap_or_else(|| given.external_user_id.clone()),
                id: given.external_user_id,
                email: given.email,
                since: given.assigned_at.as_deref().and_then(Shown::parse),
                starts: given.window.starts(),
                ends: given.window.ends(),
            }
        });
        Ok(Self {
            rows: rows.collect(),
            next,
        })
    }
}

impl GroupsGiven {
    /// As lines of a table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |group: &GivenToGroup| Row {
            id: group.id.clone(),
            name: group.name.clone(),
            email: String::new(),
            since: None,
            starts: group.window.starts(),
            ends: group.window.ends(),
        };
        self.0.iter().map(row).collect()
    }
}

/// `POST /admin/chatflows/{flowise_id}/give`: to a person, by user name or address, or to a group.
pub(super) async fn give(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
) -> Result<HttpResponse> {
    let given = try_give(&desk, &id, &admin, &form).await;
    desk.answer(f, &form, &admin, &id, "given", given).await
}

async fn try_give(
    desk: &Desk,
    id: &OuterId,
    admin: &CurrentUser,
    form: &Form,
) -> std::result::Result<(), Hindrance> {
    let window = window_of(form)?;
    let (method, path) = match (form.given("person"), form.given("group_id")) {
        (Some(person), None) => {
            let user = desk.users.find_by_login(&person).await?;
            let user = user.ok_or_else(|| Error::invalid("person", "nobody_of_this_name"))?;
            (Method::POST, format!("{CATALOG}/{id}/users/{}", user.id))
        }
        (None, Some(group)) => {
            let group = OuterId::try_from(group);
            let group = group.or(Err(Error::invalid("group_id", "is required")))?;
            (Method::PUT, format!("{GROUPS}/{group}/chatflows/{id}"))
        }
        (None, None) => return Err(Error::invalid("person", "is required").into()),
        (Some(_), Some(_)) => return Err(Error::invalid("group_id", "one_of_the_two").into()),
    };
    Ok(desk.tell(method, &path, admin, Some(&window)).await?)
}

/// What the form shows is what counts: an empty field is no limit. A day counts whole, as a start and as an end.
fn window_of(form: &Form) -> Result<Value> {
    let midnight = |day: NaiveDate| Timestamp(day.and_time(NaiveTime::MIN).and_utc());
    let last = day(form, "ends_at")?;
    let ends = last.map(|last| {
        last.checked_add_days(Days::new(1))
            .ok_or_else(|| Error::invalid("ends_at", "must be a day"))
    });
    Ok(json!({
        "starts_at": day(form, "starts_at")?.map(midnight),
        "ends_at": ends.transpose()?.map(midnight),
    }))
}

fn day(form: &Form, name: &str) -> Result<Option<NaiveDate>> {
    let text = form.given(name);
    text.map(|text| {
        NaiveDate::parse_from_str(&text, "%Y-%m-%d").or(Err(Error::invalid(name, "must be a day")))
    })
    .transpose()
}

/// `GET /admin/chatflows/{flowise_id}/people/{user_id}/remove`: whether that is meant.
pub(super) async fn confirm_person(
    f: Frame,
    Path((id, user_id)): Path<(OuterId, OuterId)>,
    desk: Desk,
) -> Result<HttpResponse> {
    let user = match UserId::parse(user_id.as_str()) {
        Some(user) => desk.users.find(user).await?,
        None => None,
    };
    let name = user.map_or_else(|| user_id.to_string(), |user| user.username);
    let action = format!("/admin/chatflows/{id}/people/{user_id}/remove");
    Ok(confirm(&f, &id, &name, action))
}

/// `GET /admin/chatflows/{flowise_id}/groups/{group_id}/remove`: likewise.
pub(super) async fn confirm_group(
    f: Frame,
    admin: CurrentUser,
    Path((id, group_id)): Path<(OuterId, OuterId)>,
    desk: Desk,
) -> HttpResponse {
    let path = format!("{GROUPS}/{group_id}");
    let group = desk
        .neighbours
        .ask::<Group>(Method::GET, Neighbour::Proxy, &path, &admin, None)
        .await;
    match group {
        Ok(group) => {
            let action = format!("/admin/chatflows/{id}/groups/{group_id}/remove");
            confirm(&f, &id, &group.name, action)
        }
        Err(refusal) => f.show_refusal(&refusal),
    }
}

fn confirm(f: &Frame, id: &OuterId, name: &str, action: String) -> HttpResponse {
    f.show(&ConfirmPage {
        f,
        title: f.fill("chatflows.take_from", &[name]),
        text: f.t("chatflows.take_text").into_owned(),
        action,
        back: format!("/admin/chatflows/{id}"),
    })
}

/// `POST /admin/chatflows/{flowise_id}/people/{user_id}/remove`.
pub(super) async fn remove_person(
    f: Frame,
    admin: CurrentUser,
    Path((id, user_id)): Path<(OuterId, OuterId)>,
    _: Form,
    desk: Desk,
) -> HttpResponse {
    let path = format!("{CATALOG}/{id}/users/{user_id}");
    let taken = desk.tell(Method::DELETE, &path, &admin, None).await;
    taken_away(&f, &id, "assignment_not_found", taken)
}

/// `POST /admin/chatflows/{flowise_id}/groups/{group_id}/remove`.
pub(super) async fn remove_group(
    f: Frame,
    admin: CurrentUser,
    Path((id, group_id)): Path<(OuterId, OuterId)>,
    _: Form,
    desk: Desk,
) -> HttpResponse {
    let path = format!("{GROUPS}/{group_id}/chatflows/{id}");
    let taken = desk.tell(Method::DELETE, &path, &admin, None).await;
    taken_away(&f, &id, "grant_not_found", taken)
}

/// What was taken away before is as good as taken away now.
fn taken_away(f: &Frame, id: &OuterId, before: &str, taken: Result<(), Refusal>) -> HttpResponse {
    match taken {
        Err(Refusal::Said(said)) if said.status == StatusCode::NOT_FOUND && said.code == before => {}
        Err(refusal) => return f.show_refusal(&refusal),
        Ok(()) => {}
    }
    see_other(&format!("/admin/chatflows/{id}?done=taken_away"))
}
