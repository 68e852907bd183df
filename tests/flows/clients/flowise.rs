//! Flowise's own SDKs. They have one call, `create_prediction`.

use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Refusal, Rule, chatflow},
    platform::Platform,
};

use super::{
    CREDITS, Client, Gate, Language, ODD_REPLY, Wrong, asked, assign, key_of_hers, odd_reply, only_session,
    picture,
};

#[actix_web::test]
async fn the_typescript_sdk_of_flowise_chats() {
    chats(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_flowise_chats() {
    chats(Language::Python).await;
}

#[actix_web::test]
async fn the_typescript_sdk_of_flowise_says_what_is_refused() {
    is_refused(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_flowise_says_what_is_refused() {
    is_refused(Language::Python).await;
}

/// One person with one client.
struct Desk {
    client: Client,
    base: String,
    key: String,
}

impl Desk {
    /// What comes of a prediction of the echoing chatflow with these members changed.
    async fn predicts(&mut self, changes: &Value) -> Value {
        let mut prediction = json!({ "chatflowId": chatflow::CHAT, "question": "hello world" });
        let members = prediction.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        let order = json!({ "base": self.base, "key": self.key, "prediction": prediction });
        self.client.does(&order).await
    }
}

/// The text of a stream, if it is told as Flowise tells it: from its start to its end.
#[track_caller]
fn told(done: &Value) -> (String, Value) {
    let events = done["events"].as_array().unwrap_or_else(|| panic!("{done}"));
    let [start, tokens @ .., metadata, end] = &events[..] else {
        panic!("{done}")
    };
    assert_eq!((&start["event"], &start["data"]), (&json!("start"), &json!("")));
    assert_eq!(*end, json!({ "event": "end", "data": "[DONE]" }));
    assert_eq!(metadata["event"], "metadata");
    assert!(tokens.iter().all(|event| event["event"] == "token"), "{done}");
    let text = tokens.iter().map(|event| event["data"].as_str().unwrap());
    (text.collect(), metadata["data"].clone())
}

async fn chats(language: Language) {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    let mut desk = Desk {
        client: Client::start("flowise", language).await,
        base: platform.proxy.url(),
        key: key_of_hers(&alice).await,
    };

    // Two turns of one conversation, whole and as a stream.
    let whole = desk.predicts(&json!({ "chatId": "lesson-7" })).await;
    assert_eq!(whole["answer"]["text"], "Mock reply to: hello world", "{whole}");
    assert_eq!(whole["answer"]["question"], "hello world");
    assert_eq!(
        (&whole["answer"]["chatId"], &whole["answer"]["sessionId"]),
        (&json!("lesson-7"), &json!("lesson-7"))
    );
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 1);

    platform.flowise.tell(odd_reply());
    let second = json!({ "chatId": "lesson-7", "question": "and now?", "streaming": true });
    let (text, metadata) = told(&desk.predicts(&second).await);
    assert_eq!(text, ODD_REPLY);
    assert_eq!(metadata["chatId"], "lesson-7");
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 2);
    let kept = alice.history(&only_session(&alice).await).await;
    let kept: Vec<_> = kept
        .iter()
        .map(|(role, text)| (role.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            ("user", "hello world"),
            ("assistant", "Mock reply to: hello world"),
            ("user", "and now?"),
            ("assistant", ODD_REPLY),
        ]
    );

    // A conversation without a name has an id, by which it goes on; a picture and what was said before come along.
    let upload = json!({ "type": "file", "name": "leaf.png", "mime": "image/png", "data": picture() });
    let enclosing = json!({
        "question": "What is this?",
        "uploads": [upload],
        "history": [{ "message": "hi", "type": "userMessage" }, { "message": "hello", "type": "apiMessage" }],
    });
    let nameless = desk.predicts(&enclosing).await;
    let id = nameless["answer"]["chatId"].as_str().unwrap().to_owned();
    assert_eq!(nameless["answer"]["sessionId"], id.as_str());
    let by_session = json!({ "overrideConfig": { "sessionId": id }, "streaming": true });
    assert_eq!(
        told(&desk.predicts(&by_session).await).1["sessionId"],
        id.as_str()
    );
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 4);
    assert_eq!(alice.history(&id).await.len(), 4);

    let asked = asked(&platform);
    let chats: Vec<_> = asked.iter().map(|prediction| &prediction["chatId"]).collect();
    assert!(chats[0] == chats[1] && chats[1] != chats[2] && chats[2] == chats[3]);
    assert_eq!(asked[2]["uploads"], json!([upload]));
    assert_eq!(
        asked[2]["history"],
        json!([
            { "role": "userMessage", "content": "hi" },
            { "role": "apiMessage", "content": "hello" },
        ])
    );

    // The SDKs ask without their key whether a chatflow streams; of one that does not they then miss the answer.
    assign(&platform, &alice, chatflow::FUNCTION).await;
    let function = json!({ "chatflowId": chatflow::FUNCTION });
    let whole = desk.predicts(&function).await;
    assert_eq!(whole["answer"]["text"], "Function says: hello world");
    let streamed = json!({ "chatflowId": chatflow::FUNCTION, "streaming": true });
    assert_eq!(desk.predicts(&streamed).await, json!({ "events": [] }));
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 6);
    platform.verify_ledger().await.unwrap();
}

