//! Every path of the service, and who may call it.

pub(crate) mod admin_sessions;
pub(crate) mod administration;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod batches;
pub(crate) mod bodies;
pub(crate) mod browser_sessions;
pub(crate) mod cookies;
pub(crate) mod deletion;
pub(crate) mod devices;
pub(crate) mod exports;
pub(crate) mod health;
pub(crate) mod imports;
pub(crate) mod origin;
pub(crate) mod paging;
pub(crate) mod passwords;
pub(crate) mod personal_data;
pub(crate) mod profile;
pub(crate) mod registration;
pub(crate) mod revocations;
pub(crate) mod second_factors;
pub(crate) mod session_bodies;
pub(crate) mod sessions;
pub(crate) mod testing;
pub(crate) mod tokens;
pub(crate) mod user_changes;
pub(crate) mod user_list;
pub(crate) mod users;
pub(crate) mod v1;

use common_http::{Access, Contract, Routes, show_liveness, show_metrics};

use crate::pages;

/// Registers the whole table, but for what tests of clients need.
pub fn routes(routes: &mut Routes<'_>) {
    signing_in(routes);
    own_account(routes);
    devices::routes(routes);
    api_keys::routes(routes);
    administration(routes);
    admin_sessions::routes(routes);
    audit::routes(routes);
    older_shapes(routes);
    providers(routes);
    settings(routes);
    newcomers(routes);
    operation(routes);
    pages::routes(routes);
    Contract::routes(routes);
}

/// Making an account, signing in, going on, signing out; and what tokens are worth.
fn signing_in(routes: &mut Routes<'_>) {
    use Access::{Optional, Public, RestrictedUser, Service};
    routes
        .post("/api/auth/signup", Public, registration::sign_up)
        .post("/api/auth/verify-email", Public, registration::verify_email)
        .post(
            "/api/auth/resend-verification",
            Public,
            registration::resend_verification,
        )
        .post("/api/auth/login", Public, sessions::log_in)
        .post(
            "/api/auth/verify-2fa",
            Public,
            second_factors::verify_second_factor,
        )
        .post("/api/auth/refresh", Public, sessions::refresh_tokens)
        .post("/api/auth/logout", Optional, sessions::log_out)
        .post(
            "/api/auth/logout-all",
            RestrictedUser,
            sessions::log_out_everywhere,
        )
        .post(
            "/session/refresh",
            Public,
            browser_sessions::refresh_browser_session,
        )
        .post("/session/end", Optional, browser_sessions::end_browser_session)
        .post("/api/auth/forgot-password", Public, passwords::forgot_password)
        .post("/api/auth/reset-password", Public, passwords::reset_password)
        .post("/api/auth/introspect", Service, tokens::introspect_token)
        .post("/api/auth/revoke", Public, tokens::revoke_token)
        .get("/.well-known/jwks.json", Public, tokens::list_keys)
        .get("/api/auth/users/{user_id}", Optional, users::show_public_user);
}

/// What everybody sees and changes of themselves.
fn own_account(routes: &mut Routes<'_>) {
    use Access::{RestrictedUser, User};
    routes
        .post("/api/change-password", RestrictedUser, passwords::change_password)
        .get("/api/profile", RestrictedUser, profile::show_profile)
        .put("/api/profile", User, profile::update_profile)
        .get("/api/dashboard", User, profile::show_dashboard)
        .get("/api/admin/dashboard", User, profile::show_user_dashboard)
        .delete("/api/profile", User, deletion::delete_own_account)
        .get("/api/profile/export", User, personal_data::export_own_data)
        .get("/api/2fa", User, second_factors::show_second_factor)
        .post(
            "/api/2fa/recovery-codes",
            User,
            second_factors::renew_recovery_codes,
        );
    for base in ["/api/2fa", "/users/me/2fa"] {
        routes
            .post(
                &format!("{base}/setup"),
                User,
                second_factors::set_up_second_factor,
            )
            .post(
                &format!("{base}/enable"),
                User,
                second_factors::enable_second_factor,
            )
            .post(
                &format!("{base}/disable"),
                User,
                second_factors::disable_second_factor,
            );
    }
}

/// What administrators see and change of others.
fn administration(routes: &mut Routes<'_>) {
    use Access::{Admin, AdminOrService, Supervisor};
    routes
        .post(
            "/api/admin/users/{user_id}/reset-password",
            Admin,
            passwords::give_password,
        )
        .post(
            "/api/admin/users/{user_id}/invitation",
            Admin,
            passwords::invite_user,
        )
        .get("/api/admin/reports", Supervisor, profile::show_reports)
        .get("/api/users", Admin, user_list::list_users_bare)
        .get("/api/admin/users", Admin, user_list::list_users)
        .post("/api/admin/users", Admin, users::create_user)
        .post("/api/admin/users/batch", Admin, batches::create_users)
        .post("/api/admin/users/import", Admin, imports::import_users)
        .get("/api/admin/users/export", Admin, exports::export_users)
        .get("/api/admin/users/{user_id}", Admin, users::show_user)
        .get(
            "/api/admin/users/by-email/{email}",
            AdminOrService,
            users::show_user_by_email,
        )
        .put(
            "/api/admin/users/{user_id}/role",
            Admin,
            administration::change_role,
        )
        .patch("/api/admin/users/{user_id}", Admin, administration::edit_user)
        .delete("/api/admin/users/{user_id}", Admin, deletion::delete_user)
        .delete("/api/users/{user_id}", Admin, deletion::delete_user)
        .delete("/api/admin/users", Admin, deletion::delete_all_users)
        .delete(
            "/api/admin/users/{user_id}/2fa",
            Admin,
            second_factors::remove_second_factor,
        );
}

