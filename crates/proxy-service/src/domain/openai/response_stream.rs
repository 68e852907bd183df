//! The events of a response, each with its name and a number.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{
    AnswerStream,
    answer::Head,
    heard::{Heard, Tokens, UsedTool},
    response::{Echo, body, call_item, message_item, text_part},
};

/// Text that the last events repeat. What is longer has been read already.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Writes one response.
#[derive(Debug)]
pub struct ResponseStream {
    head: Head,
    echo: Echo,
    text: String,
    tools: Vec<UsedTool>,
    tokens: Option<Tokens>,
    failure: Option<(String, String)>,
    number: u64,
    is_over: bool,
}

impl ResponseStream {
    /// A stream of which nothing has been written yet.
    pub fn new(head: Head, echo: Echo) -> Self {
        Self {
            head,
            echo,
            text: String::new(),
            tools: Vec::new(),
            tokens: None,
            failure: None,
            number: 0,
            is_over: false,
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        self.is_over = true;
        if let Some((_, message)) = self.failure.take() {
            // The codes of this object are OpenAI's own; this is the one of them that says what happened.
            let error = Some(("server_error", message.as_str()));
            let failed = body(&self.head, &self.echo, "failed", &[], None, error);
            self.write("response.failed", json!({ "response": failed }), out);
            return;
        }
        let text = std::mem::take(&mut self.text);
        let done = self.in_text(json!({ "text": text, "logprobs": [] }));
        self.write("response.output_text.done", done, out);
        let part = self.in_text(json!({ "part": text_part(&text) }));
        self.write("response.content_part.done", part, out);
        let mut output = vec![message_item(&self.head, &text, "completed")];
        self.write_item("done", 0, &output[0], out);
        for (index, tool) in std::mem::take(&mut self.tools).iter().enumerate() {
            let item = call_item(&self.head, tool, index);
            for what in ["added", "done"] {
                self.write_item(what, output.len(), &item, out);
            }
            output.push(item);
        }
        let whole = body(&self.head, &self.echo, "completed", &output, self.tokens, None);
        self.write("response.completed", json!({ "response": whole }), out);
    }

    fn write_item(&mut self, what: &str, index: usize, item: &Value, out: &mut BytesMut) {
        let event = json!({ "output_index": index, "item": item });
        self.write(&format!("response.output_item.{what}"), event, out);
    }

    /// An event about the text of the message.
    fn in_text(&self, mut event: Value) -> Value {
        event["item_id"] = Value::from(self.head.message_id());
        event["output_index"] = Value::from(0);
        event["content_index"] = Value::from(0);
        event
    }

    fn write(&mut self, name: &str, mut event: Value, out: &mut BytesMut) {
        event["type"] = Value::from(name);
        event["sequence_number"] = Value::from(self.number);
        self.number += 1;
        for part in ["event: ", name, "\ndata: ", &event.to_string(), "\n\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

impl AnswerStream for ResponseStream {
    fn begin(&mut self, out: &mut BytesMut) {
        let begun = json!({ "response": body(&self.head, &self.echo, "in_progress", &[], None, None) });
        self.write("response.created", begun.clone(), out);
        self.write("response.in_progress", begun, out);
        let item = message_item(&self.head, "", "in_progress");
        self.write(
            "response.output_item.added",
            json!({ "output_index": 0, "item": item }),
            out,
        );
        let part = self.in_text(json!({ "part": text_part("") }));
        self.write("response.content_part.added", part, out);
    }

    fn accept(&mut self, heard: Heard, out: &mut BytesMut) {
        match heard {
            _ if self.is_over => {}
            // What a turn that failed still says is for people who read; programs are told.
            Heard::Text(_) | Heard::Tools(_) if self.failure.is_some() => {}
            Heard::Text(text) => {
                if self.text.len() + text.len() <= TEXT_BYTES_MAX {
                    self.text.push_str(&text);
                }
                let delta = self.in_text(json!({ "delta": text, "logprobs": [] }));
                self.write("response.output_text.delta", delta, out);
            }
            Heard::Tools(tools) => self.tools.extend(tools),
            Heard::Tokens(tokens) => self.tokens = Some(tokens),
            Heard::Failed { code, message } => self.failure = Some((code, message)),
            Heard::Over => self.finish(out),
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        if !self.is_over {
            let message = "The answer was cut off. Please try again.";
            self.failure = Some(("upstream_broken".to_owned(), message.to_owned()));
            self.finish(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(heard: Vec<Heard>) -> Vec<Value> {
        let begun = Head {
            turn_id: "t".to_owned(),
            model: "m".to_owned(),
            created: 7,
        };
        let mut stream = ResponseStream::new(begun, Echo::default());
        let mut out = BytesMut::new();
        stream.begin(&mut out);
        for one in heard {
            stream.accept(one, &mut out);
        }
        stream.close(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let frames = text.split_terminator("\n\n").map(|frame| {
            let (name, data) = frame.split_once('\n').unwrap();
            let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
            event
        });
        frames.collect()
    }

    fn names(events: &[Value]) -> Vec<&str> {
        events
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn an_answer_has_all_the_events_of_a_text() {
        let tool = UsedTool {
            tool: "x".to_owned(),
            tool_input: Value::Null,
            tool_output: Value::Null,
        };
        let text = |text: &str| Heard::Text(text.to_owned());
        let tokens = Tokens {
            input: 2,
            output: 5,
            total: 7,
        };
        let heard = vec![
            text("a"),
            text("b"),
            Heard::Tools(vec![tool]),
            Heard::Tokens(tokens),
            Heard::Over,
        ];
        let events = run(heard);
        assert_eq!(
            names(&events),
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.output_item.added",
                "response.output_item.done",
                "response.completed",
            ]
        );
        let numbers = events
            .iter()
            .map(|event| event["sequence_number"].as_u64().unwrap());
        assert!(numbers.eq(0..12));
        assert_eq!(
            (&events[4]["delta"], &events[6]["text"]),
            (&json!("a"), &json!("ab"))
        );
        assert_eq!(events[4]["item_id"], "msg_t");
        let whole = &events[11]["response"];
        assert_eq!(whole["status"], "completed");
        assert_eq!(whole["output"][0]["content"][0]["text"], "ab");
        assert_eq!(whole["output"][1]["type"], "mcp_call");
        assert_eq!(whole["usage"]["total_tokens"], 7);
        assert!(events[0]["response"]["usage"].is_null());
    }

    #[test]
    fn a_failure_is_a_response_that_failed() {
        let failed = Heard::Failed {
            code: "upstream_error".to_owned(),
            message: "It failed.".to_owned(),
        };
        let events = run(vec![failed, Heard::Text("It failed.".to_owned()), Heard::Over]);
        let last = events.last().unwrap();
        assert_eq!(
            (events.len(), last["type"].as_str()),
            (5, Some("response.failed"))
        );
        assert_eq!(
            last["response"]["error"],
            json!({ "code": "server_error", "message": "It failed." })
        );
        assert_eq!(
            run(Vec::new()).last().unwrap()["response"]["status"],
            "failed",
            "a stream that broke off"
        );
    }
}
