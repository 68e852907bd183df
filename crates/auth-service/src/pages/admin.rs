//! The administration: how the platform is, people, providers, settings, what happened.

mod audit;
mod imports;
mod providers;
mod settings;
mod user_keys;
mod users;

use actix_web::{HttpResponse, web};
use askama::Template;
use bson::doc;
use common_http::{Access, Clock, Routes};
use mongodb::Database;

use super::{
    frame::Frame,
    neighbours::{Neighbour, Neighbours},
};
use crate::{error::Result, store::sessions::SessionStore};

/// The database has this long to answer.
const PING: std::time::Duration = std::time::Duration::from_secs(2);

/// Registers the pages of administrators.
pub(super) fn routes(routes: &mut Routes<'_>) {
    use Access::Admin;
    routes
        .get("/admin", Admin, show_overview)
        .get("/admin/users", Admin, users::list)
        .get("/admin/users/new", Admin, users::show_new)
        .post("/admin/users/new", Admin, users::create)
        .get("/admin/users/{user_id}", Admin, users::show)
        .post("/admin/users/{user_id}", Admin, users::edit)
        .post("/admin/users/{user_id}/password", Admin, users::give_password)
        .post("/admin/users/{user_id}/approve", Admin, users::approve)
        .post("/admin/users/{user_id}/invitation", Admin, users::invite)
        .post(
            "/admin/users/{user_id}/two-factor",
            Admin,
            users::remove_second_factor,
        )
        .post("/admin/users/{user_id}/sessions", Admin, users::end_sessions)
        .post("/admin/users/{user_id}/keys", Admin, user_keys::create)
        .post("/admin/users/{user_id}/keys/{key_id}", Admin, user_keys::revoke)
        .post("/admin/users/{user_id}/delete", Admin, users::delete)
        .get("/admin/import", Admin, imports::show)
        .post("/admin/import", Admin, imports::import)
        .get("/admin/providers", Admin, providers::list)
        .get("/admin/providers/new", Admin, providers::show_new)
        .post("/admin/providers/new", Admin, providers::create)
        .get("/admin/providers/{provider_id}", Admin, providers::show)
        .post("/admin/providers/{provider_id}", Admin, providers::change)
        .post("/admin/providers/{provider_id}/delete", Admin, providers::delete)
        .get("/admin/settings", Admin, settings::show)
        .post("/admin/settings", Admin, settings::change)
        .get("/admin/audit", Admin, audit::list);
}

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage<'a> {
    f: &'a Frame,
    sessions: u64,
    parts: Vec<Part>,
}

/// A part of the platform.
struct Part {
    name: &'static str,
    /// `None` where we were not told its address.
    is_ready: Option<bool>,
}

/// `GET /admin`: whether everything is there.
async fn show_overview(
    f: Frame,
    database: web::Data<Database>,
    neighbours: web::Data<Neighbours>,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let ping = tokio::time::timeout(PING, database.run_command(doc! { "ping": 1 }));
    let (mongodb, proxy, accounting) = futures_util::join!(
        ping,
        neighbours.is_ready(Neighbour::Proxy),
        neighbours.is_ready(Neighbour::Accounting),
    );
    let parts = vec![
        Part {
            name: "auth-service",
            is_ready: Some(true),
        },
        Part {
            name: "proxy-service",
            is_ready: proxy,
        },
        Part {
            name: "accounting-service",
            is_ready: accounting,
        },
        Part {
            name: "MongoDB",
            is_ready: Some(matches!(mongodb, Ok(Ok(_)))),
        },
    ];
    let sessions = sessions.count_live(None, clock.now()).await?;
    Ok(f.show(&OverviewPage {
        f: &f,
        sessions,
        parts,
    }))
}
