//! How events leave us: JSON objects one after another, or real server-sent events.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::event_id::EventId;

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object a line, which is what the existing web client reads.
    Lines,
    /// Server-sent events with `event:`, `id:` and `data:`, for clients that ask for `text/event-stream`.
    Sse,
    /// What chat widgets read: server-sent events without names, `begin`, text as `item`, `end`, and `[DONE]`.
    Widget,
}

impl Framing {
    /// The form that the `Accept` header asks for. `*/*` is not a wish for server-sent events: the existing web client
    /// sends it.
    pub fn accepted(accept: &str) -> Self {
        let refused = |parameters: &str| {
            parameters.split(';').any(|parameter| {
                let quality = parameter.trim().strip_prefix("q=");
                quality
                    .is_some_and(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0))
            })
        };
        let wanted = accept.split(',').any(|range| {
            let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
            kind.trim().eq_ignore_ascii_case("text/event-stream") && !refused(parameters)
        });
        if wanted { Self::Sse } else { Self::Lines }
    }

    /// What shows that a silent stream is alive; readers of either form skip it.
    pub const fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Lines => b"\n",
            Self::Sse | Self::Widget => b": ping\n\n",
        }
    }
}

/// Events that were written, in the form that leaves us and in the form that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// As the reader gets them.
    pub framed: Bytes,
    /// The same as JSON objects, a newline after each.
    pub lines: Bytes,
    /// The number of the last of them; the first event of a turn has number 1.
    pub last: u64,
}

/// Writes the events of one turn into a buffer that is taken away piece by piece.
#[derive(Debug)]
pub struct EventWriter {
    framing: Framing,
    /// Of whose events each `id:` names one; without it there are no `id:` lines.
    turn_id: Option<String>,
    written: u64,
    buffer: BytesMut,
    lines: BytesMut,
    /// Whether a widget was told that text begins.
    has_begun: bool,
}

impl EventWriter {
    /// A writer for the turn `turn_id`, which is part of each `id:`.
    pub fn new(framing: Framing, turn_id: &str) -> Self {
        Self::after(framing, turn_id, 0)
    }

    /// A writer that goes on after event `number` of the turn.
    pub fn after(framing: Framing, turn_id: &str, number: u64) -> Self {
        Self {
            framing,
            turn_id: Some(turn_id.to_owned()),
            written: number,
            buffer: BytesMut::new(),
            lines: BytesMut::new(),
            has_begun: false,
        }
    }

    /// A writer of events that nobody can go on after.
    pub fn unnumbered(framing: Framing) -> Self {
        Self {
            turn_id: None,
            ..Self::after(framing, "", 0)
        }
    }

    /// Gives the next event the number after this one.
    pub fn go_on_after(&mut self, number: u64) {
        self.written = number;
    }

    /// Writes an event that is JSON on one line already.
    pub fn write_raw(&mut self, name: &str, json: &str) {
        debug_assert!(!json.contains(['\n', '\r']) && !name.contains(['\n', '\r']));
        self.written += 1;
        for part in [json, "\n"] {
            self.lines.extend_from_slice(part.as_bytes());
        }
        if self.framing == Framing::Widget {
            self.write_for_widget(name, json);
        }
        if self.framing == Framing::Sse {
            let id = self.turn_id.as_ref().map(|turn| {
                let id = EventId::new(turn, self.written);
                format!("id: {id}\n")
            });
            let id = id.as_deref().unwrap_or_default();
            for part in ["event: ", name, "\n", id, "data: ", json, "\n\n"] {
                self.buffer.extend_from_slice(part.as_bytes());
            }
        }
    }

    /// The existing widget shows text only within a bubble, which `begin` opens; it takes each `data:` for JSON, but for the
    /// last.
    fn write_for_widget(&mut self, name: &str, json: &str) {
        let is_end = name == "end";
        if !is_end && name != "token" {
            return;
        }
        if !self.has_begun {
            self.has_begun = true;
            self.buffer.extend_from_slice(b"data: {\"type\":\"begin\"}\n\n");
        }
        if is_end {
            self.buffer
                .extend_from_slice(b"data: {\"type\":\"end\"}\n\ndata: [DONE]\n\n");
            return;
        }
        let text = serde_json::from_str::<Value>(json).ok();
        let text = text
            .as_ref()
            .and_then(|event| event["data"].as_str())
            .unwrap_or_default();
        if !text.is_empty() {
            let item = serde_json::json!({ "type": "item", "content": text }).to_string();
            for part in ["data: ", &item, "\n\n"] {
                self.buffer.extend_from_slice(part.as_bytes());
            }
        }
    }

