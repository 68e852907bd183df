//! The stand-in Flowise is only worth something while it answers as Flowise did: every recording is asked again.

mod misbehaviour;
mod wire;

use reqwest::StatusCode;
use serde_json::{Value, json};
use system_tests::flowise::{
    Behaviour, Ending, Options, Rule, StandInFlowise, chatflow,
    recordings::{self, Recording},
};

use self::wire::{Answer, Connection};

/// The key that the recorder used for its lists.
const RECORDED_KEY: &str = "FULL-KEY-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Recordings that cannot be asked again as they stand; each has a test of its own.
const ASKED_ELSEWHERE: [&str; 3] = ["abort-stream-llm", "limited-3", "bad-too-large"];

fn start() -> StandInFlowise {
    let options = Options {
        api_key: Some(RECORDED_KEY.to_owned()),
        ..Options::default()
    };
    StandInFlowise::start(&options).expect("the stand-in starts")
}

fn recording(case: &str) -> &'static Recording {
    recordings::ALL
        .iter()
        .find(|recording| recording.case == case)
        .expect("the case is recorded")
}

/// Replaces ids that Flowise makes up, wherever their key shows them, and the times of a model call.
fn without_ids_and_times(text: &str) -> String {
    let mut masked = text.to_owned();
    for key in ["chatId", "sessionId", "chatMessageId", "executionId"] {
        let head = format!("\"{key}\":\"");
        let pieces: Vec<String> = masked
            .split(&head)
            .enumerate()
            .map(|(index, piece)| match piece.get(..36) {
                Some(id) if index > 0 && uuid::Uuid::parse_str(id).is_ok() => format!("<id>{}", &piece[36..]),
                _ => piece.to_owned(),
            })
            .collect();
        masked = pieces.join(&head);
    }
    match masked.split_once("\"timeMetadata\":{") {
        Some((before, after)) => {
            let (_times, after) = after.split_once('}').expect("an object");
            format!("{before}\"timeMetadata\":{{<times>}}{after}")
        }
        None => masked,
    }
}

/// What two answers to one request must share: all but the hour, the checksum and what is said about the connection.
fn comparable(answer: &Answer) -> (u16, Vec<String>, Vec<String>, String) {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "etag", "connection"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    let chunks = answer
        .chunks
        .iter()
        .map(|chunk| without_ids_and_times(chunk))
        .collect();
    (
        answer.status,
        headers,
        chunks,
        without_ids_and_times(&answer.body),
    )
}

#[tokio::test]
async fn every_recording_is_answered_byte_for_byte_but_for_ids_and_times() {
    let flowise = start();
    flowise.tell(Rule {
        question_contains: Some("SLOW".to_owned()),
        behaviour: Behaviour {
            token_delay_ms: Some(0),
            ..Behaviour::default()
        },
        ..Rule::default()
    });
    for recording in recordings::ALL
        .iter()
        .filter(|recording| !ASKED_ELSEWHERE.contains(&recording.case))
    {
        let answer = Connection::open(&flowise).await.ask(recording.request).await;
        let recorded = Answer::parse(recording.response.as_bytes()).expect("the recording is whole");
        assert_eq!(
            recorded.body, recording.body,
            "{}: the recording contradicts itself",
            recording.case
        );
        let (answer, recorded) = (comparable(&answer), comparable(&recorded));
        let differing = answer
            .2
            .iter()
            .zip(&recorded.2)
            .find(|(ours, theirs)| ours != theirs);
        assert_eq!(differing, None, "{}: a chunk differs", recording.case);
        assert_eq!(answer, recorded, "{}", recording.case);
    }
}

