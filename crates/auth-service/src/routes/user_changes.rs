//! The feed of what happens to accounts, for our other services.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use common_http::{Lifecycle, Query};
use serde::Deserialize;

use crate::{
    error::Result,
    service::user_changes::{UserChanges, WAIT_SECS_MAX},
};

/// `?since=<cursor>&wait=<seconds>`.
#[derive(Debug, Deserialize)]
pub(crate) struct FeedQuery {
    /// The cursor of the last answer; empty for everything that is kept.
    #[serde(default)]
    since: String,
    /// How long to wait when there is nothing to tell; at most 25.
    #[serde(default)]
    wait: u64,
}

/// `GET /internal/user-changes`: a `UserChangesBody`.
pub(crate) async fn list_user_changes(
    Query(query): Query<FeedQuery>,
    changes: web::Data<UserChanges>,
    lifecycle: web::Data<Lifecycle>,
) -> Result<HttpResponse> {
    let wait = Duration::from_secs(query.wait.min(WAIT_SECS_MAX));
    let body = changes.since(&query.since, wait, &lifecycle.cancelled()).await?;
    Ok(HttpResponse::Ok().json(body))
}
