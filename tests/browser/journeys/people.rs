//! Somebody finds their way in, chats, and looks after their account.

use common_http::Clock;
use serde_json::json;
use system_tests::{
    browser::{Browser, ENTER},
    fleet::until,
    flowise::{Behaviour, Rule},
    oidc::Stranger,
};
use totp_rs::{Builder, Secret, Totp};

use super::{Journey, PASSWORD, arrives_at};
use crate::{chat_page::DROP_PICTURE, workbench::strings};

const EMAIL: &str = "ada@example.com";

/// What the phone shows, some steps of 30 seconds from now.
fn code_of(phone: &Totp, steps: u64) -> String {
    let now = u64::try_from(Clock::System.now().timestamp()).unwrap();
    phone.generate(now + 30 * steps).to_string()
}

async fn register(journey: &Journey) {
    journey.open("/").await;
    journey.arrives_at("/login").await;
    journey.browser.click("a[href='/register']").await;
    journey.arrives_at("/register").await;
    let fields = [
        ("username", "ada"),
        ("email", EMAIL),
        ("password", PASSWORD),
        ("password_repeat", PASSWORD),
    ];
    journey.fill(&fields, "button.main").await;
    journey.arrives_at("/verify").await;
    let mail = journey.fleet.mail_to(EMAIL, "verification code: ").await;
    let (_, after) = mail.split_once("verification code: ").unwrap();
    let code: String = after.chars().take(6).collect();
    journey.fill(&[("code", &code)], "button.main").await;
    journey.arrives_at("/login").await;
    journey.log_in(&journey.browser, "ada", PASSWORD).await;
    journey.arrives_at("/").await;
}

/// Turns the second factor on; the phone, and what replaces it.
async fn enrol(journey: &Journey) -> (Totp, Vec<String>) {
    journey.open("/account/two-factor").await;
    journey.fill(&[("password", PASSWORD)], "main button.main").await;
    journey
        .browser
        .until("document.querySelector('img.qr')?.complete")
        .await;
    let secret = Secret::try_from_base32(&journey.browser.text("code.secret").await).unwrap();
    let phone = Builder::new()
        .with_secret(secret)
        .with_account_name("ada")
        .build()
        .unwrap();
    journey
        .fill(&[("code", &code_of(&phone, 0))], "main button.main")
        .await;
    let codes = "[...document.querySelectorAll('.codes li')].map((code) => code.innerText.trim())";
    journey.browser.until(&format!("{codes}.length === 10")).await;
    let codes = journey.browser.run(&format!("return {codes}")).await;
    (phone, strings(&codes))
}

async fn chat(journey: &Journey) {
    let browser = &journey.browser;
    let credits = |credits: i64| {
        format!("document.querySelector('#credits')?.innerText.trim() === '{credits} credits'")
    };
    let answered = |count: usize| {
        format!(
            "[...document.querySelectorAll('.theirs')].filter((answer) => answer.dataset.state === 'complete').length === {count}"
        )
    };
    journey.open("/chat?language=en").await;
    browser
        .until("document.querySelector('#root')?.hidden === false")
        .await;
    browser.until(&credits(10)).await;
    // The answer is seen growing before it is whole.
    journey.fleet.flowise.tell(Rule::always(Behaviour {
        token_delay_ms: Some(50),
        ..Behaviour::default()
    }));
    browser
        .run(
            "window.lengths = []; new MutationObserver(() => {
                 const length = [...document.querySelectorAll('.theirs .text')].at(-1)?.innerText.length ?? 0;
                 if (length !== window.lengths.at(-1)) window.lengths.push(length);
             }).observe(document.body, { childList: true, subtree: true, characterData: true });",
        )
        .await;
    let question = "Say this back to me, word by word, so that I can see it come";
    browser.write("#input", &format!("{question}{ENTER}")).await;
    browser.until(&answered(1)).await;
    browser.until("window.lengths.length > 3").await;
    browser.until(&credits(9)).await;
    browser.run(DROP_PICTURE).await;
    browser
        .until("document.querySelector('#attachments li')?.dataset.state === 'ready'")
        .await;
    browser.write("#input", &format!("What is on it?{ENTER}")).await;
    browser.until(&answered(2)).await;
    browser.until(&credits(8)).await;
    let asked = journey.fleet.flowise.predictions();
    let asked = serde_json::to_string(&asked.last().unwrap().body).unwrap();
    assert!(asked.contains("mountains.png"), "the chatflow got the picture");
    let found = browser.barriers().await;
    assert!(found.is_empty(), "{found:#?}");
}

