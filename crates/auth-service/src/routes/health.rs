//! Whether the service can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web};
use bson::doc;
use common_http::{Lifecycle, Problem};
use mongodb::Database;
use serde_json::json;

/// The database has this long to answer.
const PING: Duration = Duration::from_secs(2);

/// `GET /health`: 503 while the database is away.
pub(crate) async fn show_health(database: web::Data<Database>) -> Result<HttpResponse, Problem> {
    ping(&database).await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ok" })))
}

/// `GET /readyz`: 503 also from the moment the service begins to stop.
pub(crate) async fn show_readiness(
    database: web::Data<Database>,
    lifecycle: web::Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    if lifecycle.is_stopping() {
        return Err(unavailable("the service is stopping"));
    }
    show_health(database).await
}

async fn ping(database: &Database) -> Result<(), Problem> {
    match tokio::time::timeout(PING, database.run_command(doc! { "ping": 1 })).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database does not answer a ping");
            Err(unavailable("the database is away"))
        }
        Err(_) => Err(unavailable("the database is away")),
    }
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(1)
}
