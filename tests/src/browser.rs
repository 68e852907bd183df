//! A real browser, driven as a person would use it: Chromium without a screen, over the WebDriver protocol.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::programs::{Program, free_address, path_of, root};

/// How long a test waits for something that has to come about; it fails then, so that it ends.
const PATIENCE: Duration = Duration::from_mins(1);

/// WebDriver's name for an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The key that WebDriver calls Enter.
pub const ENTER: &str = "\u{e007}";
/// The key that WebDriver calls Escape.
pub const ESCAPE: &str = "\u{e00c}";
/// The key that WebDriver calls Tab.
pub const TAB: &str = "\u{e004}";

/// Asks axe-core about the page, by WCAG 2.2 at levels A and AA.
const BARRIERS: &str = include_str!("browser/barriers.js");

/// What keeps it to itself, and able to run as root.
const ARGUMENTS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-US",
    "--window-size=1280,900",
    // Sites of a test are on this machine, under names that are no secure contexts, as a site without HTTPS is.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
];

/// A window of a browser of its own, with a fresh profile; both end when it is dropped.
#[derive(Debug)]
pub struct Browser {
    session: String,
    http: reqwest::Client,
    _driver: Program,
}

/// Something on the page.
#[derive(Clone, Debug)]
pub struct Element(Value);

