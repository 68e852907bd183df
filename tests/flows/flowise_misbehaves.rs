//! Flowise as it can be: runs that nobody can stop, answers in the wrong form, silence, too many turns. Each time the
//! ledger is whole afterwards and nobody hears anything that is not theirs.

use serde_json::json;
use system_tests::{
    flowise::{Behaviour, Ending, Refusal, Rule, SeenRequest},
    platform::Platform,
};

const CREDITS: i64 = 10;

fn answering(question: &str, behaviour: Behaviour) -> Rule {
    Rule {
        question_contains: Some(question.to_owned()),
        behaviour,
        ..Rule::default()
    }
}

#[actix_web::test]
async fn a_run_that_cannot_be_stopped_never_writes_into_the_next_answer() {
    let platform = Platform::start_with(&[("MAX_STREAMING_DURATION", "1000")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    let older = Behaviour {
        ending: Some((1, Ending::Endless)),
        runs_on: true,
        ..Behaviour::default()
    };
    let newer = Behaviour {
        token_delay_ms: Some(100),
        runs_on: true,
        ..Behaviour::default()
    };
    platform.flowise.tell(answering("first question", older));
    platform.flowise.tell(answering("second question", newer));

    // A chain writes on at Flowise, whatever it is told; its turn is over after a second.
    let first = alice.chat("first question").await;
    assert!(first.text().contains("on and on"));
    assert!(first.first("error").is_some());
    let told = platform
        .flowise
        .wait_until(|counts| counts.abort_calls == 1)
        .await;
    assert_eq!(told.expect("it is told to stop").running, 1, "and goes on");
    let second = alice.chat_in(first.session_id(), "second question").await;

    assert_eq!(second.expect_ended().text(), "Mock reply to: second question");
    assert_eq!(second.first("error"), None);
    let ids: Vec<_> = platform
        .flowise
        .predictions()
        .iter()
        .filter_map(SeenRequest::json)
        .collect();
    assert_ne!(ids[0]["chatId"], ids[1]["chatId"]);
    assert_eq!(
        ids[0]["overrideConfig"], ids[1]["overrideConfig"],
        "the memory is the same"
    );
    platform.until_all_is_settled().await;
    platform.verify_ledger().await.expect("the ledger is whole");
}

#[actix_web::test]
async fn json_in_the_place_of_a_stream_is_an_answer() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::always(Behaviour {
        answers_json: true,
        ..Behaviour::default()
    }));
    let chat = alice.chat("hello world").await;
    assert_eq!(chat.expect_ended().text(), "Mock reply to: hello world");
    assert_eq!(alice.balance().await, CREDITS - 1);
}

#[actix_web::test]
async fn an_answer_without_an_end_is_ended() {
    let platform = Platform::start_with(&[("MAX_STREAMING_DURATION", "1000")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::always(Behaviour {
        ending: Some((1, Ending::Endless)),
        ..Behaviour::default()
    }));
    let chat = alice.chat("hello world").await;
    let error = chat.expect_ended().first("error").expect("it is told");
    assert_eq!(error, "The assistant took too long to answer.");
    let gone = platform
        .flowise
        .wait_until(|counts| counts.running == 0 && counts.abort_calls == 1);
    gone.await.expect("Flowise is left and told");
    assert_eq!(alice.balance().await, CREDITS - 1);
}

#[actix_web::test]
async fn a_flowise_that_is_down_is_left_alone_and_costs_nothing() {
    let platform = Platform::start_with(&[("UPSTREAM_BREAKER_FAILURES", "3")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::always(Behaviour {
        refuse: Some(Refusal::Close),
        ..Behaviour::default()
    }));
    for _ in 0..3 {
        let chat = alice.chat("hello world").await;
        let told = chat.first("error").expect("it is told");
        assert_eq!(told, "The answer was cut off. Please try again.");
    }
    let refused = alice.chat_refused("hello world").await;
    refused.expect_problem(503, "upstream_circuit_open");
    let ready = platform.proxy.client().get("/readyz?verbose").await.expect(200);
    assert_eq!(ready.body["upstreams"]["flowise"]["circuit"], "open");
    assert_eq!(platform.flowise.counts().predictions, 3);
    platform.until_all_is_settled().await;
    assert_eq!((alice.balance().await, platform.open_holds().await), (CREDITS, 0));
}

#[actix_web::test]
async fn turns_beyond_the_places_wait_and_none_is_lost() {
    let platform =
        Platform::start_with(&[("MAX_UPSTREAM_TURNS", "2"), ("UPSTREAM_QUEUE_TIMEOUT_SECS", "60")]).await;
    let alice = platform.chatter("alice", CREDITS).await;
    platform.flowise.tell(Rule::always(Behaviour {
        ending: Some((1, Ending::Hang)),
        ..Behaviour::default()
    }));
    let turns = futures_util::future::join_all((0..6).map(|_| alice.chat("hello world")));
    let releasing = async {
        for finished in [2, 4, 6] {
            let two = platform.flowise.wait_until(|counts| counts.hanging == 2).await;
            assert_eq!(two.expect("two run").running, 2, "and no more than two");
            platform.flowise.release();
            let over = platform
                .flowise
                .wait_until(|counts| counts.finished >= finished)
                .await;
            over.expect("they end");
        }
    };
    let (turns, ()) = tokio::join!(turns, releasing);
    for chat in turns {
        assert_eq!(chat.expect_ended().text(), "Mock reply to: hello world");
    }
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 6);
    let ready = platform.proxy.client().get("/readyz?verbose").await.expect(200);
    let standing = json!({ "circuit": "closed", "running": 0, "waiting": 0, "places": 2 });
    assert_eq!(ready.body["upstreams"]["flowise"], standing);
}
