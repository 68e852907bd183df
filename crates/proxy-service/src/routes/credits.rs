//! What people have left.

use actix_web::{HttpResponse, web};
use common_http::{Access, CurrentUser, KeyRule, Routes};
use serde_json::json;

use crate::{balance::BalanceClient, error::Result};

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::CHAT {
        routes.get(
            &format!("{base}/credits"),
            Access::User.or_key(KeyRule::READ),
            show_credits,
        );
    }
}

/// `GET /api/v1/chat/credits`, under both names that clients read.
async fn show_credits(user: CurrentUser, balances: web::Data<BalanceClient>) -> Result<HttpResponse> {
    let credits = balances.total(&user).await?;
    Ok(HttpResponse::Ok().json(json!({ "credits": credits, "totalCredits": credits })))
}