#[actix_web::test]
async fn somebody_registers_proves_themselves_chats_and_looks_after_their_devices() {
    let journey = Journey::begin().await;
    let browser = &journey.browser;
    journey.add_provider().await;
    register(&journey).await;
    let (phone, spare) = enrol(&journey).await;
    journey.log_out().await;
    journey.log_in(browser, "ada", PASSWORD).await;
    journey.arrives_at("/login/code").await;
    journey
        .fill(&[("code", &code_of(&phone, 1))], "button.main")
        .await;
    journey.arrives_at("/").await;

    // The provider knows her by another address: it is linked because she is signed in.
    journey
        .provider
        .becomes(Stranger::new("1001", "ada@elsewhere.example"));
    journey.open("/account/identities").await;
    browser
        .click("form[action='/account/identities/school'] button")
        .await;
    browser
        .until("document.querySelectorAll('.rows li').length === 1")
        .await;
    journey.arrives_at("/account/identities").await;
    journey.look("identities-linked").await;
    journey.log_out().await;
    journey.look("login-with-provider").await;
    browser.click(".providers a").await;
    journey.arrives_at("/login/code").await;
    journey.fill(&[("code", &spare[0])], "button.main").await;
    journey.arrives_at("/").await;

    journey.equip(EMAIL, 10).await;
    chat(&journey).await;
    journey.open("/credits").await;
    assert!(browser.text("main").await.contains('8'));
    journey.look("credits-spent").await;

    // Another device, signed out from this one.
    let other = Browser::start().await;
    journey.log_in(&other, "ada", PASSWORD).await;
    arrives_at(&other, "/login/code").await;
    super::fill_in(&other, &[("code", &spare[1])], "button.main").await;
    arrives_at(&other, "/").await;
    journey.open_in(&other, "/chat").await;
    other
        .until("document.querySelector('#root')?.hidden === false")
        .await;
    journey.open("/account/devices").await;
    browser
        .run("document.querySelector('.rows li:not(:has(.badge)) button').id = 'other'")
        .await;
    browser.click("#other").await;
    browser
        .until("document.querySelectorAll('.rows li').length === 1")
        .await;
    // The chat page asks proxy-service, which hears of it in a moment.
    let is_out = async || {
        let asked = "return (await fetch('/api/v1/chat/sessions')).status";
        other.run(asked).await == json!(401)
    };
    until("the other device is signed out everywhere", is_out).await;
    journey.open_in(&other, "/account").await;
    arrives_at(&other, "/login").await;
    assert_eq!(
        browser
            .run("return (await fetch('/api/v1/chat/sessions')).status")
            .await,
        json!(200)
    );
}

#[actix_web::test]
async fn the_last_way_in_stays() {
    let journey = Journey::begin().await;
    let browser = &journey.browser;
    journey.add_provider().await;
    journey.provider.becomes(Stranger::new("2002", "bob@example.com"));
    journey.open("/login?next=%2Faccount%2Fidentities").await;
    browser.click(".providers a").await;
    journey.arrives_at("/account/identities").await;
    browser.click(".rows form button").await;
    browser
        .until("document.querySelector('[role=alert]')?.innerText.includes('your last way to sign in')")
        .await;
    journey.look("identities-last").await;
    journey.open("/account/identities").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.rows li').length")
            .await,
        json!(1)
    );
}
