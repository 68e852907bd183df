//! `/v1/models`: the caller's chatflows.

use actix_web::{HttpResponse, web};
use common_http::{CurrentUser, Path};
use serde_json::{Value, json};

use crate::{domain::chatflow::Chatflow, error::Result, service::models::Models};

/// `GET /v1/models`.
#[tracing::instrument(skip_all)]
pub(super) async fn list_models(user: CurrentUser, models: web::Data<Models>) -> Result<HttpResponse> {
    let assigned = models.list(&user).await?;
    let data: Vec<_> = assigned.iter().map(|one| model_of(&one.chatflow)).collect();
    Ok(HttpResponse::Ok().json(json!({ "object": "list", "data": data })))
}

/// `GET /v1/models/{model}`: by id or by name.
#[tracing::instrument(skip_all)]
pub(super) async fn show_model(
    user: CurrentUser,
    model: Path<String>,
    models: web::Data<Models>,
) -> Result<HttpResponse> {
    let chatflow = models.find(&user, &model).await?;
    Ok(HttpResponse::Ok().json(model_of(&chatflow)))
}

/// Clients that show models to people show `name` where they know it.
fn model_of(chatflow: &Chatflow) -> Value {
    json!({
        "id": chatflow.flowise_id,
        "object": "model",
        "created": chatflow.created_date.map_or(0, |time| time.timestamp()),
        "owned_by": "flowgate",
        "name": chatflow.name,
        "description": chatflow.description,
    })
}
