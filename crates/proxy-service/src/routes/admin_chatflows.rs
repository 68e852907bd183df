//! The catalog, for administrators.

mod audit;
mod body;
mod price;
mod users;

use actix_web::{HttpRequest, HttpResponse, web};
use bson::oid::ObjectId;
use common_http::{Access, Body, OptionalBody, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use self::{
    body::{ChatflowBody, SyncBody},
    price::{ByUsage, Flat},
};
use super::paging::Paging;
use crate::{
    domain::chatflow::{Cap, ChatflowRecord, ChatflowSettings, DAILY_TURNS_MAX},
    error::{Error, Result},
    service::{catalog_sync::CatalogSync, chatflows::Chatflows, groups::Groups},
};

/// Members of `overrideConfig` one chatflow may open, and how long their names may be.
const OVERRIDES_MAX: usize = 100;
const OVERRIDE_BYTES_MAX: usize = 100;

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::ADMIN {
        let chatflows = format!("{base}/chatflows");
        let one = format!("{chatflows}/{{flowise_id}}");
        audit::table(routes, &chatflows);
        routes
            .post(&format!("{chatflows}/sync"), Access::Admin, sync_chatflows)
            .get(
                &format!("{chatflows}/stats"),
                Access::Admin,
                show_chatflow_statistics,
            )
            .get(&chatflows, Access::Admin, list_all_chatflows)
            .get(&one, Access::Admin, show_chatflow_record)
            .patch(&one, Access::Admin, update_chatflow)
            .delete(&one, Access::Admin, delete_chatflow)
            .get(&format!("{one}/groups"), Access::Admin, list_chatflow_groups);
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
    limit: Option<String>,
    cursor: Option<String>,
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

/// `GET /api/v1/admin/chatflows?include_deleted=`: by name; their graphs stay away, nobody reads them in lists.
async fn list_all_chatflows(
    request: HttpRequest,
    Query(query): Query<ListChatflows>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let paging = Paging::new(query.limit, query.cursor);
    let Some(page) = paging.read(2)? else {
        let records = chatflows.list(query.include_deleted, None, None).await?;
        let bodies: Vec<_> = records.into_iter().map(ChatflowBody::from).collect();
        return Ok(HttpResponse::Ok().json(bodies));
    };
    let after = page.two_keys().map(|(name, id)| match ObjectId::parse_str(id) {
        Ok(id) => Ok((name, id)),
        Err(_) => Err(Error::invalid("cursor", "is not one of this list")),
    });
    let records = chatflows
        .list(query.include_deleted, after.transpose()?, Some(page.one_more()))
        .await?;
    let keys = |record: &ChatflowRecord| vec![record.chatflow.name.clone(), record.chatflow.id.to_hex()];
    Ok(page.answer(&request, records, keys, ChatflowBody::from))
}

/// `DELETE /api/v1/admin/chatflows/{flowise_id}`: forgets it here, with who could use it.
async fn delete_chatflow(flowise_id: Path<String>, chatflows: web::Data<Chatflows>) -> Result<HttpResponse> {
    let assignments = chatflows.delete(&flowise_id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": "Chatflow deleted locally.",
        "flowise_id": flowise_id.0,
        "assignments_deleted": assignments,
    })))
}

/// `GET /api/v1/admin/chatflows/{flowise_id}/groups`: which groups are given it.
async fn list_chatflow_groups(flowise_id: Path<String>, groups: web::Data<Groups>) -> Result<HttpResponse> {
    let given = groups.groups_of_chatflow(&flowise_id).await?;
    let bodies = given.into_iter().map(|(grant, group)| {
        json!({
            "id": group.id,
            "name": group.name,
            "granted_at": Timestamp(grant.granted_at),
            "starts_at": grant.window.starts_at.map(Timestamp),
            "ends_at": grant.window.ends_at.map(Timestamp),
        })
    });
    Ok(HttpResponse::Ok().json(bodies.collect::<Vec<_>>()))
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
    #[serde(default, deserialize_with = "price::flat")]
    price: Option<Flat>,
    #[serde(default, deserialize_with = "price::by_usage")]
    usage_price: Option<ByUsage>,
    override_config_allowed: Option<Vec<String>>,
    show_inner_events: Option<bool>,
    #[serde(default, deserialize_with = "cap")]
    daily_turns_max: Option<Cap>,
    #[serde(default, deserialize_with = "cap")]
    daily_turns_per_user_max: Option<Cap>,
}

/// Called only when the member is there: `null` takes the cap away, a missing member leaves it alone.
pub(super) fn cap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cap>, D::Error> {
    let turns = Option::deserialize(deserializer)?;
    Ok(Some(turns.map_or(Cap::Unlimited, Cap::Turns)))
}

/// `PATCH /api/v1/admin/chatflows/{flowise_id}`: what a turn costs (by usage: as the model it names costs), what people may
/// override and see, and how many turns a day there may be.
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
            usage_price,
            override_config_allowed,
            show_inner_events,
            daily_turns_max,
            daily_turns_per_user_max,
        } = self;
        let price = price::change(price, usage_price)?;
        let caps = [
            ("daily_turns_max", daily_turns_max),
            ("daily_turns_per_user_max", daily_turns_per_user_max),
        ];
        let changes_cap = caps.iter().any(|(_, cap)| cap.is_some());
        if price.is_none() && override_config_allowed.is_none() && show_inner_events.is_none() && !changes_cap
        {
            return Err(Error::invalid("body", "changes nothing"));
        }
        for (field, cap) in caps {
            if let Some(Cap::Turns(turns)) = cap
                && !(0..=DAILY_TURNS_MAX).contains(&turns)
            {
                return Err(Error::invalid(
                    field,
                    format!("must be from 0 to {DAILY_TURNS_MAX}"),
                ));
            }
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
            daily_turns_max,
            daily_turns_per_user_max,
        })
    }
}
