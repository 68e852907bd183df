//! Workflows of n8n behind the chat.

use serde_json::json;
use system_tests::{
    n8n::{Options, StandInN8n, workflow},
    platform::Platform,
};

use crate::{
    stage::{SITE_HOST, Stage},
    workbench::asynchronous,
};

async fn stage_with(n8n: &StandInN8n, workflow: &str) -> Stage {
    let platform = Platform::start_with(&[("N8N_ALLOWED_HOSTS", &n8n.url())]).await;
    Stage::with(
        platform,
        json!({ "type": "n8n", "webhook_url": n8n.webhook(workflow) }),
    )
    .await
}

#[actix_web::test]
async fn a_workflow_answers_word_by_word_and_the_conversation_is_found_again() {
    let n8n = StandInN8n::start(&Options::default()).expect("the stand-in can listen");
    let stage = stage_with(&n8n, workflow::AGENT).await;
    let browser = &stage.browser;
    stage.open_chat().await;
    stage.send("Hello PAUSE world").await;
    n8n.wait_until_paused(1).await.expect("the answer is held back");
    browser
        .until("document.querySelector('.theirs .text')?.innerText.includes('Hello')")
        .await;
    stage.until_last("writing").await;
    assert!(
        !stage.last().await.contains("world"),
        "the first words are there before the last exist"
    );
    n8n.release();
    stage.until_last("complete").await;
    assert_eq!(stage.last().await, "You said: Hello PAUSE world");

    let told = &n8n.messages()[0].body;
    assert_eq!(
        told["session"]["page_url"],
        format!("{}/", stage.site.origin(SITE_HOST))
    );
    assert_eq!(told["session"]["origin_domain"], SITE_HOST);

    stage.open_chat().await;
    browser
        .until("document.querySelectorAll('.message').length === 2")
        .await;
    assert_eq!(stage.last().await, "You said: Hello PAUSE world");
    stage.ask("MARKDOWN, please").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.theirs .text :is(h3, strong, ul, pre)').length")
            .await,
        4
    );
    let sessions: Vec<_> = n8n
        .messages()
        .iter()
        .map(|message| message.body["session"]["session_id"].clone())
        .collect();
    assert_eq!(sessions[0], sessions[1], "to the workflow it is one conversation");
}

#[actix_web::test]
async fn a_failing_workflow_shows_nothing_of_its_inside() {
    let n8n = StandInN8n::start(&Options::default()).expect("the stand-in can listen");
    let stage = stage_with(&n8n, workflow::MODEL_FAILS).await;
    stage.open_chat().await;
    stage.send("Hello").await;
    stage.browser.until("document.querySelector('.theirs') && document.querySelector('.theirs').dataset.state !== 'writing'").await;
    let shown = stage.browser.run("return document.body.innerText").await;
    let shown = shown.as_str().unwrap();
    assert!(!shown.contains("API key") && !shown.contains("sk-"), "{shown}");
    assert!(
        stage
            .browser
            .run("return document.querySelector('.theirs').innerText.trim().length")
            .await
            != 0
    );
}

/// What the page of the older widget does, in its order: it knows no ticket, and shows nothing but its cookie.
#[actix_web::test]
async fn the_old_pages_calls_are_answered() {
    let n8n = StandInN8n::start(&Options::default()).expect("the stand-in can listen");
    let stage = stage_with(&n8n, workflow::AGENT).await;
    let change = json!({ "requires_ticket": false });
    let (platform, browser) = (&stage.platform, &stage.browser);
    platform
        .as_admin(
            &platform.proxy,
            reqwest::Method::PATCH,
            "/api/v1/embeds/shop",
            &change,
        )
        .await
        .expect(200);
    browser
        .open(&format!(
            "{}/widget/modern-widget.html?embed=shop&title=Old%20title",
            stage.chat
        ))
        .await;
    stage.until_ready().await;
    let calls = "
        const config = await (await fetch('./widget-config.json')).json();
        const created = await fetch('/api/v1/session/create', {
            method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ origin_domain: location.hostname, page_url: location.href }),
        });
        const query = new URLSearchParams({ message: 'Hi', page_url: location.href });
        const events = await new Promise((resolve) => {
            const seen = [];
            const source = new EventSource(`${config.api.baseUrl}/api/v1/chat/stream?${query}`, { withCredentials: true });
            source.onerror = () => { source.close(); resolve([...seen, 'error']) };
            source.onmessage = (event) => {
                seen.push(event.data === '[DONE]' ? event.data : JSON.parse(event.data));
                if (event.data === '[DONE]') { source.close(); resolve(seen) }
            };
        });
        const answer = events.filter((event) => event.type === 'item').map((event) => event.content).join('');
        return [config.texts.header.title, created.status, typeof (await created.json()).session_id, document.cookie,
            events[0].type, events.at(-1), answer];";
    let seen = browser.run(&asynchronous(calls)).await;
    assert_eq!(
        seen,
        json!(["Old title", 200, "string", "", "begin", "[DONE]", "You said: Hi"])
    );
}
