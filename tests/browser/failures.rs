//! What visitors read when something fails, and what they can do about it.

use serde_json::json;

use crate::stage::Stage;

/// Answers the next request for an answer like this instead of asking the server; `null` is no network.
async fn answer_next(stage: &Stage, answer: serde_json::Value) {
    let script = "const real = window.fetch; const answer = arguments[0];
        window.fetch = (address, options) => {
            if (!String(address).includes('/chat/stream')) return real(address, options);
            window.fetch = real;
            if (answer === null) return Promise.reject(new TypeError('Failed to fetch'));
            return Promise.resolve(new Response(answer.body ?? '', { status: answer.status, headers: answer.headers ?? {} }));
        };";
    stage.browser.run_with(script, json!([answer])).await;
}

async fn note(stage: &Stage) -> String {
    let note =
        "return [...document.querySelectorAll('.message')].at(-1).querySelector('.note')?.innerText ?? ''";
    stage.browser.run(note).await.as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn every_failure_has_its_sentence_and_another_try() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.open_page("&language=en").await;
    let problem = |status: u16| json!({ "status": status, "body": "{\"detail\":\"inside <b>words</b>\"}" });
    let cases = [
        (
            problem(402),
            "This chat cannot answer at the moment. Please come back later.",
        ),
        (problem(403), "This chat does not answer on this page."),
        (problem(413), "The message is too long."),
        (problem(429), "Too many messages. Please wait a moment."),
        (problem(500), "That did not work."),
        (problem(503), "The chat is not available at the moment."),
        (serde_json::Value::Null, "The chat cannot be reached."),
    ];
    for (answer, sentence) in cases {
        answer_next(&stage, answer.clone()).await;
        stage.send("Hello?").await;
        stage.until_last("failed").await;
        assert_eq!(note(&stage).await, sentence, "{answer}");
        browser
            .until("document.querySelector('#spoken').textContent !== ''")
            .await;
        assert_eq!(
            browser
                .run("return document.querySelector('#spoken').textContent")
                .await,
            sentence
        );
    }
    let count = browser
        .run("return document.querySelectorAll('.message').length")
        .await;
    browser.click(".message:last-child .retry").await;
    stage.until_last("complete").await;
    assert!(!stage.last().await.is_empty());
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.message').length")
            .await,
        count,
        "in place of the failure"
    );
    let failed = "return document.querySelectorAll('.message[data-state=failed]').length";
    browser.reload().await;
    stage.until_ready().await;
    browser
        .until("document.querySelectorAll('.message').length > 10")
        .await;
    assert_eq!(browser.run(failed).await, 6, "failures are remembered as such");
}

#[actix_web::test]
async fn a_limit_says_how_long_to_wait() {
    let stage = Stage::with_flowise().await;
    stage.open_page("&language=de").await;
    answer_next(
        &stage,
        json!({ "status": 429, "headers": { "retry-after": "3600" } }),
    )
    .await;
    stage.send("Hallo").await;
    stage.until_last("failed").await;
    let said = note(&stage).await;
    assert!(
        said.starts_with("Zu viele Nachrichten. Bitte warten Sie 3") && said.ends_with(" s."),
        "{said}"
    );
    assert_eq!(
        stage
            .browser
            .run("return document.querySelector('.retry').disabled")
            .await,
        true
    );
}

#[actix_web::test]
async fn what_was_written_stays_when_the_rest_does_not_come() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.open_page("&language=en").await;
    let begun = "data: {\"type\":\"begin\"}\n\ndata: {\"type\":\"item\",\"content\":\"Half of **it\"}\n\n";
    let bad = "data: {\"type\":\"error\",\"content\":\"sk-secret\"}\n\ndata: [DONE]\n\n";
    for stream in [
        begun.to_owned(),
        format!("{begun}{bad}"),
        format!("{begun}data: {{\"error\":\"inside\"}}\n\n"),
    ] {
        answer_next(&stage, json!({ "status": 200, "body": stream })).await;
        stage.send("Tell me").await;
        stage.until_last("interrupted").await;
        assert_eq!(stage.last().await, "Half of **it");
        assert_eq!(note(&stage).await, "The answer was cut off here.");
    }
    assert_eq!(
        browser
            .run("return document.body.innerText.includes('sk-secret')")
            .await,
        false
    );
    // Rubbish between good events is nothing; an end that nobody announced is one.
    let odd = "data: rubbish\n\ndata: [1]\n\ndata: {\"type\":\"item\",\"content\":\"All\"}\n\ndata: {\"type\":\"item\",\"content\":\" of it\"}\n\ndata: [DONE]\n\n";
    answer_next(&stage, json!({ "status": 200, "body": odd })).await;
    stage.send("Once more").await;
    stage.until_last("complete").await;
    assert_eq!(stage.last().await, "All of it");
}

#[actix_web::test]
async fn a_session_that_is_over_is_replaced_without_a_word() {
    let stage = Stage::with_flowise().await;
    stage.open_chat().await;
    stage.ask("First").await;
    let sessions = stage
        .platform
        .mongo()
        .database
        .collection::<bson::Document>("visitor_sessions");
    sessions.delete_many(bson::doc! {}).await.unwrap();
    assert!(!stage.ask("Second").await.is_empty());
    assert_eq!(
        stage
            .browser
            .run("return document.querySelectorAll('.note').length")
            .await,
        0
    );
}

#[actix_web::test]
async fn it_works_where_the_browser_keeps_nothing() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    let deny = "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('denied', 'SecurityError') } });";
    browser
        .command("Page.addScriptToEvaluateOnNewDocument", json!({ "source": deny }))
        .await;
    browser.resize(1200, 800).await;
    stage.open_page("&language=en").await;
    assert!(browser.text("#notKept").await.contains("keeps nothing"));
    assert!(!stage.ask("Hello").await.is_empty());
    browser.click("#drawerNew").await;
    browser
        .until("document.querySelectorAll('.message').length === 0")
        .await;
    browser.click("#list .open").await;
    browser
        .until("document.querySelectorAll('.message').length === 2")
        .await;
}

#[actix_web::test]
async fn it_says_so_when_it_cannot_even_begin() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    let no_network = "window.fetch = () => Promise.reject(new TypeError('Failed to fetch'));";
    let added = browser
        .command(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": no_network }),
        )
        .await;
    browser
        .open(&format!("{}/widget/chat?embed=shop&language=fr", stage.chat))
        .await;
    assert_eq!(
        browser.text("#failureText").await,
        "Le chat n’a pas pu être chargé."
    );
    browser
        .command(
            "Page.removeScriptToEvaluateOnNewDocument",
            json!({ "identifier": added["identifier"] }),
        )
        .await;
    browser.click("#failureRetry").await;
    stage.until_ready().await;
}
