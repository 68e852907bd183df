//! A platform, somebody with credits, and their browser at the chat page.

use system_tests::{
    browser::{Browser, ENTER},
    person::Person,
    platform::Platform,
};

/// The cookie of the access token, where there is no TLS.
pub(crate) const COOKIE: &str = "flowgateAccess";

pub(crate) const CREDITS: i64 = 20;

pub(crate) struct Desk {
    pub(crate) platform: Platform,
    pub(crate) browser: Browser,
    pub(crate) person: Person,
    /// The page's address.
    pub(crate) page: String,
}

impl Desk {
    /// Somebody signed in, with one chatflow.
    pub(crate) async fn start() -> Self {
        Self::on(Platform::start().await).await
    }

    /// The same on a platform that is there.
    pub(crate) async fn on(platform: Platform) -> Self {
        let person = platform.chatter("mei", CREDITS).await;
        let page = format!("{}/chat", platform.proxy.url());
        let desk = Self {
            browser: Browser::start().await,
            platform,
            person,
            page,
        };
        desk.sign_in().await;
        desk
    }

    /// Puts the person's cookie into the browser.
    pub(crate) async fn sign_in(&self) {
        self.browser
            .open(&format!("{}/livez", self.platform.proxy.url()))
            .await;
        self.browser.set_cookie(COOKIE, &self.person.access_token).await;
    }

    /// Opens the page in English.
    pub(crate) async fn open(&self) {
        self.browser.open(&format!("{}?language=en", self.page)).await;
        self.until_ready().await;
    }

    pub(crate) async fn until_ready(&self) {
        self.browser
            .until("document.querySelector('#root')?.hidden === false")
            .await;
    }

    /// Sends a message and waits for its whole answer.
    pub(crate) async fn ask(&self, message: &str) -> String {
        self.send(message).await;
        self.until_last("complete").await;
        self.last().await
    }

    /// Sends a message; its answer has begun to be waited for when this returns.
    pub(crate) async fn send(&self, message: &str) {
        let count = "document.querySelectorAll('.message').length";
        let before = self.browser.run(&format!("return {count}")).await;
        self.browser.write("#input", &format!("{message}{ENTER}")).await;
        self.browser.until(&format!("{count} === {before} + 2")).await;
    }

    /// Waits until the newest answer is in this state, and no question after it has none.
    pub(crate) async fn until_last(&self, state: &str) {
        self.browser
            .until(&format!(
                "(() => {{ const last = [...document.querySelectorAll('.message')].at(-1); \
                 return last?.classList.contains('theirs') && last.dataset.state === '{state}' }})()"
            ))
            .await;
    }

    /// Waits until the newest answer says this much.
    pub(crate) async fn until_said(&self, text: &str) {
        let last = "[...document.querySelectorAll('.theirs .text')].at(-1)?.innerText";
        self.browser
            .until(&format!("{last}?.includes({})", serde_json::json!(text)))
            .await;
    }

    /// The text of the newest answer.
    pub(crate) async fn last(&self) -> String {
        let text = self
            .browser
            .run("return [...document.querySelectorAll('.theirs .text')].at(-1)?.innerText ?? ''")
            .await;
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// Waits until the page shows so many credits.
    pub(crate) async fn until_credits(&self, credits: i64) {
        self.browser
            .until(&format!(
                "document.querySelector('#credits').innerText.trim() === '{credits} credits'"
            ))
            .await;
    }

    /// The conversation that the address names.
    pub(crate) async fn session_id(&self) -> String {
        let hash = self.browser.run("return location.hash.slice(1)").await;
        hash.as_str().unwrap_or_default().to_owned()
    }
}