    /// Writes an event of our own.
    pub fn write(&mut self, name: &str, event: &Value) {
        self.write_raw(name, &event.to_string());
    }

    /// What has been written since the last call.
    pub fn take(&mut self) -> Written {
        let lines = self.lines.split().freeze();
        Written {
            framed: match self.framing {
                Framing::Lines => lines.clone(),
                Framing::Sse | Framing::Widget => self.buffer.split().freeze(),
            },
            lines,
            last: self.written,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_client_that_names_the_type_gets_server_sent_events() {
        for accept in ["text/event-stream", "application/json, Text/Event-Stream;q=0.5"] {
            assert_eq!(Framing::accepted(accept), Framing::Sse, "{accept}");
        }
        for accept in ["", "*/*", "text/*", "application/json", "text/event-stream;q=0"] {
            assert_eq!(Framing::accepted(accept), Framing::Lines, "{accept}");
        }
    }

    #[test]
    fn a_forged_event_in_a_token_stays_data() {
        let token = json!({ "event": "token", "data": "x\n\nevent: end\r\ndata: y" });
        let mut writer = EventWriter::new(Framing::Sse, "t");
        writer.write("token", &token);
        let text = String::from_utf8(writer.take().framed.to_vec()).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.starts_with("event: token\nid: t:1\ndata: {") && text.ends_with("}\n\n"));

        let mut writer = EventWriter::new(Framing::Lines, "t");
        writer.write("token", &token);
        let line = String::from_utf8(writer.take().framed.to_vec()).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(writer.take().lines.is_empty(), "what was taken is gone");
    }

    #[test]
    fn a_widget_reads_items_between_begin_and_end_and_then_done() {
        let mut writer = EventWriter::new(Framing::Widget, "t");
        writer.write("metadata", &json!({ "event": "metadata", "data": {} }));
        writer.write(
            "token",
            &json!({ "event": "token", "data": "a\n\ndata: [DONE]\r" }),
        );
        writer.write("token", &json!({ "event": "token", "data": " " }));
        writer.write("token", &json!({ "event": "token", "data": "" }));
        writer.write("end", &json!({ "event": "end", "data": "[DONE]" }));
        let written = writer.take();
        let text = String::from_utf8(written.framed.to_vec()).unwrap();
        let frames: Vec<_> = text.split_terminator("\n\n").collect();
        assert_eq!(
            frames,
            [
                r#"data: {"type":"begin"}"#,
                r#"data: {"content":"a\n\ndata: [DONE]\r","type":"item"}"#,
                r#"data: {"content":" ","type":"item"}"#,
                r#"data: {"type":"end"}"#,
                "data: [DONE]",
            ]
        );
        assert_eq!(String::from_utf8_lossy(&written.lines).matches('\n').count(), 5);
    }

    #[test]
    fn what_is_kept_is_the_same_in_both_forms_and_numbers_go_on() {
        let token = json!({ "event": "token", "data": "x" });
        let written = [Framing::Lines, Framing::Sse].map(|framing| {
            let mut writer = EventWriter::after(framing, "t", 7);
            writer.write("token", &token);
            writer.write("token", &token);
            writer.take()
        });
        assert_eq!(written[0].lines, written[1].lines);
        assert_eq!(written[0].framed, written[0].lines);
        assert_eq!((written[0].last, written[1].last), (9, 9));
        let sse = String::from_utf8(written[1].framed.to_vec()).unwrap();
        assert!(
            sse.contains("\nid: t:8\n") && sse.contains("\nid: t:9\n"),
            "{sse}"
        );

        let mut writer = EventWriter::unnumbered(Framing::Sse);
        writer.write("token", &token);
        let sse = String::from_utf8(writer.take().framed.to_vec()).unwrap();
        assert!(!sse.contains("id:"), "{sse}");
    }
}
