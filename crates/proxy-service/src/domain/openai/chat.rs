//! `POST /v1/chat/completions`: what is asked, and the whole answer.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    Invalid, Metadata,
    answer::{Answer, Head},
    check_metadata,
    conversation::{Asked, Memory, Spoken},
    heard::UsedTool,
    session_name,
    stop::{Stop, Stopper},
};
use crate::domain::session_name::SessionName;

/// The body. Members that mean nothing here are ignored.
#[derive(Debug, Deserialize)]
pub struct ChatCompletionRequest {
    /// The chatflow: its id, or its name.
    pub model: String,
    messages: Vec<Spoken>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    stop: Option<Stop>,
    user: Option<String>,
    metadata: Option<Metadata>,
    tools: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// What is asked, checked.
#[derive(Debug)]
pub struct ChatAsk {
    /// What is said.
    pub asked: Asked,
    /// The session to go on with, as the client calls it.
    pub session: Option<SessionName>,
    /// How it is answered.
    pub wish: ChatWish,
}

/// How an answer is to be.
#[derive(Debug)]
pub struct ChatWish {
    /// As chunks.
    pub stream: bool,
    /// Whether a stream tells of tokens.
    pub include_usage: bool,
    /// Whether tools that the chatflow ran are shown.
    pub show_tools: bool,
    /// Where it ends.
    pub stopper: Stopper,
}

impl ChatCompletionRequest {
    /// Checks it.
    pub fn ask(self) -> Result<ChatAsk, Invalid> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(Invalid::new("n", "must be 1: a chatflow gives one answer"));
        }
        let metadata = self.metadata.unwrap_or_default();
        check_metadata(&metadata)?;
        let session = session_name(&metadata, self.user.as_deref())?;
        let memory = if session.is_some() {
            Memory::Session
        } else {
            Memory::Request
        };
        let stream = self.stream.unwrap_or_default();
        let has_tools = self.tools.is_some_and(|tools| !tools.is_empty());
        let wish = ChatWish {
            stream,
            include_usage: self
                .stream_options
                .and_then(|options| options.include_usage)
                .unwrap_or_default(),
            show_tools: shows_tools(&metadata, stream, has_tools)?,
            stopper: self.stop.unwrap_or_default().stopper()?,
        };
        let asked = Asked::read(self.messages, "messages", memory)?;
        Ok(ChatAsk { asked, session, wish })
    }
}

/// Whether an answer shows the tools that the chatflow ran. They were run, and their results are in the answer; but who
/// brings tools of their own runs whatever calls they see, and chat pages that stream do so even if they brought none, and
/// then ask again, which costs. `metadata.tool_calls` says it in so many words.
fn shows_tools(metadata: &Metadata, stream: bool, has_tools: bool) -> Result<bool, Invalid> {
    match metadata.get("tool_calls").map(String::as_str) {
        None => Ok(!stream && !has_tools),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(Invalid::new("metadata.tool_calls", "must be `true` or `false`")),
    }
}

/// The whole answer.
pub fn chat_completion(head: &Head, answer: &Answer, wish: ChatWish) -> Value {
    let mut message = json!({
        "role": "assistant",
        "content": wish.stopper.cut(&answer.text),
        "refusal": null,
        "annotations": [],
    });
    if wish.show_tools && !answer.tools.is_empty() {
        message["tool_calls"] = tool_calls(head, &answer.tools, 0).collect();
    }
    json!({
        "id": head.chat_id(),
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }],
        "usage": answer.tokens.unwrap_or_default().of_chat(),
        "system_fingerprint": null,
    })
}

/// Tools as these clients have calls of them; the first is number `from` of its answer.
pub(super) fn tool_calls(head: &Head, tools: &[UsedTool], from: usize) -> impl Iterator<Item = Value> {
    tools.iter().enumerate().map(move |(index, tool)| {
        json!({
            "id": head.call_id(from + index),
            "type": "function",
            "function": { "name": tool.tool, "arguments": tool.arguments() },
        })
    })
}
