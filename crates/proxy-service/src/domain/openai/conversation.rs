//! The messages of a request, made into a question, what was said before, and files.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{
    Invalid,
    content::{Content, Enclosed},
};
use crate::domain::{
    ask::{ChatRequest, Message, STORED_FILE, Speaker, Upload},
    file_kind::{HEAD_BYTES, sniff},
};

/// Messages of one request: the history that a question may have, and the question.
const MESSAGES_MAX: usize = 201;

/// Files of one request; the question's own have to be so few, earlier ones are left out.
const FILES_MAX: usize = 10;

/// A message as the API has it.
#[derive(Debug, Deserialize)]
pub struct Spoken {
    /// Who says it.
    pub role: String,
    /// What; an assistant that only called tools said nothing.
    pub content: Option<Content>,
}

/// Where earlier messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// In the request: the turn knows nothing else.
    Request,
    /// In the session that the request names: those in the request were said there already.
    Session,
}

/// What a request asks, in our terms.
#[derive(Debug, Default)]
pub struct Asked {
    /// The last message.
    pub question: String,
    /// What goes before it.
    pub history: Vec<Message>,
    /// Files.
    pub uploads: Vec<Upload>,
    /// Where in the request all that stands.
    params: Params,
}

/// Where in a request stands what became of it.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// The member with the messages.
    messages: &'static str,
    /// Those of the files.
    files: Vec<String>,
}

impl Params {
    /// The member that this one of our own chat requests comes from.
    pub fn of(&self, field: &str) -> Option<&str> {
        if let Some(rest) = field.strip_prefix("uploads.") {
            let index = rest.split('.').next()?.parse::<usize>().ok()?;
            return self.files.get(index).map(String::as_str);
        }
        matches!(field, "question" | "history" | "uploads").then_some(self.messages)
    }
}

impl Asked {
    /// Reads messages, of which the last is the question; `member` is where in the request they stand. What a client
    /// tells the assistant to be (`system`, `developer`) goes before everything else said: the chatflow's own prompt is
    /// not touched. Files of earlier messages come along where only the request knows of them.
    pub fn read(messages: Vec<Spoken>, member: &'static str, memory: Memory) -> Result<Self, Invalid> {
        if messages.len() > MESSAGES_MAX {
            return Err(Invalid::new(
                member,
                format!("may have at most {MESSAGES_MAX} messages"),
            ));
        }
        let last = messages.len().checked_sub(1);
        let last = last.ok_or_else(|| Invalid::new(member, "must have a message"))?;
        let mut asked = Self::text(String::new(), member);
        let (mut instructions, mut earlier) = (Vec::new(), Vec::new());
        let mut files = Vec::new();
        for (index, Spoken { role, content }) in messages.into_iter().enumerate() {
            let param = format!("{member}[{index}]");
            let kind = Kind::of(&role).ok_or_else(|| {
                let message = "must be `system`, `developer`, `user`, `assistant` or `tool`";
                Invalid::new(format!("{param}.role"), message)
            })?;
            let content = content.unwrap_or(Content::Text(String::new()));
            let said = content.read(&format!("{param}.content"))?;
            if index == last {
                if kind != Kind::User {
                    return Err(Invalid::new(
                        format!("{param}.role"),
                        "must be `user` in the last message",
                    ));
                }
                if said.files.len() > FILES_MAX {
                    let message = format!("may have at most {FILES_MAX} files");
                    return Err(Invalid::new(format!("{param}.content"), message));
                }
                asked.question = said.text;
                files.extend(said.files);
                break;
            }
            match kind {
                Kind::Instruction => instructions.push(message(kind, said.text)),
                Kind::User | Kind::Assistant | Kind::Tool if memory == Memory::Request => {
                    files.extend(said.files);
                    earlier.push(message(kind, said.text));
                }
                Kind::User | Kind::Assistant | Kind::Tool => {}
            }
        }
        let too_many = files.len().saturating_sub(FILES_MAX);
        for Enclosed { upload, param } in files.into_iter().skip(too_many) {
            if !is_taken(&upload) {
                return Err(Invalid::new(param, "is a file of a kind that is not taken"));
            }
            asked.uploads.push(upload);
            asked.params.files.push(param);
        }
        let history = instructions.into_iter().chain(earlier);
        asked.history = history.filter(|message| !message.content.is_empty()).collect();
        Ok(asked)
    }

    /// A question that is text alone.
    pub fn text(question: String, member: &'static str) -> Self {
        let params = Params {
            messages: member,
            files: Vec::new(),
        };
        Self {
            question,
            params,
            ..Self::default()
        }
    }

    /// Puts something before everything else.
    pub fn instruct(&mut self, instructions: String) {
        if !instructions.is_empty() {
            self.history.insert(0, message(Kind::Instruction, instructions));
        }
    }

    /// As one of our own chat requests.
    pub fn into_request(self, chatflow_id: &str, session_id: Option<String>) -> (ChatRequest, Params) {
        let request = ChatRequest {
            question: Some(self.question),
            form: None,
            human_input: None,
            chatflow_id: chatflow_id.to_owned(),
            override_config: None,
            history: Some(self.history),
            session_id,
            uploads: Some(self.uploads),
            takes_read_files: false,
        };
        (request, self.params)
    }
}

