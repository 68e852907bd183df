//! What visitors of a site do with the chat on it.

use serde_json::json;
use system_tests::{
    browser::ESCAPE,
    flowise::{Behaviour, Ending, Rule},
};

use crate::{
    attacks::CORPUS,
    stage::{CREDITS, Stage},
};

/// An answer that says nothing more after so many words, until it is released.
fn hangs_after(words: usize) -> Rule {
    Rule::once(Behaviour {
        ending: Some((words, Ending::Hang)),
        ..Behaviour::default()
    })
}

#[actix_web::test]
async fn an_answer_is_seen_while_it_is_written_and_found_again() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.platform.flowise.tell(hangs_after(2));

    stage.open_chat().await;
    stage.send("Tell me about the sea and the stars").await;
    browser
        .until("document.querySelector('.theirs .text')?.innerText.trim()")
        .await;
    let first = stage.last().await;
    stage.until_last("writing").await;
    assert_eq!(
        browser
            .run("return document.querySelector('#send').ariaLabel")
            .await,
        "Stop the answer"
    );
    assert_eq!(
        browser
            .run("return document.querySelector('#spoken').textContent")
            .await,
        "",
        "nothing is read out yet"
    );
    stage.platform.flowise.release();
    stage.until_last("complete").await;
    let whole = stage.last().await;
    assert!(
        whole.len() > first.len() && whole.starts_with(&first),
        "{first:?} {whole:?}"
    );
    let spoken = browser
        .run("return document.querySelector('#spoken').textContent")
        .await;
    assert_eq!(spoken, format!("Assistant: {whole}"));

    stage.open_chat().await;
    browser
        .until("document.querySelectorAll('.message').length === 2")
        .await;
    assert_eq!(stage.last().await, whole, "a reload finds the conversation");
    let again = stage.ask("And the moon?").await;
    assert!(!again.is_empty() && again != whole);
    stage.platform.until_all_is_settled().await;
    let spent = stage
        .platform
        .count("SELECT coalesce(sum(remaining_credits), 0)::bigint AS count FROM credit_allocations")
        .await;
    assert_eq!(spent, CREDITS - 2, "its owner pays");
}

#[actix_web::test]
async fn an_answer_can_be_stopped() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.platform.flowise.tell(hangs_after(3));

    stage.open_chat().await;
    stage.send("Tell me everything").await;
    browser
        .until("document.querySelector('.theirs .text')?.innerText.trim()")
        .await;
    let kept = stage.last().await;
    browser.click("#send").await;
    stage.until_last("stopped").await;

    assert_eq!(stage.last().await, kept, "what was there stays");
    assert_eq!(browser.text(".note").await, "You stopped this answer.");
    assert_eq!(
        browser
            .run("return document.querySelector('#send').ariaLabel")
            .await,
        "Send"
    );
    assert!(
        !stage.ask("Shorter, please").await.is_empty(),
        "the conversation goes on at once"
    );
}

