//! The pages, as a browser without scripts sees them: forms are filled in and sent, cookies kept, answers followed.

mod account;
mod administration;
mod chatflows;
mod credits;
mod crowds;
mod dashboard;
mod embeds;
mod forms;
mod groups;
mod keys;
mod my_chatflows;
mod neighbours;
mod newcomers;
mod signing_in;
mod usage;

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode, header::HeaderMap, redirect};

use crate::support::{PASSWORD, TestApp};

/// A browser: cookies, and what it says of itself. It does not follow redirects by itself.
pub(crate) struct Browser {
    base: String,
    http: reqwest::Client,
    pub(crate) jar: BTreeMap<String, String>,
}

/// A page, or where one is sent.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) html: String,
}

impl Page {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.html);
        self
    }

    /// Where the browser is sent.
    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status.as_u16(), 303, "{}", self.html);
        self.headers["location"].to_str().unwrap()
    }

    /// The token in its forms.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let mark = r#"name="form_token" value=""#;
        let (_, after) = self
            .html
            .split_once(mark)
            .unwrap_or_else(|| panic!("no form: {}", self.html));
        after.split('"').next().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect_text(&self, text: &str) -> &Self {
        assert!(self.html.contains(text), "no {text:?} in {}", self.html);
        self
    }
}

