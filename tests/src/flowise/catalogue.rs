//! The chatflows of the stand-in: what each is, what it says, and which recordings show how it says it. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    behaviour::Behaviour,
    chatflow, recordings,
    recordings::Recording,
    template::{StreamTemplate, Template},
};

/// The pace of a model that was asked to be slow.
const SLOW_TOKEN_DELAY_MS: u64 = 250;
const SLOW_TOKENS: usize = 40;
const LONG_TOKENS: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Llm,
    Direct,
    Tool,
    Function,
}

/// One chatflow, as the lists show it.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: String,
    pub(super) type_name: String,
    pub(super) kind: Kind,
    pub(super) is_keyed: bool,
    /// The recorded object, byte for byte.
    pub(super) json: &'static str,
}

impl Flow {
    pub(super) fn can_stream(&self) -> bool {
        self.kind != Kind::Function
    }
}

/// What a flow says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) tokens: Vec<String>,
    pub(super) token_delay_ms: u64,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        self.tokens.concat()
    }
}

/// The answers of one kind of flow, for when all goes well.
#[derive(Debug)]
struct Voice {
    kind: Kind,
    json: Template,
    stream: StreamTemplate,
}

/// The answers of a model that refuses.
#[derive(Debug)]
struct Failure {
    word: &'static str,
    kind: Kind,
    json: Template,
    stream: StreamTemplate,
}

/// Everything the stand-in can say.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) flows: Vec<Flow>,
    voices: Vec<Voice>,
    failures: Vec<Failure>,
    used_tools_json: Template,
    no_question_json: Template,
    /// What an aborted agentflow sends instead of the rest.
    pub(super) abort_tail: Vec<Template>,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let (chat, llm) = (recordings::PREDICT_CHAT_STREAM, recordings::PREDICT_LLM_STREAM);
        let direct = recordings::PREDICT_DIRECT_STREAM;
        let voice = |kind, json: Recording, stream: Recording| Voice {
            kind,
            json: template(&json, kind),
            stream: stream_template(&stream, kind),
        };
        let failure = |word, kind, json: Recording, stream: Recording| Failure {
            word,
            kind,
            json: template(&json, kind),
            stream: stream_template(&stream, kind),
        };
        Self {
            flows: flows(),
            voices: vec![
                voice(Kind::Chat, recordings::PREDICT_CHAT_JSON, chat),
                // An agent without a tool call answers like a chain, and so does its stream.
                voice(Kind::Tool, recordings::PREDICT_CHAT_JSON, chat),
                voice(Kind::Llm, recordings::PREDICT_LLM_JSON, llm),
                voice(Kind::Direct, recordings::PREDICT_DIRECT_JSON, direct),
                voice(Kind::Function, recordings::PREDICT_FUNCTION_JSON, chat),
            ],
            failures: vec![
                failure(
                    "FAIL401",
                    Kind::Chat,
                    recordings::MODEL_FAIL401_CHAT_JSON,
                    recordings::MODEL_FAIL401_CHAT_STREAM,
                ),
                failure(
                    "FAIL429",
                    Kind::Chat,
                    recordings::MODEL_FAIL429_CHAT_JSON,
                    recordings::MODEL_FAIL429_CHAT_STREAM,
                ),
                failure(
                    "FAIL500",
                    Kind::Chat,
                    recordings::MODEL_FAIL500_CHAT_JSON,
                    recordings::MODEL_FAIL500_CHAT_STREAM,
                ),
                failure(
                    "FAIL401",
                    Kind::Llm,
                    recordings::MODEL_FAIL401_LLM_JSON,
                    recordings::MODEL_FAIL401_LLM_STREAM,
                ),
                failure(
                    "FAIL429",
                    Kind::Llm,
                    recordings::MODEL_FAIL429_LLM_JSON,
                    recordings::MODEL_FAIL429_LLM_STREAM,
                ),
                failure(
                    "FAIL500",
                    Kind::Llm,
                    recordings::MODEL_FAIL500_LLM_JSON,
                    recordings::MODEL_FAIL500_LLM_STREAM,
                ),
            ],
            used_tools_json: template(&recordings::PREDICT_TOOL_JSON, Kind::Tool),
            no_question_json: template(&recordings::BAD_EMPTY_BODY, Kind::Direct),
            abort_tail: stream_template(&recordings::ABORT_STREAM_LLM, Kind::Llm).after,
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.id == id)
    }

    /// Whether the model behind `flow` refuses this question.
    pub(super) fn fails(&self, flow: &Flow, question: &str) -> bool {
        self.failure(flow.kind, question).is_some()
    }

    /// The body of a JSON answer. A failed one goes out with status 500.
    pub(super) fn json(&self, flow: &Flow, question: Option<&str>) -> &Template {
        let Some(question) = question else {
            if flow.kind == Kind::Direct {
                return &self.no_question_json;
            }
            return self.json(flow, Some(""));
        };
        if let Some(failure) = self.failure(flow.kind, question) {
            &failure.json
        } else if uses_tools(flow, question) {
            &self.used_tools_json
        } else {
            self.voice(flow.kind)
                .map_or(&self.no_question_json, |voice| &voice.json)
        }
    }

    /// The frames of a streamed answer.
    pub(super) fn stream(&self, flow: &Flow, question: &str) -> Option<&StreamTemplate> {
        let failure = self.failure(flow.kind, question).map(|failure| &failure.stream);
        failure.or_else(|| self.voice(flow.kind).map(|voice| &voice.stream))
    }

    fn voice(&self, kind: Kind) -> Option<&Voice> {
        self.voices.iter().find(|voice| voice.kind == kind)
    }

    fn failure(&self, kind: Kind, question: &str) -> Option<&Failure> {
        self.failures
            .iter()
            .find(|failure| failure.kind == kind && question.contains(failure.word))
    }
}

