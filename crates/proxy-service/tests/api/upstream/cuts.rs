//! A connection that breaks after any byte, and pieces that begin anywhere.
//!
//! Every byte without HTTP, and some of them over it; all of them when `PROVE_CUTS` is set. The parser itself is cut
//! everywhere in `domain::sse`.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;
use proxy_service::domain::{
    failure::Failure,
    framing::{EventWriter, Framing},
    payment::{Ending, Hold, Settlement, settle},
    sse::Parser,
    transcript::Transcript,
};
use serde_json::json;

use super::recordings::{Recording, all, body_of, expected_of_stream, recording};
use crate::turns::support::{PRICE, TestApp, accounting::HoldState, http::Step, names};

/// How many turns go on at once.
const AT_ONCE: usize = 4;

/// A stream as far as it has come.
struct Heard {
    parser: Parser,
    transcript: Transcript,
    out: EventWriter,
}

impl Heard {
    fn new() -> Self {
        Self {
            parser: Parser::new(1 << 20),
            transcript: Transcript::new("session"),
            out: EventWriter::new(Framing::Lines, "turn"),
        }
    }

    fn hear(&mut self, piece: &[u8]) {
        let Self {
            parser,
            transcript,
            out,
        } = self;
        parser.push(piece, |data| transcript.accept(data, out)).unwrap();
    }

    /// What is told and paid when nothing more comes.
    fn verdict(&self) -> (Option<&'static str>, Settlement) {
        let verdict = self.transcript.verdict();
        let ending = if verdict.is_ok() {
            Ending::Completed
        } else {
            Ending::Broken
        };
        let settlement = settle(ending, self.transcript.has_content(), None, Hold::Flat(PRICE));
        (verdict.err().map(Failure::code), settlement)
    }
}

/// What a client sees and pays of a stream that came in these pieces.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Bytes, Option<&'static str>, Settlement) {
    let mut heard = Heard::new();
    pieces.for_each(|piece| heard.hear(piece));
    let (failure, settlement) = heard.verdict();
    (heard.out.take().framed, failure, settlement)
}

fn streams() -> &'static [Recording] {
    static STREAMS: LazyLock<Vec<Recording>> =
        LazyLock::new(|| all().into_iter().filter(Recording::is_stream).collect());
    &STREAMS
}

#[test]
fn a_stream_that_breaks_after_any_byte_is_paid_for_as_the_table_says() {
    for recording in streams() {
        let (case, body) = (&recording.case, &recording.body);
        let mut heard = Heard::new();
        let mut expected = expected_of_stream(b"");
        for (index, byte) in body.iter().enumerate() {
            heard.hear(&[*byte]);
            if body[..=index].ends_with(b"\n\n") {
                expected = expected_of_stream(&body[..=index]);
            }
            let (failure, settlement) = heard.verdict();
            assert_eq!(failure, expected.failure, "{case} after {index} bytes and one");
            let paid = if expected.is_paid() {
                Settlement::Capture(PRICE)
            } else {
                Settlement::Void
            };
            assert_eq!(settlement, paid, "{case} after {index} bytes and one");
        }
    }
}

proptest! {
    #[test]
    fn random_pieces_change_nothing(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let recording = which.get(streams());
        let body = &recording.body;
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let pieces = at.windows(2).map(|pair| &body[pair[0]..pair[1]]);
        prop_assert_eq!(run(pieces), run([&body[..]].into_iter()), "{}", &recording.case);
    }
}

/// Breaks the connection after these bytes of the recorded answer, and compares what is told and paid.
async fn break_after(case: &str, every: usize) {
    let app = TestApp::spawn_with(|config| {
        config.running_turns_per_user_max = AT_ONCE;
        config.flowise.admission.breaker.failures = 10_000;
    })
    .await;
    let response = recording(case).response;
    let every = if std::env::var_os("PROVE_CUTS").is_some() {
        1
    } else {
        every
    };
    let ends = response.len().saturating_sub(24)..response.len();
    let cuts = (0..response.len()).filter(|cut| cut % every == 0 || ends.contains(cut));
    let turn = async |cut: usize| {
        let question = format!("break after {cut}");
        let steps = vec![Step::Send(response[..cut].to_vec()), Step::Close];
        app.flowise.answer_to(&question, steps);
        let user = app.user(&question).await;
        let events = user.chat(&json!({ "question": question })).await;
        let expected = body_of(&response[..cut])
            .map_or_else(|| expected_of_stream(b""), |body| expected_of_stream(&body));
        assert_eq!(names(&events)[1..], expected.names, "{case} after {cut} bytes");
        if let Some(code) = expected.failure {
            assert_eq!(events[events.len() - 3]["code"], code, "{case} after {cut} bytes");
        }
        (
            events[0]["turn_id"].as_str().unwrap().to_owned(),
            expected.is_paid(),
            cut,
        )
    };
    let turns: Vec<_> = stream::iter(cuts)
        .map(turn)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    app.is_quiet().await;
    for (turn_id, is_paid, cut) in turns {
        let state = app.accounting.hold_of(&turn_id).unwrap().state;
        let expected = if is_paid {
            HoldState::Captured(PRICE)
        } else {
            HoldState::Voided
        };
        assert_eq!(state, expected, "{case} after {cut} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_after_any_byte_of_a_chain_is_settled() {
    break_after("predict-chat-stream", 61).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_after_any_byte_of_a_failing_agent_is_settled() {
    break_after("abort-stream-llm", 131).await;
}
