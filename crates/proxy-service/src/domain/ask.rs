//! What a person asks for in one turn, and what of it is valid.

mod reply;

use std::{borrow::Cow, io};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use self::reply::{Decision, HumanInput};
use self::reply::{check_form, form_text};
use super::session_name::SessionName;

/// Earlier messages a client may send along.
const HISTORY_MESSAGES_MAX: usize = 200;

/// Characters in all of them.
const HISTORY_CHARS_MAX: usize = 400_000;

/// Files in one message.
const UPLOADS_MAX: usize = 10;

/// Bytes of one file, as the documented client limits them.
const UPLOAD_BYTES_MAX: usize = 10 << 20;

/// The kind of an upload whose `data` is text, put before the question: what an attached file was read as.
pub const FULL_TEXT: &str = "file:full";

/// The kind of an upload whose `data` is the id of a file that was uploaded before.
pub const STORED_FILE: &str = "stored-file";

const NAME_CHARS_MAX: usize = 255;
const MIME_BYTES_MAX: usize = 127;

/// The allowed members of `overrideConfig`, as JSON.
const OVERRIDE_BYTES_MAX: usize = 64 << 10;

/// The conversation's ids are ours to make, whatever a client writes here.
const OWN_MEMBERS: [&str; 2] = ["chatId", "sessionId"];

/// The body of a chat request. Members we do not know are ignored, as they always were.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatRequest {
    /// The question. Only a form or a decision may come without one.
    pub question: Option<String>,
    /// A form that is filled in, where the chatflow begins with one.
    pub form: Option<Map<String, Value>>,
    /// A decision, where the chatflow has stopped for one.
    pub human_input: Option<HumanInput>,
    /// Flowise's id of the chatflow.
    #[serde(rename = "chatflow_id")]
    pub chatflow_id: String,
    /// Settings of the chatflow that the caller wants changed.
    pub override_config: Option<Map<String, Value>>,
    /// Earlier messages.
    pub history: Option<Vec<Message>>,
    /// The session to go on with; nothing or an empty text begins a new one.
    pub session_id: Option<String>,
    /// Files.
    pub uploads: Option<Vec<Upload>>,
    /// Whether uploads may be of the kinds that clients of Flowise send of files that were read before.
    #[serde(skip)]
    pub takes_read_files: bool,
}

/// An earlier message; Flowise accepts only these two roles.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Message {
    /// Who said it.
    pub role: Speaker,
    /// What was said.
    pub content: String,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Speaker {
    /// The person.
    UserMessage,
    /// The assistant.
    ApiMessage,
}

/// A file in the message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Upload {
    /// `data:<mime>;base64,...`, or the base64 alone; of a stored file its id.
    pub data: String,
    /// What kind of upload it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The file's name; a stored file has its own.
    #[serde(default)]
    pub name: String,
    /// The file's type, as far as the client knows it.
    #[serde(default)]
    pub mime: String,
}

/// A member of the request that is not valid, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The session is not named by a UUID.
    SessionId,
    /// Any other member.
    Member {
        /// The member, with dots for nesting.
        field: String,
        /// A sentence for people.
        message: String,
    },
}

