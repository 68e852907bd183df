//! What OpenAI's SDKs ask again by themselves, and what they do not.

use chrono::Duration;
use common_http::Clock;
use futures_util::future::join;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Refusal, Rule},
    platform::{Platform, Wishes},
};

use super::{super::key_of_hers, CREDITS, Desk, Language, chat_body};

#[actix_web::test]
async fn the_typescript_sdk_of_openai_asks_again_what_is_worth_it() {
    asks_again(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_asks_again_what_is_worth_it() {
    asks_again(Language::Python).await;
}

#[actix_web::test]
async fn the_typescript_sdk_of_openai_may_ask_again_under_one_key() {
    asks_again_under_one_key(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_may_ask_again_under_one_key() {
    asks_again_under_one_key(Language::Python).await;
}

#[actix_web::test]
async fn the_typescript_sdk_of_openai_asks_once_what_is_in_vain() {
    asks_once(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_asks_once_what_is_in_vain() {
    asks_once(Language::Python).await;
}

/// How many chat completions were answered with this status.
async fn answered(platform: &Platform, status: u16) -> u64 {
    let metrics = platform.proxy.client().get("/metrics").await.expect(200).text;
    let of_route = metrics.lines().find(|line| {
        line.starts_with("http_requests_total{")
            && line.contains("route=\"/v1/chat/completions\"")
            && line.contains(&format!("status=\"{status}\""))
    });
    let count = of_route.and_then(|line| line.rsplit(' ').next());
    count.map_or(0, |count| count.parse().unwrap())
}

/// A client that does not give up soon.
fn patient(language: Language) -> Value {
    match language {
        Language::TypeScript => json!({ "maxRetries": 9 }),
        Language::Python => json!({ "max_retries": 9 }),
    }
}

/// Lets Flowise go on once a chat completion was answered with this status.
async fn release_after(platform: &Platform, status: u16) {
    let is_answered = async || answered(platform, status).await > 0;
    platform.until("the client is refused", is_answered).await;
    platform.flowise.release();
}

async fn asks_again(language: Language) {
    let platform = Platform::start_with(&[("MAX_RUNNING_TURNS_PER_USER", "1")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    let mut desk = Desk::new(language, &platform, key_of_hers(&alice).await).await;

    // Flowise fails once: whoever asks does not notice, and pays once.
    platform.flowise.tell(Rule::once(Behaviour {
        refuse: Some(Refusal::Error("down".to_owned())),
        ..Behaviour::default()
    }));
    let done = desk.chats(&json!({})).await;
    let said = &done["answer"]["choices"][0]["message"]["content"];
    assert_eq!(*said, "Mock reply to: hello world", "{done}");
    assert_eq!(
        (answered(&platform, 502).await, answered(&platform, 200).await),
        (1, 1)
    );
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 1);

    // Another turn of hers runs; the client waits as long as it is told to.
    platform.flowise.tell(Rule::once(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));
    desk.options = patient(language);
    let waiting = async {
        let hanging = platform.flowise.wait_until(|counts| counts.hanging == 1);
        hanging.await.expect("her other turn runs");
        join(desk.chats(&json!({})), release_after(&platform, 429))
            .await
            .0
    };
    let (other, done) = join(alice.chat("a long question"), waiting).await;
    other.expect_ended();
    let said = &done["answer"]["choices"][0]["message"]["content"];
    assert_eq!(*said, "Mock reply to: hello world", "{done}");
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 3);
}

/// Whoever does not wait for the answer asks for the same again, and pays for one.
async fn asks_again_under_one_key(language: Language) {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    let mut desk = Desk::new(language, &platform, key_of_hers(&alice).await).await;
    desk.options = patient(language);
    desk.options["timeout"] = match language {
        Language::TypeScript => json!(1_000),
        Language::Python => json!(1),
    };
    platform.flowise.tell(Rule::once(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));
    let order = json!({ "body": chat_body(&json!({})), "headers": { "Idempotency-Key": "question-1" } });
    let done = join(desk.asks("chat", &order), release_after(&platform, 409))
        .await
        .0;
    let said = &done["answer"]["choices"][0]["message"]["content"];
    assert_eq!(*said, "Mock reply to: hello world", "{done}");
    assert_eq!(done["headers"]["idempotency-replayed"], "true");
    platform.until_all_is_settled().await;
    assert_eq!(platform.flowise.predictions().len(), 1);
    assert_eq!(alice.balance().await, CREDITS - 1);
}

async fn asks_once(language: Language) {
    // At noon, a day ends so late that nobody waits for it. It is tomorrow's: nothing that is kept for a while is over.
    let tomorrow = (Clock::System.now() + Duration::days(1)).date_naive();
    let noon = tomorrow.and_hms_opt(12, 0, 0).unwrap().and_utc();
    let platform = Platform::start_as(Wishes {
        proxy_variables: vec![("DAILY_TURNS_PER_USER_MAX".to_owned(), "1".to_owned())],
        clock: Clock::manual(noon),
        ..Wishes::default()
    })
    .await;
    let poor = platform.chatter("poor", 0).await;
    let alice = platform.chatter("alice", CREDITS).await;

    let mut desk = Desk::new(language, &platform, key_of_hers(&poor).await).await;
    assert_eq!(desk.chats(&json!({})).await["code"], "insufficient_quota");
    assert_eq!(answered(&platform, 402).await, 1);

    desk.key = key_of_hers(&alice).await;
    let first = desk.chats(&json!({})).await;
    assert!(first["answer"].is_object(), "{first}");
    let capped = desk.chats(&json!({})).await;
    assert_eq!(
        (&capped["raised"], &capped["status"], &capped["code"]),
        (&json!("RateLimitError"), &json!(429), &json!("daily_cap_reached")),
        "{capped}"
    );
    assert_eq!(answered(&platform, 429).await, 1);
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 1);
}
