//! One chatflow: what is known of it, what it costs, what people may do with it, and who has it.

use std::time::Duration;

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, http::StatusCode, web};
use askama::Template;
use common_http::{CurrentUser, Path, Query};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    assignments::{Given, GivenToGroup, Group, GroupsGiven, PeopleGiven},
    chatflows::CATALOG,
};
use crate::{
    error::{Error, Result},
    pages::{
        chatflows::{paged, with_query},
        door::see_other,
        forms::Form,
        frame::{Frame, Hindrance},
        neighbours::{Allowance, Neighbour, Neighbours, Refusal},
        outer_id::OuterId,
        times::Shown,
    },
    store::users::UserStore,
};

/// People on one page.
const PEOPLE: usize = 50;

/// A chatflow comes with its graph, of which proxy-service keeps 4 MiB, and with its settings.
const WITH_GRAPH: Allowance = Allowance {
    wait: Duration::from_secs(5),
    bytes: 16 << 20,
};

/// Groups and models that are offered to choose from.
const GROUPS: &str = "/api/v1/admin/groups?limit=500";
const PRICES: &str = "/api/prices?limit=1000";

#[derive(Template)]
#[template(path = "admin/chatflow.html")]
struct ChatflowPage<'a> {
    f: &'a Frame,
    chatflow: Record,
    typed: Typed,
    people: Option<PeopleGiven>,
    groups: Option<GroupsGiven>,
    all_groups: Vec<Group>,
    models: Vec<String>,
}

/// All that pages show of a chatflow.
#[derive(Deserialize)]
struct Record {
    flowise_id: String,
    name: String,
    description: Option<String>,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    updated_date: Option<String>,
    synced_at: Option<String>,
    sync_status: String,
    sync_error: Option<String>,
    price: Option<u64>,
    usage_price: Option<UsagePrice>,
    override_config_allowed: Vec<String>,
    show_inner_events: bool,
    daily_turns_max: Option<u64>,
    daily_turns_per_user_max: Option<u64>,
}

#[derive(Deserialize)]
struct UsagePrice {
    model_id: String,
    estimated_tokens: u64,
}

#[derive(Deserialize)]
struct Prices {
    prices: Vec<ModelPrice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelPrice {
    model_id: String,
}

/// Where in the list of people.
#[derive(Debug, Deserialize)]
pub(super) struct PeopleQuery {
    cursor: Option<String>,
}

impl Record {
    fn updated(&self) -> Option<Shown> {
        self.updated_date.as_deref().and_then(Shown::parse)
    }

    fn synced(&self) -> Option<Shown> {
        self.synced_at.as_deref().and_then(Shown::parse)
    }

    fn price_by(&self) -> &'static str {
        if self.usage_price.is_some() {
            "usage"
        } else {
            "flat"
        }
    }

    fn model(&self) -> &str {
        self.usage_price
            .as_ref()
            .map_or("", |price| price.model_id.as_str())
    }
}

/// What stands in the fields.
struct Typed {
    flat: String,
    tokens: String,
    overrides: String,
    turns: String,
    turns_each: String,
}

impl Typed {
    fn of(chatflow: &Record) -> Self {
        let by_usage = chatflow.usage_price.as_ref();
        Self {
            flat: shown(chatflow.price),
            tokens: shown(by_usage.map(|price| price.estimated_tokens)),
            overrides: chatflow.override_config_allowed.join(", "),
            turns: shown(chatflow.daily_turns_max),
            turns_each: shown(chatflow.daily_turns_per_user_max),
        }
    }
}

/// Empty where there is no limit.
pub(super) fn shown(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// What the pages of a chatflow are read from and changed by.
pub(super) struct Desk {
    pub(super) neighbours: web::Data<Neighbours>,
    pub(super) users: web::Data<UserStore>,
}

impl FromRequest for Desk {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, std::result::Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            Ok(Self {
                neighbours: web::Data::extract(&request).await?,
                users: web::Data::extract(&request).await?,
            })
        }
        .boxed_local()
    }
}

impl Desk {
    /// Has proxy-service change something.
    pub(super) async fn tell(
        &self,
        method: Method,
        path: &str,
        admin: &CurrentUser,
        body: Option<&Value>,
    ) -> Result<(), Refusal> {
        self.neighbours
            .tell(method, Neighbour::Proxy, path, admin, body)
            .await
    }

