//! Whether this service can do its work.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bson::doc;
use common_http::{Clock, Lifecycle, Timestamp};
use mongodb::Database;
use serde_json::{Map, Value, json};

use crate::service::{limits::Limits, turns::Turns};

/// A database that takes longer counts as down.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /health`: the documented body; 503 when the database is down.
pub(crate) async fn show_health(database: web::Data<Database>, clock: web::Data<Clock>) -> HttpResponse {
    let healthy = is_reachable(&database).await;
    let body = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "service": "flowise-proxy-service",
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": Timestamp(clock.now()),
        "database": { "connection": if healthy { "healthy" } else { "unreachable" } },
    });
    if healthy {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

/// `GET /readyz`: whether to send requests here. With `?verbose` also how the upstreams stand and where limits are
/// counted; they decide nothing, since everything else goes on without them.
pub(crate) async fn show_readiness(
    request: HttpRequest,
    database: web::Data<Database>,
    lifecycle: web::Data<Lifecycle>,
    turns: web::Data<Turns>,
    limits: web::Data<Limits>,
) -> HttpResponse {
    let (text, status) = if lifecycle.is_stopping() {
        ("stopping", StatusCode::SERVICE_UNAVAILABLE)
    } else if is_reachable(&database).await {
        ("ready", StatusCode::OK)
    } else {
        ("database unreachable", StatusCode::SERVICE_UNAVAILABLE)
    };
    let mut body = json!({ "status": text });
    let mut members = request.query_string().split('&');
    if members.any(|member| member.split('=').next() == Some("verbose")) {
        let upstreams = turns.upstreams().into_iter();
        let upstreams: Map<String, Value> = upstreams
            .map(|(name, standing)| (name.to_owned(), json!(standing)))
            .collect();
        body["upstreams"] = upstreams.into();
        body["checks"] = json!({ "rate_limits": limits.counting().as_str() });
    }
    HttpResponse::build(status).json(body)
}

async fn is_reachable(database: &Database) -> bool {
    let ping = async { database.run_command(doc! { "ping": 1 }).await };
    matches!(tokio::time::timeout(PING_TIMEOUT, ping).await, Ok(Ok(_)))
}
