//! Every path of the service, and who may call it.

mod predict;
mod sessions;

use common_http::{Access, Routes, show_liveness, show_metrics};

use crate::health::{show_health, show_readiness};

/// The whole table.
pub fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/health", Access::Public, show_health)
        .get("/livez", Access::Public, show_liveness)
        .get("/readyz", Access::Public, show_readiness)
        .get("/metrics", Access::Public, show_metrics);
    predict::table(routes);
    sessions::table(routes);
}
