//! Every recorded prediction, asked again at the door and answered by the recording: byte for byte the same, but for ids
//! and what people do not see.

use std::{fmt, path::Path};

use bson::doc;
use regex_lite::Regex;
use reqwest::Method;
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use test_support::Answer;

use super::prediction;
use crate::turns::support::{TestApp, User, http::Step};

/// Requests that Flowise takes, or fails at, and that are refused here before it is asked.
const REFUSED: [&str; 8] = [
    "bad-empty-body",
    "bad-empty-object",
    "bad-json",
    "bad-json-array",
    "bad-text-plain",
    "history-bad",
    "session-chatid-not-string",
    "upload-inline-bad-data",
];

/// What was sent is not in the recording; or the path names no chatflow; or the flow is one that cannot stream, which has
/// a test of its own.
const ELSEWHERE: [&str; 8] = [
    "bad-no-id",
    "bad-percent-url",
    "bad-too-large",
    "bad-too-large-stream",
    "bad-unknown-flow-json",
    "bad-uuid-json",
    "predict-function-stream",
    "bad-method-get",
];

/// Members that people do not see where the chatflow does not show its inside.
const HIDDEN: [&str; 3] = ["executionId", "agentFlowExecutedData", "agentReasoning"];

struct Exchange {
    case: String,
    content_type: Option<String>,
    sent: Vec<u8>,
    status: u64,
    response: Vec<u8>,
    body: String,
}

/// The recorded predictions that Flowise answered.
fn exchanges() -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/flowise");
    let mut exchanges: Vec<Exchange> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| read(&entry.unwrap().path()))
        .collect();
    exchanges.sort_by(|one, other| one.case.cmp(&other.case));
    exchanges
}

fn read(folder: &Path) -> Option<Exchange> {
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
    let request = file("request.http");
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let meta: Value = serde_json::from_slice(&file("meta.json")).unwrap();
    let case = folder.file_name()?.to_string_lossy().into_owned();
    if !head.starts_with("POST /api/v1/prediction/") || ELSEWHERE.contains(&case.as_str()) {
        return None;
    }
    let content_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: "));
    Some(Exchange {
        case,
        content_type: content_type.map(str::to_owned),
        sent: request[end + 4..].to_vec(),
        status: meta["status"].as_u64()?,
        response: file("response.http"),
        body: String::from_utf8_lossy(&file("body")).into_owned(),
    })
}

