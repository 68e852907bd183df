//! What it looks like, for people to look at: `target/screenshots`.

use serde_json::json;
use system_tests::flowise::{Behaviour, Rule, chatflow};

use super::{desk::Desk, uploads::DROP_PICTURE};

const ANSWER: &str = "The **mitochondrion** is where a cell gets its energy:\n\n1. Sugar is split in the cytoplasm\n2. What is left enters the mitochondrion\n3. Oxygen takes the electrons, and `ATP` is made\n\n\
| Step | Where | ATP |\n|---|---|--:|\n| Glycolysis | cytoplasm | 2 |\n| Citric acid cycle | matrix | 2 |\n| Respiratory chain | inner membrane | 28 |\n\n\
> Plants have mitochondria, too.\n\n```python\ndef atp(glucose):\n    return 32 * glucose\n```\n\nRead more [in the book](https://books.example/cell).";

#[actix_web::test]
async fn pictures_are_taken() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    let admin = desk.platform.admin().await;
    for flow in [chatflow::TOOL, chatflow::LLM, chatflow::DIRECT] {
        let path = format!("/api/v1/admin/chatflows/{flow}/users");
        admin
            .proxy
            .post(&path, &json!({ "email": desk.person.email }))
            .await
            .expect(200);
    }
    desk.platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(ANSWER.to_owned()),
        ..Behaviour::default()
    }));
    for question in [
        "Why is the sky blue?",
        "Explain photosynthesis in three sentences",
        "Who was Rosalind Franklin?",
    ] {
        desk.person.chat(question).await;
    }
    let mut taken = Vec::new();
    browser.resize(1280, 860).await;
    desk.open().await;
    taken.push(browser.picture("chat-desktop-greeting").await);
    browser.run(DROP_PICTURE).await;
    browser
        .until("document.querySelector('#attachments li')?.dataset.state === 'ready'")
        .await;
    browser.write("#input", "What lives up there?").await;
    taken.push(browser.picture("chat-desktop-upload").await);
    browser.press(system_tests::browser::ENTER).await;
    desk.until_last("complete").await;
    browser
        .until("document.querySelector('.thumbnail img')?.naturalWidth > 0")
        .await;
    let to_start = "document.querySelector('#scroller').scrollTop = 0";
    browser.run(to_start).await;
    taken.push(browser.picture("chat-desktop").await);
    browser.click("#talkButton").await;
    taken.push(browser.picture("chat-desktop-menu").await);
    browser.click("[role=menu] .danger").await;
    taken.push(browser.picture("chat-desktop-delete").await);
    browser.press(system_tests::browser::ESCAPE).await;
    browser.write("#search", "mitochondrion").await;
    browser.until("document.querySelector('#found mark')").await;
    taken.push(browser.picture("chat-desktop-search").await);

    browser.prefer("prefers-color-scheme", "dark").await;
    browser.reload().await;
    desk.until_ready().await;
    desk.until_last("complete").await;
    browser
        .until("document.querySelector('.thumbnail img')?.naturalWidth > 0")
        .await;
    browser.run(to_start).await;
    taken.push(browser.picture("chat-dark").await);
    browser.resize(360, 740).await;
    taken.push(browser.picture("chat-dark-phone").await);

    browser.prefer("prefers-color-scheme", "light").await;
    taken.push(browser.picture("chat-phone").await);
    browser.click("#drawerButton").await;
    taken.push(browser.picture("chat-phone-drawer").await);
    browser.click("#newChat").await;
    taken.push(browser.picture("chat-phone-greeting").await);

    browser.resize(1280, 860).await;
    browser.open(&format!("{}?language=de", desk.page)).await;
    desk.until_ready().await;
    browser.click("#list .open").await;
    desk.until_last("complete").await;
    browser.run("document.documentElement.dir = 'rtl'").await;
    browser.run(to_start).await;
    taken.push(browser.picture("chat-rtl").await);

    let pictures: Vec<_> = taken.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(pictures.iter().all(|picture| picture.starts_with(b"\x89PNG")));
    assert!(
        (0..pictures.len()).all(|at| !pictures[..at].contains(&pictures[at])),
        "each shows something else"
    );
}
