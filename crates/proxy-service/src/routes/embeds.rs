//! Embeds, for administrators. Keys go in and never come out again.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::header, web};
use chrono::{DateTime, Utc};
use common_http::{Access, Body, Caller, Clock, CurrentUser, Path, Query, Routes, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::reports::{AskUsage, usage_page};
use crate::{
    domain::embed::{
        Backend, BackendChange, BudgetChange, Embed, EmbedChange, LimitsChange, Texts, operation_of,
    },
    error::{Error, Result},
    service::{
        embeds::{Embeds, NewEmbed},
        usage::UsageReports,
        widget::visits::Visits,
    },
};

pub(crate) fn table(routes: &mut Routes<'_>) {
    const EMBEDS: &str = "/api/v1/embeds";
    let one = format!("{EMBEDS}/{{id}}");
    routes
        .get(EMBEDS, Access::Admin, list_embeds)
        .post(EMBEDS, Access::Admin, create_embed)
        .get(&one, Access::Admin, show_embed)
        .patch(&one, Access::Admin, update_embed)
        .delete(&one, Access::Admin, delete_embed)
        .post(&format!("{one}/key"), Access::Admin, rotate_embed_key)
        .get(&format!("{one}/usage"), Access::Admin, show_embed_usage);
}

#[derive(Deserialize)]
struct CreateEmbed {
    id: Option<String>,
    #[serde(flatten)]
    embed: UpdateEmbed,
}

#[derive(Deserialize)]
struct UpdateEmbed {
    name: Option<String>,
    owner_id: Option<String>,
    allowed_origins: Option<Vec<String>>,
    backend: Option<BackendBody>,
    price: Option<i64>,
    limits: Option<LimitsBody>,
    budget: Option<BudgetBody>,
    theme: Option<BTreeMap<String, String>>,
    texts: Option<BTreeMap<String, Texts>>,
    languages: Option<Vec<String>>,
    requires_ticket: Option<bool>,
    is_active: Option<bool>,
}

#[derive(Deserialize)]
struct BackendBody {
    #[serde(rename = "type")]
    kind: String,
    webhook_url: Option<String>,
    api_key: Option<SecretString>,
    shown_nodes: Option<Vec<String>>,
    chatflow_id: Option<String>,
}

#[derive(Deserialize)]
#[expect(
    clippy::option_option,
    reason = "a missing member, null and a number are three wishes"
)]
struct LimitsBody {
    #[serde(default, deserialize_with = "given", rename = "per_minute")]
    minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given", rename = "per_hour")]
    hour: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given", rename = "per_day")]
    day: Option<Option<u32>>,
}

#[derive(Deserialize)]
#[expect(
    clippy::option_option,
    reason = "a missing member, null and a number are three wishes"
)]
struct BudgetBody {
    #[serde(default, deserialize_with = "given")]
    credits_per_day: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    credits_per_month: Option<Option<i64>>,
}

/// Called only when the member is there: `null` takes a limit away, a missing member leaves it.
#[expect(
    clippy::option_option,
    reason = "a missing member, null and a number are three wishes"
)]
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl UpdateEmbed {
    fn change(self) -> Result<EmbedChange> {
        Ok(EmbedChange {
            name: self.name,
            owner_id: self.owner_id,
            allowed_origins: self.allowed_origins,
            backend: self.backend.map(BackendBody::change).transpose()?,
            price: self.price,
            limits: self.limits.map(|limits| LimitsChange {
                per_minute: limits.minute,
                per_hour: limits.hour,
                per_day: limits.day,
            }),
            budget: self.budget.map(|budget| BudgetChange {
                per_day: budget.credits_per_day,
                per_month: budget.credits_per_month,
            }),
            theme: self.theme,
            texts: self.texts,
            languages: self.languages,
            requires_ticket: self.requires_ticket,
            is_active: self.is_active,
        })
    }
}

impl BackendBody {
    fn change(self) -> Result<BackendChange> {
        match (self.kind.as_str(), self.chatflow_id) {
            ("n8n", None) => Ok(BackendChange::N8n {
                webhook_url: self.webhook_url,
                api_key: self.api_key,
                shown_nodes: self.shown_nodes,
            }),
            ("flowise", Some(chatflow_id)) if self.webhook_url.is_none() && self.api_key.is_none() => {
                Ok(BackendChange::Flowise { chatflow_id })
            }
            ("n8n", Some(_)) => Err(Error::invalid(
                "backend.chatflow_id",
                "is of chatflows of Flowise only",
            )),
            ("flowise", Some(_)) => Err(Error::invalid("backend", "has members of n8n only")),
            ("flowise", None) => Err(Error::invalid("backend.chatflow_id", "is required")),
            _ => Err(Error::invalid("backend.type", "must be n8n or flowise")),
        }
    }
}