async fn is_refused(language: Language) {
    let Gate {
        platform,
        alice,
        key,
        wrongs,
    } = Gate::build().await;
    let mut desk = Desk {
        client: Client::start("flowise", language).await,
        base: platform.proxy.url(),
        key: String::new(),
    };
    let refusals = [
        (401, "invalid_api_key"),
        (401, "invalid_api_key"),
        (402, "insufficient_credits"),
        (404, "chatflow_access_denied"),
        (404, "chatflow_access_denied"),
    ];
    for (wrong, refusal) in wrongs.into_iter().zip(refusals) {
        let Wrong {
            what,
            key,
            chatflow_id,
        } = wrong;
        desk.key = key;
        for streaming in [false, true] {
            let changes = json!({ "chatflowId": chatflow_id, "streaming": streaming });
            let done = desk.predicts(&changes).await;
            expect_refusal(language, streaming, &done, refusal, what);
        }
    }
    assert!(platform.flowise.predictions().is_empty());
    assert_eq!(alice.balance().await, CREDITS);

    // What fails at Flowise is refused where the answer is whole, and an event where it is a stream.
    desk.key = key;
    platform.flowise.tell(Rule::always(Behaviour {
        refuse: Some(Refusal::Error("mock-1 at http://inside is down".to_owned())),
        ..Behaviour::default()
    }));
    let done = desk.predicts(&json!({})).await;
    expect_refusal(language, false, &done, (502, "upstream_failed"), "a failure");
    let done = desk.predicts(&json!({ "streaming": true })).await;
    let events = done["events"].as_array().unwrap();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names[names.len() - 2..], ["error", "end"], "{done}");
    assert!(!done.to_string().contains("inside"), "{done}");
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS);
}

/// Both raise the status of a stream. Of a whole answer the SDK for TypeScript gives the error object, and that for Python
/// raises it.
#[track_caller]
fn expect_refusal(
    language: Language,
    streaming: bool,
    done: &Value,
    (status, code): (u16, &str),
    what: &str,
) {
    let raised = match (language, streaming) {
        (Language::TypeScript, true) => {
            json!({ "raised": "Error", "message": format!("HTTP error! status: {status}") })
        }
        (Language::TypeScript, false) => json!({}),
        (Language::Python, _) => json!({ "raised": "HTTPError", "status": status }),
    };
    let mut rest = done.clone();
    let error = rest.as_object_mut().and_then(|done| done.remove("answer"));
    assert_eq!(rest, raised, "{what}");
    if streaming {
        return assert_eq!(error, None, "{what}");
    }
    let error = error.unwrap_or_else(|| panic!("{what}: {done}"));
    assert_eq!(
        (&error["statusCode"], &error["success"], &error["code"]),
        (&json!(status), &json!(false), &json!(code)),
        "{what}: {done}"
    );
    assert!(error["message"].is_string(), "{what}: {done}");
}
