//! The catalog, for administrators.

mod body;
mod users;

use actix_web::{HttpResponse, web};
use common_http::{Access, Body, OptionalBody, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use self::body::{ChatflowBody, SyncBody};
use crate::{
    domain::chatflow::{ChatflowSettings, PRICE_MAX, Price},
    error::{Error, Result},
    service::{catalog_sync::CatalogSync, chatflows::Chatflows},
};

/// Members of `overrideConfig` one chatflow may open, and how long their names may be.
const OVERRIDES_MAX: usize = 100;
const OVERRIDE_BYTES_MAX: usize = 100;

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::ADMIN {
        let chatflows = format!("{base}/chatflows");
        let one = format!("{chatflows}/{{flowise_id}}");
        routes
            .post(&format!("{chatflows}/sync"), Access::Admin, sync_chatflows)
            .get(
                &format!("{chatflows}/stats"),
                Access::Admin,
                show_chatflow_statistics,
            )
            .get(&chatflows, Access::Admin, list_all_chatflows)
            .get(&one, Access::Admin, show_chatflow_record)
            .patch(&one, Access::Admin, update_chatflow);
        users::table(routes, &chatflows);
    }
}

#[derive(Default, Deserialize)]
struct SyncChatflows {
    #[serde(default)]
    confirm_empty: bool,
}

#[derive(Deserialize)]
struct ListChatflows {
    #[serde(default)]
    include_deleted: bool,
}

/// `POST /api/v1/admin/chatflows/sync`: takes over Flowise's list now.
async fn sync_chatflows(
    OptionalBody(body): OptionalBody<SyncChatflows>,
    sync: web::Data<CatalogSync>,
) -> Result<HttpResponse> {
    let report = sync.run(body.confirm_empty).await?;
    Ok(HttpResponse::Ok().json(SyncBody::from(report)))
}

/// `GET /api/v1/admin/chatflows/stats`.
async fn show_chatflow_statistics(chatflows: web::Data<Chatflows>) -> Result<HttpResponse> {
    let statistics = chatflows.statistics().await?;
    Ok(HttpResponse::Ok().json(json!({
        "total": statistics.total,
        "active": statistics.active,
        "deleted": statistics.deleted,
        "error": statistics.error,
        "last_sync": statistics.last_sync.map(Timestamp),
    })))
}

/// `GET /api/v1/admin/chatflows?include_deleted=`: all chatflows; their graphs stay away, nobody reads them in lists.
async fn list_all_chatflows(
    query: Query<ListChatflows>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let records = chatflows.list(query.include_deleted).await?;
    let bodies: Vec<_> = records.into_iter().map(ChatflowBody::from).collect();
    Ok(HttpResponse::Ok().json(bodies))
}

/// `GET /api/v1/admin/chatflows/{flowise_id}`: one chatflow with its graph.
async fn show_chatflow_record(
    flowise_id: Path<String>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let record = chatflows.record(&flowise_id).await?;
    Ok(HttpResponse::Ok().json(ChatflowBody::from(record)))
}

#[derive(Deserialize)]
struct UpdateChatflow {
    #[serde(default, deserialize_with = "price")]
    price: Option<Price>,
    override_config_allowed: Option<Vec<String>>,
    show_inner_events: Option<bool>,
}

/// Called only when the member is there: `null` goes back to the default, a missing member leaves the price alone.
fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    let credits = Option::deserialize(deserializer)?;
    Ok(Some(credits.map_or(Price::Default, Price::Credits)))
}

/// `PATCH /api/v1/admin/chatflows/{flowise_id}`: what a turn costs (`null`: the default), what people may
/// override and see.
async fn update_chatflow(
    flowise_id: Path<String>,
    Body(body): Body<UpdateChatflow>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let settings = body.settings()?;
    let record = chatflows.update_settings(&flowise_id, &settings).await?;
    Ok(HttpResponse::Ok().json(ChatflowBody::from(record)))
}

impl UpdateChatflow {
    fn settings(self) -> Result<ChatflowSettings> {
        let UpdateChatflow {
            price,
            override_config_allowed,
            show_inner_events,
        } = self;
        if price.is_none() && override_config_allowed.is_none() && show_inner_events.is_none() {
            return Err(Error::invalid(
                "body",
                "has neither price nor override_config_allowed nor show_inner_events",
            ));
        }
        if let Some(Price::Credits(credits)) = price
            && !(0..=PRICE_MAX).contains(&credits)
        {
            return Err(Error::invalid("price", format!("must be from 0 to {PRICE_MAX}")));
        }
        for (number, name) in override_config_allowed.iter().flatten().enumerate() {
            let field = || format!("override_config_allowed.{number}");
            if number >= OVERRIDES_MAX {
                return Err(Error::invalid(
                    field(),
                    format!("there may be at most {OVERRIDES_MAX}"),
                ));
            }
            if name.is_empty() || name.len() > OVERRIDE_BYTES_MAX {
                return Err(Error::invalid(
                    field(),
                    format!("must have 1 to {OVERRIDE_BYTES_MAX} characters"),
                ));
            }
            if matches!(name.as_str(), "sessionId" | "chatId") {
                return Err(Error::invalid(
                    field(),
                    "separates people's conversations; it is never theirs to set",
                ));
            }
        }
        Ok(ChatflowSettings {
            price,
            override_config_allowed,
            show_inner_events,
        })
    }
}