/// Whether the agent calls its calculator for this question.
pub(super) fn uses_tools(flow: &Flow, question: &str) -> bool {
    flow.kind == Kind::Tool && question.contains("CALC")
}

/// What a flow of this kind says, and how fast, unless `behaviour` says otherwise.
pub(super) fn reply(kind: Kind, question: &str, behaviour: &Behaviour) -> Reply {
    let (tokens, usual_delay_ms) = match (&behaviour.reply, kind) {
        (Some(reply), _) => (words(reply), 0),
        (None, Kind::Direct) => (vec![format!("You said: {question}")], 0),
        (None, Kind::Function) => (vec![format!("Function says: {question}")], 0),
        (None, Kind::Tool) if question.contains("CALC") => (words("The tool said 5"), 0),
        (None, _) if question.contains("LONG") => (numbered("tok", LONG_TOKENS), 0),
        (None, _) if question.contains("SLOW") => (numbered("slow", SLOW_TOKENS), SLOW_TOKEN_DELAY_MS),
        (None, Kind::Chat | Kind::Llm | Kind::Tool) => (words(&format!("Mock reply to: {question}")), 0),
    };
    Reply {
        tokens,
        token_delay_ms: behaviour.token_delay_ms.unwrap_or(usual_delay_ms),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn numbered(word: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{word}{number} ")).collect()
}

fn template(recording: &Recording, kind: Kind) -> Template {
    let (question, said) = recorded(recording, kind);
    Template::new(recording.body, &question, &said)
}

fn stream_template(recording: &Recording, kind: Kind) -> StreamTemplate {
    let (question, said) = recorded(recording, kind);
    StreamTemplate::new(recording.body, &question, &said)
}

/// The question and the reply that a recording shows.
fn recorded(recording: &Recording, kind: Kind) -> (String, String) {
    let question = recording.question().unwrap_or_default();
    let said = reply(kind, &question, &Behaviour::default()).text();
    (question, said)
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(rename = "type")]
    type_name: String,
    apikeyid: Option<String>,
}

fn flows() -> Vec<Flow> {
    let listed: Vec<&'static RawValue> =
        serde_json::from_str(recordings::CHATFLOWS_FULL_KEY.body).unwrap_or_default();
    listed
        .into_iter()
        .filter_map(|flow| {
            let json = flow.get();
            let Listed {
                id,
                type_name,
                apikeyid,
            } = serde_json::from_str(json).ok()?;
            let kind = match id.as_str() {
                chatflow::LLM => Kind::Llm,
                chatflow::DIRECT => Kind::Direct,
                chatflow::TOOL => Kind::Tool,
                chatflow::FUNCTION => Kind::Function,
                _ => Kind::Chat,
            };
            Some(Flow {
                id,
                type_name,
                kind,
                is_keyed: apikeyid.is_some(),
                json,
            })
        })
        .collect()
}
