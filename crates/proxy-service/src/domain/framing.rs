//! How events leave us: JSON objects one after another, or real server-sent events.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object a line, which is what the existing web client reads.
    Lines,
    /// Server-sent events with `event:`, `id:` and `data:`, for clients that ask for `text/event-stream`.
    Sse,
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
            Self::Sse => b": ping\n\n",
        }
    }
}

/// Writes the events of one turn into a buffer that is taken away piece by piece.
#[derive(Debug)]
pub struct EventWriter {
    framing: Framing,
    turn_id: String,
    written: u64,
    buffer: BytesMut,
}

impl EventWriter {
    /// A writer for the turn `turn_id`, which is part of each `id:`.
    pub fn new(framing: Framing, turn_id: &str) -> Self {
        Self {
            framing,
            turn_id: turn_id.to_owned(),
            written: 0,
            buffer: BytesMut::new(),
        }
    }

    /// Writes an event that is JSON on one line already.
    pub fn write_raw(&mut self, name: &str, json: &str) {
        debug_assert!(!json.contains(['\n', '\r']) && !name.contains(['\n', '\r']));
        self.written += 1;
        if self.framing == Framing::Sse {
            let head = format!("event: {name}\nid: {}:{}\ndata: ", self.turn_id, self.written);
            self.buffer.extend_from_slice(head.as_bytes());
        }
        self.buffer.extend_from_slice(json.as_bytes());
        let end: &[u8] = match self.framing {
            Framing::Lines => b"\n",
            Framing::Sse => b"\n\n",
        };
        self.buffer.extend_from_slice(end);
    }

    /// Writes an event of our own.
    pub fn write(&mut self, name: &str, event: &Value) {
        self.write_raw(name, &event.to_string());
    }

    /// What has been written since the last call.
    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
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
        let text = String::from_utf8(writer.take().to_vec()).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.starts_with("event: token\nid: t:1\ndata: {") && text.ends_with("}\n\n"));

        let mut writer = EventWriter::new(Framing::Lines, "t");
        writer.write("token", &token);
        let line = String::from_utf8(writer.take().to_vec()).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(writer.take().is_empty(), "what was taken is gone");
    }
}
