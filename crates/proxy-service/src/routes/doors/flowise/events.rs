//! Our events in Flowise's own framing: those that Flowise has, with its order of members, byte for byte.

use bytes::BytesMut;
use serde_json::{Map, Value};

use crate::{domain::session_name::SessionName, routes::doors::Heard};

use super::answer::{ACTION, METADATA, in_order, name_ids, written};

/// What Flowise sends into the silence.
const HEARTBEAT: &[u8] = b":heartbeat\n\n";

/// Tells a turn as Flowise would have.
pub(super) struct Narrator {
    session: Option<SessionName>,
    /// After an error our streams tell people what happened in a token, too.
    has_failed: bool,
}

impl Narrator {
    /// For a client that calls its session so.
    pub(super) fn new(session: Option<SessionName>) -> Self {
        Self {
            session,
            has_failed: false,
        }
    }

    /// Writes what is to be told of it.
    pub(super) fn tell(&mut self, heard: Heard<'_>, out: &mut BytesMut) {
        let event = match heard {
            Heard::Heartbeat => return out.extend_from_slice(HEARTBEAT),
            Heard::Event(event) => event,
        };
        match &*event.name {
            "session_id" | "files_uploaded" | "file_upload_error" => {}
            "token" if self.has_failed => {}
            "error" => {
                self.has_failed = true;
                write(out, &event.name, event.data);
            }
            "abort" | "nextAgentFlow" => write(out, &event.name, event.data),
            "metadata" => match serde_json::from_str::<Map<String, Value>>(event.data) {
                Ok(data) => {
                    let mut members = written(&data);
                    name_ids(&mut members, self.session.as_ref());
                    write(out, &event.name, &in_order(&members, &METADATA));
                }
                Err(_) => write(out, &event.name, event.data),
            },
            "action" => match serde_json::from_str::<Map<String, Value>>(event.data) {
                Ok(data) => write(out, &event.name, &in_order(&written(&data), &ACTION)),
                Err(_) => write(out, &event.name, event.data),
            },
            // Those that came from Flowise as they are begin as Flowise's do.
            _ if event.json.starts_with("{\"event\":") => frame(out, &[event.json]),
            _ => write(out, &event.name, event.data),
        }
    }
}

/// A stream that says nothing but that there is no answer, and why.
pub(super) fn write_failure(message: &str) -> String {
    let message = Value::from(message);
    format!(
        "message:\ndata:{{\"event\":\"error\",\"data\":{message}}}\n\n\
         message:\ndata:{{\"event\":\"end\",\"data\":\"[DONE]\"}}\n\n"
    )
}

fn write(out: &mut BytesMut, name: &str, data: &str) {
    // Names hold nothing that JSON escapes.
    frame(out, &["{\"event\":\"", name, "\",\"data\":", data, "}"]);
}

fn frame(out: &mut BytesMut, json: &[&str]) {
    out.extend_from_slice(b"message:\ndata:");
    for part in json {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::doors::each_line;

    fn told(lines: &str, session: Option<SessionName>) -> String {
        let mut narrator = Narrator::new(session);
        let mut out = BytesMut::new();
        each_line(lines.as_bytes(), |heard| narrator.tell(heard, &mut out));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn events_of_ours_are_left_out_and_those_of_flowises_are_written_as_it_writes_them() {
        let lines = concat!(
            r#"{"data":"s","event":"session_id","status":"streaming_started"}"#,
            "\n",
            r#"{"event":"token","data":"a\n\nb"}"#,
            "\n\n",
            r#"{"data":{"chatId":"s","chatMessageId":"m","question":"q","sessionId":"s"},"event":"metadata"}"#,
            "\n",
            r#"{"data":"[DONE]","event":"end"}"#,
            "\n",
        );
        let name = SessionName::parse_both("theirs", "chat").unwrap();
        let frames = [
            r#"message:\ndata:{"event":"token","data":"a\\n\\nb"}"#,
            ":heartbeat",
            r#"message:\ndata:{"event":"metadata","data":{"chatId":"chat","chatMessageId":"m","question":"q","sessionId":"theirs"}}"#,
            r#"message:\ndata:{"event":"end","data":"[DONE]"}"#,
            "",
        ];
        assert_eq!(
            told(lines, Some(name)),
            frames
                .join("\n\n")
                .replace("message:\\n", "message:\n")
                .replace("\\\\n", "\\n")
        );
    }

    #[test]
    fn an_error_is_told_once_and_has_no_token_behind_it() {
        let lines = concat!(
            r#"{"code":"upstream_failed","data":"It failed.","event":"error","timestamp":"t"}"#,
            "\n",
            r#"{"data":"\n\nIt failed. No credits were used.","event":"token"}"#,
            "\n",
            r#"{"data":"[DONE]","event":"end"}"#,
            "\n",
        );
        let expected = "message:\ndata:{\"event\":\"error\",\"data\":\"It failed.\"}\n\n\
            message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}\n\n";
        assert_eq!(told(lines, None), expected);
    }
}