/// The same in the shapes of an older front end.
fn older_shapes(routes: &mut Routes<'_>) {
    use Access::{Admin, Public, User};
    routes
        .post("/api/v1/auth/login", Public, v1::log_in)
        .post("/api/v1/auth/register", Public, v1::register)
        .post("/api/v1/auth/logout", User, v1::log_out)
        .get("/api/v1/auth/account", User, v1::show_account)
        .post("/api/v1/register", Admin, v1::register_other)
        .get("/api/v1/users", Admin, v1::list_users)
        .get("/api/v1/me", User, v1::show_me)
        .get("/api/v1/hello", User, v1::greet)
        .get("/api/v1/test", Public, v1::show_test)
        .put("/api/v1/auth/account", User, v1::update_account)
        .put("/api/v1/users/{user_id}", Admin, v1::update_user);
}

/// What administrators change while the service runs.
fn settings(routes: &mut Routes<'_>) {
    use Access::{Admin, Public};
    routes
        .get("/api/v1/auth/config", Public, v1::settings::show_public_settings)
        .get("/api/v1/admin/config", Admin, v1::settings::show_settings)
        .put("/api/v1/admin/config", Admin, v1::settings::change_settings)
        .post("/api/v1/admin/config", Admin, v1::settings::change_settings)
        .get(
            "/api/v1/admin/config/versions",
            Admin,
            v1::settings::list_setting_versions,
        )
        .post(
            "/api/v1/admin/config/versions/{version}/activate",
            Admin,
            v1::settings::activate_setting_version,
        );
}

/// Who may make an account for themselves, as far as administrators decide it one by one.
fn newcomers(routes: &mut Routes<'_>) {
    use Access::Admin;
    let admin = |path: &str| format!("/api/v1/admin/{path}");
    routes
        .get(&admin("invitations"), Admin, v1::invitations::list_invitations)
        .post(&admin("invitations"), Admin, v1::invitations::create_invitation)
        .delete(
            &admin("invitations/{invitation_id}"),
            Admin,
            v1::invitations::revoke_invitation,
        )
        .get(
            &admin("registrations"),
            Admin,
            v1::registrations::list_registrations,
        )
        .post(
            &admin("registrations/{user_id}/approve"),
            Admin,
            v1::registrations::approve_registration,
        )
        .post(
            &admin("registrations/{user_id}/refuse"),
            Admin,
            v1::registrations::refuse_registration,
        );
}

/// Signing in by way of providers, and the identities that are linked to accounts.
fn providers(routes: &mut Routes<'_>) {
    use Access::{Admin, Optional, Public, User};
    let oauth = |path: &str| format!("/api/v1/auth/oauth/{path}");
    routes
        .get(&oauth("providers"), Public, v1::oauth::list_active_providers)
        .post(&oauth("token"), Public, v1::oauth::redeem_code)
        .post(&oauth("link/mail"), Public, v1::oauth::mail_link_code)
        .post(&oauth("link/confirm"), Optional, v1::oauth::confirm_link)
        .post(&oauth("connect/{provider}"), User, v1::oauth::begin_link)
        .get(&oauth("{provider}/authorize"), Public, v1::oauth::begin_sign_in)
        .get(&oauth("{provider}/callback"), Public, v1::oauth::receive_answer)
        .post(&oauth("{provider}/callback"), Public, v1::oauth::redeem_answer)
        .get(&oauth("{provider}/link"), User, v1::oauth::link_identity)
        .delete(
            "/api/v1/auth/account/oauth/{identity_id}",
            User,
            v1::oauth::unlink_own_identity,
        )
        .delete("/api/v1/auth/account/password", User, v1::remove_password)
        .get(
            "/api/v1/users/{user_id}/oauth-accounts",
            Admin,
            v1::providers::list_identities,
        )
        .delete(
            "/api/v1/users/{user_id}/oauth-accounts/{identity_id}",
            Admin,
            v1::providers::unlink_identity,
        )
        .get(
            "/api/v1/admin/oauth-providers",
            Admin,
            v1::providers::list_providers,
        )
        .post(
            "/api/v1/admin/oauth-providers",
            Admin,
            v1::providers::create_provider,
        )
        .put(
            "/api/v1/admin/oauth-providers/{provider_id}",
            Admin,
            v1::providers::update_provider,
        )
        .delete(
            "/api/v1/admin/oauth-providers/{provider_id}",
            Admin,
            v1::providers::delete_provider,
        );
}

/// For our other services and for operators.
fn operation(routes: &mut Routes<'_>) {
    use Access::{Public, Service};
    routes
        .get("/internal/user-changes", Service, user_changes::list_user_changes)
        .get("/internal/revocations", Service, revocations::list_revocations)
        .get("/health", Public, health::show_health)
        .get("/api/health", Public, health::show_health)
        .get("/livez", Public, show_liveness)
        .get("/readyz", Public, health::show_readiness)
        .get("/metrics", Public, show_metrics);
}

/// Registers what exists with `TESTING_ENDPOINTS` only.
pub fn testing_routes(routes: &mut Routes<'_>) {
    use Access::Public;
    routes
        .get(
            "/api/testing/verification-token/{user_id}",
            Public,
            testing::show_code,
        )
        .get(
            "/api/testing/verification-token/{user_id}/{type}",
            Public,
            testing::show_token,
        )
        .post("/api/testing/verify-user/{user_id}", Public, testing::verify_user);
}
