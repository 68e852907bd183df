//! The pages of accounts, as a person goes through them in a real browser.

use common_http::Clock;
use serde_json::{Value, json};
use system_tests::{browser::Browser, platform::Platform};

use totp_rs::{Builder, Secret, Totp};

/// A password that obeys the rules.
const PASSWORD: &str = "plenty of trees 9";

struct Visit {
    platform: Platform,
    browser: Browser,
}

impl Visit {
    async fn begin() -> Self {
        Self {
            platform: Platform::start().await,
            browser: Browser::start().await,
        }
    }

    async fn open(&self, browser: &Browser, path: &str) {
        browser.open(&format!("{}{path}", self.platform.auth.url())).await;
    }

    async fn fill(&self, browser: &Browser, fields: &[(&str, &str)], button: &str) {
        for (name, text) in fields {
            let script = "document.getElementById(arguments[0]).value = ''";
            browser.run_with(script, json!([name])).await;
            browser.write(&format!("#{name}"), text).await;
        }
        browser.click(button).await;
    }

    async fn log_in(&self, browser: &Browser, username: &str) {
        self.open(browser, "/login").await;
        let fields = [("username", username), ("password", PASSWORD)];
        self.fill(browser, &fields, "button.main").await;
    }

    /// Takes pictures, by day and by night, on a desk and in a hand, and looks for faults on each.
    async fn look(&self, name: &str) {
        for (device, width, height) in [("desktop", 1280, 900), ("phone", 360, 780)] {
            for scheme in ["light", "dark"] {
                self.browser.resize(width, height).await;
                self.browser.prefer("prefers-color-scheme", scheme).await;
                self.browser.picture(&format!("{name}-{device}-{scheme}")).await;
                let found = self.browser.barriers().await;
                assert!(found.is_empty(), "{name} {device} {scheme}: {found:#?}");
            }
        }
    }
}

#[actix_web::test]
async fn somebody_registers_and_signs_a_device_out() {
    let visit = Visit::begin().await;
    let browser = &visit.browser;
    visit.open(browser, "/register").await;
    visit.look("register").await;
    let fields = [
        ("username", "ada"),
        ("email", "ada@example.com"),
        ("password", PASSWORD),
        ("password_repeat", PASSWORD),
    ];
    visit.fill(browser, &fields, "button.main").await;
    browser.until("location.pathname === '/verify'").await;
    visit.look("verify").await;
    let mail = visit.platform.mail_to("ada@example.com").await;
    let (_, after) = mail.split_once("verification code: ").unwrap();
    let code: String = after.chars().take(6).collect();
    visit.fill(browser, &[("code", &code)], "button.main").await;
    browser.until("location.pathname === '/login'").await;
    visit.look("login").await;
    visit.log_in(browser, "ada").await;
    browser.until("location.pathname === '/'").await;
    visit.look("home").await;
    let readable = browser.run("return [document.cookie, localStorage.length]").await;
    assert_eq!(readable, json!(["", 0]), "no script can read a token");

    let phone = Browser::start().await;
    visit.log_in(&phone, "ada").await;
    phone.until("location.pathname === '/'").await;
    visit.open(browser, "/account/devices").await;
    visit.look("devices").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.rows li').length")
            .await,
        2
    );
    // The other one stands without the mark of this one.
    browser
        .run("document.querySelector('.rows li:not(:has(.badge)) button').id = 'other'")
        .await;
    browser.click("#other").await;
    browser
        .until("document.querySelectorAll('.rows li').length === 1")
        .await;
    visit.open(&phone, "/account").await;
    phone.until("location.pathname === '/login'").await;
}

/// What the phone shows, some steps of 30 seconds from now.
fn code_of(phone: &Totp, steps: u64) -> String {
    let now = u64::try_from(Clock::System.now().timestamp()).unwrap();
    phone.generate(now + 30 * steps).to_string()
}

