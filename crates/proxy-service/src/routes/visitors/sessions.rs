//! Sessions of visitors, as the documented widget asks for them.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use common_http::{Access, Clock, OptionalBody, Routes, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::door::Door;
use crate::{
    domain::{
        origin::Origin,
        visitor::{Visitor, page_url_of},
    },
    error::{Error, Result},
    service::widget::{
        histories::Histories,
        visits::{Visits, Wish},
    },
};

/// Where apps show the key of their embed.
const APP_KEY: &str = "x-embed-key";

/// Bytes of an embed's id or key, or of a ticket, that are worth looking at.
const TEXT_BYTES_MAX: usize = 2_048;

pub(super) fn table(routes: &mut Routes<'_>) {
    const SESSION: &str = "/api/v1/session";
    routes
        .post(
            &format!("{SESSION}/create"),
            Access::Public,
            create_visitor_session,
        )
        .get(
            &format!("{SESSION}/validate"),
            Access::Public,
            validate_visitor_session,
        )
        .delete(
            &format!("{SESSION}/destroy"),
            Access::Public,
            destroy_visitor_session,
        )
        .get(
            &format!("{SESSION}/stats"),
            Access::Admin,
            show_visitor_statistics,
        );
}

/// What is said of the embed's site and of browsers is not believed: the headers of the request are.
#[derive(Default, Deserialize)]
struct CreateSession {
    page_url: Option<String>,
    ticket: Option<String>,
    embed: Option<String>,
}

/// `POST /api/v1/session/create`.
#[tracing::instrument(skip_all)]
async fn create_visitor_session(
    request: HttpRequest,
    door: Door,
    OptionalBody(body): OptionalBody<CreateSession>,
    visits: web::Data<Visits>,
) -> Result<HttpResponse> {
    for (field, text) in [("ticket", &body.ticket), ("embed", &body.embed)] {
        if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Error::invalid(field, "is too long"));
        }
    }
    let app_key = request.headers().get(APP_KEY);
    let app_key = app_key.map(|key| SecretString::from(key.to_str().unwrap_or_default()));
    // A session that is over, or may not be used from there, proves nothing; and it does no harm.
    let current = visits.find(&door.credentials, &door.from).await.ok();
    let wish = Wish {
        embed_id: body.embed,
        ticket: body.ticket,
        app_key,
        page_url: body.page_url.as_deref().and_then(page_url_of),
        fingerprint: door.fingerprint.clone(),
    };
    let visit = visits
        .begin(wish, &door.from, door.page.as_ref(), current.as_ref())
        .await?;
    door.note_session().await;
    let visitor = &visit.visitor;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::SET_COOKIE, door.cookie(&visit.secret, visits.life())))
        .json(json!({
            "session_id": visitor.session_id,
            "internal_token": visit.token.expose_secret(),
            // Tokens for n8n never go to browsers.
            "n8n_token": null,
            "created_at": Timestamp(visitor.created_at),
            "expires_at": Timestamp(visitor.expires_at),
            "embed": visit.embed.id,
            "token_info": {
                "internal_token_purpose": "names this session where there are no cookies, as Authorization: Bearer",
                "n8n_token_purpose": "is made for each message and sent to n8n only",
                "security_note": "the session is in an HttpOnly cookie",
            },
        })))
}

/// `GET /api/v1/session/validate`: whether the session of the cookie, or of the token, is good, and until when.
#[tracing::instrument(skip_all)]
async fn validate_visitor_session(door: Door, visits: web::Data<Visits>) -> Result<HttpResponse> {
    let mut credentials = door.credentials.clone();
    let token = credentials.token.clone();
    if credentials.cookie.is_some() {
        // Beside a cookie the token is only looked at.
        credentials.token = None;
    }
    let mut visitor = visits.find(&credentials, &door.from).await?;
    let embed = visits.embed_of(&visitor).await?;
    let is_renewed = visits.prolong(&mut visitor, 0).await?;
    let is_token_good = token.is_some_and(|token| visits.is_token_of(&visitor, &token));
    let fresh = visits.token_of(&visitor)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(secret) = credentials.cookie.filter(|_| is_renewed) {
        response.insert_header((header::SET_COOKIE, door.cookie(&secret, visits.life())));
    }
    Ok(response.json(json!({
        "valid": true,
        "session_id": visitor.session_id,
        "origin_domain": domain_of(&visitor),
        "embed": embed.id,
        "issued_at": Timestamp(visitor.created_at),
        "expires_at": Timestamp(visitor.expires_at),
        "message_count": visitor.message_count,
        "internal_token": fresh.expose_secret(),
        "internal_token_valid": is_token_good,
        "fresh_n8n_token": null,
        "security_info": {
            "dual_key_system": true,
            "internal_token_validated": is_token_good,
            "fresh_n8n_token_generated": false,
        },
    })))
}

/// `DELETE /api/v1/session/destroy`: ends the session and forgets what was said in it. One that is over already is well.
#[tracing::instrument(skip_all)]
async fn destroy_visitor_session(
    door: Door,
    visits: web::Data<Visits>,
    histories: web::Data<Histories>,
) -> Result<HttpResponse> {
    if door.credentials.is_empty() {
        return Err(Error::NoSessionToEnd);
    }
    match visits.find(&door.credentials, &door.from).await {
        Ok(visitor) => histories.end(&visitor).await?,
        Err(Error::VisitorUnknown) => {}
        Err(error) => return Err(error),
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::SET_COOKIE, door.no_cookie()))
        .json(json!({ "message": "The session has ended and its messages are deleted." })))
}

/// `GET /api/v1/session/stats`.
async fn show_visitor_statistics(
    visits: web::Data<Visits>,
    histories: web::Data<Histories>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let midnight = clock
        .now()
        .date_naive()
        .and_time(chrono::NaiveTime::MIN)
        .and_utc();
    let (sessions, messages) = futures_util::try_join!(visits.count(None), histories.count_since(midnight))?;
    Ok(HttpResponse::Ok().json(json!({
        "active_sessions": sessions,
        "messages_today": messages,
        "storage_type": "database",
    })))
}

/// What older clients call the site of a session.
fn domain_of(visitor: &Visitor) -> Option<&str> {
    visitor.entry.site().map(Origin::host)
}