#[tokio::test]
async fn an_abort_ends_an_agentflow_as_recorded() {
    let flowise = start();
    let hang = Behaviour {
        token_delay_ms: Some(0),
        ending: Some((6, Ending::Hang)),
        ..Behaviour::default()
    };
    flowise.tell(Rule::once(hang));
    let stream = recording("abort-stream-llm");
    let mut connection = Connection::open(&flowise).await;
    connection.send(stream.request).await;
    flowise
        .wait_until(|counts| counts.hanging == 1)
        .await
        .expect("six tokens are out");

    let call = recording("abort-call-llm");
    let answer = Connection::open(&flowise).await.ask(call.request).await;
    assert_eq!(answer.body, call.body);

    let recorded = Answer::parse(stream.response.as_bytes()).expect("the recording is whole");
    assert_eq!(comparable(&connection.answer().await), comparable(&recorded));
    let counts = flowise
        .wait_until(|counts| counts.running == 0)
        .await
        .expect("the prediction is over");
    assert_eq!(
        (counts.aborted, counts.abort_calls, counts.finished, counts.left),
        (1, 1, 1, 0)
    );
}

#[tokio::test]
async fn an_abort_does_nothing_to_a_classic_chain() {
    let flowise = start();
    flowise.tell(Rule::once(Behaviour {
        ending: Some((2, Ending::Hang)),
        ..Behaviour::default()
    }));
    let body = json!({ "question": "hello world", "streaming": true, "chatId": "fixture-abort-chat" });
    let mut connection = Connection::open(&flowise).await;
    connection.send(&wire::prediction(chatflow::CHAT, &body)).await;
    flowise
        .wait_until(|counts| counts.hanging == 1)
        .await
        .expect("two tokens are out");

    Connection::open(&flowise)
        .await
        .ask(recording("abort-call-chat").request)
        .await;
    flowise.release();

    let answer = connection.answer().await;
    assert!(
        answer
            .body
            .ends_with("message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}\n\n"),
        "{}",
        answer.body
    );
    assert_eq!(wire::tokens(&answer.body), "Mock reply to: hello world");
    assert_eq!(flowise.counts().aborted, 0);
}

#[tokio::test]
async fn a_stream_of_an_unknown_chatflow_is_never_answered() {
    let flowise = start();
    for id in ["00000000-0000-4000-8000-000000000000", "not-a-uuid"] {
        let mut silent = Connection::open(&flowise).await;
        silent
            .send(&wire::prediction(
                id,
                &json!({ "question": "hi", "streaming": true }),
            ))
            .await;
        flowise
            .wait_until(|counts| counts.requests > 0)
            .await
            .expect("the request has arrived");
        // One worker serves all: when it has answered others it has also had its time for this one.
        for _ in 0..20 {
            Connection::open(&flowise)
                .await
                .ask(recording("ping").request)
                .await;
        }
        assert!(!silent.has_answer(), "{id} was answered");
    }
    assert_eq!(flowise.counts().predictions, 0);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_as_recorded() {
    let flowise = start();
    let recorded = recording("bad-too-large");
    let response = reqwest::ClientBuilder::new()
        .build()
        .expect("a client")
        .post(format!(
            "{}/api/v1/prediction/{}",
            flowise.url(),
            chatflow::DIRECT
        ))
        .header("content-type", "application/json")
        .body(vec![b'x'; 51 * 1024 * 1024])
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.text().await.expect("a body"), recorded.body);
}

#[tokio::test]
async fn lists_are_paged_and_filtered_like_flowise_does() {
    let flowise = start();
    let list = async |query: &str| -> Value {
        let request = format!(
            "GET /api/v1/chatflows{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {RECORDED_KEY}\r\n\r\n"
        );
        let answer = Connection::open(&flowise).await.ask(&request).await;
        serde_json::from_str(&answer.body).expect("JSON")
    };
    let all = list("").await;
    let all = all.as_array().expect("a bare array");
    assert_eq!(all.len(), 7);

    let page = list("?page=2&limit=3").await;
    assert_eq!(page["total"], 7);
    assert_eq!(page["data"].as_array().expect("a page"), &all[3..6]);
    assert_eq!(list("?page=9&limit=3").await, json!({ "data": [], "total": 7 }));
    assert!(
        list("?page=0&limit=3").await.is_array(),
        "paging needs both to be positive"
    );

    let agentflows = list("?type=AGENTFLOW").await;
    let ids: Vec<&Value> = agentflows
        .as_array()
        .expect("an array")
        .iter()
        .map(|flow| &flow["id"])
        .collect();
    assert_eq!(ids, [chatflow::DIRECT, chatflow::LLM]);
}
