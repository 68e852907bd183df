//! What the window has beside questions and answers: pictures, forms, documents, thumbs, suggestions; and what it is not told of,
//! because there is nothing behind it here.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bson::doc;
use serde_json::json;
use system_tests::flowise::{Behaviour, Rule, chatflow};

use super::{
    school::{ROOT, School},
    site::documented,
};

/// A PNG of one green pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mPQjw0AAAGbAN3xiTfbAAAAAElFTkSuQmCC";

/// The recorded document that Flowise read.
const NOTE: &str = "The quick brown fox.\n";

impl School {
    /// Gives a key also to what the window asks without its hook, as the documents say.
    fn key_everything(&self) {
        let first = documented("js");
        self.site.show(&self.chat, &self.platform.chatflow_id, |tag| {
            tag.replacen("\n  Chatbot.init(", &format!("\n{first}\n  Chatbot.init("), 1)
        });
    }

    /// Chooses a file of this name in the window.
    async fn choose(&self, folder: &tempfile::TempDir, name: &str, content: &[u8]) {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let input = format!("{ROOT}.querySelector('[data-testid=input] input[type=file]')");
        self.browser
            .write_found(&input, &path.display().to_string())
            .await;
    }
}

#[actix_web::test]
async fn a_picture_goes_with_the_question() {
    let school = School::start(5).await;
    school.teach_with(chatflow::LLM, &json!({})).await;
    school.visit().await;
    let folder = tempfile::tempdir().unwrap();
    school
        .choose(&folder, "leaf.png", &BASE64_STANDARD.decode(PIXEL).unwrap())
        .await;
    let preview = format!("{ROOT}.querySelector('img[src^=\"data:image/png\"]')?.naturalWidth === 1");
    school.browser.until(&preview).await;
    assert_eq!(school.ask("What is this?").await, "Mock reply to: What is this?");
    let shown = format!("{ROOT}.querySelector('[data-testid=guest-bubble] img')?.naturalWidth === 1");
    school.browser.until(&shown).await;
    let asked = school.platform.flowise.predictions()[0].json().unwrap();
    assert_eq!(asked["uploads"][0]["name"], "leaf.png");
    assert_eq!(
        asked["uploads"][0]["data"],
        format!("data:image/png;base64,{PIXEL}")
    );
    let kept = school.pupil.proxy.get("/api/v1/chat/files").await.expect(200);
    assert_eq!(kept.body["files"], 1);
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_form_that_an_agentflow_begins_with_is_filled_in() {
    let school = School::start(5).await;
    school.teach_with(chatflow::LLM, &json!({})).await;
    let start = doc! { "name": "startAgentflow", "inputs": {
        "startInputType": "formInput", "formTitle": "What shall we look at?",
        "formInputTypes": [
            { "type": "string", "label": "Plant", "name": "plant" },
            { "type": "options", "label": "Part", "name": "part", "addOptions": [{ "option": "leaf" }, { "option": "root" }] },
        ],
    } };
    let graph = doc! { "flow_data": { "nodes": [{ "id": "start", "data": start }], "edges": [] } };
    school.set_at_flowise(chatflow::LLM, graph).await;
    school.platform.flowise.tell(Rule::once(Behaviour {
        reply: Some("It is green.".to_owned()),
        ..Behaviour::default()
    }));
    school.visit().await;
    let found = |selector: &str| format!("{ROOT}.querySelector({})", json!(selector));
    school
        .browser
        .write_found(&found("form input[name=plant]"), "fern")
        .await;
    school
        .browser
        .write_found(&found("form select[name=part]"), "leaf")
        .await;
    school.browser.picture("flowise-embed-form").await;
    school
        .browser
        .click_found(&found("form button[type=submit]"))
        .await;
    school.until_last("It is green.").await;
    school.until_done().await;
    let asked = school.platform.flowise.predictions()[0].json().unwrap();
    assert_eq!(asked["form"], json!({ "plant": "fern", "part": "leaf" }));
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_document_is_read_where_the_page_gives_it_a_key() {
    let school = School::start(5).await;
    let full = doc! { "chatbot_config": { "fullFileUpload": { "status": true, "allowedUploadFileTypes": "text/plain" } } };
    school.set_at_flowise(&school.platform.chatflow_id, full).await;
    let folder = tempfile::tempdir().unwrap();
    school.visit().await;
    school.choose(&folder, "note.txt", NOTE.as_bytes()).await;
    school.press_send_with("What is in it?").await;
    school.until_last("Unable to upload documents").await;
    assert_eq!(
        school.refused().await[0][1],
        401,
        "the window sends no key with documents"
    );

    school.key_everything();
    school.visit().await;
    school.choose(&folder, "note.txt", NOTE.as_bytes()).await;
    assert_eq!(
        school.ask("What is in it?").await,
        "Mock reply to: What is in it?"
    );
    let asked = school.platform.flowise.predictions()[0].json().unwrap();
    let upload = &asked["uploads"][0];
    assert_eq!(
        (&upload["type"], &upload["data"]),
        (&json!("file:full"), &json!(NOTE))
    );
    assert_eq!(school.refused().await, json!([]));
}

#[actix_web::test]
async fn thumbs_reach_the_answer() {
    let school = School::start(5).await;
    let feedback = doc! { "chatbot_config": { "chatFeedback": { "status": true } } };
    school
        .set_at_flowise(&school.platform.chatflow_id, feedback)
        .await;
    school.key_everything();
    school.visit().await;
    school.ask("one").await;
    let found = |selector: &str| format!("{ROOT}.querySelector({})", json!(selector));
    school
        .browser
        .click_found(&found("button[title='Thumbs Up']"))
        .await;
    school
        .browser
        .write_found(&found("textarea.feedback-input"), "Clear and short")
        .await;
    school.browser.picture("flowise-embed-feedback").await;
    let submit =
        format!("[...{ROOT}.querySelectorAll('button')].find((one) => one.innerText === 'Submit Feedback')");
    school.browser.click_found(&submit).await;
    school
        .browser
        .until(&format!("!{}", found("textarea.feedback-input")))
        .await;
    let messages = school
        .platform
        .mongo()
        .database
        .collection::<bson::Document>("chat_messages");
    let noted = doc! { "rating.is_good": true, "rating.content": "Clear and short" };
    assert_eq!(messages.count_documents(noted).await.unwrap(), 1);

    // To answer again is another turn.
    school
        .browser
        .click_found(&found("button[title='Regenerate response']"))
        .await;
    school
        .platform
        .flowise
        .wait_until(|counts| counts.predictions == 2)
        .await
        .unwrap();
    school.until_last("Mock reply to: one").await;
    school.until_done().await;
    school.platform.until_all_is_settled().await;
    assert_eq!(school.pupil.balance().await, 3);
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn the_window_offers_nothing_that_would_fail() {
    let school = School::start(5).await;
    let config = doc! { "chatbot_config": {
        "starterPrompts": { "0": { "prompt": "What is a cell?" } },
        "leads": { "status": true, "title": "Who are you?", "name": true },
        "isTTSEnabled": true,
        "textToSpeech": { "status": true },
    } };
    school.set_at_flowise(&school.platform.chatflow_id, config).await;
    school.visit().await;
    // A suggestion is asked by a click, and nobody has to leave an address first.
    let suggestion = format!(
        "[...{ROOT}.querySelectorAll('[data-testid=host-bubble]')].find((one) => one.innerText.trim() === 'What is a cell?')"
    );
    school.browser.click_found(&suggestion).await;
    school.until_last("Mock reply to: What is a cell?").await;
    school.until_done().await;
    let buttons = format!("return [...{ROOT}.querySelectorAll('button[title]')].map((one) => one.title)");
    assert_eq!(
        school.browser.run(&buttons).await,
        json!(["Close Chat", "Reset Chat"])
    );
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}
