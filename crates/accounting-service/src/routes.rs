//! Every path of the service in one table, with who may call it.

mod accounts;
mod allocations;
pub mod bodies;
mod corrections;
mod credits;
mod holds;
mod pages;
mod paging;
mod people;
mod prices;
mod request;
mod rules;
mod session_reports;
mod sessions;
mod statements;
mod statistics;
mod usage;
mod webhooks;

use common_http::{Access, Contract, Gate, KeyRule, Routes, show_liveness, show_metrics};

/// People, and their API keys for reading: what is theirs, and nothing that changes it.
const READING: Gate = Access::User.or_key(KeyRule::READ);

/// Registers every route.
pub fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/health", Access::Public, pages::show_health)
        .get("/api/health", Access::Public, pages::show_health)
        .get("/livez", Access::Public, show_liveness)
        .get("/readyz", Access::Public, pages::show_readiness)
        .get("/metrics", Access::Public, show_metrics)
        .get("/api/credits/balance", READING, credits::show_balance)
        .get(
            "/api/credits/balance/{user_id}",
            Access::SupervisorOrService,
            credits::show_balance_of,
        )
        .get("/api/credits/total-balance", READING, credits::show_total_balance)
        .post("/api/credits/check", Access::User, credits::check_credits)
        .post(
            "/api/credits/calculate",
            Access::UserOrService,
            credits::calculate_credits,
        )
        .post("/api/credits/deduct", Access::User, credits::deduct_credits)
        .post(
            "/api/credits/allocate",
            Access::SupervisorOrService,
            allocations::allocate_credits,
        )
        .post(
            "/api/credits/allocate-by-email",
            Access::Admin,
            allocations::allocate_credits_by_email,
        )
        .post("/api/credits/set", Access::Supervisor, corrections::set_credits)
        .delete(
            "/api/credits/remove",
            Access::Supervisor,
            corrections::remove_credits,
        )
        .put(
            "/api/credits/adjust",
            Access::Supervisor,
            corrections::adjust_credits,
        )
        .post("/api/admin/users", Access::Admin, accounts::create_account)
        .get(
            "/api/credits/allocations/all",
            Access::Supervisor,
            allocations::list_allocations,
        )
        .post(
            "/api/streaming-sessions/initialize",
            Access::UserOrService,
            sessions::initialize_session,
        )
        .post(
            "/api/streaming-sessions/finalize",
            Access::UserOrService,
            sessions::finalize_session,
        )
        .post(
            "/api/streaming-sessions/abort",
            Access::UserOrService,
            sessions::abort_session,
        )
        .get(
            "/api/streaming-sessions/active",
            READING,
            sessions::list_active_sessions,
        )
        .post("/api/usage/record", Access::UserOrService, usage::record_usage)
        .get("/api/usage/stats", READING, statistics::show_own_statistics)
        .get(
            "/api/usage/stats/{user_id}",
            Access::Supervisor,
            statistics::show_statistics_of,
        )
        .get(
            "/api/usage/system-stats",
            Access::Admin,
            statistics::show_system_statistics,
        )
        .get(
            "/internal/people/{user_id}/data",
            Access::Service,
            people::show_personal_data,
        );
    books(routes);
    administration(routes);
    Contract::routes(routes);
}

/// What has become of credits, and the rarer ways of changing them.
fn books(routes: &mut Routes<'_>) {
    routes
        .patch(
            "/api/credits/allocations/{id}",
            Access::Supervisor,
            allocations::change_allocation,
        )
        .delete(
            "/api/credits/allocations/{id}",
            Access::Supervisor,
            allocations::delete_allocation,
        )
        .delete("/api/users/{id}", Access::Admin, accounts::close_account)
        .delete("/api/credits/user/{id}", Access::Admin, accounts::close_account)
        .get("/api/credits/holds", READING, holds::list_holds)
        .post("/api/credits/holds/{id}/void", Access::Admin, holds::void_hold)
        .get(
            "/api/credits/transactions",
            READING,
            statements::list_transactions,
        )
        .get(
            "/api/credits/receipts/{session_id}",
            Access::UserOrService,
            statements::show_receipt,
        )
        .get(
            "/api/streaming-sessions/active/all",
            Access::Supervisor,
            session_reports::list_all_active_sessions,
        )
        .get(
            "/api/streaming-sessions/active/{user_id}",
            Access::Supervisor,
            session_reports::list_active_sessions_of,
        )
        .get(
            "/api/streaming-sessions/recent",
            Access::Supervisor,
            session_reports::list_recent_sessions,
        )
        .get(
            "/api/streaming-sessions/recent/{user_id}",
            Access::Supervisor,
            session_reports::list_recent_sessions_of,
        );
}

/// What administrators decide once and everybody then lives by.
fn administration(routes: &mut Routes<'_>) {
    routes
        .get("/api/prices", Access::UserOrService, prices::list_prices)
        .post("/api/prices", Access::Admin, prices::create_price)
        .get("/api/prices/{model}", Access::UserOrService, prices::show_price)
        .put("/api/prices/{model}", Access::Admin, prices::change_price)
        .delete("/api/prices/{model}", Access::Admin, prices::delete_price)
        .get(
            "/api/prices/{model}/history",
            Access::Admin,
            prices::list_price_history,
        )
        .get(
            "/api/admin/webhooks/dead-letters",
            Access::Admin,
            webhooks::list_dead_letters,
        )
        .post(
            "/api/admin/webhooks/dead-letters/{id}/retry",
            Access::Admin,
            webhooks::retry_dead_letter,
        )
        .get("/api/admin/credit-rules", Access::Admin, rules::list_credit_rules)
        .post(
            "/api/admin/credit-rules",
            Access::Admin,
            rules::create_credit_rule,
        )
        .get(
            "/api/admin/credit-rules/{id}",
            Access::Admin,
            rules::show_credit_rule,
        )
        .put(
            "/api/admin/credit-rules/{id}",
            Access::Admin,
            rules::change_credit_rule,
        )
        .delete(
            "/api/admin/credit-rules/{id}",
            Access::Admin,
            rules::delete_credit_rule,
        );
}
