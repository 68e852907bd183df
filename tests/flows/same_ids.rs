//! Two people who choose the same ids: neither sees one word of the other's. Flowise tells streams and memories apart by
//! `chatId` alone, and writes the tokens of an older stream into a newer one of the same id; so no two people may ever have
//! one in common, whatever they send.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Rule},
    person::{Chat, Person},
    platform::Platform,
};

const SAME: &str = "6f1f7a52-7d0e-4a1b-9c55-2b1f0e8d7a64";

/// Asks with every id a client can choose.
async fn ask(person: &Person, word: &str, round: usize) -> Chat {
    let body = json!({
        "chatflow_id": person.chatflow_id,
        "question": word,
        "sessionId": SAME,
        "chatId": SAME,
        "overrideConfig": { "sessionId": SAME, "chatId": SAME },
    });
    let request = person.proxy.request(Method::POST, "/api/v1/chat/predict/stream");
    let request = request
        .header("idempotency-key", format!("same-{round}"))
        .json(&body);
    Chat::read(request.send().await.expect("the proxy answers")).await
}

#[actix_web::test]
async fn whatever_ids_they_send_they_never_meet() {
    let platform = Platform::start().await;
    let people = [
        platform.chatter("anna", 50).await,
        platform.chatter("berta", 50).await,
    ];
    let words = ["annas-secret", "bertas-secret"];
    platform.flowise.tell(Rule::always(Behaviour {
        token_delay_ms: Some(5),
        ..Behaviour::default()
    }));

    for round in 0..10 {
        let asked = people
            .iter()
            .zip(words)
            .map(|(person, word)| ask(person, word, round));
        let chats = join_all(asked).await;
        for ((chat, own), other) in chats.iter().zip(words).zip(words.iter().rev()) {
            chat.expect_ended();
            assert_eq!(chat.text(), format!("Mock reply to: {own}"));
            let seen = Value::from(chat.events.clone()).to_string();
            assert!(!seen.contains(other), "{own} was shown {seen}");
        }
    }

    let mut chat_ids: HashMap<String, HashSet<String>> = HashMap::new();
    for seen in platform.flowise.predictions() {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        let (word, chat_id) = (body["question"].to_string(), body["chatId"].to_string());
        assert_eq!(
            body["overrideConfig"]["sessionId"].to_string(),
            chat_id,
            "one memory each"
        );
        chat_ids.entry(word).or_default().insert(chat_id);
    }
    let [anna, berta] = words.map(|word| &chat_ids[&format!("\"{word}\"")]);
    assert_eq!(
        (anna.len(), berta.len()),
        (1, 1),
        "a conversation keeps its memory"
    );
    assert!(anna.is_disjoint(berta));
    assert!(!anna.contains(&format!("\"{SAME}\"")));
}

#[actix_web::test]
async fn a_conversation_of_somebody_else_is_as_good_as_none() {
    let platform = Platform::start().await;
    let (anna, berta) = (
        platform.chatter("anna", 5).await,
        platform.chatter("berta", 5).await,
    );
    let session = anna.chat("annas-secret").await.session_id().to_owned();

    let body =
        json!({ "chatflow_id": berta.chatflow_id, "sessionId": session, "question": "what did she say?" });
    let path = "/api/v1/chat/predict/stream/store";
    let stolen = berta.proxy.post(path, &body).await;
    let mut random = body.clone();
    random["sessionId"] = json!(SAME);
    let invented = berta.proxy.post(path, &random).await;

    for refused in [stolen, invented] {
        refused.expect_problem(404, "session_not_found");
    }
    assert_eq!(platform.flowise.predictions().len(), 1, "Flowise is not asked");
    assert_eq!(berta.balance().await, 5);
    assert_eq!(anna.history(&session).await.len(), 2);
}
