//! What a test can tell the stand-in to do to a prediction. Said in JSON to `PUT /_control`, or through the handle.

use serde::{Deserialize, Serialize};

/// What to do, to which predictions, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Only predictions of this chatflow.
    pub chatflow: Option<String>,
    /// Only predictions whose question holds this text.
    pub question_contains: Option<String>,
    /// How many predictions the rule lasts for; without it, for ever.
    pub times: Option<u64>,
    /// What to do.
    pub behaviour: Behaviour,
}

impl Rule {
    /// A rule for every prediction.
    pub fn always(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            ..Self::default()
        }
    }

    /// A rule for the next prediction only.
    pub fn once(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            times: Some(1),
            ..Self::default()
        }
    }

    /// Whether the rule is about this prediction.
    pub(super) fn matches(&self, chatflow: &str, question: &str) -> bool {
        self.times != Some(0)
            && self.chatflow.as_deref().is_none_or(|wanted| wanted == chatflow)
            && self
                .question_contains
                .as_deref()
                .is_none_or(|wanted| question.contains(wanted))
    }
}

/// How a prediction goes. The default is what was recorded, as fast as it can be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// Silence before the head of the answer.
    pub head_delay_ms: u64,
    /// Says nothing, not even a head, until it is released or the client leaves.
    pub hang_before_head: bool,
    /// Answers like this, or not at all, instead of running the flow.
    pub refuse: Option<Refusal>,
    /// Silence before each token. A JSON answer waits for all of them.
    pub token_delay_ms: Option<u64>,
    /// The reply, instead of the one the flow would give. Tokens end after each space.
    pub reply: Option<String>,
    /// What `usageMetadata` says was read and written, instead of the count of words.
    pub usage: Option<(u64, u64)>,
    /// Something goes wrong after so many tokens.
    pub ending: Option<(usize, Ending)>,
    /// Cuts the stream into writes that know nothing of frames or characters.
    pub writes: Option<Writes>,
    /// Answers JSON although a stream was asked for, as flows do whose last node cannot stream.
    pub answers_json: bool,
    /// Goes on when its client leaves, as every run does at Flowise, and writes to whoever reads its `chatId` by then.
    pub runs_on: bool,
    /// How often a silent stream says `:heartbeat`; 30 s at Flowise.
    pub heartbeat_ms: Option<u64>,
}

/// How a prediction is refused before the flow runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Status 500 with this cause, in Flowise's error body.
    Error(String),
    /// Status 429 as bare text, as the rate limit of a flow answers.
    RateLimited,
    /// Status 200 and the web application, as an unknown route answers.
    WebPage,
    /// Any status with any body.
    Answer {
        /// The status.
        status: u16,
        /// The `Content-Type`.
        content_type: String,
        /// The body.
        body: String,
    },
    /// The connection is closed without an answer.
    Close,
}

/// What goes wrong in the middle of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The connection breaks.
    Cut,
    /// The body ends properly, but without `end`: as when another stream took over the `chatId`.
    Stop,
    /// An `error` event with this text, then `end`.
    Error(String),
    /// Silence, but for heartbeats, until it is released, aborted or left; then the rest follows.
    Hang,
    /// Tokens, one every 10 ms, until it is aborted or left.
    Endless,
    /// One token of so many bytes; then the rest follows.
    Oversized(usize),
    /// These bytes as they are; then the rest follows.
    Raw(String),
}

/// How a stream is cut into writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writes {
    /// These sizes in bytes, from the first again after the last.
    Sizes(Vec<usize>),
    /// Sizes from 1 to `max`, by chance that the seed decides.
    Seeded {
        /// The same seed gives the same sizes.
        seed: u64,
        /// The largest size.
        max: usize,
    },
}
