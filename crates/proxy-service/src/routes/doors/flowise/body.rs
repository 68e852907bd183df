//! The body of a prediction: JSON, a form, or a form with files. Flowise reads all three.

use std::time::Duration;

use actix_multipart::Field;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common_http::{Problem, read_bytes, read_json};
use futures_util::{FutureExt as _, TryStreamExt as _, future::LocalBoxFuture};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    domain::{
        ask::{ChatRequest, HumanInput, Message, Speaker, Upload},
        file_name::clean,
        session_name::{NAME_CHARS_MAX, SessionName},
    },
    error::{Error, Result},
    routes::{chat_body::share_of, uploads::form_of},
    upload_memory::{CHAT_BYTES_MAX, Share},
};

/// How long a request may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_mins(5);

/// Fields of a form.
const FIELDS_MAX: usize = 64;

/// Those whose text is JSON.
const JSON_FIELDS: [&str; 5] = ["form", "humanInput", "overrideConfig", "history", "uploads"];

/// Those whose text is text. All others belong to `overrideConfig`, as Flowise has it.
const TEXT_FIELDS: [&str; 3] = ["question", "chatId", "streaming"];

/// A prediction that is asked for, and the memory it has.
#[derive(Debug)]
pub(super) struct PredictionBody {
    wire: Wire,
    share: Share,
}

/// The members that we know; others are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    question: Option<String>,
    form: Option<Map<String, Value>>,
    human_input: Option<HumanInput>,
    streaming: Option<Value>,
    chat_id: Option<String>,
    override_config: Option<Map<String, Value>>,
    history: Option<Vec<Earlier>>,
    uploads: Option<Vec<Upload>>,
}

/// An earlier message, as the clients of today and those of yesterday write it.
#[derive(Debug, Deserialize)]
struct Earlier {
    role: Option<Speaker>,
    content: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Speaker>,
    message: Option<String>,
}

impl Earlier {
    fn read(self) -> Result<Message> {
        let (role, content) = (self.role.or(self.kind), self.content.or(self.message));
        match (role, content) {
            (Some(role), Some(content)) => Ok(Message { role, content }),
            _ => Err(Error::invalid(
                "history",
                "must have a `role` and a `content` in each message",
            )),
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: ChatRequest,
    /// What the client calls the session, where it does.
    pub(super) session: Option<SessionName>,
    /// Whether events are wanted.
    pub(super) streams: bool,
}

impl PredictionBody {
    /// What is asked of this chatflow, and the memory of it.
    pub(super) fn ask(self, flowise_id: &str) -> Result<(Asked, Share)> {
        // Behind the door it would be the name of a member that this door's clients do not send.
        Uuid::parse_str(flowise_id).or(Err(Error::invalid("chatflowId", "must be a UUID")))?;
        let Self { wire, share } = self;
        let session = session_of(wire.chat_id.as_deref(), wire.override_config.as_ref())?;
        let history = wire.history.unwrap_or_default();
        let history = history
            .into_iter()
            .map(Earlier::read)
            .collect::<Result<Vec<_>>>()?;
        let asked = Asked {
            session,
            // Anything else is no wish for a stream, also where it means yes elsewhere.
            streams: matches!(wire.streaming, Some(Value::Bool(true)))
                || wire.streaming.as_ref().and_then(Value::as_str) == Some("true"),
            request: ChatRequest {
                question: wire.question,
                form: wire.form,
                human_input: wire.human_input,
                chatflow_id: flowise_id.to_owned(),
                override_config: wire.override_config,
                history: Some(history),
                session_id: None,
                uploads: wire.uploads,
                takes_read_files: true,
            },
        };
        Ok((asked, share))
    }
}

/// The memory is named by `overrideConfig.sessionId`, else by `chatId`; each stands for the other where that is missing.
fn session_of(chat_id: Option<&str>, config: Option<&Map<String, Value>>) -> Result<Option<SessionName>> {
    let session_id = match config.and_then(|config| config.get("sessionId")) {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return Err(Error::invalid("overrideConfig.sessionId", "must be a string")),
    };
    let chat_id = chat_id.filter(|id| !id.is_empty());
    let session_id = session_id.filter(|id| !id.is_empty());
    let Some(name) = session_id.or(chat_id) else {
        return Ok(None);
    };
    let session = SessionName::parse_both(name, chat_id.unwrap_or(name));
    let message = format!("must have 1 to {NAME_CHARS_MAX} printable characters");
    session.map(Some).ok_or_else(|| Error::invalid("chatId", message))
}

impl FromRequest for PredictionBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let share = share_of(request);
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let mut share = share?;
            let reading = read(&request, payload, &mut share);
            let read = timeout(READ_TIMEOUT, reading).await;
            let wire = read.map_err(|_late| Error::UploadTooSlow.problem())??;
            Ok(Self { wire, share })
        }
        .boxed_local()
    }
}

async fn read(request: &HttpRequest, payload: Payload, share: &mut Share) -> Result<Wire, Problem> {
    let mut room = |bytes| share.reach(bytes).map_err(|error| error.problem());
    match request.content_type().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => {
            let bytes = read_bytes(request, payload, CHAT_BYTES_MAX, room).await?;
            let mut fields = Fields::default();
            for (name, text) in form_urlencoded::parse(&bytes) {
                fields
                    .add(&name, text.into_owned())
                    .map_err(|error| error.problem())?;
            }
            fields.finish()
        }
        "multipart/form-data" => {
            let read = read_form(request, payload, &mut room).await;
            read.map_err(|error| error.problem())?.finish()
        }
        _ => read_json(request, payload, CHAT_BYTES_MAX, room).await,
    }
}

