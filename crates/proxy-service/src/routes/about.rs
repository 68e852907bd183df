//! What this service is. Addresses of the services behind it are nobody's business.

use std::{future::IntoFuture as _, time::Duration};

use actix_web::{HttpResponse, web};
use common_http::{Access, Clock, Routes, Timestamp};
use mongodb::Database;
use serde_json::{Map, json};

/// What older deployments call their collections, and scripts look for.
const COLLECTIONS: [&str; 7] = [
    "users",
    "Chatflow",
    "UserChatflow",
    "chat_sessions",
    "chat_messages",
    "file_uploads",
    "fs.files",
];

/// A database that takes longer counts as down.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn table(routes: &mut Routes<'_>) {
    routes
        .get("/", Access::Public, show_service)
        .get("/info", Access::Public, show_info)
        .get("/collections/status", Access::Public, show_collections);
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

/// `GET /collections/status`: which collections there are. They are made as they are needed, so that a fresh database
/// has few.
async fn show_collections(database: web::Data<Database>, clock: web::Data<Clock>) -> HttpResponse {
    let now = Timestamp(clock.now());
    let names = tokio::time::timeout(LIST_TIMEOUT, database.list_collection_names().into_future()).await;
    let Ok(Ok(names)) = names else {
        return HttpResponse::Ok().json(json!({ "error": "the database is unreachable", "timestamp": now }));
    };
    let is_there = |name: &str| names.iter().any(|known| known == name);
    let status: Map<_, _> = COLLECTIONS
        .iter()
        .map(|name| ((*name).to_owned(), is_there(name).into()))
        .collect();
    HttpResponse::Ok().json(json!({
        "setup_status": {
            "setup_completed": true,
            "setup_timestamp": null,
            "collections_status": status,
        },
        "health_status": {
            "timestamp": now,
            "setup_completed": true,
            "setup_timestamp": null,
            "collections_status": status,
            "database_status": "healthy",
            "gridfs_status": if is_there("fs.files") { "healthy" } else { "missing" },
            "overall_health": "healthy",
        },
        "timestamp": now,
    }))
}
