//! What it looks like, for people to look at: `target/screenshots`.

use system_tests::flowise::{Behaviour, Rule};

use crate::stage::Stage;

const ANSWER: &str = "We are open **every day**, and longer on Fridays:\n\n| Day | Opens | Closes |\n|---|--:|--:|\n| Mon – Thu | 09:00 | 18:00 |\n\
| Friday | 09:00 | 20:00 |\n| Weekend | 10:00 | 16:00 |\n\n### Before you come\n1. Look at the [calendar](https://calendar.example)\n\
2. Bring *one* of these:\n   - your `order number`\n   - the receipt\n\n> Returns need no appointment.\n\n```python\ndef is_open(hour):\n    return 9 <= hour < 18\n```";

#[actix_web::test]
async fn pictures_are_taken() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(ANSWER.to_owned()),
        ..Behaviour::default()
    }));
    browser.resize(1280, 860).await;
    stage.open_chat().await;
    browser.picture("desktop-greeting").await;
    stage.ask("When are you open?").await;
    browser
        .run("document.querySelector('#scroller').scrollTop = 0")
        .await;
    let mut taken = vec![browser.picture("desktop").await];
    browser.click("#drawerButton").await;
    browser.picture("desktop-conversations").await;

    browser.resize(390, 844).await;
    stage.open_chat().await;
    browser
        .run("document.querySelector('#scroller').scrollTop = 0")
        .await;
    taken.push(browser.picture("phone").await);
    let whole = "return [innerWidth, innerHeight]";
    assert_eq!(
        browser.run(whole).await,
        serde_json::json!([390, 844]),
        "a telephone shows nothing else"
    );

    browser.resize(1280, 860).await;
    stage.open_page("&theme=dark&language=en").await;
    browser.picture("dark-greeting").await;
    stage.ask("When are you open?").await;
    browser
        .run("document.querySelector('#scroller').scrollTop = 0")
        .await;
    taken.push(browser.picture("dark").await);
    stage.open_page("&language=ar").await;
    browser.click("#drawerNew").await;
    stage.ask("ما هي ساعات العمل؟").await;
    browser
        .run("document.querySelector('#scroller').scrollTop = 0")
        .await;
    taken.push(browser.picture("rtl").await);

    let pictures: Vec<_> = taken.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(pictures.iter().all(|picture| picture.starts_with(b"\x89PNG")));
    assert!(
        (0..pictures.len()).all(|at| !pictures[..at].contains(&pictures[at])),
        "each shows something else"
    );
}