impl Browser {
    /// Starts Chromium; it is fetched when it is nowhere on this machine.
    pub async fn start() -> Self {
        let chromium = path_of("chromium").await;
        let driver = path_of("chromedriver").await;
        let folder = tempfile::tempdir().expect("a folder can be made");
        let profile = folder.path().join("profile").display().to_string();
        let address = free_address();
        let mut command = Command::new(driver);
        command.arg(format!("--port={}", address.port()));
        let base = format!("http://{address}");
        let driver = Program::start(command, folder, &format!("{base}/status")).await;

        let arguments: Vec<_> = ARGUMENTS
            .iter()
            .map(|argument| (*argument).to_owned())
            .chain([format!("--user-data-dir={profile}")])
            .collect();
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .expect("a client can be made");
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
        }}});
        let mut browser = Self {
            session: format!("{base}/session"),
            http,
            _driver: driver,
        };
        let opened = browser.ask(Method::POST, "", &wanted).await;
        let id = opened["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("{base}/session/{id}");
        browser
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        self.try_to(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn try_to(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let request = self
            .http
            .request(method.clone(), format!("{}{path}", self.session));
        let request = if method == Method::GET {
            request
        } else {
            request.json(body)
        };
        let answer = request.send().await.expect("the driver answers");
        let is_well = answer.status().is_success();
        let mut answer: Value = answer.json().await.expect("the driver speaks JSON");
        if is_well {
            Ok(answer["value"].take())
        } else {
            Err(answer["value"]["message"].to_string())
        }
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.ask(Method::POST, "/url", &json!({ "url": url })).await;
    }

    /// Sets a cookie for the host of the page that is shown, which no script can read.
    pub async fn set_cookie(&self, name: &str, value: &str) {
        let cookie =
            json!({ "name": name, "value": value, "path": "/", "httpOnly": true, "sameSite": "Lax" });
        self.ask(Method::POST, "/cookie", &json!({ "cookie": cookie }))
            .await;
    }

    /// Forgets a cookie.
    pub async fn remove_cookie(&self, name: &str) {
        self.ask(Method::DELETE, &format!("/cookie/{name}"), &json!({}))
            .await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.ask(Method::POST, "/refresh", &json!({})).await;
    }

    /// Runs a function body in the page (or frame) and gives what it returns; promises are waited for.
    pub async fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([])).await
    }

    /// The same with `arguments`.
    pub async fn run_with(&self, script: &str, arguments: Value) -> Value {
        self.ask(
            Method::POST,
            "/execute/sync",
            &json!({ "script": script, "args": arguments }),
        )
        .await
    }

    /// Waits until an expression is true in the page; a test that waits in vain fails with it.
    pub async fn until(&self, expression: &str) {
        let script = json!({ "script": format!("return !!({expression})"), "args": [] });
        let wait = async {
            // A page that is just being left cannot be asked.
            while self.try_to(Method::POST, "/execute/sync", &script).await != Ok(json!(true)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let script = json!({ "script": "return document.body.innerText", "args": [] });
            let shown = self.try_to(Method::POST, "/execute/sync", &script).await;
            panic!("in vain: {expression}\n{shown:?}\n{:?}", self.console().await);
        }
    }

    /// The first element of this selector, once there is one.
    pub async fn find(&self, selector: &str) -> Element {
        let quoted = json!(selector);
        self.until(&format!("document.querySelector({quoted})")).await;
        let wanted = json!({ "using": "css selector", "value": selector });
        Element(self.ask(Method::POST, "/element", &wanted).await)
    }

    /// What a script returns, as an element.
    pub async fn element(&self, script: &str) -> Element {
        Element(self.run(script).await)
    }

    /// Does something with the first element of this selector, and again where the page has just put another in its place.
    async fn ask_of(&self, method: Method, selector: &str, what: &str, body: &Value) -> Value {
        loop {
            let element = self.find(selector).await;
            let path = format!("/element/{}/{what}", element.id());
            match self.try_to(method.clone(), &path, body).await {
                Ok(answer) => return answer,
                Err(error) if error.contains("stale element reference") => {}
                Err(error) => panic!("{selector} {what}: {error}"),
            }
        }
    }

    /// Clicks as a person does: it fails where something else lies on top.
    pub async fn click(&self, selector: &str) {
        self.ask_of(Method::POST, selector, "click", &json!({})).await;
    }

    /// The same for an element at hand.
    pub async fn click_on(&self, element: &Element) {
        self.ask(
            Method::POST,
            &format!("/element/{}/click", element.id()),
            &json!({}),
        )
        .await;
    }

    /// Clicks what an expression finds in any tree, and again where the page has just put another in its place.
    pub async fn click_found(&self, expression: &str) {
        self.ask_of_found(expression, "click", &json!({})).await;
    }

    /// Types into what an expression finds.
    pub async fn write_found(&self, expression: &str, text: &str) {
        self.ask_of_found(expression, "value", &json!({ "text": text }))
            .await;
    }

    async fn ask_of_found(&self, expression: &str, what: &str, body: &Value) {
        loop {
            self.until(expression).await;
            let element = self.run(&format!("return {expression}")).await;
            let Some(id) = element[ELEMENT].as_str() else {
                continue;
            };
            let path = format!("/element/{id}/{what}");
            match self.try_to(Method::POST, &path, body).await {
                Ok(_) => return,
                Err(error) if error.contains("stale element reference") => {}
                Err(error) => panic!("{expression} {what}: {error}"),
            }
        }
    }

    /// Types into an element.
    pub async fn write(&self, selector: &str, text: &str) {
        self.ask_of(Method::POST, selector, "value", &json!({ "text": text }))
            .await;
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let presses: Vec<_> = keys
            .chars()
            .flat_map(|key| {
                [
                    json!({ "type": "keyDown", "value": key }),
                    json!({ "type": "keyUp", "value": key }),
                ]
            })
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": presses }] });
        self.ask(Method::POST, "/actions", &actions).await;
    }

    /// The text of an element as it is shown.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.ask_of(Method::GET, selector, "text", &Value::Null).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The role and name that assistive technology hears of an element.
    pub async fn heard(&self, selector: &str) -> (String, String) {
        let ask = async |what: &str| {
            let heard = self.ask_of(Method::GET, selector, what, &Value::Null).await;
            heard.as_str().unwrap_or_default().to_owned()
        };
        (ask("computedrole").await, ask("computedlabel").await)
    }

    /// Goes on within a frame.
    pub async fn enter(&self, frame: &Element) {
        self.ask(Method::POST, "/frame", &json!({ "id": frame.0 })).await;
    }

    /// Goes on in the page itself.
    pub async fn leave(&self) {
        self.ask(Method::POST, "/frame", &json!({ "id": null })).await;
    }

    /// A command of Chromium's own protocol, for what WebDriver has no word for.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        self.ask(
            Method::POST,
            "/goog/cdp/execute",
            &json!({ "cmd": name, "params": parameters }),
        )
        .await
    }

    /// A window of this size; as a telephone's where it is narrow.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 500 });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// A preference of the visitor's system, such as `prefers-color-scheme: dark`.
    pub async fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.command("Emulation.setEmulatedMedia", features).await;
        // Colours may fade from one to the other.
        self.run("await Promise.allSettled(document.getAnimations().map((one) => one.finished))")
            .await;
    }

    /// What would keep people out of the page as it is now: whatever axe-core finds against WCAG 2.2 A and AA, a page that
    /// is wider than its window, headings without a beginning.
    pub async fn barriers(&self) -> Vec<String> {
        let axe = path_of("axe-core").await;
        let axe = std::fs::read_to_string(axe).expect("a script is text");
        let found = self.run(&format!("{axe}\n{BARRIERS}")).await;
        let lines = found.as_array().expect("a list").iter();
        lines
            .map(|line| line.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Writes what is to be seen to `target/screenshots`.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let picture = self.ask(Method::GET, "/screenshot", &Value::Null).await;
        let bytes = BASE64_STANDARD.decode(picture.as_str().unwrap_or_default());
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, bytes.expect("a picture is Base64")).expect("a file can be written");
        path
    }

    /// What stands in the browser's console since the last look: level and text.
    pub async fn console(&self) -> Vec<String> {
        let lines = self
            .ask(Method::POST, "/se/log", &json!({ "type": "browser" }))
            .await;
        let line = |line: &Value| {
            format!(
                "{} {}",
                line["level"].as_str().unwrap_or_default(),
                line["message"].as_str().unwrap_or_default()
            )
        };
        lines
            .as_array()
            .map(|lines| lines.iter().map(line).collect())
            .unwrap_or_default()
    }
}

impl Drop for Browser {
    /// The driver would leave the browser behind, and a test that failed cannot wait for an answer: so it is asked the old way.
    fn drop(&mut self) {
        let Ok(url) = self.session.parse::<reqwest::Url>() else {
            return;
        };
        let addresses = url.socket_addrs(|| None).unwrap_or_default();
        let Some(address) = addresses.first() else { return };
        let ended = TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(
                stream,
                "DELETE {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
                url.path()
            )?;
            // It leaves the connection open after its answer.
            BufReader::new(stream).read_line(&mut String::new())
        });
        // Without an answer the driver has ended before it, and the browser with it.
        drop(ended);
    }
}

impl Element {
    fn id(&self) -> &str {
        self.0[ELEMENT].as_str().expect("it is an element of the page")
    }
}
