//! The feed of ended sessions, for our other services.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use common_http::{Lifecycle, Query};
use serde::Deserialize;

use crate::service::revocations::{Revocations, WAIT_SECS_MAX};

/// `?since=<cursor>&wait=<seconds>`.
#[derive(Debug, Deserialize)]
pub(crate) struct FeedQuery {
    /// The cursor of the last answer; empty for everything.
    #[serde(default)]
    since: String,
    /// How long to wait when there is nothing to tell; at most 25.
    #[serde(default)]
    wait: u64,
}

/// `GET /internal/revocations`: a `RevocationsBody`.
pub(crate) async fn list_revocations(
    Query(query): Query<FeedQuery>,
    revocations: web::Data<Revocations>,
    lifecycle: web::Data<Lifecycle>,
) -> HttpResponse {
    let wait = Duration::from_secs(query.wait.min(WAIT_SECS_MAX));
    let body = revocations
        .since(&query.since, wait, &lifecycle.cancelled())
        .await;
    HttpResponse::Ok().json(body)
}
