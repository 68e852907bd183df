//! Asking in the window: seen while it is written, paid, kept, gone on with, stopped.

use serde_json::json;
use system_tests::flowise::{Behaviour, Ending, Rule, chatflow};

use super::{
    school::{ROOT, School},
    site::SITE_HOST,
};

/// An answer that says nothing more after so many words, until it is released or stopped.
fn hangs_after(words: usize) -> Rule {
    Rule::once(Behaviour {
        ending: Some((words, Ending::Hang)),
        ..Behaviour::default()
    })
}

#[actix_web::test]
async fn an_answer_is_seen_while_it_is_written_paid_and_kept() {
    let school = School::start(5).await;
    let browser = &school.browser;
    school.platform.flowise.tell(hangs_after(2));
    school.visit().await;
    school.send("What does a cell eat?").await;
    school.until_last("Mock reply").await;
    school.platform.flowise.release();
    school.until_last("Mock reply to: What does a cell eat?").await;
    school.until_done().await;
    browser.picture("flowise-embed").await;

    school.platform.until_all_is_settled().await;
    assert_eq!(school.pupil.balance().await, 4);
    let asked = school.platform.flowise.predictions();
    let asked = asked[0].json().unwrap();
    assert_eq!(asked["streaming"], true);
    let sessions = school.sessions().await;
    assert_eq!(sessions.len(), 1);
    let kept = school.pupil.history(&sessions[0]).await;
    let texts: Vec<_> = kept.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        ["What does a cell eat?", "Mock reply to: What does a cell eat?"]
    );

    // A page that is loaded again shows what was said, and goes on where it was.
    browser.reload().await;
    school.open_window().await;
    let said = school.said().await;
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        school.ask("And what does it drink?").await,
        "Mock reply to: And what does it drink?"
    );
    assert_eq!(school.sessions().await, sessions);
    assert_eq!(school.pupil.history(&sessions[0]).await.len(), 4);
    school.platform.until_all_is_settled().await;
    assert_eq!(school.pupil.balance().await, 3);
    let memories = school.platform.flowise.predictions();
    let memories: Vec<_> = memories
        .iter()
        .map(|asked| asked.json().unwrap()["chatId"].clone())
        .collect();
    assert_eq!(memories[0], memories[1], "the chatflow remembers");

    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
    school.platform.verify_ledger().await.unwrap();
}

#[actix_web::test]
async fn a_whole_page_asks_as_well_and_begins_anew() {
    let school = School::start(5).await;
    school
        .site
        .show(&school.chat, &school.platform.chatflow_id, |tag| {
            format!("<flowise-fullchatbot></flowise-fullchatbot>{tag}")
                .replace("Chatbot.init(", "Chatbot.initFull(")
        });
    school.browser.open(&school.site.origin(SITE_HOST)).await;
    school.until_open().await;
    assert_eq!(school.ask("one").await, "Mock reply to: one");
    school.browser.picture("flowise-embed-full").await;
    school
        .browser
        .click_found(&format!(
            "{ROOT}.querySelector('button[title=\"Reset Chat\"]:not(:disabled)')"
        ))
        .await;
    school
        .browser
        .until(&format!(
            "{ROOT}.querySelectorAll('[data-testid=guest-bubble]').length === 0"
        ))
        .await;
    assert_eq!(school.ask("two").await, "Mock reply to: two");
    assert_eq!(school.sessions().await.len(), 2);
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_chatflow_that_cannot_stream_answers_whole() {
    let school = School::start(5).await;
    school.teach_with(chatflow::FUNCTION, &json!({})).await;
    school.visit().await;
    let answer = school.ask("one").await;
    assert!(!answer.is_empty() && !answer.starts_with("Error"), "{answer}");
    school.platform.until_all_is_settled().await;
    assert_eq!(school.pupil.balance().await, 4);
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn an_answer_is_stopped_by_the_button_that_agentflows_have() {
    let school = School::start(5).await;
    // The window has the button only once it has seen a step of the chatflow.
    let shown = json!({ "show_inner_events": true });
    school.teach_with(chatflow::LLM, &shown).await;
    school.platform.flowise.tell(hangs_after(2));
    school.visit().await;
    school.send("Tell me everything about cells").await;
    let stop = format!("{ROOT}.querySelector('button[title=Stop]:not(:disabled)')");
    school.browser.click_found(&stop).await;
    school.until_done().await;
    let aborted = school
        .platform
        .flowise
        .wait_until(|counts| counts.abort_calls == 1)
        .await;
    aborted.unwrap();
    assert_eq!(school.ask("And now?").await, "Mock reply to: And now?");
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_conversation_that_is_left_while_it_is_answered_is_stopped() {
    let school = School::start(5).await;
    school.platform.flowise.tell(hangs_after(2));
    school.visit().await;
    school.send("Tell me everything about cells").await;
    school.until_last("Mock reply").await;
    school.browser.run("window.Chatbot.clearChat()").await;
    school
        .browser
        .until(&format!(
            "{ROOT}.querySelectorAll('[data-testid=guest-bubble]').length === 0"
        ))
        .await;
    let running = async || {
        let turns = school.pupil.proxy.get("/api/v1/chat/turns?status=running").await;
        turns.expect(200).body["count"].clone()
    };
    school
        .platform
        .until("the turn has ended", async || running().await == 0)
        .await;
    school.platform.until_all_is_settled().await;
}
