//! Every recorded answer in the place of a prediction's: what the client sees, what the history keeps, what is paid.
//!
//! Those that Flowise gave to other calls are among them: whatever it sends must end the stream and settle the hold.

use std::time::Duration;

use bson::Document;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::recordings::{Recording, all, recording};
use crate::turns::support::{
    PRICE, TestApp,
    accounting::HoldState,
    http::{Step, chunk, chunked},
    names, text_of,
};

/// How many turns go on at once.
const AT_ONCE: usize = 4;

async fn replay(is_meant: impl Fn(&Recording) -> bool) {
    let app = TestApp::spawn_with(|config| {
        config.flowise.header_timeout = Duration::from_secs(4);
        // Refusals follow each other here.
        config.flowise.admission.breaker.failures = 1_000;
    })
    .await;
    let mut recordings = all();
    recordings.retain(is_meant);
    assert!(recordings.len() > 5, "{}", recordings.len());
    let turn = async |recording: &Recording| {
        let steps = match recording.status {
            None => vec![Step::Hang],
            Some(_) if recording.case.starts_with("disconnect-") => {
                vec![Step::Send(recording.response.clone()), Step::Close]
            }
            Some(_) => vec![Step::Send(recording.response.clone())],
        };
        app.flowise.answer_to(&recording.case, steps);
        let user = app.user(&recording.case).await;
        let events = user.chat(&json!({ "question": recording.case })).await;
        (user, events)
    };
    let turns: Vec<_> = stream::iter(&recordings)
        .map(turn)
        .buffered(AT_ONCE)
        .collect()
        .await;
    app.is_quiet().await;
    let messages = app.messages().await;
    for (recording, (user, events)) in recordings.iter().zip(&turns) {
        let of_user = |message: &&Document| message.get_str("user_id").unwrap() == user.person.id;
        let history: Vec<_> = messages.iter().filter(of_user).collect();
        check(&app, recording, events, &history);
    }
    assert_eq!(
        app.flowise.predictions().len(),
        recordings.len(),
        "nothing is asked twice"
    );
}

fn check(app: &TestApp, recording: &Recording, events: &[Value], history: &[&Document]) {
    let (case, expected) = (&recording.case, recording.expected());
    assert_eq!(events[0]["event"], "session_id", "{case}");
    assert_eq!(names(events)[1..], expected.names, "{case}");
    let text = text_of(events);
    let said = text.strip_prefix(&expected.text);
    assert_eq!(
        said.is_some_and(str::is_empty),
        expected.failure.is_none(),
        "{case}: {text}"
    );
    if let Some(code) = expected.failure {
        assert_eq!(events[events.len() - 3]["code"], code, "{case}");
    }
    let seen = Value::from(events.to_vec()).to_string();
    for inside in recording.inside() {
        // What the person asked or was answered is theirs.
        if !expected.text.contains(&inside) {
            let quoted = serde_json::to_string(&inside).unwrap();
            assert!(
                !seen.contains(quoted.trim_matches('"')),
                "{case}: {inside} in {seen}"
            );
            let kept = format!("{history:?}");
            assert!(!kept.contains(&inside), "{case}: {inside} in {kept}");
        }
    }

    let turn_id = events[0]["turn_id"].as_str().unwrap();
    let hold = app.accounting.hold_of(turn_id).unwrap();
    let state = if expected.is_paid() {
        HoldState::Captured(PRICE)
    } else {
        HoldState::Voided
    };
    assert_eq!(hold.state, state, "{case}");
    let status = if expected.failure.is_none() {
        "answered"
    } else {
        "failed"
    };
    assert_eq!(history[0].get_str("status").unwrap(), status, "{case}");
    assert_eq!(
        history.len() == 2,
        expected.is_paid(),
        "{case}: what was delivered is kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_stream() {
    replay(Recording::is_stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_answer_that_is_no_stream() {
    replay(|recording| !recording.is_stream() && recording.status == Some(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_refusal_and_silence() {
    replay(|recording| recording.status != Some(200)).await;
}

/// The table that the three above are worked out from, said once in plain words for the cases that matter most.
#[test]
fn what_recordings_mean() {
    for (case, failure, paid) in [
        ("predict-chat-stream", None, true),
        ("predict-llm-json", None, true),
        ("predict-function-stream", None, true),
        ("predict-form-stream", None, true),
        ("human-stop-json", None, true),
        ("upload-inline-file", None, true),
        ("multipart-stream", None, true),
        ("keyed-no-key-stream", Some("upstream_error"), false),
        ("model-fail500-llm-stream", Some("upstream_error"), false),
        ("abort-stream-llm", Some("upstream_error"), true),
        ("disconnect-stream-chat", Some("upstream_broken"), true),
        ("keyed-no-key-json", Some("upstream_failed"), false),
        ("upload-inline-bad-data", Some("upstream_failed"), false),
        ("limited-4-stream", Some("upstream_rate_limited"), false),
        ("bad-unknown-flow-json", Some("upstream_refused"), false),
        ("bad-unknown-flow-stream", Some("upstream_header_timeout"), false),
        ("origin-bad-stream", Some("upstream_refused"), false),
        ("bad-too-large", Some("upstream_refused"), false),
        ("unknown-route-key", Some("upstream_not_an_answer"), false),
    ] {
        let expected = recording(case).expected();
        assert_eq!((expected.failure, expected.is_paid()), (failure, paid), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flowise_says_in_its_head_stays_with_us() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Step::Send(head) = chunked("text/event-stream") else {
        unreachable!()
    };
    let own = "Set-Cookie: connect.sid=x\r\nAccess-Control-Allow-Origin: *\r\nServer: Express\r\nX-RateLimit-Limit: 2\r\n";
    let head = String::from_utf8(head)
        .unwrap()
        .replacen("\r\n", &format!("\r\n{own}"), 1);
    let body = recording("predict-chat-stream").body;
    app.flowise.answer(vec![
        Step::Send(head.into_bytes()),
        chunk(&body),
        crate::turns::support::http::last_chunk(),
    ]);
    let mut stream = alice.begin(&json!({})).await;
    stream.until(|_| false).await;
    let headers = stream.response.headers();
    for name in [
        "set-cookie",
        "access-control-allow-origin",
        "server",
        "x-ratelimit-limit",
    ] {
        assert!(!headers.contains_key(name), "{name}");
    }
}
