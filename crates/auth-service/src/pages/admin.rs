//! The administration: how the platform is and how it is used, people, credits, providers, settings, what happened.

mod assignments;
mod audit;
mod chatflow;
mod chatflows;
mod credits;
mod crowds;
mod dashboard;
mod embed;
mod embed_form;
mod embeds;
mod gift;
mod groups;
mod imports;
mod invitations;
mod providers;
mod registrations;
mod reports;
mod settings;
mod usage;
mod user_keys;
mod users;

use common_http::{Access, Routes};

/// Registers the pages of administrators.
pub(super) fn routes(routes: &mut Routes<'_>) {
    use Access::Admin;
    routes
        .get("/admin", Admin, dashboard::show)
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
        .get("/admin/registrations", Admin, registrations::list)
        .post(
            "/admin/registrations/{user_id}/approve",
            Admin,
            registrations::approve,
        )
        .post(
            "/admin/registrations/{user_id}/refuse",
            Admin,
            registrations::refuse,
        )
        .get("/admin/invitations", Admin, invitations::list)
        .post("/admin/invitations", Admin, invitations::create)
        .post(
            "/admin/invitations/{invitation_id}/revoke",
            Admin,
            invitations::revoke,
        )
        .get("/admin/import", Admin, imports::show)
        .post("/admin/import", Admin, imports::import)
        .get("/admin/credits", Admin, credits::find)
        .get("/admin/credits/many", Admin, crowds::show)
        .post("/admin/credits/many", Admin, crowds::give)
        .get("/admin/credits/people/{user_id}", Admin, credits::show)
        .post("/admin/credits/people/{user_id}", Admin, credits::give)
        .get(
            "/admin/credits/people/{user_id}/statement",
            Admin,
            credits::download,
        )
        .get("/admin/credits/people/{user_id}/take", Admin, credits::show_take)
        .post("/admin/credits/people/{user_id}/take", Admin, credits::take)
        .post(
            "/admin/credits/people/{user_id}/allocations/{allocation_id}/withdraw",
            Admin,
            credits::withdraw,
        )
        .get("/admin/usage", Admin, usage::show)
        .get("/admin/usage/download", Admin, usage::download)
        .get("/admin/providers", Admin, providers::list)
        .get("/admin/providers/new", Admin, providers::show_new)
        .post("/admin/providers/new", Admin, providers::create)
        .get("/admin/providers/{provider_id}", Admin, providers::show)
        .post("/admin/providers/{provider_id}", Admin, providers::change)
        .post("/admin/providers/{provider_id}/delete", Admin, providers::delete)
        .get("/admin/settings", Admin, settings::show)
        .post("/admin/settings", Admin, settings::change)
        .get("/admin/audit", Admin, audit::list);
    chatflows::routes(routes);
    groups::routes(routes);
    embeds::routes(routes);
}