impl Invalid {
    fn member(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Member {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// A valid request.
#[derive(Debug)]
pub struct Ask {
    /// The question; empty where there is none.
    pub question: String,
    /// A form that is filled in.
    pub form: Option<Map<String, Value>>,
    /// A decision.
    pub human_input: Option<HumanInput>,
    /// Flowise's id of the chatflow, in its canonical form.
    pub chatflow_id: String,
    /// The session to go on with, in its canonical form; `None` begins a new one.
    pub session_id: Option<String>,
    /// Earlier messages.
    pub history: Vec<Message>,
    /// Files, each with exactly one `data:` prefix.
    pub uploads: Vec<Upload>,
    override_config: Map<String, Value>,
}

impl Ask {
    /// Checks a request whose question may have `prompt_chars_max` characters.
    pub fn parse(request: ChatRequest, prompt_chars_max: usize) -> Result<Self, Invalid> {
        let is_asked_otherwise = request.form.is_some() || request.human_input.is_some();
        let question = match request.question {
            Some(question) => question,
            None if is_asked_otherwise => String::new(),
            None => return Err(Invalid::member("question", "is missing")),
        };
        if question.chars().nth(prompt_chars_max).is_some() {
            return Err(Invalid::member(
                "question",
                format!("may have at most {prompt_chars_max} characters"),
            ));
        }
        if let Some(form) = &request.form {
            check_form(form, prompt_chars_max)?;
        }
        if let Some(input) = &request.human_input {
            input.check(prompt_chars_max)?;
        }
        let chatflow_id = Uuid::parse_str(&request.chatflow_id)
            .or(Err(Invalid::member("chatflow_id", "must be a UUID")))?;
        let session_id = match request.session_id.as_deref() {
            None | Some("") => None,
            Some(id) => Some(Uuid::parse_str(id).or(Err(Invalid::SessionId))?.to_string()),
        };
        let history = request.history.unwrap_or_default();
        check_history(&history)?;
        let mut uploads = request.uploads.unwrap_or_default();
        if uploads.len() > UPLOADS_MAX {
            return Err(Invalid::member(
                "uploads",
                format!("may have at most {UPLOADS_MAX} files"),
            ));
        }
        for (index, upload) in uploads.iter_mut().enumerate() {
            check_upload(index, upload, request.takes_read_files)?;
        }
        Ok(Self {
            question,
            form: request.form,
            human_input: request.human_input,
            chatflow_id: chatflow_id.to_string(),
            session_id,
            history,
            uploads,
            override_config: request.override_config.unwrap_or_default(),
        })
    }

    /// What the person said, as the history shows it.
    pub fn text(&self) -> Cow<'_, str> {
        match (&self.question, &self.form, &self.human_input) {
            (question, _, _) if !question.is_empty() => question.into(),
            (_, Some(form), _) => form_text(form).into(),
            (_, None, Some(input)) => input.text().into(),
            (question, None, None) => question.into(),
        }
    }

    /// The question as Flowise gets it: nothing where something else is asked with.
    pub fn prompt(&self) -> Option<&str> {
        let is_asked_otherwise = self.form.is_some() || self.human_input.is_some();
        (!is_asked_otherwise || !self.question.is_empty()).then_some(&*self.question)
    }

    /// The settings to be changed, when the chatflow allows all that were named.
    pub fn override_config(&self, allowed: &[String]) -> Result<Map<String, Value>, Invalid> {
        let mut config = self.override_config.clone();
        config.retain(|member, _| !OWN_MEMBERS.contains(&member.as_str()));
        if let Some(member) = config.keys().find(|member| !allowed.contains(member)) {
            let field: String = member.chars().take(NAME_CHARS_MAX).collect();
            return Err(Invalid::member(
                format!("overrideConfig.{field}"),
                "may not be set for this chatflow",
            ));
        }
        if Value::Object(config.clone()).to_string().len() > OVERRIDE_BYTES_MAX {
            return Err(Invalid::member(
                "overrideConfig",
                format!("may have at most {OVERRIDE_BYTES_MAX} bytes"),
            ));
        }
        Ok(config)
    }
}

impl ChatRequest {
    /// Tells one request from another under the same idempotency key; `session` is what the client calls the session, where
    /// it does so by a name of its own.
    pub fn fingerprint(&self, session: Option<&SessionName>) -> String {
        // What was read from JSON can be written as JSON.
        let mut hashing = Hashing(Sha256::new());
        let _ = serde_json::to_writer(&mut hashing, self);
        if let Some(SessionName { name, .. }) = session {
            hashing.0.update(name);
        }
        hex::encode(hashing.0.finalize())
    }
}

/// Hashes what is written to it: a request may be too large to be written out first.
struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_history(history: &[Message]) -> Result<(), Invalid> {
    if history.len() > HISTORY_MESSAGES_MAX {
        let message = format!("may have at most {HISTORY_MESSAGES_MAX} messages");
        return Err(Invalid::member("history", message));
    }
    let chars: usize = history
        .iter()
        .map(|message| message.content.chars().count())
        .sum();
    if chars > HISTORY_CHARS_MAX {
        let message = format!("may have at most {HISTORY_CHARS_MAX} characters");
        return Err(Invalid::member("history", message));
    }
    Ok(())
}

fn check_upload(index: usize, upload: &mut Upload, takes_read_files: bool) -> Result<(), Invalid> {
    let invalid = |member: &str, message: &str| Invalid::member(format!("uploads.{index}.{member}"), message);
    if upload.kind == STORED_FILE {
        let id = Uuid::parse_str(&upload.data).or(Err(invalid("data", "must be the id of a file")))?;
        upload.data = id.to_string();
        return Ok(());
    }
    let is_read = takes_read_files && matches!(&*upload.kind, "file:rag" | FULL_TEXT);
    if !is_read && !matches!(&*upload.kind, "file" | "audio") {
        // An address would be fetched by Flowise or the model, from inside the network.
        return Err(invalid("type", "must be `file`, `audio` or `stored-file`"));
    }
    let name_is_bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if upload.name.is_empty()
        || upload.name.chars().nth(NAME_CHARS_MAX).is_some()
        || upload.name.contains(name_is_bad)
    {
        return Err(invalid("name", "must be a file name of at most 255 characters"));
    }
    if !is_mime(&upload.mime) {
        return Err(invalid("mime", "must be a media type such as `image/png`"));
    }
    if upload.kind == FULL_TEXT {
        return if upload.data.len() > UPLOAD_BYTES_MAX {
            Err(invalid("data", "may have at most 10 MiB"))
        } else {
            Ok(())
        };
    }
    // What stands before the last comma is a `data:` prefix, or two: the existing client and an older gateway each
    // added one.
    let base64 = match upload.data.rsplit_once(',') {
        Some((prefix, base64)) if prefix.starts_with("data:") => base64,
        Some(_) => {
            return Err(invalid(
                "data",
                "must be base64, with or without a `data:` prefix",
            ));
        }
        None => &upload.data,
    };
    if !is_base64(base64) {
        return Err(invalid(
            "data",
            "must be base64, with or without a `data:` prefix",
        ));
    }
    if base64.len() / 4 * 3 > UPLOAD_BYTES_MAX + 2 {
        return Err(invalid("data", "may have at most 10 MiB"));
    }
    upload.data = format!("data:{};base64,{base64}", upload.mime);
    Ok(())
}

fn is_mime(mime: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'_');
        !part.is_empty() && part.bytes().all(allowed)
    };
    mime.len() <= MIME_BYTES_MAX
        && mime
            .split_once('/')
            .is_some_and(|(kind, sub)| part(kind) && part(sub))
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !digits.is_empty()
        && text.len() - digits.len() <= 2
        && text.len().is_multiple_of(4)
        && digits.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FLOW: &str = "d4fd9c78-c25f-458a-89ed-5a4b53eb12cf";

