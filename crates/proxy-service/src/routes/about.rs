//! What this service is. Addresses of the services behind it are nobody's business.

use actix_web::HttpResponse;
use common_http::{Access, Routes};
use serde_json::json;

pub(crate) fn table(routes: &mut Routes<'_>) {
    routes
        .get("/", Access::Public, show_service)
        .get("/info", Access::Public, show_info);
}

/// `GET /`: the documented greeting.
async fn show_service() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "message": "Flowise Proxy Service",
        "version": env!("CARGO_PKG_VERSION"),
        "status": "running",
    }))
}

/// `GET /info`: where to find what.
async fn show_info() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "service": "flowise-proxy-service",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "authentication": "/api/v1/chat/authenticate",
            "chatflows": "/api/v1/chatflows/",
            "prediction": "/api/v1/chat/predict",
            "credits": "/api/v1/chat/credits",
        },
    }))
}
