//! What every answer of this API has.

use serde_json::value::RawValue;

use super::heard::{Heard, Tokens, UsedTool};
use crate::domain::upstream::UpstreamEvent;

/// What an answer begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The turn that makes it.
    pub turn_id: String,
    /// The model as the client called it.
    pub model: String,
    /// When it began, in seconds since 1970.
    pub created: i64,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its text.
    pub text: String,
    /// Tools that the chatflow has run for it.
    pub tools: Vec<UsedTool>,
    /// Tokens that it took, where the chatflow tells.
    pub tokens: Option<Tokens>,
}

impl Answer {
    /// An answer with this text; `notes` are the other events of its turn, as a JSON array.
    pub fn new(text: String, notes: &str, tokens: Option<Tokens>) -> Self {
        let events: Vec<&RawValue> = serde_json::from_str(notes).unwrap_or_default();
        let mut answer = Self {
            text,
            tools: Vec::new(),
            tokens,
        };
        for event in events {
            let event = UpstreamEvent::parse(event.get().as_bytes());
            if let Some(Heard::Tools(tools)) = event.as_ref().and_then(Heard::of) {
                answer.tools.extend(tools);
            }
        }
        answer
    }
}

impl Head {
    /// The id of a chat completion.
    pub fn chat_id(&self) -> String {
        format!("chatcmpl-{}", self.turn_id)
    }

    /// The id of a response.
    pub fn response_id(&self) -> String {
        format!("resp_{}", self.turn_id)
    }

    /// The id of its message.
    pub fn message_id(&self) -> String {
        format!("msg_{}", self.turn_id)
    }

    /// The id of one of its tool calls.
    pub fn call_id(&self, number: usize) -> String {
        format!("call_{}_{number}", self.turn_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_among_what_a_turn_said() {
        let notes =
            r#"[{"event":"start","data":""},{"event":"usedTools","data":[{"tool":"clock"}]},{"event":"x"}]"#;
        let answer = Answer::new("noon".to_owned(), notes, None);
        assert_eq!((answer.tools.len(), answer.tools[0].tool.as_str()), (1, "clock"));
        assert!(Answer::new(String::new(), "", None).tools.is_empty());
    }
}
