//! OpenAI's own SDKs: chat completions, models and responses.

mod refusals;
mod retries;

use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Ending, Rule, chatflow},
    person::Person,
    platform::Platform,
};

use super::{
    CREDITS, Client, Language, ODD_REPLY, asked, assign, key_of_hers, odd_reply, only_session, picture,
};

/// What the stand-in's echoing chatflow is called.
pub(super) const CHAT_NAME: &str = "conversation chain";

#[actix_web::test]
async fn the_typescript_sdk_of_openai_chats() {
    chats(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_chats() {
    chats(Language::Python).await;
}

#[actix_web::test]
async fn the_typescript_sdk_of_openai_names_sessions() {
    names_sessions(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_names_sessions() {
    names_sessions(Language::Python).await;
}

#[actix_web::test]
async fn the_typescript_sdk_of_openai_reads_models_and_responses() {
    reads_models_and_responses(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_reads_models_and_responses() {
    reads_models_and_responses(Language::Python).await;
}

/// One person with one client.
struct Desk {
    client: Client,
    base: String,
    key: String,
    /// What the client is made with beside address and key.
    options: Value,
}

impl Desk {
    async fn new(language: Language, platform: &Platform, key: String) -> Self {
        Self {
            client: Client::start("openai", language).await,
            base: platform.proxy.url(),
            key,
            options: json!({}),
        }
    }

    /// What comes of asking for something, with these members in the order.
    async fn asks(&mut self, what: &str, members: &Value) -> Value {
        let mut order = json!({ "ask": what, "base": self.base, "key": self.key, "options": self.options });
        let all = order.as_object_mut().unwrap();
        all.extend(members.as_object().unwrap().clone());
        self.client.does(&order).await
    }

    /// What comes of a chat completion with these members changed.
    async fn chats(&mut self, changes: &Value) -> Value {
        self.asks("chat", &json!({ "body": chat_body(changes) })).await
    }

    /// What comes of a response with these members changed.
    async fn responds(&mut self, changes: &Value) -> Value {
        let body = json!({ "model": chatflow::CHAT, "input": "hello world" });
        self.asks("response", &json!({ "body": changed(body, changes) }))
            .await
    }
}

fn chat_body(changes: &Value) -> Value {
    let message = json!({ "role": "user", "content": "hello world" });
    changed(json!({ "model": chatflow::CHAT, "messages": [message] }), changes)
}

fn changed(mut body: Value, changes: &Value) -> Value {
    let members = body.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    body
}

/// Alice with a client, and with the chatflows that do more than echo.
async fn desk(language: Language) -> (Platform, Person, Desk) {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    for chatflow_id in [chatflow::LLM, chatflow::TOOL] {
        assign(&platform, &alice, chatflow_id).await;
    }
    let key = key_of_hers(&alice).await;
    let desk = Desk::new(language, &platform, key).await;
    (platform, alice, desk)
}

/// What the client got, if nothing was raised.
#[track_caller]
fn told(done: &Value) -> &Vec<Value> {
    assert!(done.get("raised").is_none(), "{done}");
    done["told"].as_array().unwrap()
}

/// The text that chunks make.
fn text_of(chunks: &[Value]) -> String {
    let pieces = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    pieces.collect()
}

async fn chats(language: Language) {
    let (platform, alice, mut desk) = desk(language).await;

    let whole = desk.chats(&json!({ "model": CHAT_NAME })).await;
    let answer = &whole["answer"];
    assert_eq!(answer["model"], CHAT_NAME, "{whole}");
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "Mock reply to: hello world"
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let turn_id = whole["headers"]["x-turn-id"].as_str().unwrap();
    assert_eq!(answer["id"], format!("chatcmpl-{turn_id}"));
    let left = &whole["headers"]["x-ratelimit-remaining-requests"];
    assert!(left.as_str().unwrap().parse::<u32>().is_ok(), "{left}");

    let wish = json!({ "model": chatflow::LLM, "stream": true, "stream_options": { "include_usage": true } });
    platform.flowise.tell(odd_reply());
    let streamed = desk.chats(&wish).await;
    let [chunks @ .., end, usage] = &told(&streamed)[..] else {
        panic!("{streamed}")
    };
    assert_eq!(text_of(chunks), ODD_REPLY);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["choices"].as_array().unwrap().len() == 1)
    );
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&usage["choices"], &usage["usage"]["total_tokens"]),
        (&json!([]), &json!(7))
    );

    // What the SDK puts together of the chunks.
    let gathered = desk
        .asks("gathered", &json!({ "body": chat_body(&json!({})) }))
        .await;
    let message = &gathered["answer"]["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["role"]),
        (&json!("Mock reply to: hello world"), &json!("assistant")),
        "{gathered}"
    );

    // A picture, and what was said before.
    let question = json!([
        { "type": "text", "text": "What is this?" },
        { "type": "image_url", "image_url": { "url": picture() } },
    ]);
    let messages = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "hello" },
        { "role": "user", "content": question },
    ]);
    let seen = desk.chats(&json!({ "messages": messages })).await;
    let seen = &seen["answer"]["choices"][0]["message"]["content"];
    assert_eq!(*seen, "Mock reply to: What is this?");
    let prediction = asked(&platform).pop().unwrap();
    assert_eq!(prediction["uploads"][0]["data"], picture());
    assert_eq!(
        prediction["history"],
        json!([
            { "role": "userMessage", "content": "hi" },
            { "role": "apiMessage", "content": "hello" },
        ])
    );

    // A tool that the chatflow ran is shown and nothing to be run.
    let sum = json!([{ "role": "user", "content": "CALC 2+3" }]);
    let tool = desk
        .chats(&json!({ "model": chatflow::TOOL, "messages": sum, "stop": [" 5"] }))
        .await;
    let choice = &tool["answer"]["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("stop"), &json!("The tool said")),
        "{tool}"
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        (&call["type"], &call["function"]["name"]),
        (&json!("function"), &json!("calculator"))
    );

    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 5);
    let sessions = alice.proxy.get("/api/v1/chat/sessions").await.expect(200);
    assert_eq!(sessions.body["count"], 0, "what stands alone is not kept");
    platform.verify_ledger().await.unwrap();
}

