//! What every answer of this API has.

use super::heard::{Tokens, UsedTool};

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
