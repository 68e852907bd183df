//! A platform with an embed, a site that shows it, and a visitor's browser.

use serde_json::{Value, json};
use system_tests::{browser::Browser, platform::Platform};

use crate::site::Site;

/// The name under which the browser knows the chat server. Nothing but these names is no secure context.
pub(crate) const CHAT_HOST: &str = "chat.example";
/// The name of the site that may show the embed.
pub(crate) const SITE_HOST: &str = "shop.example";

/// Credits the embed's owner has to begin with.
pub(crate) const CREDITS: i64 = 100;

pub(crate) struct Stage {
    pub(crate) platform: Platform,
    pub(crate) browser: Browser,
    pub(crate) site: Site,
    /// The chat server as the browser knows it.
    pub(crate) chat: String,
}

impl Stage {
    /// With a chatflow of Flowise behind the embed.
    pub(crate) async fn with_flowise() -> Self {
        let platform = Platform::start().await;
        let backend = json!({ "type": "flowise", "chatflow_id": platform.chatflow_id });
        Self::with(platform, backend).await
    }

    /// With any backend behind the embed `shop`.
    pub(crate) async fn with(platform: Platform, backend: Value) -> Self {
        let chat = format!("http://{CHAT_HOST}:{}", platform.proxy.address.port());
        let site = Site::start(
            &chat,
            &format!("<script src=\"{chat}/widget/embed.js?embed=shop\" async></script>"),
        );
        let owner_id = platform.chatter("owner", CREDITS).await.id;
        let admin = platform.admin().await;
        let embed = json!({
            "id": "shop",
            "name": "Northwind Books",
            "owner_id": owner_id,
            "allowed_origins": [site.origin(SITE_HOST)],
            "backend": backend,
            "languages": ["en", "zh", "es", "de", "fr", "ru", "ar"],
            "theme": { "primaryColor": "#2f5d50" },
            "texts": {
                "en": {
                    "header.title": "Northwind", "header.subtitle": "Ask our bookworm",
                    "suggestions.1": "What is new?", "suggestions.2": "Opening hours", "suggestions.2.value": "When are you open?",
                },
                "ar": {
                    "header.title": "نورثويند", "header.subtitle": "اسأل أمين المكتبة", "input.placeholder": "اكتب رسالة…",
                    "messages.welcomeMessage": "مرحبًا! كيف يمكنني مساعدتك؟",
                },
            },
        });
        admin.proxy.post("/api/v1/embeds", &embed).await.expect(201);
        Self {
            platform,
            browser: Browser::start().await,
            site,
            chat,
        }
    }

    /// Goes to the site.
    pub(crate) async fn visit(&self) {
        self.browser.open(&self.site.origin(SITE_HOST)).await;
        self.browser
            .until("document.querySelector('#chat-widget-root')?.shadowRoot.querySelector('.launcher')")
            .await;
    }

    /// Presses the round button.
    pub(crate) async fn press_launcher(&self) {
        let find = "return document.querySelector('#chat-widget-root').shadowRoot.querySelector('.launcher')";
        let launcher = self.browser.element(find).await;
        self.browser.click_on(&launcher).await;
    }

    /// Goes on within the chat's frame, once it can be used.
    pub(crate) async fn enter(&self) {
        let find = "return document.querySelector('#chat-widget-root').shadowRoot.querySelector('iframe')";
        let frame = self.browser.element(find).await;
        self.browser.enter(&frame).await;
        self.until_ready().await;
    }

    pub(crate) async fn until_ready(&self) {
        self.browser
            .until("document.querySelector('#root')?.hidden === false")
            .await;
    }

    /// Opens the chat on the site.
    pub(crate) async fn open_chat(&self) {
        self.visit().await;
        self.press_launcher().await;
        self.enter().await;
    }

    /// Opens the chat as a page of its own.
    pub(crate) async fn open_page(&self, query: &str) {
        self.browser
            .open(&format!("{}/widget/chat?embed=shop{query}", self.chat))
            .await;
        self.until_ready().await;
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
        self.browser
            .write("#input", &format!("{message}{}", system_tests::browser::ENTER))
            .await;
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

    /// The text of the newest answer.
    pub(crate) async fn last(&self) -> String {
        let text = self
            .browser
            .run("return [...document.querySelectorAll('.theirs .text')].at(-1)?.innerText ?? ''")
            .await;
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// What the round button is called, in the page around the frame.
    pub(crate) async fn launcher_label(&self) -> String {
        let label = "return document.querySelector('#chat-widget-root').shadowRoot.querySelector('.launcher').getAttribute('aria-label')";
        self.browser
            .run(label)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}