async fn names_sessions(language: Language) {
    let (platform, alice, mut desk) = desk(language).await;
    let named = json!({ "metadata": { "session_id": "homework-12" } });
    let whole = desk.chats(&named).await;
    assert!(whole["answer"].is_object(), "{whole}");
    let mut second = named;
    second["stream"] = json!(true);
    second["messages"] = json!([
        { "role": "user", "content": "hello world" },
        { "role": "assistant", "content": "Mock reply to: hello world" },
        { "role": "user", "content": "and now?" },
    ]);
    assert_eq!(
        text_of(told(&desk.chats(&second).await)),
        "Mock reply to: and now?"
    );
    let third = json!({ "user": "homework-12", "input": "and then?" });
    assert_eq!(desk.responds(&third).await["text"], "Mock reply to: and then?");

    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 3);
    let session = only_session(&alice).await;
    let kept = alice.history(&session).await;
    let questions: Vec<_> = kept
        .iter()
        .step_by(2)
        .map(|(role, text)| (role.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        questions,
        [
            ("user", "hello world"),
            ("user", "and now?"),
            ("user", "and then?")
        ]
    );
    assert_eq!(
        kept[3],
        ("assistant".to_owned(), "Mock reply to: and now?".to_owned())
    );
    let asked = asked(&platform);
    assert!(
        asked
            .iter()
            .all(|prediction| prediction["chatId"] == asked[0]["chatId"])
    );
    assert!(
        asked[1]
            .get("history")
            .is_none_or(|history| *history == json!([]))
    );

    // The conversation goes on by its id, too. Who leaves finds the whole answer in it.
    platform.flowise.tell(Rule::once(Behaviour {
        ending: Some((2, Ending::Hang)),
        ..Behaviour::default()
    }));
    let leaving = json!({ "metadata": { "session_id": session }, "stream": true });
    let left = desk.asks("leave", &json!({ "body": chat_body(&leaving) })).await;
    assert_eq!(text_of(told(&left)), "Mock ");
    platform.flowise.release();
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 4);
    let kept = alice.history(&session).await;
    assert_eq!((kept.len(), &*kept[7].1), (8, "Mock reply to: hello world"));
    assert_eq!(only_session(&alice).await, session);
}

async fn reads_models_and_responses(language: Language) {
    let (platform, alice, mut desk) = desk(language).await;

    let models = desk.asks("models", &json!({})).await;
    let names: Vec<_> = told(&models)
        .iter()
        .map(|model| model["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, [CHAT_NAME, "llm (agentflow v2)", "tool agent"]);
    for model in [chatflow::CHAT, CHAT_NAME] {
        let shown = desk.asks("model", &json!({ "model": model })).await;
        assert_eq!(shown["answer"], models["told"][0], "{model}: {shown}");
        assert_eq!(shown["answer"]["object"], "model");
    }

    let whole = desk
        .responds(&json!({ "model": chatflow::LLM, "instructions": "be brief" }))
        .await;
    assert_eq!(whole["text"], "Mock reply to: hello world", "{whole}");
    assert_eq!(
        (
            &whole["answer"]["status"],
            &whole["answer"]["usage"]["total_tokens"]
        ),
        (&json!("completed"), &json!(7))
    );
    let instructions = json!([{ "role": "userMessage", "content": "be brief" }]);
    assert_eq!(asked(&platform)[0]["history"], instructions);

    let streamed = desk.responds(&json!({ "stream": true })).await;
    let events = told(&streamed);
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        (types[0], types[types.len() - 1]),
        ("response.created", "response.completed")
    );
    let deltas = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta");
    let text: String = deltas.map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(text, "Mock reply to: hello world");

    let body = json!({ "model": CHAT_NAME, "input": [{ "role": "user", "content": "hello world" }] });
    let gathered = desk.asks("gathered_response", &json!({ "body": body })).await;
    assert_eq!(gathered["text"], "Mock reply to: hello world", "{gathered}");

    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 3);
}
