//! A platform, a pupil with credits and a key, the school's site, and the pupil's browser on it.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{browser::Browser, person::Person, platform::Platform};

use super::site::{SITE_HOST, Site};
use crate::stage::CHAT_HOST;

/// The tree the window is drawn in, as a round button with a window above it or as a whole page.
pub(super) const ROOT: &str = "document.querySelector('flowise-chatbot, flowise-fullchatbot')?.shadowRoot";

/// Whether the window can be written in.
const IS_READY: &str = "textarea.text-input:not(:disabled)";

pub(super) struct School {
    pub(super) platform: Platform,
    pub(super) browser: Browser,
    pub(super) site: Site,
    pub(super) pupil: Person,
    /// The pupil's key, by its id.
    pub(super) key: (String, String),
    /// Our server as the browser knows it.
    pub(super) chat: String,
}

impl School {
    /// A pupil with these credits, and the page with the window for the chatflow that all have.
    pub(super) async fn start(credits: i64) -> Self {
        let site = Site::start().await;
        let platform = Platform::start_with(&[("CORS_ORIGIN", &site.origin(SITE_HOST))]).await;
        let chat = format!("http://{CHAT_HOST}:{}", platform.proxy.address.port());
        let pupil = platform.chatter("mei", credits).await;
        let key = key_of(&pupil, json!({ "name": "Biology" })).await;
        site.show(&chat, &platform.chatflow_id, |tag| tag);
        site.sign_in(&key.0);
        Self {
            browser: Browser::start().await,
            platform,
            site,
            pupil,
            key,
            chat,
        }
    }

    /// Gives the pupil another chatflow, changed so, and puts it on the page.
    pub(super) async fn teach_with(&self, chatflow: &str, settings: &Value) {
        let proxy = &self.platform.proxy;
        let path = format!("/api/v1/admin/chatflows/{chatflow}");
        let member = json!({ "email": self.pupil.email });
        self.platform
            .as_admin(proxy, Method::POST, &format!("{path}/users"), &member)
            .await
            .expect(200);
        if settings.as_object().is_some_and(|settings| !settings.is_empty()) {
            self.platform
                .as_admin(proxy, Method::PATCH, &path, settings)
                .await
                .expect(200);
        }
        self.site.show(&self.chat, chatflow, |tag| tag);
    }

    /// What somebody set for a chatflow at Flowise, as it is known here after it was read from there.
    pub(super) async fn set_at_flowise(&self, chatflow: &str, settings: bson::Document) {
        let chatflows = self
            .platform
            .mongo()
            .database
            .collection::<bson::Document>("Chatflow");
        let one = bson::doc! { "flowise_id": chatflow };
        let set = bson::doc! { "$set": settings };
        assert_eq!(chatflows.update_one(one, set).await.unwrap().modified_count, 1);
    }

    /// Goes to the page and opens the window.
    pub(super) async fn visit(&self) {
        self.browser.open(&self.site.origin(SITE_HOST)).await;
        self.open_window().await;
    }

    /// Presses the round button, and waits until the window knows what it is to look like.
    pub(super) async fn open_window(&self) {
        self.browser
            .click_found(&format!("{ROOT}?.querySelector('button[part=button]')"))
            .await;
        self.until_open().await;
    }

    /// Waits until the window has been told what the chatflow is, or that it is not told, and stands still.
    pub(super) async fn until_open(&self) {
        let asked = "performance.getEntriesByType('resource').some((one) => one.name.includes('/public-chatbotConfig/') && one.responseEnd)";
        self.browser.until(asked).await;
        let stands =
            format!("{ROOT}.querySelector('{IS_READY}, form button') && {ROOT}.getAnimations().length === 0");
        self.browser.until(&stands).await;
    }

    /// Writes a question and presses the button; the window shows the question when this returns.
    pub(super) async fn send(&self, question: &str) {
        let count = format!("{ROOT}.querySelectorAll('[data-testid=guest-bubble]').length");
        let before = self.browser.run(&format!("return {count}")).await;
        self.press_send_with(question).await;
        self.browser.until(&format!("{count} === {before} + 1")).await;
    }

    /// Writes a question and presses the button, whatever comes of it.
    pub(super) async fn press_send_with(&self, question: &str) {
        self.browser
            .write_found(&format!("{ROOT}.querySelector('{IS_READY}')"), question)
            .await;
        let send =
            format!("[...{ROOT}.querySelectorAll('[data-testid=input] button:not(:disabled)')].at(-1)");
        self.browser.click_found(&send).await;
    }

    /// Asks, and gives what the window shows when it can be written in again.
    pub(super) async fn ask(&self, question: &str) -> String {
        self.send(question).await;
        self.until_done().await;
        self.last().await
    }

    /// Waits until nothing is being answered.
    pub(super) async fn until_done(&self) {
        let is_ready = format!("{ROOT}.querySelector('{IS_READY}')");
        self.browser.until(&is_ready).await;
    }

    /// Waits until the newest thing said is so.
    pub(super) async fn until_last(&self, said: &str) {
        let last = format!("{}.at(-1)?.[1] === {}", Self::bubbles(), json!(said));
        self.browser.until(&last).await;
    }

    /// What the window has said since the last question.
    pub(super) async fn last(&self) -> String {
        let last = self.said().await.pop();
        last.map_or_else(
            String::new,
            |(who, text)| if who == "host" { text } else { String::new() },
        )
    }

    /// Everything said, with who said it: `guest` or `host`.
    pub(super) async fn said(&self) -> Vec<(String, String)> {
        let said = self.browser.run(&format!("return {}", Self::bubbles())).await;
        serde_json::from_value(said).unwrap()
    }

    fn bubbles() -> String {
        format!(
            "[...{ROOT}.querySelectorAll('[data-testid=guest-bubble],[data-testid=host-bubble]')]\
             .map((one) => [one.dataset.testid.split('-')[0], one.innerText.trim()])"
        )
    }

    /// What the page has asked of us in vain, and the statuses of the answers.
    pub(super) async fn refused(&self) -> Value {
        let script = "return performance.getEntriesByType('resource')
            .filter((one) => one.name.startsWith(arguments[0]) && one.responseStatus >= 400)
            .map((one) => [new URL(one.name).pathname, one.responseStatus])";
        self.browser.run_with(script, json!([self.chat])).await
    }

    /// What went wrong by the browser's console since the last look.
    pub(super) async fn troubles(&self) -> Vec<String> {
        let mut lines = self.browser.console().await;
        lines.retain(|line| line.starts_with("SEVERE") || line.starts_with("WARNING"));
        lines
    }

    /// The pupil's conversations.
    pub(super) async fn sessions(&self) -> Vec<String> {
        let listed = self.pupil.proxy.get("/api/v1/chat/sessions").await.expect(200);
        let sessions = listed.body["sessions"].as_array().unwrap();
        sessions
            .iter()
            .map(|session| session["session_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A key of this person's, and its id.
pub(super) async fn key_of(person: &Person, wish: Value) -> (String, String) {
    let made = person.auth.post("/api/keys", &wish).await.expect(201).body;
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}
