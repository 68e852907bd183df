//! Whether the service can do its work.

use actix_web::{HttpResponse, http::StatusCode, web};
use common_http::{Clock, Lifecycle, Problem};
use serde_json::json;

use super::bodies::HealthBody;
use crate::{SERVICE, error::Result, store::Database};

/// `GET /health`: the documented body, and 503 when the database does not answer.
pub(super) async fn show_health(
    database: web::Data<Database>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    database.ping().await?;
    Ok(HttpResponse::Ok().json(HealthBody {
        status: "ok",
        service: SERVICE,
        version: env!("CARGO_PKG_VERSION"),
        timestamp: clock.now().into(),
    }))
}

/// `GET /readyz`: whether requests should be sent here; not when the service is stopping or without its database.
pub(super) async fn show_readiness(
    database: web::Data<Database>,
    lifecycle: web::Data<Lifecycle>,
) -> std::result::Result<HttpResponse, actix_web::Error> {
    if lifecycle.is_stopping() {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "this instance is stopping",
        );
        return Err(problem.into());
    }
    database.ping().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ok" })))
}
