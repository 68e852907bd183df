//! A streamed chat: the answer arrives, the credits go down, the history is kept.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{person::Chat, platform::Platform};

#[actix_web::test]
async fn a_streamed_chat_is_paid_and_kept() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    let mine = alice
        .proxy
        .get("/api/v1/chatflows/my-chatflows")
        .await
        .expect(200);
    assert_eq!(mine.body[0]["id"], platform.chatflow_id);

    let chat = alice.chat("hello world").await;

    chat.expect_ended();
    assert_eq!(chat.text(), "Mock reply to: hello world");
    assert!(
        chat.first("metadata").is_some() && chat.first("error").is_none(),
        "{:?}",
        chat.events
    );
    assert_eq!(
        alice.balance().await,
        9,
        "`end` is sent after the credits are settled"
    );
    let turns = |text: &str, answer: &str| {
        [
            ("user".to_owned(), text.to_owned()),
            ("assistant".to_owned(), answer.to_owned()),
        ]
    };
    assert_eq!(
        alice.history(chat.session_id()).await,
        turns("hello world", "Mock reply to: hello world")
    );

    let again = alice.chat_in(chat.session_id(), "and again").await;
    assert_eq!(again.session_id(), chat.session_id());
    assert_eq!(alice.balance().await, 8);
    assert_eq!(alice.history(chat.session_id()).await.len(), 4);
    let sessions = alice.proxy.get("/api/v1/chat/sessions").await.expect(200);
    assert_eq!(sessions.body["count"], 1);
    assert_eq!(platform.open_holds().await, 0);
}

#[actix_web::test]
async fn server_sent_events_come_when_they_are_asked_for() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 1).await;
    let body = json!({ "chatflow_id": platform.chatflow_id, "question": "hello world" });
    let request = alice
        .proxy
        .request(Method::POST, "/api/v1/chat/predict/stream/store")
        .json(&body);

    let answer = alice
        .proxy
        .send(request.header("accept", "text/event-stream"))
        .await
        .expect(200);

    let frames: Vec<_> = answer
        .text
        .split("\n\n")
        .filter(|frame| !frame.is_empty())
        .collect();
    for frame in &frames {
        let field = |name: &str| {
            let lines = frame
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let [value] = lines.collect::<Vec<_>>()[..] else {
                panic!("not one {name}: {frame}")
            };
            value
        };
        let data: Value = serde_json::from_str(field("data")).unwrap();
        assert_eq!(field("event"), data["event"]);
        assert!(!field("id").is_empty());
    }
    assert!(frames.last().unwrap().contains("event: end"), "{}", answer.text);
}

#[actix_web::test]
async fn nobody_reads_continues_or_deletes_a_strangers_session() {
    let platform = Platform::start().await;
    let (alice, mallory) = (
        platform.chatter("alice", 5).await,
        platform.chatter("mallory", 5).await,
    );
    let session = alice.chat("my secret").await.session_id().to_owned();
    let random = uuid::Uuid::new_v4().to_string();

    for id in [&session, &random] {
        mallory
            .proxy
            .get(&format!("/api/v1/chat/sessions/{id}/history"))
            .await
            .expect_problem(404, "session_not_found");
        mallory
            .proxy
            .delete(&format!("/api/v1/chat/sessions/{id}"))
            .await
            .expect_problem(404, "session_not_found");
        let body = json!({ "chatflow_id": platform.chatflow_id, "sessionId": id, "question": "go on" });
        let answer = mallory
            .proxy
            .post("/api/v1/chat/predict/stream/store", &body)
            .await;
        answer.expect_problem(404, "session_not_found");
    }
    assert_eq!(mallory.balance().await, 5, "what is refused costs nothing");
    assert_eq!(alice.history(&session).await.len(), 2);
}

#[actix_web::test]
async fn the_same_key_gives_the_same_answer_for_one_price() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let ask = async |question: &str| {
        let body = json!({ "chatflow_id": platform.chatflow_id, "question": question });
        let request = alice
            .proxy
            .request(Method::POST, "/api/v1/chat/predict/stream/store")
            .json(&body);
        request.header("idempotency-key", "turn-1").send().await.unwrap()
    };

    let first = Chat::read(ask("hello world").await).await;
    let second = ask("hello world").await;
    assert_eq!(second.headers()["idempotency-replayed"], "true");
    let second = Chat::read(second).await;
    let other = ask("something else").await;

    assert_eq!(other.status(), 422);
    assert_eq!(second.expect_ended().text(), first.text());
    assert_eq!(second.session_id(), first.session_id());
    assert_eq!(alice.balance().await, 4);
    assert_eq!(platform.flowise.predictions().len(), 1);
}

#[actix_web::test]
async fn without_credits_or_access_flowise_is_never_asked() {
    let platform = Platform::start().await;
    let poor = platform.chatter("poor", 0).await;
    let answer = poor
        .chat_refused("hello")
        .await
        .expect_problem(402, "insufficient_credits");
    assert_eq!(
        (&answer.body["required"], &answer.body["available"]),
        (&json!(1), &json!(0))
    );

    let admin = platform.admin().await;
    let grant = json!({ "userId": admin.id, "credits": 5 });
    admin
        .accounting
        .post("/api/credits/allocate", &grant)
        .await
        .expect(201);
    admin
        .chat_refused("hello")
        .await
        .expect_problem(403, "chatflow_access_denied");
    assert_eq!(platform.flowise.predictions().len(), 0);
    assert_eq!(admin.balance().await, 5);
}
