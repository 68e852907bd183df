//! One embed: its snippet, its settings, its key for apps, what its visitors cost.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use chrono::NaiveDate;
use common_http::{CurrentUser, Path, Query};
use reqwest::Method;
use serde::Deserialize;

use super::{
    chatflow::Desk,
    embed_form::{self, Embed, Offered, Typed},
    embeds::{EMBEDS, owner_name},
};
use crate::{
    domain::user::UserId,
    error::{Error, Result},
    pages::{
        Site,
        chatflows::with_query,
        door::see_other,
        forms::Form,
        frame::{Frame, Hindrance},
        neighbours::{Allowance, Neighbour, Neighbours, Refusal, SaidNo},
        outer_id::OuterId,
        times::Shown,
    },
};

/// Rows of usage on one page.
const ROWS: &str = "50";

/// An embed comes with its texts in all languages.
const ONE: Allowance = Allowance {
    wait: Duration::from_secs(3),
    bytes: 16 << 20,
};

#[derive(Template)]
#[template(path = "admin/embed.html")]
struct EmbedPage<'a> {
    f: &'a Frame,
    embed: &'a Embed,
    owner: String,
    typed: Typed,
    offered: Vec<Offered>,
    snippet: String,
}

#[derive(Template)]
#[template(path = "admin/embed_key.html")]
struct KeyPage<'a> {
    f: &'a Frame,
    id: &'a OuterId,
    made: Made,
}

#[derive(Template)]
#[template(path = "admin/embed_usage.html")]
struct UsagePage<'a> {
    f: &'a Frame,
    id: &'a OuterId,
    query: &'a UsageQuery,
    /// `None` where there is no report of such days.
    usage: Option<Usage>,
    next: Option<String>,
}

/// A key that was made just now.
#[derive(Deserialize)]
struct Made {
    key: String,
    previous_key_until: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    from: String,
    to: String,
    time_zone: String,
    total: Spent,
    rows: Vec<Row>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Spent {
    turns: u64,
    failed: u64,
    credits: u64,
}

#[derive(Deserialize)]
struct Row {
    day: String,
    username: Option<String>,
    #[serde(flatten)]
    spent: Spent,
}

/// From which day to which, and where in the list.
#[derive(Debug, Deserialize)]
pub(super) struct UsageQuery {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    cursor: Option<String>,
}

impl Embed {
    fn previous_key_until(&self) -> Option<Shown> {
        self.previous_app_key_until.as_deref().and_then(Shown::parse)
    }
}

impl Made {
    fn until(&self) -> Option<Shown> {
        self.previous_key_until.as_deref().and_then(Shown::parse)
    }
}

impl UsageQuery {
    /// What proxy-service is asked; something that is no day is no wish.
    fn address(&self, base: &str, limit: Option<&str>, cursor: Option<&str>) -> String {
        let is_day = |text: &&str| NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
        let days = [("from", self.from.trim()), ("to", self.to.trim())];
        let mut pairs: Vec<_> = days.into_iter().filter(|(_, day)| is_day(day)).collect();
        pairs.extend(limit.map(|limit| ("limit", limit)));
        pairs.extend(cursor.map(|cursor| ("cursor", cursor)));
        with_query(base, &pairs)
    }
}

async fn find(neighbours: &Neighbours, id: &OuterId, admin: &CurrentUser) -> Result<Embed, Refusal> {
    let path = format!("{EMBEDS}/{id}");
    neighbours
        .ask_within(ONE, Method::GET, Neighbour::Proxy, &path, admin, None)
        .await
}

/// `GET /admin/embeds/{embed_id}`.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    desk: Desk,
    site: web::Data<Site>,
) -> Result<HttpResponse> {
    page(&f, StatusCode::OK, &id, &admin, &desk, &site).await
}

async fn page(
    f: &Frame,
    status: StatusCode,
    id: &OuterId,
    admin: &CurrentUser,
    desk: &Desk,
    site: &Site,
) -> Result<HttpResponse> {
    let (embed, offered) = futures_util::join!(
        find(&desk.neighbours, id, admin),
        embed_form::offered(&desk.neighbours, admin),
    );
    let embed = match embed {
        Ok(embed) => embed,
        Err(refusal) => return Ok(f.show_refusal(&refusal)),
    };
    let owner: Vec<_> = UserId::parse(&embed.owner_id).into_iter().collect();
    let owner = owner_name(&embed.owner_id, &desk.users.list_names(&owner).await?);
    let script = site.address(&format!("/widget/embed.js?embed={id}"));
    let page = EmbedPage {
        f,
        typed: Typed::of(&embed, owner.clone()),
        owner,
        offered,
        snippet: format!("<script src=\"{script}\" async></script>"),
        embed: &embed,
    };
    Ok(f.show_as(status, &page))
}