    fn parse(changes: &Value) -> Result<Ask, Invalid> {
        let mut body = json!({ "question": "hello", "chatflow_id": FLOW });
        let members = body.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        Ask::parse(serde_json::from_value(body).unwrap(), 10)
    }

    fn upload(changes: &Value) -> Result<Ask, Invalid> {
        let mut upload = json!({ "data": "aGk=", "type": "file", "name": "a.txt", "mime": "text/plain" });
        upload
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        parse(&json!({ "uploads": [upload] }))
    }

    fn field<T: std::fmt::Debug>(result: Result<T, Invalid>) -> String {
        match result.unwrap_err() {
            Invalid::SessionId => "sessionId".to_owned(),
            Invalid::Member { field, .. } => field,
        }
    }

    #[test]
    fn the_question_is_bounded_in_characters_not_bytes() {
        assert!(parse(&json!({ "question": "你".repeat(10) })).is_ok());
        assert_eq!(field(parse(&json!({ "question": "a".repeat(11) }))), "question");
        assert!(
            parse(&json!({ "question": "" })).is_ok(),
            "documented: may be empty"
        );
    }

    #[test]
    fn only_a_form_or_a_decision_comes_without_a_question() {
        assert_eq!(field(parse(&json!({ "question": null }))), "question");
        let form = parse(&json!({ "question": null, "form": { "a": 1 } })).unwrap();
        assert_eq!((form.prompt(), &*form.text()), (None, "a: 1"));
        let input = json!({ "type": "reject" });
        let decision = parse(&json!({ "question": "", "humanInput": input })).unwrap();
        assert_eq!((decision.prompt(), &*decision.text()), (None, "Reject"));
        let both = parse(&json!({ "form": { "a": 1 } })).unwrap();
        assert_eq!((both.prompt(), &*both.text()), (Some("hello"), "hello"));
        assert_eq!(parse(&json!({ "question": "" })).unwrap().prompt(), Some(""));
    }

