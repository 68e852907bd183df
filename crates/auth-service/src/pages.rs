//! The pages people use: signing in, one's account, credits, administration. Rendered here, of use without a script, and
//! in a room of their own: they call the same services as the API and know nothing of how it looks.
//!
//! Who may see a page stands in its row, as with every route. A browser that is refused gets a page in the place of a
//! problem, or is asked to sign in (`door`). Every form carries a token that belongs to the session (`forms`).

mod account;
mod admin;
mod assets;
mod chart;
mod chatflows;
mod credits;
mod devices;
pub(crate) mod door;
mod forms;
mod frame;
mod home;
mod identities;
mod keys;
mod neighbours;
mod outer_id;
mod passwords;
mod providers;
mod registration;
mod second_factor;
mod sign_in;
mod texts;
mod times;

use actix_web::web;
use common_http::{Access, Routes};
use url::Url;

use self::{assets::Assets, forms::FormTokens, neighbours::Neighbours};
use crate::config::Config;

/// Registers the pages.
pub(crate) fn routes(routes: &mut Routes<'_>) {
    strangers(routes);
    own_account(routes);
    admin::routes(routes);
}

/// What anybody sees.
fn strangers(routes: &mut Routes<'_>) {
    use Access::{Optional, Public};
    routes
        .get("/", Optional, home::show_home)
        .get("/login", Optional, sign_in::show_sign_in)
        .post("/login", Optional, sign_in::sign_in)
        .get("/login/code", Optional, sign_in::show_code)
        .post("/login/code", Optional, sign_in::prove_code)
        .get("/login/with/{provider}", Public, providers::go_to_provider)
        .get("/login/return", Public, providers::come_back)
        .get("/login/link", Optional, providers::show_proof)
        .post("/login/link", Optional, providers::prove_account)
        .post("/login/link/mail", Optional, providers::mail_code)
        .get("/register", Optional, registration::show_registration)
        .post("/register", Optional, registration::register)
        .get("/verify", Optional, registration::show_verification)
        .post("/verify", Optional, registration::verify)
        .post("/verify/again", Optional, registration::send_again)
        .get("/forgot", Optional, passwords::show_forgot)
        // As older mails and clients call them.
        .get("/forgot-password", Optional, passwords::show_forgot)
        .get("/reset-password", Optional, passwords::show_reset)
        .post("/forgot", Optional, passwords::forgot)
        .get("/reset", Optional, passwords::show_reset)
        .post("/reset", Optional, passwords::reset)
        .post("/language", Optional, home::choose_language)
        .get("/assets/{version}/{name}", Public, assets::show_asset);
}

/// What everybody sees of themselves.
fn own_account(routes: &mut Routes<'_>) {
    use Access::{RestrictedUser, User};
    routes
        .post("/logout", Access::Optional, sign_in::sign_out)
        .get("/hello", User, home::greet)
        .get("/my-chatflows", User, chatflows::list_mine)
        .get("/credits", User, credits::show_credits)
        .get("/account", User, account::show_account)
        .post("/account/profile", User, account::change_profile)
        .get("/account/password", RestrictedUser, passwords::show_change)
        .post("/account/password", RestrictedUser, passwords::change)
        .get("/account/two-factor", User, second_factor::show)
        .post("/account/two-factor", User, second_factor::set_up)
        .post("/account/two-factor/enable", User, second_factor::enable)
        .post("/account/two-factor/disable", User, second_factor::disable)
        .post("/account/two-factor/codes", User, second_factor::renew_codes)
        .get("/account/identities", User, identities::list)
        .get("/account/identities/return", User, identities::come_back)
        .post("/account/identities/{provider}", User, identities::link)
        .post(
            "/account/identities/{identity_id}/remove",
            User,
            identities::unlink,
        )
        .get("/account/devices", User, devices::list)
        .post("/account/devices/others", User, devices::sign_out_others)
        .post("/account/devices/{session_id}", User, devices::sign_out)
        .get("/account/keys", User, keys::list)
        .post("/account/keys", User, keys::create)
        .post("/account/keys/{key_id}", User, keys::revoke)
        .get("/account/data", User, account::show_data)
        .post("/account/data/download", User, account::download)
        .post("/account/data/delete", User, account::delete);
}

/// Where people find the platform.
#[derive(Clone, Debug)]
struct Site(Url);

impl Site {
    /// The address of something there.
    fn address(&self, path: &str) -> String {
        self.0.join(path).map_or_else(|_| path.to_owned(), String::from)
    }
}

/// What the pages need beside the services.
#[derive(Clone)]
pub(crate) struct Pages {
    assets: web::Data<Assets>,
    tokens: web::Data<FormTokens>,
    neighbours: web::Data<Neighbours>,
    site: web::Data<Site>,
}

impl Pages {
    /// Pages as the configuration wants them.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            assets: web::Data::new(Assets::new()),
            tokens: web::Data::new(FormTokens::new(config)),
            neighbours: web::Data::new(Neighbours::new(config)?),
            site: web::Data::new(Site(config.public_url.clone())),
        })
    }

    /// Gives handlers what they ask for.
    pub(crate) fn register(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(self.assets.clone())
            .app_data(self.tokens.clone())
            .app_data(self.neighbours.clone())
            .app_data(self.site.clone());
    }
}
