//! Every line of the payment table, from the client's side and from the ledger's.

use system_tests::{
    flowise::{Behaviour, Ending, Refusal, Rule},
    platform::Platform,
};

/// What one turn costs when Flowise behaves like this, and how the stream looked.
async fn cost_of(behaviour: Behaviour, failed: bool) -> i64 {
    let platform = Platform::start_with(&[
        ("FLOWISE_HEADER_TIMEOUT_SECS", "1"),
        ("FLOWISE_IDLE_TIMEOUT_SECS", "1"),
    ])
    .await;
    let alice = platform.chatter("alice", 10).await;
    platform.flowise.tell(Rule::always(behaviour));

    let chat = alice.chat("hello world").await;

    chat.expect_ended();
    assert_eq!(chat.first("error").is_some(), failed, "{:?}", chat.events);
    assert!(!chat.text().is_empty(), "something readable is always said");
    let texts = format!("{:?}", chat.events);
    assert!(
        !texts.contains("127.0.0.1") && !texts.contains("predictionsServices"),
        "the inside stays inside: {texts}"
    );
    assert_eq!(platform.open_holds().await, 0, "`end` comes after the settlement");
    10 - alice.balance().await
}

fn refused(refusal: Refusal) -> Behaviour {
    Behaviour {
        refuse: Some(refusal),
        ..Behaviour::default()
    }
}

fn ending(tokens: usize, ending: Ending) -> Behaviour {
    Behaviour {
        ending: Some((tokens, ending)),
        ..Behaviour::default()
    }
}

#[actix_web::test]
async fn a_complete_answer_costs_its_price() {
    assert_eq!(cost_of(Behaviour::default(), false).await, 1);
}

#[actix_web::test]
async fn an_error_before_the_first_content_costs_nothing() {
    assert_eq!(
        cost_of(refused(Refusal::Error("model is gone".to_owned())), true).await,
        0
    );
    assert_eq!(cost_of(refused(Refusal::RateLimited), true).await, 0);
    assert_eq!(cost_of(refused(Refusal::WebPage), true).await, 0);
    assert_eq!(cost_of(refused(Refusal::Close), true).await, 0);
    assert_eq!(
        cost_of(ending(0, Ending::Error("401 Unauthorized".to_owned())), true).await,
        0
    );
    assert_eq!(cost_of(ending(0, Ending::Cut), true).await, 0);
}

#[actix_web::test]
async fn silence_before_the_first_content_costs_nothing() {
    assert_eq!(
        cost_of(
            Behaviour {
                hang_before_head: true,
                ..Behaviour::default()
            },
            true
        )
        .await,
        0
    );
    assert_eq!(cost_of(ending(0, Ending::Hang), true).await, 0);
}

#[actix_web::test]
async fn what_breaks_after_content_costs_what_was_held() {
    assert_eq!(cost_of(ending(2, Ending::Cut), true).await, 1);
    assert_eq!(cost_of(ending(2, Ending::Stop), true).await, 1);
    assert_eq!(
        cost_of(ending(2, Ending::Error("gone".to_owned())), true).await,
        1
    );
    assert_eq!(cost_of(ending(2, Ending::Hang), true).await, 1);
}

#[actix_web::test]
async fn an_event_beyond_the_limit_breaks_the_turn_and_not_the_proxy() {
    let platform = Platform::start_with(&[("UPSTREAM_EVENT_MAX_BYTES", "65536")]).await;
    let alice = platform.chatter("alice", 10).await;
    platform
        .flowise
        .tell(Rule::once(ending(1, Ending::Oversized(1 << 20))));

    let chat = alice.chat("hello world").await;

    chat.expect_ended();
    assert!(chat.first("error").is_some());
    assert_eq!(alice.balance().await, 9);
    assert_eq!(
        alice.chat("hello world").await.text(),
        "Mock reply to: hello world",
        "the next turn is well"
    );
}

/// A question stands once in the usage when it was paid for, and not at all when it was not: whether it was streamed or
/// answered whole, failed, was empty, or was sent again.
#[actix_web::test]
async fn a_question_that_was_paid_for_stands_in_the_usage_once() {
    let platform = Platform::start_with(&[("FLOWISE_IDLE_TIMEOUT_SECS", "1")]).await;
    let alice = platform.chatter("alice", 10).await;
    let empty = refused(Refusal::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: "{\"text\":\"\"}".to_owned(),
    });
    let mut paid = 0;
    for (behaviour, cost) in [
        (Behaviour::default(), 1),
        (empty, 0),
        (refused(Refusal::Error("model is gone".to_owned())), 0),
        (ending(0, Ending::Error("inside".to_owned())), 0),
        (ending(2, Ending::Cut), 1),
    ] {
        platform.flowise.tell(Rule::once(behaviour.clone()));
        alice.chat("hello world").await.expect_ended();
        paid += cost;
        let recorded = "SELECT count(*) AS count FROM usage_logs";
        assert_eq!(platform.count(recorded).await, paid, "{behaviour:?}");
        assert_eq!(alice.balance().await, 10 - paid, "{behaviour:?}");
    }
    let body = serde_json::json!({ "chatflow_id": platform.chatflow_id, "question": "hello world" });
    let key = |path: &str| {
        let request = alice.proxy.request(reqwest::Method::POST, path).json(&body);
        request.header("idempotency-key", "once")
    };
    for _ in 0..2 {
        alice.proxy.send(key("/api/v1/chat/predict")).await.expect(200);
    }
    let summed = "SELECT coalesce(sum(credits), 0)::bigint AS count FROM usage_logs";
    assert_eq!(
        platform.count(summed).await,
        paid + 1,
        "nothing is recorded that was not paid"
    );
}
