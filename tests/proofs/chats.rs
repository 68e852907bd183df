//! People who chat through a proxy-service in a process of its own, and what each of them was told.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use system_tests::{person::Person, platform::Platform, process::Process};
use test_support::Client;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");

/// More than a proof can spend.
pub(crate) const CREDITS: i64 = 1_000_000;

/// Turns that one person has running at most: accounting-service allows a hundred holds.
const TURNS_OF_ONE: usize = 50;

/// Longer than any turn here takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A platform with these variables on which crowds from one address knock without mercy.
pub(crate) async fn platform_for_crowds(variables: &[(&str, &str)]) -> Platform {
    let no_limits = [
        ("RATE_LIMIT_ADDRESS_PER_SEC", "100000"),
        ("RATE_LIMIT_ADDRESS_BURST", "1000000"),
        ("RATE_LIMIT_USER_PER_SEC", "100000"),
        ("RATE_LIMIT_USER_BURST", "1000000"),
        ("MAX_RUNNING_TURNS_PER_USER", "1000"),
        ("LOG_LEVEL", "error"),
    ];
    Platform::start_with(&[&no_limits, variables].concat()).await
}

/// People enough to have so many turns running at once.
pub(crate) async fn people(platform: &Platform, streams: usize) -> Vec<Person> {
    let names = (0..streams.div_ceil(TURNS_OF_ONE)).map(|index| format!("chatter{index}"));
    let mut people = Vec::new();
    for name in names {
        people.push(platform.chatter(&name, CREDITS).await);
    }
    people
}

/// What one client saw of one turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The status of the answer; `None` where none came.
    pub(crate) status: Option<u16>,
    /// The `code` of a refusal, or of an `error` event.
    pub(crate) code: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) text: String,
    /// Whether `end` came.
    pub(crate) ended: bool,
}

/// When a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Never,
    /// As soon as the answer has begun.
    AtTheHead,
    /// With the first word.
    AtTheFirstToken,
    /// When the chatflow has said everything, and the turn is being settled.
    AtTheLastToken,
}

/// Asks, and reads until the end, the break, or the moment to leave.
pub(crate) async fn chat(at: &Client, person: &Person, question: &str, leaves: Leaves) -> Seen {
    let body = json!({ "chatflow_id": person.chatflow_id, "question": question });
    let client = at.with_token(&person.access_token);
    let request = client
        .request(Method::POST, "/api/v1/chat/predict/stream/store")
        .timeout(PATIENCE)
        .json(&body);
    let Ok(response) = request.send().await else {
        return Seen::default();
    };
    read(response, leaves).await
}

async fn read(response: Response, leaves: Leaves) -> Seen {
    let mut seen = Seen {
        status: Some(response.status().as_u16()),
        ..Seen::default()
    };
    if response.status() != 200 {
        let problem: Option<Value> = response.json().await.ok();
        seen.code = problem.and_then(|problem| Some(problem["code"].as_str()?.to_owned()));
        return seen;
    }
    let mut stream = response.bytes_stream();
    let mut rest = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            seen.hear(&event);
        }
        let enough = match leaves {
            Leaves::Never => false,
            Leaves::AtTheHead => true,
            Leaves::AtTheFirstToken => !seen.text.is_empty(),
            Leaves::AtTheLastToken => seen.text.ends_with("last"),
        };
        if enough {
            break;
        }
    }
    seen
}

impl Seen {
    fn hear(&mut self, event: &Value) {
        let data = || event["data"].as_str().unwrap_or_default();
        match event["event"].as_str().unwrap_or_default() {
            "session_id" => self.session_id = Some(data().to_owned()),
            "token" if self.code.is_none() => self.text.push_str(data()),
            "error" => self.code = event["code"].as_str().map(str::to_owned),
            "end" => self.ended = true,
            _ => {}
        }
    }
}

/// Everybody asks at once, as often as it takes to have so many turns; the turns go on in the background.
pub(crate) fn everybody_asks(
    proxy: &Process,
    people: &[Person],
    streams: usize,
    leaves: Leaves,
) -> Vec<tokio::task::JoinHandle<(Person, Seen)>> {
    let asked = people.iter().cycle().take(streams).cloned();
    let ask = |person: Person| {
        let client = proxy.client();
        tokio::spawn(async move {
            let seen = chat(&client, &person, "hello", leaves).await;
            (person, seen)
        })
    };
    asked.map(ask).collect()
}

/// Waits for all of them.
pub(crate) async fn all_seen(turns: Vec<tokio::task::JoinHandle<(Person, Seen)>>) -> Vec<(Person, Seen)> {
    join_all(turns).await.into_iter().map(Result::unwrap).collect()
}

/// Checks the books: no hold open, each settled once, and what everybody paid is what was captured.
pub(crate) async fn check_books(platform: &Platform, people: &[Person]) -> i64 {
    platform.until_all_is_settled().await;
    platform
        .until("the outbox is empty", async || {
            platform.count_documents("turns", "state", "running").await == 0
                && platform.count_documents("turns", "state", "settling").await == 0
        })
        .await;
    let verified = platform.verify_ledger().await;
    assert!(verified.is_ok(), "{verified:?}");
    let captured = platform
        .count("SELECT coalesce(sum(captured_credits), 0)::bigint AS count FROM streaming_sessions")
        .await;
    let balances = join_all(people.iter().map(Person::balance)).await;
    let paid = CREDITS * i64::try_from(people.len()).unwrap() - balances.iter().sum::<i64>();
    assert_eq!(paid, captured, "what was captured is what people paid");
    captured
}

/// Checks the history of the conversations: whole where the end was seen, a beginning of the answer elsewhere, and
/// nothing that still waits.
pub(crate) async fn check_history(platform: &Platform, seen: &[(Person, Seen)], whole: &str) {
    assert_eq!(
        platform
            .count_documents("chat_messages", "status", "pending")
            .await,
        0,
        "no question waits for its answer"
    );
    for (person, seen) in seen {
        let Some(session_id) = &seen.session_id else {
            continue;
        };
        let path = format!("/api/v1/chat/sessions/{session_id}/history");
        let answer = person.proxy.get(&path).await;
        if !seen.ended && answer.status == 404 {
            // The process died before the question was written down.
            continue;
        }
        let history = person.history(session_id).await;
        let roles: Vec<&str> = history.iter().map(|(role, _)| role.as_str()).collect();
        if seen.ended && seen.code.is_none() {
            assert_eq!(roles, ["user", "assistant"], "{session_id}");
            assert_eq!((history[1].1.as_str(), seen.text.as_str()), (whole, whole));
        } else {
            assert!(
                roles == ["user"] || roles == ["user", "assistant"],
                "{session_id}: {roles:?}"
            );
            let answer = history.get(1).map_or("", |(_, text)| text);
            assert!(whole.starts_with(answer), "{session_id}: {answer}");
        }
    }
}
