//! For everybody: by keyboard, by ear, with bad eyes, in either direction.

use serde_json::{Value, json};
use system_tests::browser::{ENTER, ESCAPE, TAB};

use super::desk::Desk;
use crate::{accessibility::FAULTS, workbench::strings};

/// The faults of the whole page, windows and menus included.
async fn faults(desk: &Desk) -> Vec<String> {
    let script = FAULTS.replace("'#root *'", "'body *'").replace("#root ", "body ");
    strings(&desk.browser.run(&script).await)
}

#[actix_web::test]
async fn everything_can_be_seen_hit_and_named() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    let none = Vec::<String>::new();
    for scheme in ["light", "dark"] {
        browser.prefer("prefers-color-scheme", scheme).await;
        browser.resize(360, 780).await;
        desk.open().await;
        assert_eq!(faults(&desk).await, none, "{scheme}: empty");
        desk.ask("A question").await;
        assert_eq!(faults(&desk).await, none, "{scheme}: a conversation");
        browser.click("#drawerButton").await;
        assert_eq!(faults(&desk).await, none, "{scheme}: the drawer");
        browser.click("#list .quiet").await;
        assert_eq!(faults(&desk).await, none, "{scheme}: a menu");
        browser.click("[role=menu] .danger").await;
        assert_eq!(faults(&desk).await, none, "{scheme}: a window");
        browser.press(ESCAPE).await;
        let widths = "return [document.documentElement.scrollWidth, document.querySelector('#main').scrollWidth <= 360]";
        assert_eq!(
            browser.run(widths).await,
            json!([360, true]),
            "nothing is wider than a telephone"
        );
        browser.resize(1200, 800).await;
        assert_eq!(faults(&desk).await, none, "{scheme}: wide");
    }
}

#[actix_web::test]
async fn it_is_used_by_keyboard() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.person.chat("An earlier question").await;
    browser.resize(390, 800).await;
    desk.open().await;
    browser.until("document.activeElement.id === 'input'").await;
    browser
        .run("document.activeElement.blur(); document.querySelector('#skip').focus()")
        .await;
    browser.press(ENTER).await;
    browser.until("document.activeElement.id === 'input'").await;
    desk.ask("Hello").await;
    browser.press(TAB).await;
    browser.until("document.activeElement.id === 'send'").await;

    browser
        .run("document.querySelector('#drawerButton').focus()")
        .await;
    browser.press(ENTER).await;
    browser.until("document.activeElement.id === 'newChat'").await;
    assert_eq!(
        browser.run("return document.querySelector('#main').inert").await,
        true
    );
    browser.press(ESCAPE).await;
    browser
        .until("document.activeElement.id === 'drawerButton'")
        .await;
    assert_eq!(
        browser.run("return document.querySelector('#main').inert").await,
        false
    );

    browser.run("document.querySelector('#talkButton').focus()").await;
    browser.press(ENTER).await;
    let focused = "return document.activeElement.innerText";
    assert_eq!(browser.run(focused).await, "Rename");
    browser.press("\u{e015}\u{e015}").await;
    assert_eq!(browser.run(focused).await, "Save as JSON");
    browser.press("\u{e010}\u{e015}").await;
    assert_eq!(
        browser.run(focused).await,
        "Rename",
        "from the end to the beginning"
    );
    browser.press(ESCAPE).await;
    browser
        .until("document.activeElement.id === 'talkButton' && document.activeElement.getAttribute('aria-expanded') === 'false'")
        .await;
    assert_eq!(
        browser.run("return document.querySelector('[role=menu]')").await,
        Value::Null
    );
}

#[actix_web::test]
async fn whole_answers_are_read_aloud_and_everything_has_a_role() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    browser.resize(390, 800).await;
    desk.open().await;
    browser
        .run(
            "window.heard = [];
            new MutationObserver(() => window.heard.push(document.querySelector('#spoken').textContent))
                .observe(document.querySelector('#spoken'), { childList: true, characterData: true, subtree: true });",
        )
        .await;
    let answer = desk.ask("Say something long enough").await;
    browser.until("window.heard.filter(Boolean).length === 1").await;
    assert_eq!(
        browser.run("return window.heard.filter(Boolean)").await,
        json!([format!("Assistant: {answer}")]),
        "once, and whole"
    );
    for (selector, role, name) in [
        ("#input", "textbox", "Write a message…"),
        ("#scroller", "region", "Messages"),
        ("#drawerButton", "button", "Conversations"),
        ("#attach", "button", "Add files"),
        ("#send", "button", "Send"),
        ("#personButton", "button", "You and your account"),
        ("#main", "main", ""),
        (".mine", "article", "You"),
        (".theirs", "article", "Assistant"),
        ("h1", "heading", "Say something long enough"),
    ] {
        assert_eq!(
            browser.heard(selector).await,
            (role.to_owned(), name.to_owned()),
            "{selector}"
        );
    }
    browser.resize(1200, 800).await;
    assert_eq!(
        browser.heard("nav").await,
        ("navigation".to_owned(), "Pages".to_owned())
    );
    assert_eq!(
        browser.heard("#search").await,
        ("searchbox".to_owned(), "Search conversations".to_owned())
    );
}

#[actix_web::test]
async fn it_speaks_german_goes_the_other_way_and_keeps_still() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    browser.open(&format!("{}?language=de", desk.page)).await;
    desk.until_ready().await;
    assert_eq!(browser.heard("#send").await.1, "Senden");
    browser
        .until("document.querySelector('#credits').innerText.trim() === '20 Punkte'")
        .await;
    let shown = browser
        .run("return [document.documentElement.lang, document.body.innerText.includes('undefined')]")
        .await;
    assert_eq!(shown, json!(["de", false]));

    browser.resize(390, 800).await;
    browser.run("document.documentElement.dir = 'rtl'").await;
    let turned = "const middle = innerWidth / 2; const left = (id) => document.querySelector(id).getBoundingClientRect().left;
        return [left('#drawerButton') > middle, left('#personButton') < middle, left('#send') < middle, document.documentElement.scrollWidth]";
    assert_eq!(browser.run(turned).await, json!([true, true, true, 390]));

    browser.prefer("prefers-reduced-motion", "reduce").await;
    let moves = "const dots = document.createElement('span'); dots.className = 'dots'; dots.append(document.createElement('i'));
        document.body.append(dots); const name = getComputedStyle(dots.firstChild).animationName; dots.remove(); return name";
    assert_eq!(browser.run(moves).await, "none");
}