    #[test]
    fn ids_are_uuids_and_become_canonical() {
        let ask = parse(&json!({ "sessionId": "D4FD9C78C25F458A89ED5A4B53EB12CF" })).unwrap();
        assert_eq!(ask.session_id.as_deref(), Some(FLOW));
        assert_eq!(parse(&json!({ "sessionId": "" })).unwrap().session_id, None);
        assert_eq!(field(parse(&json!({ "sessionId": "../x" }))), "sessionId");
        assert_eq!(field(parse(&json!({ "chatflow_id": "x" }))), "chatflow_id");
    }

    #[test]
    fn history_has_two_roles_and_a_size() {
        let message = |count: usize, chars: usize| {
            let message = json!({ "role": "apiMessage", "content": "a".repeat(chars) });
            parse(&json!({ "history": vec![message; count] }))
        };
        assert_eq!(message(200, 10).unwrap().history.len(), 200);
        assert_eq!(field(message(201, 1)), "history");
        assert_eq!(field(message(1, 400_001)), "history");
        let role: Result<Message, _> = serde_json::from_value(json!({ "role": "system", "content": "" }));
        assert!(role.is_err());
    }

    #[test]
    fn an_upload_gets_exactly_one_prefix() {
        let twice = "data:image/png;base64,data:image/png;base64,aGk=";
        for data in ["aGk=", "data:text/plain;base64,aGk=", twice] {
            let ask = upload(&json!({ "data": data })).unwrap();
            assert_eq!(ask.uploads[0].data, "data:text/plain;base64,aGk=");
        }
    }

    #[test]
    fn uploads_that_are_no_files_are_refused() {
        for (changes, member) in [
            (json!({ "data": "" }), "data"),
            (json!({ "data": "a b=" }), "data"),
            (json!({ "data": "x,aGk=" }), "data"),
            (json!({ "data": "aGk" }), "data"),
            (json!({ "data": "A".repeat(14_000_004) }), "data"),
            (
                json!({ "type": "url", "data": "http://169.254.169.254/" }),
                "type",
            ),
            (json!({ "name": "../../etc/passwd" }), "name"),
            (json!({ "name": "" }), "name"),
            (json!({ "mime": "text/plain;base64,x" }), "mime"),
            (json!({ "mime": "text" }), "mime"),
        ] {
            assert_eq!(field(upload(&changes)), format!("uploads.0.{member}"));
        }
        let one = json!({ "data": "aGk=", "type": "file", "name": "a", "mime": "a/b" });
        assert_eq!(field(parse(&json!({ "uploads": vec![one; 11] }))), "uploads");
    }

    #[test]
    fn settings_pass_the_allow_list_or_are_refused_and_ids_are_ignored() {
        let config = json!({ "temperature": 0.5, "chatId": "x", "sessionId": "y" });
        let ask = parse(&json!({ "overrideConfig": config })).unwrap();
        assert_eq!(field(ask.override_config(&[])), "overrideConfig.temperature");
        let allowed = ask.override_config(&["temperature".to_owned()]).unwrap();
        assert_eq!(Value::Object(allowed), json!({ "temperature": 0.5 }));
        let ids = parse(&json!({ "overrideConfig": { "chatId": "x", "sessionId": "y" } })).unwrap();
        assert!(ids.override_config(&[]).unwrap().is_empty());
        let large = parse(&json!({ "overrideConfig": { "a": "x".repeat(70_000) } })).unwrap();
        assert_eq!(field(large.override_config(&["a".to_owned()])), "overrideConfig");
    }
}
