//! Conversations: listed in pages, searched, renamed, saved, deleted.

use serde_json::json;
use system_tests::browser::{ENTER, ESCAPE};

use super::desk::Desk;

/// What the list says, from above.
async fn names(desk: &Desk) -> Vec<String> {
    let names = desk
        .browser
        .run("return [...document.querySelectorAll('#list .name')].map((name) => name.innerText)")
        .await;
    serde_json::from_value(names).unwrap()
}

/// Opens the menu of the first conversation and chooses an entry.
async fn choose(desk: &Desk, entry: &str) {
    desk.browser
        .run("document.querySelector('#list .quiet').focus()")
        .await;
    desk.browser.press(ENTER).await;
    desk.browser.until("document.querySelector('[role=menu]')").await;
    let find = format!(
        "return [...document.querySelectorAll('[role=menuitem]')].find((item) => item.innerText.includes({}))",
        json!(entry)
    );
    let item = desk.browser.element(&find).await;
    desk.browser.click_on(&item).await;
}

#[actix_web::test]
async fn a_conversation_is_renamed_and_goes_on_by_its_name() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    let session = desk.person.chat("What is osmosis?").await.session_id().to_owned();
    desk.open().await;
    browser.click("#list .open").await;
    browser
        .until("document.querySelectorAll('.message').length === 2")
        .await;
    assert_eq!(desk.session_id().await, session);
    assert_eq!(browser.text("h1").await, "What is osmosis?");

    choose(&desk, "Rename").await;
    browser
        .until("document.activeElement.matches('.rename input')")
        .await;
    browser.press(ESCAPE).await;
    browser.until("!document.querySelector('.rename')").await;
    assert_eq!(names(&desk).await, ["What is osmosis?"], "Escape changes nothing");

    choose(&desk, "Rename").await;
    browser
        .until("document.activeElement.matches('.rename input')")
        .await;
    browser.press("Biology").await;
    browser.press(ENTER).await;
    browser
        .until("document.querySelector('h1').innerText === 'Biology'")
        .await;
    assert_eq!(names(&desk).await, ["Biology"]);
    let sessions = desk.person.proxy.get("/api/v1/chat/sessions").await.expect(200);
    assert_eq!(sessions.body["sessions"][0]["topic"], "Biology");

    desk.ask("And diffusion?").await;
    assert_eq!(desk.session_id().await, session, "the same conversation");
    assert_eq!(desk.person.history(&session).await.len(), 4);
}

#[actix_web::test]
async fn conversations_are_found_by_name_and_by_what_was_said() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.person.chat("How do whales sleep?").await;
    desk.person.chat("Where is Lantau?").await;
    desk.open().await;
    browser
        .until("document.querySelectorAll('#list li').length === 2")
        .await;
    browser.write("#search", "lantau").await;
    browser
        .until("document.querySelectorAll('#list li').length === 1")
        .await;
    assert_eq!(names(&desk).await, ["Where is Lantau?"]);
    browser
        .until("document.querySelector('#found mark')?.innerText === 'Lantau'")
        .await;
    browser.click("#found .open").await;
    browser.until("document.activeElement.matches('.message')").await;
    assert!(
        browser
            .run("return document.activeElement.innerText")
            .await
            .as_str()
            .unwrap()
            .contains("Lantau")
    );
    browser.run("document.querySelector('#search').select()").await;
    browser.write("#search", "nothing like it").await;
    browser
        .until("document.querySelector('#listNote').innerText === 'No conversation is called so.'")
        .await;
    browser.press(ESCAPE).await;
    browser
        .until("document.querySelectorAll('#list li').length === 2")
        .await;
}

#[actix_web::test]
async fn deleting_asks_first_and_then_deletes() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    let session = desk.person.chat("To be forgotten").await.session_id().to_owned();
    desk.open().await;
    browser.click("#list .open").await;
    browser
        .until("document.querySelectorAll('.message').length === 2")
        .await;
    choose(&desk, "Delete").await;
    browser.until("document.querySelector('dialog[open]')").await;
    assert_eq!(
        browser.heard("dialog").await,
        ("dialog".to_owned(), "Delete this conversation?".to_owned())
    );
    assert_eq!(
        browser.run("return document.activeElement.innerText").await,
        "Cancel",
        "Enter alone deletes nothing"
    );
    browser.press(ESCAPE).await;
    browser.until("!document.querySelector('dialog')").await;
    assert_eq!(desk.person.history(&session).await.len(), 2);

    choose(&desk, "Delete").await;
    browser.click("dialog .danger").await;
    browser
        .until("document.querySelectorAll('#list li').length === 0")
        .await;
    browser
        .until("document.querySelectorAll('.message').length === 0 && location.hash === ''")
        .await;
    desk.person
        .proxy
        .get(&format!("/api/v1/chat/sessions/{session}/history"))
        .await
        .expect_problem(404, "session_not_found");
    let sessions = desk.person.proxy.get("/api/v1/chat/sessions").await.expect(200);
    assert_eq!(sessions.body["count"], 0);
}

#[actix_web::test]
async fn a_long_list_comes_in_pages() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    for number in 0..33 {
        let body = json!({ "chatflow_id": desk.person.chatflow_id, "topic": format!("Number {number}") });
        desk.person
            .proxy
            .post("/api/v1/chat/sessions", &body)
            .await
            .expect(201);
    }
    desk.open().await;
    browser
        .until("document.querySelectorAll('#list li').length === 30")
        .await;
    browser.click("#more").await;
    browser
        .until("document.querySelectorAll('#list li').length === 33")
        .await;
    assert_eq!(
        browser.run("return document.querySelector('#more').hidden").await,
        true
    );
    let names = names(&desk).await;
    assert_eq!((names[0].as_str(), names[32].as_str()), ("Number 32", "Number 0"));
}

#[actix_web::test]
async fn a_conversation_is_saved_as_a_file() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.person.chat("Save / this: <now>").await;
    desk.open().await;
    browser
        .run(
            "const make = URL.createObjectURL;
            URL.createObjectURL = (blob) => { window.saved = blob.text(); return make.call(URL, blob); };
            HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };",
        )
        .await;
    choose(&desk, "Markdown").await;
    browser.until("window.savedAs").await;
    assert_eq!(browser.run("return window.savedAs").await, "Save this now.md");
    let saved = browser.run("return window.saved").await;
    assert!(saved.as_str().unwrap().contains("Save / this: <now>"), "{saved}");
}

#[actix_web::test]
async fn the_way_back_leads_to_the_conversation_before() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    let first = desk.person.chat("The first").await.session_id().to_owned();
    desk.person.chat("The second").await;
    desk.open().await;
    browser.click("#list li:last-child .open").await;
    browser
        .until("document.querySelector('h1').innerText === 'The first'")
        .await;
    browser.click("#list li:first-child .open").await;
    browser
        .until("document.querySelector('h1').innerText === 'The second'")
        .await;
    browser.run("history.back()").await;
    browser
        .until("document.querySelector('h1').innerText === 'The first'")
        .await;
    assert_eq!(desk.session_id().await, first);
    browser.click("#newChat").await;
    browser
        .until("location.hash === '' && !document.querySelector('#greeting').hidden")
        .await;
    browser
        .run("location.hash = '#0193aaaa-0000-4000-8000-000000000000'")
        .await;
    browser
        .until("document.querySelector('#notice').innerText === 'This conversation does not exist any more.'")
        .await;
    browser
        .until("location.hash === '' && !document.querySelector('#greeting').hidden")
        .await;
}
