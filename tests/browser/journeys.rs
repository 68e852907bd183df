//! Whole ways through the platform, as people go them: one host with the real gateway in front of the real programs, a
//! stand-in for a provider that people sign in with, and a real browser.

mod administration;
mod people;

use common_http::Clock;
use reqwest::Method;
use serde_json::json;
use system_tests::{
    browser::Browser,
    fleet::{Fleet, Guest},
    flowise::chatflow,
    gateway::Gateway,
    oidc::{CLIENT_ID, CLIENT_SECRET, StandInProvider},
    platform::ADMIN,
    programs::free_address,
};
use test_support::Client;

/// Runs a service as a process of its own.
const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

/// A password that obeys the rules.
const PASSWORD: &str = "plenty of trees 9";

/// The platform on one host, and a window on it.
pub(crate) struct Journey {
    fleet: Fleet,
    gateway: Gateway,
    provider: StandInProvider,
    browser: Browser,
}

impl Journey {
    async fn begin() -> Self {
        let web = free_address();
        let url = format!("http://{web}");
        let more = [("PUBLIC_URL", url.as_str()), ("PRIVATE_PROVIDERS", "true")];
        let fleet = Fleet::start(PROGRAM, 1, &more).await;
        Self {
            gateway: Gateway::start_at(web, &fleet.behind(), None).await,
            fleet,
            provider: StandInProvider::start(Clock::System),
            browser: Browser::start().await,
        }
    }

    /// The administrator, by the API.
    async fn admin(&self) -> Guest {
        let outside = Client::new(self.gateway.url());
        Guest::log_in(&outside, &outside, &outside, ADMIN.0, ADMIN.2).await
    }

    /// Says what the stand-in for a provider is called here.
    async fn add_provider(&self) {
        let provider = json!({
            "name": "school", "display_name": "School", "kind": "oidc", "issuer": self.provider.issuer(),
            "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        });
        let admin = self.admin().await;
        let added = admin.auth.post("/api/v1/admin/oauth-providers", &provider).await;
        added.expect(201);
    }

    /// Gives somebody credits and the chatflow that echoes.
    async fn equip(&self, email: &str, credits: i64) {
        let admin = self.admin().await;
        let sync = admin.proxy.post("/api/v1/admin/chatflows/sync", &json!({})).await;
        sync.expect(200);
        let user = admin
            .auth
            .get(&format!("/api/admin/users/by-email/{email}"))
            .await
            .expect(200);
        let grant = json!({ "userId": user.body["user"]["_id"], "credits": credits });
        admin
            .accounting
            .post("/api/credits/allocate", &grant)
            .await
            .expect(201);
        let path = format!("/api/v1/admin/chatflows/{}/users", chatflow::CHAT);
        let request = admin.proxy.request(Method::POST, &path);
        admin
            .proxy
            .send(request.json(&json!({ "email": email })))
            .await
            .expect(200);
    }

    async fn open(&self, path: &str) {
        self.open_in(&self.browser, path).await;
    }

    async fn open_in(&self, browser: &Browser, path: &str) {
        browser.open(&format!("{}{path}", self.gateway.url())).await;
    }

    /// Fills in a form of our pages and sends it.
    async fn fill(&self, fields: &[(&str, &str)], button: &str) {
        fill_in(&self.browser, fields, button).await;
    }

    /// Waits until the browser is at this path of ours.
    async fn arrives_at(&self, path: &str) {
        arrives_at(&self.browser, path).await;
    }

    async fn log_in(&self, browser: &Browser, username: &str, password: &str) {
        self.open_in(browser, "/login").await;
        let fields = [("username", username), ("password", password)];
        fill_in(browser, &fields, "button.main").await;
    }

    async fn log_out(&self) {
        self.browser.click(".leave button").await;
        self.arrives_at("/login").await;
    }

    /// Takes a picture on a desk and in a hand, by day and by night, and looks for what would keep people out.
    async fn look(&self, name: &str) {
        look(&self.browser, name).await;
    }
}

pub(crate) async fn fill_in(browser: &Browser, fields: &[(&str, &str)], button: &str) {
    for (name, text) in fields {
        let script = "document.getElementById(arguments[0]).value = ''";
        browser.run_with(script, json!([name])).await;
        browser.write(&format!("#{name}"), text).await;
    }
    browser.click(button).await;
}

pub(crate) async fn arrives_at(browser: &Browser, path: &str) {
    browser
        .until(&format!("location.pathname === {}", json!(path)))
        .await;
}

pub(crate) async fn look(browser: &Browser, name: &str) {
    for (device, width, height) in [("desktop", 1280, 900), ("phone", 360, 780)] {
        for scheme in ["light", "dark"] {
            browser.resize(width, height).await;
            browser.prefer("prefers-color-scheme", scheme).await;
            browser.picture(&format!("{name}-{device}-{scheme}")).await;
            let found = browser.barriers().await;
            assert!(found.is_empty(), "{name} {device} {scheme}: {found:#?}");
        }
    }
    browser.resize(1280, 900).await;
}