/// `POST /admin/embeds/{embed_id}`: everything that the form shows, if nobody else has changed it since.
pub(super) async fn change(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
    site: web::Data<Site>,
) -> Result<HttpResponse> {
    let changed = async {
        let wish = embed_form::wish_of(&form, &desk.users).await?;
        as_seen(&form, &id, &admin, &desk).await?;
        let path = format!("{EMBEDS}/{id}");
        desk.tell(Method::PATCH, &path, &admin, Some(&wish)).await?;
        Ok(())
    };
    match changed.await {
        Ok(()) => Ok(see_other(&format!("/admin/embeds/{id}?done=saved"))),
        Err(hindrance) => {
            let (f, status) = f.hindered(&form, hindrance)?;
            page(&f, status, &id, &admin, &desk, &site).await
        }
    }
}

/// A form that is sent twice, or after somebody else's, is of another embed than the one that is there.
async fn as_seen(
    form: &Form,
    id: &OuterId,
    admin: &CurrentUser,
    desk: &Desk,
) -> std::result::Result<(), Refusal> {
    let embed = find(&desk.neighbours, id, admin).await?;
    if embed.updated_at == form.text("updated_at") {
        return Ok(());
    }
    Err(Refusal::Said(SaidNo {
        status: reqwest::StatusCode::CONFLICT,
        code: "embed_changed".to_owned(),
        detail: String::new(),
        fields: Vec::new(),
    }))
}

/// `POST /admin/embeds/{embed_id}/key`: shown in the answer, and never again. Sent twice it makes one key, since another
/// one would end the one before.
pub(super) async fn rotate_key(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
    site: web::Data<Site>,
) -> Result<HttpResponse> {
    let made = async {
        if !form.is_on("replace") {
            return Err(Hindrance::from(Error::invalid("replace", "tick_to_go_on")));
        }
        as_seen(&form, &id, &admin, &desk).await?;
        let path = format!("{EMBEDS}/{id}/key");
        let made = desk
            .neighbours
            .ask::<Made>(Method::POST, Neighbour::Proxy, &path, &admin, None);
        Ok(made.await?)
    };
    match made.await {
        Ok(made) => Ok(f.show(&KeyPage { f: &f, id: &id, made })),
        Err(hindrance) => {
            let (f, status) = f.hindered(&form, hindrance)?;
            page(&f, status, &id, &admin, &desk, &site).await
        }
    }
}

/// `GET /admin/embeds/{embed_id}/usage`: also of one that is gone.
pub(super) async fn show_usage(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    Query(query): Query<UsageQuery>,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    let path = query.address(
        &format!("{EMBEDS}/{id}/usage"),
        Some(ROWS),
        query.cursor.as_deref(),
    );
    let usage = neighbours
        .ask::<Usage>(Method::GET, Neighbour::Proxy, &path, &admin, None)
        .await;
    let (status, usage) = match usage {
        Ok(usage) => (StatusCode::OK, Some(usage)),
        Err(Refusal::Said(said)) if !said.fields.is_empty() => (StatusCode::BAD_REQUEST, None),
        Err(refusal) => return f.show_refusal(&refusal),
    };
    let next = usage.as_ref().and_then(|usage| usage.next_cursor.as_deref());
    let next = next.map(|cursor| query.address(&format!("/admin/embeds/{id}/usage"), None, Some(cursor)));
    let page = UsagePage {
        f: &f,
        id: &id,
        query: &query,
        usage,
        next,
    };
    f.show_as(status, &page)
}

/// `POST /admin/embeds/{embed_id}/delete`: with a tick, since visitors lose their conversations.
pub(super) async fn delete(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
    site: web::Data<Site>,
) -> Result<HttpResponse> {
    let deleted = async {
        if !form.is_on("understood") {
            return Err(Hindrance::from(Error::invalid("understood", "tick_to_delete")));
        }
        let path = format!("{EMBEDS}/{id}");
        Ok(desk.tell(Method::DELETE, &path, &admin, None).await?)
    };
    match deleted.await {
        Ok(()) => Ok(see_other("/admin/embeds?done=embed_deleted")),
        Err(hindrance) => {
            let (f, status) = f.hindered(&form, hindrance)?;
            page(&f, status, &id, &admin, &desk, &site).await
        }
    }
}