#[actix_web::test]
async fn conversations_never_know_of_each_other() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.open_chat().await;
    stage.ask("My name is Ada").await;
    browser.click("#newChat").await;
    browser
        .until("document.querySelectorAll('.message').length === 0")
        .await;
    stage.ask("Who am I?").await;
    let chats = || {
        let predictions = stage.platform.flowise.predictions();
        predictions
            .into_iter()
            .map(|prediction| {
                serde_json::from_str::<serde_json::Value>(&prediction.body).unwrap()["chatId"].to_string()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(chats().len(), 2);
    assert_ne!(chats()[0], chats()[1], "each has a name of its own at Flowise");

    browser.click("#drawerButton").await;
    browser
        .until("document.querySelectorAll('#list .open').length === 2")
        .await;
    assert_eq!(browser.text("#list li:first-child .name").await, "Who am I?");
    browser.click("#list li:last-child .open").await;
    browser
        .until("document.querySelector('.mine')?.innerText.includes('Ada')")
        .await;
    stage.ask("And my name?").await;
    assert_eq!(chats()[2], chats()[0], "an old one goes on where it was");

    browser.click("#drawerButton").await;
    browser.click("#list li:first-child .quiet").await;
    browser.press(ESCAPE).await;
    browser.until("!document.querySelector('.confirming')").await;
    browser.click("#list li:first-child .quiet").await;
    browser.click(".confirming .danger").await;
    browser
        .until("document.querySelectorAll('#list .open').length === 1")
        .await;
    assert_eq!(browser.text("#list .name").await, "Who am I?");
    stage.open_chat().await;
    browser
        .until("document.querySelector('.mine')?.innerText.includes('Who am I?')")
        .await;
    browser.click("#drawerButton").await;
    browser
        .until("document.querySelectorAll('#list .open').length === 1")
        .await;
}

#[actix_web::test]
async fn what_comes_while_nobody_looks_is_counted() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.platform.flowise.tell(hangs_after(1));
    stage.open_chat().await;
    stage.send("A long story, please").await;
    browser
        .until("document.querySelector('.theirs .text')?.innerText.trim()")
        .await;
    browser.press(ESCAPE).await;
    browser.leave().await;
    let root = "document.querySelector('#chat-widget-root').shadowRoot";
    browser
        .until(&format!("{root}.activeElement?.className === 'launcher'"))
        .await;
    assert_eq!(stage.launcher_label().await, "Open chat");

    stage.platform.flowise.release();
    browser
        .until(&format!("{root}.querySelector('.badge').textContent === '1'"))
        .await;
    assert_eq!(stage.launcher_label().await, "Open chat. Unread messages: 1");
    stage.press_launcher().await;
    browser
        .until(&format!("{root}.querySelector('.badge').hidden"))
        .await;
    assert_eq!(stage.launcher_label().await, "Close chat");
}

#[actix_web::test]
async fn nothing_that_is_said_becomes_more_than_text() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    let hostile = CORPUS.join("\n\n");
    stage.platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(hostile.clone()),
        ..Behaviour::default()
    }));
    let title = "%3Cimg%20src%3Dx%20onerror%3Dparent.hit%3D1%3E";
    stage
        .open_page(&format!(
            "&title={title}&placeholder={title}&welcomeMessage={title}"
        ))
        .await;
    assert_eq!(browser.text("#title").await, "<img src=x onerror=parent.hit=1>");
    stage.ask("<img src=x onerror=window.hit=1> **not bold**").await;
    assert_eq!(
        browser.text(".mine .text").await,
        "<img src=x onerror=window.hit=1> **not bold**"
    );
    browser.reload().await;
    stage.until_ready().await;
    stage.until_last("complete").await;
    browser.click("#drawerNew").await;
    browser.click("#list .open").await;

    let found = "return [...document.querySelectorAll('img, script:not([src]), iframe, style, form:not(#form), object, meta[http-equiv], base')]
        .map((node) => node.outerHTML)
        .concat(performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => !name.startsWith(location.origin)))
        .concat(window.hit === undefined ? [] : ['a script ran'])";
    assert_eq!(browser.run(found).await, json!([]));
    let stopped: Vec<_> = browser
        .console()
        .await
        .into_iter()
        .filter(|line| line.contains("Security Policy"))
        .collect();
    assert_eq!(stopped, Vec::<String>::new());
    // And if something did get in, the policy would stop it.
    let tried = "try { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); return 'done' } catch (error) { return error.name }";
    assert_eq!(browser.run(tried).await, "TypeError");
    let inline = "const script = document.createElement('script'); script.append('window.hit = 1'); document.body.append(script); return window.hit ?? 0";
    assert_eq!(
        browser
            .run(&format!("try {{ {inline} }} catch (error) {{ return 0 }}"))
            .await,
        0
    );
}