/// `GET /api/v1/embeds`: all of them, by id.
async fn list_embeds(embeds: web::Data<Embeds>, clock: web::Data<Clock>) -> Result<HttpResponse> {
    let (all, now) = (embeds.list().await?, clock.now());
    let bodies: Vec<_> = all.iter().map(|embed| body_of(embed, now)).collect();
    Ok(HttpResponse::Ok().json(json!({ "embeds": bodies })))
}

/// `POST /api/v1/embeds`.
async fn create_embed(
    admin: Caller,
    Body(body): Body<CreateEmbed>,
    embeds: web::Data<Embeds>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let new = NewEmbed {
        id: body.id,
        change: body.embed.change()?,
    };
    let embed = embeds.create(&admin, new).await?;
    Ok(HttpResponse::Created().json(body_of(&embed, clock.now())))
}

/// `GET /api/v1/embeds/{id}`, with how many visitors it has at the moment.
async fn show_embed(
    id: Path<String>,
    embeds: web::Data<Embeds>,
    visits: web::Data<Visits>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let embed = embeds.get(&id).await?;
    let mut body = body_of(&embed, clock.now());
    body["active_sessions"] = json!(visits.count(Some(&embed.id)).await?);
    Ok(HttpResponse::Ok().json(body))
}

/// `PATCH /api/v1/embeds/{id}`: what is there is changed.
async fn update_embed(
    id: Path<String>,
    admin: Caller,
    Body(body): Body<UpdateEmbed>,
    embeds: web::Data<Embeds>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let embed = embeds.update(&admin, &id, body.change()?).await?;
    Ok(HttpResponse::Ok().json(body_of(&embed, clock.now())))
}

/// `DELETE /api/v1/embeds/{id}`.
async fn delete_embed(id: Path<String>, embeds: web::Data<Embeds>) -> Result<HttpResponse> {
    embeds.delete(&id).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "The embed is deleted.", "id": id.0 })))
}

/// `POST /api/v1/embeds/{id}/key`: a new key for apps, shown this once. The one before stays good for a while.
async fn rotate_embed_key(
    id: Path<String>,
    embeds: web::Data<Embeds>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let (embed, key) = embeds.rotate_app_key(&id).await?;
    let previous = embed
        .app_key
        .previous
        .as_ref()
        .filter(|(_, until)| clock.now() < *until);
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({
            "key": key.expose_secret(),
            "previous_key_until": previous.map(|(_, until)| Timestamp(*until)),
        })))
}

/// `GET /api/v1/embeds/{id}/usage`: what its visitors cost, by day.
async fn show_embed_usage(
    id: Path<String>,
    user: CurrentUser,
    Query(mut query): Query<AskUsage>,
    reports: web::Data<UsageReports>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    // What a deleted embed cost is still known.
    query.chatflow_id = Some(operation_of(&id));
    usage_page(&user, query, &reports, &clock).await
}

/// An embed without its secrets.
fn body_of(embed: &Embed, now: DateTime<Utc>) -> Value {
    let origins: Vec<_> = embed.allowed_origins.iter().map(ToString::to_string).collect();
    let previous_app_key = embed.app_key.previous.as_ref().filter(|(_, until)| now < *until);
    json!({
        "id": embed.id,
        "name": embed.name,
        "owner_id": embed.owner_id,
        "allowed_origins": origins,
        "backend": backend_of(&embed.backend, now),
        "price": embed.price,
        "limits": {
            "per_minute": embed.limits.per_minute,
            "per_hour": embed.limits.per_hour,
            "per_day": embed.limits.per_day,
        },
        "budget": {
            "credits_per_day": embed.budget.per_day,
            "credits_per_month": embed.budget.per_month,
        },
        "theme": embed.theme,
        "texts": embed.texts,
        "languages": embed.languages,
        "requires_ticket": embed.requires_ticket,
        "is_active": embed.is_active,
        "is_configured": embed.is_configured,
        "has_app_key": embed.app_key.current.is_some(),
        "previous_app_key_until": previous_app_key.map(|(_, until)| Timestamp(*until)),
        "created_at": Timestamp(embed.created_at),
        "updated_at": Timestamp(embed.updated_at),
    })
}

fn backend_of(backend: &Backend, now: DateTime<Utc>) -> Value {
    match backend {
        Backend::Flowise { chatflow_id } => json!({ "type": backend.kind(), "chatflow_id": chatflow_id }),
        Backend::N8n(webhook) => {
            let previous = webhook
                .previous_api_key
                .as_ref()
                .filter(|(_, until)| now < *until);
            json!({
                "type": backend.kind(),
                "webhook_url": webhook.url.as_str(),
                "shown_nodes": webhook.shown_nodes,
                "has_api_key": webhook.api_key.is_some(),
                "previous_api_key_until": previous.map(|(_, until)| Timestamp(*until)),
            })
        }
    }
}
