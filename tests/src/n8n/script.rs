//! What each workflow answers, step by step.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{PROVIDERS_WORDS, workflow};

/// When the recorded lines were made.
const TIMESTAMP: i64 = 1_795_246_114_565;

/// One thing an answer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Send(Bytes),
    Wait(Duration),
    /// Goes on when it is released.
    Pause,
    /// Never goes on.
    Hang,
}

/// An answer without its head.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// JSON lines as nodes speak, in chunks.
    Stream(Vec<Step>),
    /// In one piece, with this type.
    Whole(&'static str, String),
    /// An error of n8n's own.
    Error(u16, Value),
}

/// A stream in the making.
struct Script {
    word_delay: Duration,
    steps: Vec<Step>,
}

impl Script {
    fn line(&mut self, kind: &str, node: &str, content: Option<Value>) {
        let mut metadata = json!({ "nodeId": "node-1", "nodeName": node, "itemIndex": 0, "runIndex": 0 });
        if kind != "error" {
            metadata["timestamp"] = TIMESTAMP.into();
        }
        let mut line = json!({ "type": kind, "metadata": metadata });
        if let Some(content) = content {
            line["content"] = content;
        }
        self.steps.push(Step::Send(format!("{line}\n").into()));
    }

    fn words(&mut self, node: &str, text: &str) {
        for word in text.split_inclusive(' ') {
            if word.trim() == "PAUSE" {
                self.steps.push(Step::Pause);
            }
            if !self.word_delay.is_zero() {
                self.steps.push(Step::Wait(self.word_delay));
            }
            self.line("item", node, Some(word.into()));
        }
    }

    fn node(&mut self, node: &str, text: &str) {
        self.line("begin", node, None);
        self.words(node, text);
        self.line("end", node, None);
    }
}

/// What a workflow answers to a message; `None` for one that there is not.
pub(super) fn answer(name: &str, message: &str, word_delay: Duration) -> Option<Answer> {
    let reply = reply(message);
    let mut script = Script {
        word_delay,
        steps: Vec::new(),
    };
    let agent = "AI Agent";
    match name {
        workflow::AGENT | workflow::KEYED | workflow::CHECKS_TOKEN => script.node(agent, &reply),
        workflow::TWO => {
            script.node(agent, &reply);
            script.node("Second agent", "And so it is.");
        }
        workflow::TOOL => {
            script.node(agent, "");
            script.node(agent, &reply);
        }
        workflow::AGENT_RESPOND => {
            script.node(agent, &reply);
            script.line("begin", "Respond", None);
            let body = json!({ "output": reply }).to_string();
            script.line("item", "Respond", Some(body.into()));
            script.line("end", "Respond", None);
        }
        workflow::MODEL_FAILS => {
            script.line("begin", agent, None);
            script.line("error", agent, Some(PROVIDERS_WORDS.into()));
        }
        workflow::BREAKS_OFF => {
            script.line("begin", agent, None);
            script.words(agent, "Once upon ");
            script.line("error", agent, Some(Value::Null));
        }
        workflow::GOES_ON => {
            script.line("begin", agent, None);
            script.line("error", agent, Some(PROVIDERS_WORDS.into()));
            script.node("Second agent", &reply);
        }
        workflow::NEVER_ENDS => {
            script.line("begin", agent, None);
            script.words(agent, "Once upon ");
            script.line("error", agent, None);
            script.steps.push(Step::Hang);
        }
        workflow::NOTHING => {}
        workflow::JSON => return Some(whole_json(&json!({ "output": reply }))),
        workflow::ARRAY => {
            return Some(whole_json(
                &json!([{ "output": reply }, { "output": "And so it is." }]),
            ));
        }
        workflow::TEXT => return Some(Answer::Whole("text/html; charset=utf-8", reply)),
        workflow::EVENTS => {
            let body = format!("data: {}\n\ndata: [DONE]\n\n", json!({ "content": reply }));
            return Some(Answer::Whole("text/event-stream; charset=utf-8", body));
        }
        workflow::IMMEDIATE => return Some(whole_json(&json!({ "message": "Workflow was started" }))),
        workflow::FAILS => return Some(Answer::Error(500, json!({ "message": "Error in workflow" }))),
        _ => return None,
    }
    Some(Answer::Stream(script.steps))
}

fn whole_json(body: &Value) -> Answer {
    Answer::Whole("application/json; charset=utf-8", body.to_string())
}

fn reply(message: &str) -> String {
    if message.contains("MARKDOWN") {
        return "# A title\n\nSome **bold** words, `code`, and a list:\n\n- one\n- two\n\n```rust\nfn main() {}\n```\n".to_owned();
    }
    if message.contains("LONG") {
        let words = (1..=400).map(|number| format!("word{number} "));
        return words.collect();
    }
    format!("You said: {message}")
}
