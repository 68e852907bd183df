//! What a turn says, as far as clients of this API understand it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::upstream::{UpstreamEvent, Usage};

/// Tool calls that are shown of one answer.
const TOOLS_MAX: usize = 64;

/// What a turn says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A piece of the answer.
    Text(String),
    /// Tools that the chatflow has run for it.
    Tools(Vec<UsedTool>),
    /// Tokens that were used.
    Tokens(Tokens),
    /// It failed; what comes of text now is for people.
    Failed {
        /// Our code.
        code: String,
        /// A sentence.
        message: String,
    },
    /// It is over, and paid for.
    Over,
}

/// A tool that a chatflow has run, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedTool {
    /// Its name.
    pub tool: String,
    /// What it was given.
    #[serde(default)]
    pub tool_input: Value,
    /// What it gave.
    #[serde(default)]
    pub tool_output: Value,
}

/// Tokens that a turn used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Both, and what was thought.
    pub total: u64,
}

impl Heard {
    /// What one of the events that turns have says; `None` of those that say nothing to these clients.
    pub fn of(event: &UpstreamEvent<'_>) -> Option<Self> {
        match &*event.name {
            "token" => event
                .text()
                .filter(|text| !text.is_empty())
                .map(|text| Self::Text(text.into_owned())),
            "usedTools" => used_tools(event.data).map(Self::Tools),
            "usageMetadata" => Tokens::read(event.data).map(Self::Tokens),
            "error" => Some(failure(event)),
            "end" => Some(Self::Over),
            _ => None,
        }
    }
}

fn failure(event: &UpstreamEvent<'_>) -> Heard {
    #[derive(Deserialize)]
    struct Told {
        code: Option<String>,
    }
    let told = serde_json::from_str(event.json).ok();
    Heard::Failed {
        code: told.and_then(|told: Told| told.code).unwrap_or_default(),
        message: event.text().unwrap_or_default().into_owned(),
    }
}

/// The tools in the data of a `usedTools` event. A list may have gaps, where an agent ran none.
fn used_tools(data: &str) -> Option<Vec<UsedTool>> {
    let list: Vec<Value> = serde_json::from_str(data).ok()?;
    let tools = list
        .into_iter()
        .filter_map(|tool| serde_json::from_value(tool).ok());
    let tools: Vec<_> = tools.take(TOOLS_MAX).collect();
    (!tools.is_empty()).then_some(tools)
}

impl UsedTool {
    /// What it was given, as these clients have arguments: JSON in a text.
    pub fn arguments(&self) -> String {
        text_of(&self.tool_input)
    }

    /// What it gave, as a text.
    pub fn output(&self) -> String {
        self.tool_output
            .as_str()
            .map_or_else(|| text_of(&self.tool_output), str::to_owned)
    }
}

fn text_of(value: &Value) -> String {
    if value.is_null() {
        return "{}".to_owned();
    }
    value.to_string()
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let both = usage.input_tokens.saturating_add(usage.output_tokens);
        Self {
            input: usage.input_tokens,
            output: usage.output_tokens,
            total: usage.total_tokens.max(both),
        }
    }
}

impl Tokens {
    fn read(data: &str) -> Option<Self> {
        let usage: Usage = serde_json::from_str(data).ok()?;
        usage.tokens().map(|_| Self::from(usage))
    }

    /// As chat completions have it.
    pub fn of_chat(self) -> Value {
        json!({ "prompt_tokens": self.input, "completion_tokens": self.output, "total_tokens": self.total })
    }

    /// As responses have it.
    pub fn of_response(self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": self.output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &Value) -> Option<Heard> {
        Heard::of(&UpstreamEvent::parse(event.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn events_say_what_these_clients_understand_or_nothing() {
        let text = json!({ "event": "token", "data": "hi" });
        assert_eq!(read(&text), Some(Heard::Text("hi".to_owned())));
        let usage = json!({ "event": "usageMetadata", "data": { "input_tokens": 2, "output_tokens": 5 } });
        let tokens = Tokens {
            input: 2,
            output: 5,
            total: 7,
        };
        assert_eq!(read(&usage), Some(Heard::Tokens(tokens)));
        let failed = json!({ "event": "error", "data": "No.", "code": "upstream_error" });
        let (code, message) = ("upstream_error".to_owned(), "No.".to_owned());
        assert_eq!(read(&failed), Some(Heard::Failed { code, message }));
        assert_eq!(
            read(&json!({ "event": "end", "data": "[DONE]" })),
            Some(Heard::Over)
        );
        for silent in [
            json!({ "event": "token", "data": "" }),
            json!({ "event": "start", "data": "" }),
            json!({ "event": "session_id", "data": "x" }),
            json!({ "event": "usageMetadata", "data": {} }),
            json!({ "event": "usedTools", "data": [null] }),
        ] {
            assert_eq!(read(&silent), None, "{silent}");
        }
    }

    #[test]
    fn tools_are_read_and_written_as_texts() {
        let event = json!({ "event": "usedTools", "data": [
            null,
            { "tool": "calculator", "toolInput": { "input": "2+3" }, "toolOutput": "5" },
            { "tool": "clock", "toolOutput": { "now": 7 } },
        ] });
        let Some(Heard::Tools(tools)) = read(&event) else {
            unreachable!()
        };
        assert_eq!(
            (tools[0].arguments().as_str(), tools[0].output().as_str()),
            (r#"{"input":"2+3"}"#, "5")
        );
        assert_eq!(
            (tools[1].arguments().as_str(), tools[1].output().as_str()),
            ("{}", r#"{"now":7}"#)
        );
    }
}
