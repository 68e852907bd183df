//! `POST /v1/responses` in its text form: what is asked, and the whole answer.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Invalid, Metadata,
    answer::{Answer, Head},
    check_metadata,
    content::Content,
    conversation::{Asked, Memory, Spoken},
    heard::{Tokens, UsedTool},
    session_name,
    text_or_list::TextOrList,
};
use crate::domain::session_name::SessionName;

/// Items of one request.
const ITEMS_MAX: usize = 1_000;

/// Under which name tools that a chatflow ran are shown.
const SERVER_LABEL: &str = "chatflow";

/// The body. Members that mean nothing here are ignored.
#[derive(Debug, Deserialize)]
pub struct ResponseRequest {
    /// The chatflow: its id, or its name.
    pub model: String,
    /// A question, or items of which some are messages.
    input: TextOrList<Item>,
    instructions: Option<String>,
    previous_response_id: Option<String>,
    stream: Option<bool>,
    background: Option<bool>,
    user: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    content: Option<Content>,
}

/// What is asked, checked.
#[derive(Debug)]
pub struct ResponseAsk {
    /// What is said.
    pub asked: Asked,
    /// The session to go on with, as the client calls it.
    pub session: Option<SessionName>,
    /// Whether it is answered as events.
    pub stream: bool,
    /// What the answer repeats.
    pub echo: Echo,
}

/// What a response repeats of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    instructions: Option<String>,
    metadata: Metadata,
    user: Option<String>,
}

impl ResponseRequest {
    /// Checks it.
    pub fn ask(self) -> Result<ResponseAsk, Invalid> {
        if self.previous_response_id.is_some_and(|id| !id.is_empty()) {
            let message =
                "is not kept here; send earlier messages along, or name a session in metadata.session_id";
            return Err(Invalid::new("previous_response_id", message));
        }
        if self.background == Some(true) {
            return Err(Invalid::new("background", "must be false"));
        }
        let metadata = self.metadata.unwrap_or_default();
        check_metadata(&metadata)?;
        let session = session_name(&metadata, self.user.as_deref())?;
        let memory = if session.is_some() {
            Memory::Session
        } else {
            Memory::Request
        };
        let mut asked = match self.input {
            TextOrList::Text(text) => Asked::text(text, "input"),
            TextOrList::List(items) if items.len() > ITEMS_MAX => {
                return Err(Invalid::new(
                    "input",
                    format!("may have at most {ITEMS_MAX} items"),
                ));
            }
            TextOrList::List(items) => Asked::read(
                items.into_iter().filter_map(Item::spoken).collect(),
                "input",
                memory,
            )?,
        };
        asked.instruct(self.instructions.clone().unwrap_or_default());
        Ok(ResponseAsk {
            asked,
            session,
            stream: self.stream.unwrap_or_default(),
            echo: Echo {
                instructions: self.instructions,
                metadata,
                user: self.user,
            },
        })
    }
}

impl Item {
    /// A message; calls of tools and what a model thought, which clients send back with it, are none.
    fn spoken(self) -> Option<Spoken> {
        let is_message = self.kind.as_deref().is_none_or(|kind| kind == "message");
        is_message.then(|| Spoken {
            role: self.role.unwrap_or_default(),
            content: self.content,
        })
    }
}

/// The whole answer.
pub fn response(head: &Head, echo: &Echo, answer: &Answer) -> Value {
    let message = message_item(head, &answer.text, "completed");
    let calls = answer.tools.iter().enumerate();
    let calls = calls.map(|(index, tool)| call_item(head, tool, index));
    let output: Vec<_> = std::iter::once(message).chain(calls).collect();
    body(head, echo, "completed", &output, answer.tokens, None)
}