async fn read_form(
    request: &HttpRequest,
    payload: Payload,
    room: &mut impl FnMut(u64) -> Result<(), Problem>,
) -> Result<Fields> {
    let mut form = form_of(request, payload);
    let mut fields = Fields::default();
    let mut bytes = 0;
    while let Some(field) = form.try_next().await.or(Err(Error::MalformedMultipart))? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = upload_of(&field);
        let content = read_field(field, &mut bytes, room).await?;
        if let Some(file) = file {
            fields.uploads.push(Upload {
                data: STANDARD.encode(content),
                ..file
            });
        } else {
            let text = String::from_utf8(content).or(Err(Error::MalformedMultipart))?;
            fields.add(&name, text)?;
        }
    }
    Ok(fields)
}

/// What is said of a file; of a field that is none nothing is.
pub(super) fn upload_of(field: &Field) -> Option<Upload> {
    let said = field.content_disposition()?;
    let name = said.get_filename_ext().map_or_else(
        || said.get_filename().map(str::to_owned),
        |name| String::from_utf8(name.value.clone()).ok(),
    )?;
    let mime = field.content_type().map_or_else(
        || "application/octet-stream".to_owned(),
        |mime| mime.essence_str().to_owned(),
    );
    Some(Upload {
        data: String::new(),
        kind: "file".to_owned(),
        name: clean(&name),
        mime,
    })
}

/// The content of a field. All of them together have the bound of a body; encoded they are a third longer.
pub(super) async fn read_field(
    mut field: Field,
    total: &mut usize,
    room: &mut impl FnMut(u64) -> Result<(), Problem>,
) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    while let Some(piece) = field.try_next().await.or(Err(Error::MalformedMultipart))? {
        *total += piece.len();
        let bytes = u64::try_from(total.div_ceil(3) * 4).unwrap_or(u64::MAX);
        if *total > CHAT_BYTES_MAX {
            return Err(Error::BodyTooLarge {
                limit_bytes: CHAT_BYTES_MAX,
            });
        }
        room(bytes).or(Err(Error::Overloaded))?;
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// The fields of a form, as the members of a JSON body.
#[derive(Debug, Default)]
struct Fields {
    members: Map<String, Value>,
    overrides: Map<String, Value>,
    uploads: Vec<Upload>,
    count: usize,
}

impl Fields {
    fn add(&mut self, name: &str, text: String) -> Result<()> {
        self.count += 1;
        if self.count > FIELDS_MAX {
            return Err(Error::invalid(
                "body",
                format!("may have at most {FIELDS_MAX} fields"),
            ));
        }
        if JSON_FIELDS.contains(&name) {
            let value = serde_json::from_str(&text);
            let value = value.or(Err(Error::invalid(name, "must be JSON")))?;
            self.members.insert(name.to_owned(), value);
        } else if TEXT_FIELDS.contains(&name) {
            self.members.insert(name.to_owned(), text.into());
        } else {
            self.overrides.insert(name.to_owned(), text.into());
        }
        Ok(())
    }

    fn finish(self) -> Result<Wire, Problem> {
        let invalid = |error: serde_json::Error| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "validation_failed",
                error.to_string(),
            )
        };
        let mut wire: Wire = serde_json::from_value(Value::Object(self.members)).map_err(invalid)?;
        if !self.overrides.is_empty() {
            wire.override_config
                .get_or_insert_default()
                .extend(self.overrides);
        }
        if !self.uploads.is_empty() {
            wire.uploads.get_or_insert_default().extend(self.uploads);
        }
        Ok(wire)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(chat_id: Option<&str>, config: &Value) -> Option<(String, String)> {
        let session = session_of(chat_id, config.as_object()).unwrap();
        session.map(|session| (session.name, session.chat_id))
    }

    #[test]
    fn a_chat_id_and_a_session_id_stand_for_each_other() {
        let pair = |one: &str, other: &str| Some((one.to_owned(), other.to_owned()));
        assert_eq!(names(None, &json!(null)), None);
        assert_eq!(names(Some(""), &json!({ "sessionId": "" })), None);
        assert_eq!(names(Some("c"), &json!({})), pair("c", "c"));
        assert_eq!(names(None, &json!({ "sessionId": "s" })), pair("s", "s"));
        assert_eq!(names(Some("c"), &json!({ "sessionId": "s" })), pair("s", "c"));
        assert!(session_of(None, json!({ "sessionId": 5 }).as_object()).is_err());
        assert!(session_of(Some(&"x".repeat(256)), None).is_err());
    }

    #[test]
    fn fields_that_are_none_of_ours_override_settings() {
        let mut fields = Fields::default();
        for (name, text) in [
            ("question", "hi"),
            ("overrideConfig", "{\"a\":1}"),
            ("temperature", "0"),
        ] {
            fields.add(name, text.to_owned()).unwrap();
        }
        let wire = fields.finish().unwrap();
        assert_eq!(wire.question.as_deref(), Some("hi"));
        assert_eq!(
            Value::from(wire.override_config.unwrap()),
            json!({ "a": 1, "temperature": "0" })
        );
        assert!(Fields::default().add("history", "not json".to_owned()).is_err());
    }

    #[test]
    fn earlier_messages_are_read_in_both_ways() {
        let history = json!({ "history": [
            { "role": "userMessage", "content": "a" },
            { "type": "apiMessage", "message": "b", "role": null, "content": null },
        ] });
        let wire: Wire = serde_json::from_value(history).unwrap();
        let read = wire
            .history
            .unwrap()
            .into_iter()
            .map(|one| one.read().unwrap().content);
        assert_eq!(read.collect::<Vec<_>>(), ["a", "b"]);
        let neither: Earlier = serde_json::from_value(json!({ "role": "apiMessage" })).unwrap();
        assert!(neither.read().is_err());
    }
}