impl Browser {
    pub(crate) fn new(app: &TestApp) -> Self {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            base: app.base.clone(),
            http,
            jar: BTreeMap::new(),
        }
    }

    pub(crate) async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let cookies: Vec<_> = self
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = request
            .header("accept", "text/html,*/*;q=0.8")
            .header("cookie", cookies.join("; "));
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Page {
            status,
            headers,
            html: response.text().await.unwrap(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Opens a page by its address.
    pub(crate) async fn open(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        let request = request
            .header("sec-fetch-site", "none")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document");
        self.send(request).await
    }

    /// Opens the page that a form is on, and sends the form.
    pub(crate) async fn fill(&mut self, page: &str, action: &str, members: &[(&str, &str)]) -> Page {
        let token = self.open(page).await.expect(200).token();
        self.submit(action, &token, members).await
    }

    /// Sends a form with this token.
    pub(crate) async fn submit(&mut self, action: &str, token: &str, members: &[(&str, &str)]) -> Page {
        let mut form = vec![("form_token", token)];
        form.extend(members);
        let request = self
            .request(Method::POST, action)
            .header("sec-fetch-site", "same-origin");
        self.send(with_form(request, &form)).await
    }

    pub(crate) async fn sign_in(&mut self, username: &str) -> Page {
        let members = [("username", username), ("password", PASSWORD)];
        self.fill("/login", "/login", &members).await
    }
}

/// A form as browsers send it.
fn with_form(request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

/// A person with an account, and a browser in which they are signed in.
pub(crate) async fn signed_in(app: &TestApp, username: &str, role: &str) -> (String, Browser) {
    let id = app.sign_up(username).await;
    app.update_user(&id, bson::doc! { "isVerified": true, "role": role })
        .await;
    let mut browser = Browser::new(app);
    browser.sign_in(username).await.location();
    assert!(browser.jar.contains_key("__Host-access"), "{:?}", browser.jar);
    (id, browser)
}

/// What a browser that is signed in cannot do with cookies alone.
#[tokio::test]
async fn a_link_from_elsewhere_opens_a_page_and_nothing_else() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let open = ada
        .request(Method::GET, "/account")
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document");
    ada.send(open).await.expect(200).expect_text("ada@example.com");
    // In a frame, as a picture, by a script: nobody is signed in.
    for (mode, dest) in [("navigate", "iframe"), ("no-cors", "image"), ("cors", "empty")] {
        let request = ada
            .request(Method::GET, "/account")
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", dest);
        assert_eq!(
            ada.send(request).await.location(),
            "/login?next=%2Faccount",
            "{mode} {dest}"
        );
    }
    // With the right token, too.
    let token = ada.open("/account").await.token();
    let request = ada
        .request(Method::POST, "/account/profile")
        .header("sec-fetch-site", "cross-site");
    let form = [
        ("form_token", token.as_str()),
        ("username", "eve"),
        ("email", "ada@example.com"),
    ];
    assert_eq!(
        ada.send(with_form(request, &form)).await.location(),
        "/login?next=%2Faccount"
    );
    ada.open("/account")
        .await
        .expect(200)
        .expect_text(r#"value="ada""#);
}

#[tokio::test]
async fn every_page_may_load_only_what_is_ours_and_names_its_language() {
    let app = TestApp::spawn().await;
    let mut browser = Browser::new(&app);
    let page = browser.open("/login").await.expect(200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        !page.html.contains("style=\"") && !page.html.contains("onclick") && !page.html.contains("<style")
    );
    assert_eq!(page.headers["cache-control"], "no-store");
    page.expect_text(r#"<html lang="en">"#);

    let (_, after) = page.html.split_once(r#"rel="stylesheet" href=""#).unwrap();
    let style = after.split('"').next().unwrap().to_owned();
    let style = browser.open(&style).await.expect(200);
    assert_eq!(
        style.headers["cache-control"],
        "public, max-age=31536000, immutable"
    );
    assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
    browser.open("/assets/1/..%2fpage.css").await.expect(404);
    let old = browser.open("/assets/1/page.js").await.expect(200);
    assert_eq!(old.headers["cache-control"], "no-cache");

    let german = browser
        .request(Method::GET, "/login")
        .header("accept-language", "de-AT, en;q=0.5");
    browser
        .send(german)
        .await
        .expect(200)
        .expect_text(r#"<html lang="de">"#)
        .expect_text("Anmelden");
    let chosen = browser
        .fill("/login", "/language", &[("language", "de"), ("next", "/forgot")])
        .await;
    assert_eq!(chosen.location(), "/forgot");
    browser.open("/forgot").await.expect_text("Passwort vergessen?");
    let away = browser
        .fill(
            "/login",
            "/language",
            &[("language", "xx"), ("next", "//evil.example")],
        )
        .await;
    assert_eq!(away.location(), "/");
}

#[tokio::test]
async fn a_session_is_continued_on_the_way_to_a_page() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let first = ada.jar["__Host-refresh"].clone();
    app.advance_secs(16 * 60);
    ada.open("/account")
        .await
        .expect(200)
        .expect_text("ada@example.com");
    assert_ne!(ada.jar["__Host-refresh"], first, "both cookies are new");
    // Also where a form is sent: nothing that was typed is lost.
    app.advance_secs(16 * 60);
    let token = ada.open("/account").await.token();
    app.advance_secs(16 * 60);
    let saved = ada
        .submit(
            "/account/profile",
            &token,
            &[("username", "ada2"), ("email", "ada@example.com")],
        )
        .await;
    assert_eq!(saved.location(), "/account?done=saved");

    app.advance_secs(7 * 86_400 + 31);
    assert_eq!(ada.open("/account").await.location(), "/login?next=%2Faccount");
}

#[tokio::test]
async fn programs_get_problems_and_browsers_get_pages() {
    let app = TestApp::spawn().await;
    app.client
        .get("/account")
        .await
        .expect_problem(401, "missing_token");
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let page = ada.open("/admin/users").await.expect(403);
    page.expect_text("You may not see this.");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    ada.open("/account/nowhere")
        .await
        .expect(404)
        .expect_text("There is nothing at this address.");
    assert_eq!(
        ada.open("/hello")
            .await
            .expect(200)
            .html
            .matches("<h1>hello world</h1>")
            .count(),
        1
    );
}

#[tokio::test]
async fn credits_say_so_when_they_cannot_be_shown() {
    let app = TestApp::spawn_with(|config| {
        config.accounting_url = Some("http://127.0.0.1:9".parse().unwrap());
    })
    .await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    ada.open("/credits")
        .await
        .expect(200)
        .expect_text("Your credits cannot be shown at the moment.");
}

#[tokio::test]
async fn credits_are_asked_for_as_the_person_who_looks() {
    let accounting = wiremock::MockServer::start().await;
    let answer = |path: &str, body: serde_json::Value| {
        wiremock::Mock::given(wiremock::matchers::path(path.to_owned()))
            .and(wiremock::matchers::header_exists("authorization"))
            .respond_with(wiremock::ResponseTemplate::new(200).set_body_json(body))
    };
    let balance = serde_json::json!({ "totalCredits": 987, "activeAllocations": [
        { "id": "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6", "credits": 987, "totalCredits": 1000, "remainingCredits": 987,
          "expiresAt": "2026-12-21T08:00:00.000Z", "allocatedAt": "2026-11-21T08:00:00.000Z" }] });
    let statement = serde_json::json!({ "transactions": [
        { "id": "t", "type": "capture", "amount": -13, "balanceAfter": 987, "description": "held for a session",
          "actor": "service:proxy-service", "sessionId": null, "createdAt": "2026-11-21T08:00:02.611Z" },
        { "id": "g", "type": "allocate", "amount": 1000, "balanceAfter": 1000, "description": "<b>for May</b>",
          "actor": "admin", "sessionId": null, "createdAt": "2026-11-21T08:00:00.000Z" }], "nextCursor": null });
    answer("/api/credits/balance", balance).mount(&accounting).await;
    answer("/api/credits/transactions", statement)
        .mount(&accounting)
        .await;
    let url = accounting.uri();
    let app = TestApp::spawn_with(|config| config.accounting_url = Some(url.parse().unwrap())).await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let page = ada.open("/credits").await.expect(200);
    page.expect_text("<strong>987</strong>")
        .expect_text("2026-12-21")
        .expect_text("Paid for an answer");
    page.expect_text("&#60;b&#62;for May");
    assert!(
        !page.html.contains("held for a session"),
        "the ledger's ids say nothing"
    );
    let asked = accounting.received_requests().await.unwrap();
    let token = format!("Bearer {}", ada.jar["__Host-access"]);
    assert!(
        asked
            .iter()
            .all(|request| request.headers["authorization"] == token.as_str())
    );
}
