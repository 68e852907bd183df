//! A Flowise whose answers are recorded ones, or whatever a test makes of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use serde_json::{Value, json};

use super::{
    eventually,
    http::{Asked, Server, Step, chunk, chunked, last_chunk, whole},
};

/// A fake Flowise.
#[derive(Clone, Debug)]
pub(crate) struct FakeFlowise {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    asked: Vec<Asked>,
    prediction: Vec<Step>,
    /// By the question, before anything else.
    to_questions: HashMap<String, Vec<Step>>,
    can_stream: Vec<Step>,
}

impl FakeFlowise {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            asked: Vec::new(),
            prediction: recorded_stream("predict-chat-stream"),
            to_questions: HashMap::new(),
            can_stream: whole(200, "application/json; charset=utf-8", "{\"isStreaming\":true}"),
        }));
        let answering = state.clone();
        let server = Server::start(move |asked| {
            let state = answering.clone();
            async move {
                let mut state = state.lock().unwrap();
                let path = asked.path.clone();
                let question = asked.body["question"].as_str().unwrap_or_default().to_owned();
                state.asked.push(asked);
                if path.starts_with("/api/v1/chatflows-streaming/") {
                    state.can_stream.clone()
                } else if let Some(steps) = state.to_questions.get(&question) {
                    steps.clone()
                } else if path.starts_with("/api/v1/chatmessage/abort/") {
                    whole(200, "application/json", &recording("chatmessage-abort-unknown"))
                } else {
                    state.prediction.clone()
                }
            }
        })
        .await;
        Self { server, state }
    }

    /// What predictions are answered with from now on.
    pub(crate) fn answer(&self, steps: Vec<Step>) {
        self.state.lock().unwrap().prediction = steps;
    }

    /// What predictions with this question are answered with.
    pub(crate) fn answer_to(&self, question: &str, steps: Vec<Step>) {
        let mut state = self.state.lock().unwrap();
        state.to_questions.insert(question.to_owned(), steps);
    }

    /// Says of every flow that it does not stream.
    pub(crate) fn cannot_stream(&self) {
        let answer = whole(200, "application/json", "{\"isStreaming\":false}");
        self.answer_whether_it_streams(answer);
    }

    /// What the question whether a flow streams is answered with.
    pub(crate) fn answer_whether_it_streams(&self, steps: Vec<Step>) {
        self.state.lock().unwrap().can_stream = steps;
    }

    /// Lets one gate open.
    pub(crate) fn let_go(&self) {
        self.server.gate.add_permits(1);
    }

    /// The predictions asked for.
    pub(crate) fn predictions(&self) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let predictions = state
            .asked
            .iter()
            .filter(|asked| asked.path.starts_with("/api/v1/prediction/"));
        predictions.map(|asked| asked.body.clone()).collect()
    }

    /// Every request.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The runs it was told to abort.
    pub(crate) fn aborts(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let aborts = state.asked.iter().filter(|asked| asked.method == "PUT");
        aborts.map(|asked| asked.path.clone()).collect()
    }

    /// Waits until it has been told to abort so many runs: it may still be working on them.
    pub(crate) async fn is_aborted(&self, times: usize) {
        eventually("Flowise is told to stop", async || self.aborts().len() == times).await;
    }

    /// Waits until a prediction has been asked for.
    pub(crate) async fn is_asked(&self) {
        eventually("Flowise is asked", async || !self.predictions().is_empty()).await;
    }

    /// Waits until somebody left an answer that was under way.
    pub(crate) async fn is_left(&self) {
        eventually("Flowise is left", async || {
            self.server.left.load(Ordering::SeqCst) > 0
        })
        .await;
    }
}

/// The body of a recorded exchange.
pub(crate) fn recording(case: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/recordings/flowise");
    std::fs::read_to_string(format!("{folder}/{case}/body")).unwrap()
}

/// A recorded stream.
pub(crate) fn recorded_stream(case: &str) -> Vec<Step> {
    vec![
        chunked("text/event-stream"),
        chunk(recording(case).as_bytes()),
        last_chunk(),
    ]
}

/// One event in Flowise's own framing.
pub(crate) fn event(name: &str, data: impl Into<Value>) -> Vec<u8> {
    let event = json!({ "event": name, "data": data.into() });
    format!("message:\ndata:{event}\n\n").into_bytes()
}

/// The head of a stream and these events; more steps may follow.
pub(crate) fn begin_stream(events: &[Vec<u8>]) -> Vec<Step> {
    let mut steps = vec![chunked("text/event-stream")];
    steps.extend(events.iter().map(|event| chunk(event)));
    steps
}

/// A token event.
pub(crate) fn token(text: &str) -> Vec<u8> {
    event("token", text)
}

/// The last two events and the end of the body.
pub(crate) fn end_stream() -> Vec<Step> {
    let metadata =
        json!({ "chatId": "inside", "sessionId": "inside", "chatMessageId": "m", "question": "q" });
    vec![
        chunk(&event("metadata", metadata)),
        chunk(&event("end", "[DONE]")),
        last_chunk(),
    ]
}