/// A response in whatever state.
pub(super) fn body(
    head: &Head,
    echo: &Echo,
    status: &str,
    output: &[Value],
    tokens: Option<Tokens>,
    error: Option<(&str, &str)>,
) -> Value {
    let is_whole = status == "completed";
    json!({
        "id": head.response_id(),
        "object": "response",
        "created_at": head.created,
        "status": status,
        "background": false,
        "error": error.map(|(code, message)| json!({ "code": code, "message": message })),
        "incomplete_details": null,
        "instructions": echo.instructions,
        "max_output_tokens": null,
        "metadata": echo.metadata,
        "model": head.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": { "effort": null, "summary": null },
        "store": false,
        "temperature": null,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "truncation": "disabled",
        "usage": is_whole.then(|| tokens.unwrap_or_default().of_response()),
        "user": echo.user,
    })
}

/// The message of a response.
pub(super) fn message_item(head: &Head, text: &str, status: &str) -> Value {
    let content = if status == "completed" {
        vec![text_part(text)]
    } else {
        Vec::new()
    };
    json!({ "id": head.message_id(), "type": "message", "status": status, "role": "assistant", "content": content })
}

/// The text of a message.
pub(super) fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// A tool that the chatflow ran: a call that was made on our side, with what came of it, so that no client makes it again.
pub(super) fn call_item(head: &Head, tool: &UsedTool, number: usize) -> Value {
    json!({
        "id": head.call_id(number),
        "type": "mcp_call",
        "status": "completed",
        "server_label": SERVER_LABEL,
        "name": tool.tool,
        "arguments": tool.arguments(),
        "output": tool.output(),
        "approval_request_id": null,
        "error": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: Value) -> Result<ResponseAsk, Invalid> {
        serde_json::from_value::<ResponseRequest>(body).unwrap().ask()
    }

    #[test]
    fn an_input_is_a_text_or_messages_among_other_items() {
        let plain = ask(json!({ "model": "m", "input": "hi", "instructions": "be brief" })).unwrap();
        assert_eq!(
            (plain.asked.question.as_str(), plain.asked.history.len()),
            ("hi", 1)
        );
        let items = ask(json!({ "model": "m", "input": [
            { "role": "user", "content": "2+3?" },
            { "type": "reasoning", "id": "x", "summary": [] },
            { "type": "mcp_call", "name": "calculator", "arguments": "{}", "output": "5" },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "5" }] },
            { "role": "user", "content": [{ "type": "input_text", "text": "why?" }] },
        ] }))
        .unwrap();
        assert_eq!(
            (items.asked.question.as_str(), items.asked.history.len()),
            ("why?", 2)
        );
    }

    #[test]
    fn what_is_not_kept_here_is_not_pretended() {
        for (body, param) in [
            (
                json!({ "model": "m", "input": "x", "previous_response_id": "resp_1" }),
                "previous_response_id",
            ),
            (
                json!({ "model": "m", "input": "x", "background": true }),
                "background",
            ),
            (json!({ "model": "m", "input": [] }), "input"),
            (
                json!({ "model": "m", "input": [{ "content": "x" }] }),
                "input[0].role",
            ),
            (json!({ "model": "m", "input": vec![json!({}); 1_001] }), "input"),
        ] {
            assert_eq!(ask(body).unwrap_err().param, param);
        }
    }

    #[test]
    fn tools_are_calls_that_were_made_already() {
        let head = Head {
            turn_id: "t".to_owned(),
            model: "m".to_owned(),
            created: 7,
        };
        let answer = Answer {
            text: "5".to_owned(),
            tools: vec![UsedTool {
                tool: "calculator".to_owned(),
                tool_input: json!({ "input": "2+3" }),
                tool_output: json!("5"),
            }],
            tokens: None,
        };
        let body = response(&head, &Echo::default(), &answer);
        assert_eq!(body["output"][0]["content"][0]["text"], "5");
        assert_eq!(body["output"][1]["output"], "5");
        assert_eq!(body["output"][1]["arguments"], r#"{"input":"2+3"}"#);
        assert_eq!(body["usage"]["total_tokens"], 0);
    }
}
