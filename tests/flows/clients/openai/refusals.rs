//! What OpenAI's SDKs raise.

use serde_json::{Value, json};
use system_tests::flowise::{Behaviour, Ending, Rule, chatflow};

use super::{
    super::{Gate, Wrong},
    CREDITS, Desk, Language, text_of,
};

#[actix_web::test]
async fn the_typescript_sdk_of_openai_raises_what_is_refused() {
    raises(Language::TypeScript).await;
}

#[actix_web::test]
async fn the_python_sdk_of_openai_raises_what_is_refused() {
    raises(Language::Python).await;
}

/// Fails unless the client raised this.
#[track_caller]
fn expect_raised(done: &Value, class: &str, status: u16, code: &str, what: &str) {
    let said = (&done["raised"], &done["status"], &done["code"]);
    assert_eq!(
        said,
        (&json!(class), &json!(status), &json!(code)),
        "{what}: {done}"
    );
    assert!(done["message"].is_string(), "{what}: {done}");
}

async fn raises(language: Language) {
    let Gate {
        platform,
        alice,
        key,
        wrongs,
    } = Gate::build().await;
    let mut desk = Desk::new(language, &platform, String::new()).await;
    // A status of which the SDKs have no class of its own.
    let plain = match language {
        Language::TypeScript => "APIError",
        Language::Python => "APIStatusError",
    };
    let refusals = [
        ("AuthenticationError", 401, "invalid_api_key"),
        ("AuthenticationError", 401, "invalid_api_key"),
        (plain, 402, "insufficient_quota"),
        ("NotFoundError", 404, "model_not_found"),
        ("NotFoundError", 404, "model_not_found"),
    ];
    for (wrong, (class, status, code)) in wrongs.into_iter().zip(refusals) {
        let Wrong {
            what,
            key,
            chatflow_id,
        } = wrong;
        desk.key = key;
        for stream in [false, true] {
            let wish = json!({ "model": chatflow_id, "stream": stream });
            expect_raised(&desk.chats(&wish).await, class, status, code, what);
            expect_raised(&desk.responds(&wish).await, class, status, code, what);
        }
        if status != 402 {
            let shown = desk.asks("model", &json!({ "model": chatflow_id })).await;
            expect_raised(&shown, class, status, code, what);
        }
    }

    desk.key = key;
    let two = desk.chats(&json!({ "n": 2 })).await;
    expect_raised(&two, "BadRequestError", 400, "invalid_value", "two answers");
    assert_eq!(
        (&two["param"], &two["type"]),
        (&json!("n"), &json!("invalid_request_error"))
    );
    assert!(platform.flowise.predictions().is_empty());
    assert_eq!(alice.balance().await, CREDITS);

    // What breaks on the way is raised behind what was said.
    platform.flowise.tell(Rule::always(Behaviour {
        ending: Some((2, Ending::Cut)),
        ..Behaviour::default()
    }));
    let chat = desk.chats(&json!({ "stream": true })).await;
    assert_eq!(
        (&chat["raised"], &chat["code"]),
        (&json!("APIError"), &json!("upstream_broken")),
        "{chat}"
    );
    assert_eq!(text_of(chat["told"].as_array().unwrap()), "Mock reply ");
    let response = desk
        .responds(&json!({ "model": chatflow::CHAT, "stream": true }))
        .await;
    let last = response["told"].as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "response.failed", "{response}");
    assert!(response.get("raised").is_none(), "{response}");
    platform.until_all_is_settled().await;
    assert_eq!(
        platform.flowise.predictions().len(),
        2,
        "a stream is not asked again"
    );
}
