//! A question, its answer while it is written, and what becomes of it when the page goes away.

use serde_json::{Value, json};
use system_tests::flowise::{Behaviour, Ending, Rule};

use super::desk::{COOKIE, CREDITS, Desk};

/// A reply of which only so many words come until it is let go on.
fn held_back(reply: &str, words: usize) -> Rule {
    Rule::once(Behaviour {
        reply: Some(reply.to_owned()),
        ending: Some((words, Ending::Hang)),
        ..Behaviour::default()
    })
}

#[actix_web::test]
async fn an_answer_is_shown_while_it_is_written_and_paid_once() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.platform
        .flowise
        .tell(held_back("The *cell* breathes in its mitochondria.", 3));
    desk.open().await;
    desk.until_credits(CREDITS).await;
    assert_eq!(browser.text("#cost").await, "A message costs 1 credit.");
    desk.send("How does a cell breathe?").await;
    desk.until_said("The cell breathes").await;
    desk.until_last("writing").await;
    assert_eq!(
        browser.heard("#send").await.1,
        "Stop the answer",
        "meanwhile it can be stopped"
    );
    desk.platform.flowise.release();
    desk.until_last("complete").await;
    assert_eq!(desk.last().await, "The cell breathes in its mitochondria.");
    assert_eq!(
        browser
            .run("return document.querySelector('.theirs em').textContent")
            .await,
        "cell"
    );
    desk.until_credits(CREDITS - 1).await;
    assert_eq!(
        browser.text("#list .name").await,
        "How does a cell breathe?",
        "it is among the conversations"
    );
    let session = desk.session_id().await;
    assert_eq!(
        desk.person.history(&session).await.len(),
        2,
        "and the address names it"
    );
    let severe: Vec<String> = browser
        .console()
        .await
        .into_iter()
        .filter(|line| line.starts_with("SEVERE") && !line.contains("/api/v1/auth/config"))
        .collect();
    assert_eq!(severe, Vec::<String>::new());
}

#[actix_web::test]
async fn an_answer_is_stopped_and_the_conversation_goes_on() {
    let desk = Desk::start().await;
    desk.platform.flowise.tell(held_back("One two three four", 2));
    desk.open().await;
    desk.send("Count").await;
    desk.until_said("One two").await;
    desk.browser.click("#send").await;
    desk.until_last("stopped").await;
    assert_eq!(desk.last().await, "One two", "what was said stays");
    assert!(
        desk.browser
            .text(".theirs .note")
            .await
            .contains("You stopped this answer")
    );
    let answer = desk.ask("And now?").await;
    assert!(answer.contains("And now?"), "{answer}");
    let running = desk
        .person
        .proxy
        .get("/api/v1/chat/turns?status=running")
        .await
        .expect(200);
    assert_eq!(running.body["count"], 0);
}

#[actix_web::test]
async fn a_page_that_is_loaded_again_in_the_middle_gets_the_rest() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.platform
        .flowise
        .tell(held_back("First words, then the last ones.", 2));
    desk.open().await;
    desk.send("Tell me").await;
    desk.until_said("First words").await;
    browser.until("location.hash.length > 30").await;
    browser.reload().await;
    desk.until_ready().await;
    desk.until_said("First words").await;
    desk.until_last("writing").await;
    let count = browser
        .run("return document.querySelectorAll('.message').length")
        .await;
    assert_eq!(count, 2, "the question and its answer, each once");
    desk.platform.flowise.release();
    desk.until_last("complete").await;
    assert_eq!(desk.last().await, "First words, then the last ones.");
    desk.until_credits(CREDITS - 1).await;
    browser.reload().await;
    desk.until_ready().await;
    desk.until_last("complete").await;
    assert_eq!(desk.last().await, "First words, then the last ones.");
}

#[actix_web::test]
async fn who_is_not_signed_in_is_led_to_the_log_in_page_and_back() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.open().await;
    browser.write("#input", "half a thought").await;
    browser.remove_cookie(COOKIE).await;
    browser.write("#input", system_tests::browser::ENTER).await;
    browser.until("location.pathname === '/login'").await;
    let next = "return new URLSearchParams(location.search).get('next')";
    assert_eq!(browser.run(next).await, json!("/chat?language=en"));
    desk.sign_in().await;
    desk.open().await;
    let draft = browser.run("return document.querySelector('#input').value").await;
    assert_eq!(
        draft,
        Value::from("half a thought"),
        "nothing that was written is lost"
    );
}