/// Whether files of its kind are taken at all, as far as its beginning tells. A stream would leave it out and go on, and these
/// clients could not be told.
fn is_taken(upload: &Upload) -> bool {
    if upload.kind == STORED_FILE {
        return true;
    }
    let base64 = upload.data.rsplit(',').next().unwrap_or_default();
    let head = base64.get(..HEAD_BYTES.div_ceil(3) * 4).unwrap_or(base64);
    let Ok(mut head) = STANDARD.decode(head) else {
        // What is no base64 is refused where all of it is read.
        return true;
    };
    head.truncate(HEAD_BYTES);
    sniff(&head, &upload.name, &upload.mime).is_some()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Instruction,
    User,
    Assistant,
    Tool,
}

impl Kind {
    fn of(role: &str) -> Option<Self> {
        match role {
            "system" | "developer" => Some(Self::Instruction),
            "user" => Some(Self::User),
            "assistant" => Some(Self::Assistant),
            "tool" | "function" => Some(Self::Tool),
            _ => None,
        }
    }
}

/// Flowise knows two roles: what was said to the assistant, and what it said.
fn message(kind: Kind, content: String) -> Message {
    let role = match kind {
        Kind::Instruction | Kind::User | Kind::Tool => Speaker::UserMessage,
        Kind::Assistant => Speaker::ApiMessage,
    };
    Message { role, content }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(messages: Value, memory: Memory) -> Result<Asked, Invalid> {
        Asked::read(serde_json::from_value(messages).unwrap(), "messages", memory)
    }

    fn history(asked: &Asked) -> Value {
        serde_json::to_value(&asked.history).unwrap()
    }

    fn image(number: usize) -> Value {
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,iVBORw0KGgoA{number:04}") } })
    }

    #[test]
    fn the_last_message_is_the_question_and_the_others_what_was_said() {
        let messages = json!([
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": [{ "type": "text", "text": "hi" }, image(1)] },
            { "role": "assistant", "content": "hello" },
            { "role": "assistant", "content": null, "tool_calls": [] },
            { "role": "tool", "content": "5", "tool_call_id": "x" },
            { "role": "developer", "content": "in French" },
            { "role": "user", "content": [{ "type": "text", "text": "and now?" }, image(2)] },
        ]);
        let asked = read(messages.clone(), Memory::Request).unwrap();
        assert_eq!(asked.question, "and now?");
        assert_eq!(
            history(&asked),
            json!([
                { "role": "userMessage", "content": "be brief" },
                { "role": "userMessage", "content": "in French" },
                { "role": "userMessage", "content": "hi" },
                { "role": "apiMessage", "content": "hello" },
                { "role": "userMessage", "content": "5" },
            ])
        );
        assert_eq!(asked.uploads.len(), 2);
        assert_eq!(asked.params.of("uploads.1.data"), Some("messages[6].content[1]"));

        let asked = read(messages, Memory::Session).unwrap();
        assert_eq!(
            history(&asked),
            json!([
                { "role": "userMessage", "content": "be brief" },
                { "role": "userMessage", "content": "in French" },
            ])
        );
        assert_eq!(asked.uploads.len(), 1, "what was said before was enclosed then");
        assert_eq!(asked.params.of("uploads.0.name"), Some("messages[6].content[1]"));
        assert_eq!(asked.params.of("question"), Some("messages"));
        assert_eq!(asked.params.of("sessionId"), None);
    }

    #[test]
    fn of_many_files_the_newest_come_along() {
        let said = |number| json!({ "role": "user", "content": [image(number)] });
        let messages: Vec<_> = (0..15).map(said).collect();
        let asked = read(json!(messages), Memory::Request).unwrap();
        let sent: Vec<_> = asked.uploads.iter().map(|upload| &upload.data[34..]).collect();
        assert_eq!((sent[0], sent.len(), sent[9]), ("0005", 10, "0014"));
        assert_eq!(asked.params.of("uploads.0"), Some("messages[5].content[0]"));
        let images: Vec<_> = (0..11).map(image).collect();
        let refused = read(json!([{ "role": "user", "content": images }]), Memory::Request);
        assert_eq!(refused.unwrap_err().param, "messages[0].content");
    }

    #[test]
    fn wrong_messages_are_named() {
        for (messages, param) in [
            (json!([]), "messages"),
            (
                json!(vec![json!({ "role": "user", "content": "x" }); 202]),
                "messages",
            ),
            (json!([{ "role": "bot", "content": "x" }]), "messages[0].role"),
            (
                json!([{ "role": "assistant", "content": "x" }]),
                "messages[0].role",
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "x" }] }, { "role": "user", "content": "x" }]),
                "messages[0].content[0].type",
            ),
        ] {
            assert_eq!(read(messages, Memory::Request).unwrap_err().param, param);
        }
    }
}