async fn ask_again(user: &User, exchange: &Exchange) -> Answer {
    let request = user.client.request(Method::POST, &prediction());
    let request = match &exchange.content_type {
        Some(kind) => request.header("content-type", kind),
        None => request,
    };
    user.client.send(request.body(exchange.sent.clone())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_prediction_comes_out_as_it_was_recorded() {
    let app = TestApp::spawn_with(|config| config.flowise.admission.breaker.failures = 1_000).await;
    let overridden = ["systemMessagePrompt", "systemMessage", "temperature", "modelName"];
    app.set_chatflow(doc! { "override_config_allowed": overridden.to_vec() })
        .await;
    let exchanges = exchanges();
    assert!(
        exchanges.len() > 40,
        "the recordings are missing: {}",
        exchanges.len()
    );
    for (number, exchange) in exchanges.iter().enumerate() {
        // Each has its own person: what one chat is called in two recordings is not one chat here.
        let user = app.user(&format!("user-{number}")).await;
        app.flowise
            .answer(vec![Step::Send(exchange.response.clone()), Step::Close]);
        let asked = app.flowise.predictions().len();
        let answer = ask_again(&user, exchange).await;
        let case = &exchange.case;
        if REFUSED.contains(&case.as_str()) {
            assert!(
                matches!(answer.status.as_u16(), 400 | 415),
                "{case}: {} {}",
                answer.status,
                answer.text
            );
            assert_eq!(answer.body["success"], false, "{case}");
            assert_eq!(app.flowise.predictions().len(), asked, "{case} reached Flowise");
        } else if exchange.status != 200 {
            // Texts of errors hold names of the inside.
            let told: Value = serde_json::from_str(&exchange.body).unwrap_or_default();
            let told = told["message"].as_str().unwrap_or(exchange.body.as_str());
            assert!(!answer.text.contains(told), "{case}: {}", answer.text);
            if answer.headers["content-type"] != "text/event-stream" {
                assert!(
                    matches!(answer.status.as_u16(), 502 | 503),
                    "{case}: {}",
                    answer.text
                );
                assert_eq!(answer.body["success"], false, "{case}");
            }
        } else if exchange.body.starts_with('{') {
            assert_eq!(members(&answer.text), members(&exchange.body), "{case}");
        } else {
            let kind = &answer.headers["content-type"];
            assert_eq!(kind, "text/event-stream", "{case}");
            let (ours, mut theirs) = (shown(&answer.text), shown(&exchange.body));
            if exchange.body.contains("\"event\":\"end\"") {
                assert_eq!(ours, theirs, "{case}");
            } else {
                // The recording broke off, maybe within a frame.
                theirs.pop();
                assert_eq!(ours[..theirs.len()], theirs, "{case}");
                assert!(
                    ours[theirs.len()..]
                        .iter()
                        .any(|frame| frame.contains("\"error\"")),
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_cannot_stream_answers_json_whatever_is_asked_for() {
    let app = TestApp::spawn().await;
    let user = app.user("alice").await;
    app.flowise.cannot_stream();
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/flowise/predict-function-stream");
    let body = std::fs::read_to_string(folder.join("body")).unwrap();
    app.flowise.answer(crate::turns::support::http::whole(
        200,
        "application/json; charset=utf-8",
        &body,
    ));
    let asked = serde_json::json!({ "question": "hello world", "streaming": true });
    let answer = user.predict(&asked).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(members(&answer.text), members(&body));
    assert!(app.flowise.predictions()[0].get("streaming").is_none());
}

/// The members of an answer in their order, each as it was written: without those that are hidden, with ids that nobody
/// chose left out.
fn members(text: &str) -> Vec<(String, String)> {
    struct Members(Vec<(String, Box<RawValue>)>);
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Members;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(Members(members))
        }
    }
    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(InOrder)
        }
    }
    let Members(members) = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let seen = members
        .into_iter()
        .filter(|(name, _)| !HIDDEN.contains(&name.as_str()));
    seen.map(|(name, value)| (name.clone(), without_ids(&format!("\"{name}\":{}", value.get()))))
        .collect()
}

/// The frames of a stream that people see.
fn shown(text: &str) -> Vec<String> {
    let hidden = HIDDEN.map(|name| format!("{{\"event\":\"{name}\""));
    let frames = super::frames(text).into_iter();
    let seen = frames
        .filter(|frame| !frame.starts_with(':') && !hidden.iter().any(|name| frame.contains(name.as_str())));
    seen.map(without_ids).collect()
}

/// Ids that were made, not chosen; the texts of errors; and what a node that asks for a decision was given.
fn without_ids(text: &str) -> String {
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let rules = [
        (format!("\"(chatId|sessionId)\":\"{uuid}\""), "\"$1\":\"made\""),
        (
            "(\"event\":\"error\",\"data\":)\"(\\\\.|[^\"\\\\])*\"".to_owned(),
            "$1\"text\"",
        ),
        (
            "(\"status\":\"ERROR\"),\"error\":\"(\\\\.|[^\"\\\\])*\"".to_owned(),
            "$1",
        ),
        (",\"input\":\\{[^{}]*\\}".to_owned(), ""),
    ];
    let mut text = text.to_owned();
    for (pattern, instead) in rules {
        text = Regex::new(&pattern)
            .unwrap()
            .replace_all(&text, instead)
            .into_owned();
    }
    text
}
