//! Chats on other web sites: which there are, and new ones. proxy-service keeps them.

use std::collections::HashMap;

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{Access, CurrentUser, Query, Routes};
use reqwest::Method;
use serde::Deserialize;

use super::{
    chatflow::Desk,
    embed,
    embed_form::{self, Offered, Typed},
};
use crate::{
    domain::user::UserId,
    error::{Error, Result},
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, Hindrance},
        neighbours::{Allowance, Neighbour, Neighbours},
    },
};

/// The list at proxy-service.
pub(super) const EMBEDS: &str = "/api/v1/embeds";

/// Rows on one page.
const ROWS: usize = 50;

/// proxy-service keeps a thousand at most, each with its texts.
const ALL: Allowance = Allowance {
    bytes: 16 << 20,
    ..Allowance::USUAL
};

/// The page of a new embed, which no embed can have as its id here.
const NEW: &str = "new";

/// Registers what there is about embeds.
pub(super) fn routes(routes: &mut Routes<'_>) {
    use Access::Admin;
    routes
        .get("/admin/embeds", Admin, list)
        .get("/admin/embeds/new", Admin, show_new)
        .post("/admin/embeds/new", Admin, create)
        .get("/admin/embeds/{embed_id}", Admin, embed::show)
        .post("/admin/embeds/{embed_id}", Admin, embed::change)
        .post("/admin/embeds/{embed_id}/key", Admin, embed::rotate_key)
        .get("/admin/embeds/{embed_id}/usage", Admin, embed::show_usage)
        .post("/admin/embeds/{embed_id}/delete", Admin, embed::delete);
}

#[derive(Template)]
#[template(path = "admin/embeds.html")]
struct ListPage<'a> {
    f: &'a Frame,
    embeds: Vec<Row>,
    next: Option<usize>,
}

#[derive(Template)]
#[template(path = "admin/embed_new.html")]
struct NewPage<'a> {
    f: &'a Frame,
    typed: Typed,
    offered: Vec<Offered>,
}

#[derive(Deserialize)]
struct Embeds {
    embeds: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    name: String,
    owner_id: String,
    backend: Backend,
    price: u64,
    is_active: bool,
    is_configured: bool,
}

#[derive(Deserialize)]
struct Backend {
    #[serde(rename = "type")]
    kind: String,
}

/// An embed, as a line of the table.
struct Row {
    embed: Listed,
    owner: String,
}

/// Which page, counted from one.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    page: Option<usize>,
}

/// `GET /admin/embeds`.
pub(super) async fn list(
    f: Frame,
    admin: CurrentUser,
    Query(query): Query<ListQuery>,
    desk: Desk,
) -> Result<HttpResponse> {
    let listed = desk
        .neighbours
        .ask_within::<Embeds>(ALL, Method::GET, Neighbour::Proxy, EMBEDS, &admin, None)
        .await;
    let all = match listed {
        Ok(listed) => listed.embeds,
        Err(refusal) => return Ok(f.show_refusal(&refusal)),
    };
    let page = query.page.unwrap_or(1).max(1);
    let end = page.saturating_mul(ROWS);
    let next = (all.len() > end).then(|| page.saturating_add(1));
    let shown: Vec<_> = all
        .into_iter()
        .skip(end.saturating_sub(ROWS))
        .take(ROWS)
        .collect();
    let owners: Vec<_> = shown
        .iter()
        .filter_map(|embed| UserId::parse(&embed.owner_id))
        .collect();
    let names = desk.users.list_names(&owners).await?;
    let rows = shown.into_iter().map(|embed| Row {
        owner: owner_name(&embed.owner_id, &names),
        embed,
    });
    Ok(f.show(&ListPage {
        f: &f,
        embeds: rows.collect(),
        next,
    }))
}

/// Whom we do not know any more is their id.
pub(super) fn owner_name(id: &str, names: &HashMap<UserId, String>) -> String {
    let known = UserId::parse(id).and_then(|id| names.get(&id).cloned());
    known.unwrap_or_else(|| id.to_owned())
}

/// `GET /admin/embeds/new`.
pub(super) async fn show_new(
    f: Frame,
    admin: CurrentUser,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    new_page(&f, StatusCode::OK, &admin, &neighbours).await
}

async fn new_page(
    f: &Frame,
    status: StatusCode,
    admin: &CurrentUser,
    neighbours: &Neighbours,
) -> HttpResponse {
    let page = NewPage {
        f,
        typed: Typed::blank(),
        offered: embed_form::offered(neighbours, admin).await,
    };
    f.show_as(status, &page)
}

/// `POST /admin/embeds/new`. The id is chosen in the form, so that sending it twice makes one embed.
pub(super) async fn create(f: Frame, admin: CurrentUser, form: Form, desk: Desk) -> Result<HttpResponse> {
    match try_create(&desk, &admin, &form).await {
        Ok(id) => Ok(see_other(&format!("/admin/embeds/{id}?done=embed_created"))),
        Err(hindrance) => {
            let (f, status) = f.hindered(&form, hindrance)?;
            Ok(new_page(&f, status, &admin, &desk.neighbours).await)
        }
    }
}

async fn try_create(desk: &Desk, admin: &CurrentUser, form: &Form) -> std::result::Result<String, Hindrance> {
    let id = form.required("id")?;
    if id == NEW {
        return Err(Error::invalid("id", "is taken").into());
    }
    let mut wish = embed_form::wish_of(form, &desk.users).await?;
    wish["id"] = id.into();
    desk.tell(Method::POST, EMBEDS, admin, Some(&wish)).await?;
    Ok(id.to_owned())
}