    async fn page(
        &self,
        f: &Frame,
        status: StatusCode,
        id: &OuterId,
        cursor: Option<&str>,
        admin: &CurrentUser,
    ) -> Result<HttpResponse> {
        let one = format!("{CATALOG}/{id}");
        let (given, groups) = (
            paged(&format!("{one}/users"), PEOPLE, cursor),
            format!("{one}/groups"),
        );
        let asked = &self.neighbours;
        let (chatflow, people, groups, all_groups, models) = futures_util::join!(
            asked.ask_within::<Record>(WITH_GRAPH, Method::GET, Neighbour::Proxy, &one, admin, None),
            asked.list::<Given>(Neighbour::Proxy, &given, admin),
            asked.list::<GivenToGroup>(Neighbour::Proxy, &groups, admin),
            asked.list::<Group>(Neighbour::Proxy, GROUPS, admin),
            asked.get::<Prices>(Neighbour::Accounting, PRICES, admin),
        );
        let chatflow = match chatflow {
            Ok(chatflow) => chatflow,
            Err(refusal) => return Ok(f.show_refusal(&refusal)),
        };
        let people = match people {
            Ok(people) => {
                let next = people.next.map(|cursor| {
                    let address = with_query(&format!("/admin/chatflows/{id}"), &[("cursor", &cursor)]);
                    format!("{address}#people")
                });
                Some(PeopleGiven::read(people.rows, next, &self.users).await?)
            }
            Err(_) => None,
        };
        let models = models.map_or_else(|_| Vec::new(), |models| models.prices);
        let page = ChatflowPage {
            f,
            typed: Typed::of(&chatflow),
            people,
            groups: groups.ok().map(|groups| GroupsGiven(groups.rows)),
            all_groups: all_groups.map_or_else(|_| Vec::new(), |groups| groups.rows),
            models: models.into_iter().map(|price| price.model_id).collect(),
            chatflow,
        };
        Ok(f.show_as(status, &page))
    }

    /// Back to the chatflow: with the news, or with what was wrong.
    pub(super) async fn answer(
        &self,
        f: Frame,
        form: &Form,
        admin: &CurrentUser,
        id: &OuterId,
        done: &str,
        changed: std::result::Result<(), Hindrance>,
    ) -> Result<HttpResponse> {
        match changed {
            Ok(()) => Ok(see_other(&format!("/admin/chatflows/{id}?done={done}"))),
            Err(hindrance) => {
                let (f, status) = f.hindered(form, hindrance)?;
                self.page(&f, status, id, None, admin).await
            }
        }
    }
}

/// `GET /admin/chatflows/{flowise_id}`.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    Query(query): Query<PeopleQuery>,
    desk: Desk,
) -> Result<HttpResponse> {
    desk.page(&f, StatusCode::OK, &id, query.cursor.as_deref(), &admin)
        .await
}

/// `POST /admin/chatflows/{flowise_id}/price`: what a question costs from now on.
pub(super) async fn change_price(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
) -> Result<HttpResponse> {
    let changed = change(&desk, &id, &admin, price_of(&form)).await;
    desk.answer(f, &form, &admin, &id, "saved", changed).await
}

/// `POST /admin/chatflows/{flowise_id}/settings`: what people may set, see and use of it.
pub(super) async fn change_settings(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
) -> Result<HttpResponse> {
    let changed = change(&desk, &id, &admin, settings_of(&form)).await;
    desk.answer(f, &form, &admin, &id, "saved", changed).await
}

async fn change(
    desk: &Desk,
    id: &OuterId,
    admin: &CurrentUser,
    wish: Result<Value>,
) -> std::result::Result<(), Hindrance> {
    let path = format!("{CATALOG}/{id}");
    Ok(desk.tell(Method::PATCH, &path, admin, Some(&wish?)).await?)
}

/// A chatflow has one price: that of the kind that was chosen.
fn price_of(form: &Form) -> Result<Value> {
    match form.text("price_by") {
        "flat" => {
            form.required("price")?;
            Ok(json!({ "price": number(form, "price")? }))
        }
        "usage" => Ok(json!({ "usage_price": {
            "model_id": form.required("usage_price.model_id")?,
            "estimated_tokens": number(form, "usage_price.estimated_tokens")?,
        } })),
        // What the operator has set for all.
        "default" => Ok(json!({ "price": null })),
        _ => Err(Error::invalid("price_by", "is required")),
    }
}

fn settings_of(form: &Form) -> Result<Value> {
    Ok(json!({
        "override_config_allowed": listed(form.text("override_config_allowed")),
        "show_inner_events": form.is_on("show_inner_events"),
        "daily_turns_max": number(form, "daily_turns_max")?,
        "daily_turns_per_user_max": number(form, "daily_turns_per_user_max")?,
    }))
}

/// A whole number, or none where the field is empty.
pub(super) fn number(form: &Form, name: &str) -> Result<Option<u32>> {
    let text = form.given(name);
    text.map(|text| {
        text.parse()
            .or(Err(Error::invalid(name, "must be a whole number")))
    })
    .transpose()
}

/// Words between commas, spaces or on lines of their own.
pub(super) fn listed(text: &str) -> Vec<&str> {
    text.split(|character: char| character == ',' || character.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect()
}

/// `POST /admin/chatflows/{flowise_id}/delete`: with a tick. Flowise keeps it, and may list it again.
pub(super) async fn delete(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<OuterId>,
    form: Form,
    desk: Desk,
) -> Result<HttpResponse> {
    let deleted = async {
        if !form.is_on("understood") {
            return Err(Error::invalid("understood", "tick_to_delete").into());
        }
        let path = format!("{CATALOG}/{id}");
        Ok(desk.tell(Method::DELETE, &path, &admin, None).await?)
    };
    match deleted.await {
        Ok(()) => Ok(see_other("/admin/chatflows?done=chatflow_deleted")),
        Err(hindrance) => desk.answer(f, &form, &admin, &id, "saved", Err(hindrance)).await,
    }
}
