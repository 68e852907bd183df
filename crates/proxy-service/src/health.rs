//! Whether this service can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use bson::doc;
use common_http::{Clock, Lifecycle, Timestamp};
use mongodb::Database;
use serde::Deserialize;
use serde_json::json;

use crate::service::limits::Limits;

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

/// `?verbose`, with or without a value.
#[derive(Deserialize)]
pub(crate) struct Verbosity {
    verbose: Option<String>,
}

/// `GET /readyz`: whether to send requests here.
pub(crate) async fn show_readiness(
    database: web::Data<Database>,
    lifecycle: web::Data<Lifecycle>,
    limits: web::Data<Limits>,
    query: web::Query<Verbosity>,
) -> HttpResponse {
    if lifecycle.is_stopping() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "stopping" }));
    }
    if is_reachable(&database).await {
        let mut body = json!({ "status": "ready" });
        if query.verbose.is_some() {
            // What is away here does not keep anybody from being served.
            body["checks"] = json!({ "rate_limits": limits.counting().as_str() });
        }
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(json!({ "status": "database unreachable" }))
    }
}

async fn is_reachable(database: &Database) -> bool {
    let ping = async { database.run_command(doc! { "ping": 1 }).await };
    matches!(tokio::time::timeout(PING_TIMEOUT, ping).await, Ok(Ok(_)))
}