#[actix_web::test]
async fn a_second_factor_is_set_up_and_asked_for() {
    let visit = Visit::begin().await;
    let browser = &visit.browser;
    let (name, _, password) = system_tests::platform::ADMIN;
    let log_in = async || {
        visit.open(browser, "/login").await;
        visit
            .fill(
                browser,
                &[("username", name), ("password", password)],
                "button.main",
            )
            .await;
    };
    log_in().await;
    browser.until("location.pathname === '/'").await;
    visit.open(browser, "/account/two-factor").await;
    visit
        .fill(browser, &[("password", password)], "main button.main")
        .await;
    browser.until("document.querySelector('img.qr')?.complete").await;
    visit.look("two-factor-setup").await;
    let secret = Secret::try_from_base32(&browser.text("code.secret").await).unwrap();
    let phone = Builder::new()
        .with_secret(secret)
        .with_account_name(name)
        .build()
        .unwrap();
    visit
        .fill(browser, &[("code", &code_of(&phone, 0))], "main button.main")
        .await;
    browser
        .until("document.querySelectorAll('.codes li').length === 10")
        .await;
    visit.look("recovery-codes").await;
    browser.click(".leave button").await;
    browser.until("location.pathname === '/login'").await;
    log_in().await;
    browser.until("location.pathname === '/login/code'").await;
    visit.look("login-code").await;
    // The step of the first code has been used up.
    visit
        .fill(browser, &[("code", &code_of(&phone, 1))], "button.main")
        .await;
    browser.until("location.pathname === '/'").await;
}

#[actix_web::test]
async fn every_page_of_an_account_can_be_read_and_used() {
    let visit = Visit::begin().await;
    let browser = &visit.browser;
    let (name, _, password) = system_tests::platform::ADMIN;
    visit.open(browser, "/login?next=%2Faccount").await;
    visit
        .fill(
            browser,
            &[("username", name), ("password", password)],
            "button.main",
        )
        .await;
    browser.until("location.pathname === '/account'").await;
    for (path, picture) in [
        ("/account", "account"),
        ("/account/password", "password"),
        ("/account/two-factor", "two-factor"),
        ("/account/identities", "identities"),
        ("/account/data", "data"),
        ("/my-chatflows", "my-chatflows"),
        ("/credits", "credits"),
        ("/hello", "hello"),
        ("/admin", "admin"),
        ("/admin/users", "admin-users"),
        ("/admin/users/new", "admin-user-new"),
        ("/admin/import", "admin-import"),
        ("/admin/providers", "admin-providers"),
        ("/admin/providers/new", "admin-provider-new"),
        ("/admin/chatflows", "admin-chatflows"),
        ("/admin/embeds", "admin-embeds"),
        ("/admin/embeds/new", "admin-embed-new"),
        ("/admin/settings", "admin-settings"),
        ("/admin/audit", "admin-audit"),
        ("/account/nowhere", "not-found"),
    ] {
        visit.open(browser, path).await;
        visit.look(picture).await;
    }
    let refused = browser.console().await;
    let policy: Vec<_> = refused
        .iter()
        .filter(|line| line.contains("Content Security Policy"))
        .collect();
    assert!(policy.is_empty(), "{policy:?}");
}

#[actix_web::test]
async fn a_table_of_500_people_is_imported() {
    let visit = Visit::begin().await;
    let browser = &visit.browser;
    let (name, _, password) = system_tests::platform::ADMIN;
    visit.open(browser, "/login?next=%2Fadmin%2Fimport").await;
    visit
        .fill(
            browser,
            &[("username", name), ("password", password)],
            "button.main",
        )
        .await;
    browser.until("location.pathname === '/admin/import'").await;
    let rows = (0..500).map(|number| format!("pupil{number},pupil{number}@school.example\n"));
    let table = format!("username,email\n{}bad,nowhere\n", rows.collect::<String>());
    browser
        .run_with(
            "document.getElementById('table').value = arguments[0]",
            json!([table]),
        )
        .await;
    browser.click("button.main").await;
    browser
        .until("document.querySelector('button[value=apply]')")
        .await;
    visit.look("admin-import-preview").await;
    browser.click("button[value=apply]").await;
    browser.until("document.querySelectorAll('tbody tr').length === 501 && !document.querySelector('button[value=apply]')").await;
    let status = browser.text("main [role=status]").await;
    assert_eq!(status, "501 rows: 500 new, 0 known already, 1 with mistakes.");
    visit.open(browser, "/admin/users?q=pupil499").await;
    assert_ne!(
        browser
            .run("return document.querySelector('tbody a')?.textContent ?? null")
            .await,
        Value::Null
    );
}
