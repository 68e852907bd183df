//! The chunks of a chat completion: server-sent events without names, each a JSON object, and `[DONE]`.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{
    AnswerStream,
    answer::Head,
    chat::{ChatWish, tool_calls},
    fault,
    heard::{Heard, Tokens},
};

/// Writes one answer.
#[derive(Debug)]
pub struct ChatStream {
    head: Head,
    wish: ChatWish,
    tools: usize,
    tokens: Option<Tokens>,
    has_failed: bool,
    is_over: bool,
}

impl ChatStream {
    /// A stream of which nothing has been written yet.
    pub fn new(head: Head, wish: ChatWish) -> Self {
        Self {
            head,
            wish,
            tools: 0,
            tokens: None,
            has_failed: false,
            is_over: false,
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        if !self.has_failed {
            let rest = self.wish.stopper.rest();
            self.say(&rest, out);
            self.chunk(&json!({}), &json!("stop"), out);
            if self.wish.include_usage {
                let usage = self.tokens.unwrap_or_default().of_chat();
                self.write(&json!([]), &usage, out);
            }
        }
        self.is_over = true;
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, code: &str, message: &str, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.has_failed, true) {
            write_data(&fault::object(message, "server_error", None, Some(code)), out);
        }
    }

    fn say(&self, text: &str, out: &mut BytesMut) {
        if !text.is_empty() {
            self.delta(&json!({ "content": text }), out);
        }
    }

    fn delta(&self, delta: &Value, out: &mut BytesMut) {
        self.chunk(delta, &Value::Null, out);
    }

    fn chunk(&self, delta: &Value, finish_reason: &Value, out: &mut BytesMut) {
        let choices =
            json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }]);
        self.write(&choices, &Value::Null, out);
    }

    fn write(&self, choices: &Value, usage: &Value, out: &mut BytesMut) {
        let mut chunk = json!({
            "id": self.head.chat_id(),
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            "system_fingerprint": null,
            "choices": choices,
        });
        if self.wish.include_usage {
            chunk["usage"] = usage.clone();
        }
        write_data(&chunk, out);
    }
}

impl AnswerStream for ChatStream {
    fn begin(&mut self, out: &mut BytesMut) {
        self.delta(
            &json!({ "role": "assistant", "content": "", "refusal": null }),
            out,
        );
    }

    fn accept(&mut self, heard: Heard, out: &mut BytesMut) {
        match heard {
            _ if self.is_over => {}
            // What a turn that failed still says is for people who read; programs were told.
            Heard::Text(_) | Heard::Tools(_) if self.has_failed => {}
            Heard::Text(text) => {
                let text = self.wish.stopper.pass(&text);
                self.say(&text, out);
            }
            Heard::Tools(tools) if self.wish.show_tools => {
                let calls = tool_calls(&self.head, &tools, self.tools).enumerate();
                let calls: Vec<_> = calls
                    .map(|(index, mut call)| {
                        call["index"] = json!(self.tools + index);
                        call
                    })
                    .collect();
                self.tools += tools.len();
                self.delta(&json!({ "tool_calls": calls }), out);
            }
            Heard::Tools(_) => {}
            Heard::Tokens(tokens) => self.tokens = Some(tokens),
            Heard::Failed { code, message } => self.fail(&code, &message, out),
            Heard::Over => self.finish(out),
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        if !self.is_over {
            self.fail(
                "upstream_broken",
                "The answer was cut off. Please try again.",
                out,
            );
            self.finish(out);
        }
    }
}

fn write_data(data: &Value, out: &mut BytesMut) {
    // JSON of this kind is on one line, whatever is in its texts.
    for part in ["data: ", &data.to_string(), "\n\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::openai::{heard::UsedTool, stop::Stop};

    fn wish(include_usage: bool, show_tools: bool, stop: &[&str]) -> ChatWish {
        let stop: Stop = serde_json::from_value(json!(stop)).unwrap();
        ChatWish {
            stream: true,
            include_usage,
            show_tools,
            stopper: stop.stopper().unwrap(),
        }
    }

    fn run(wish: ChatWish, heard: Vec<Heard>) -> Vec<Value> {
        let begun = Head {
            turn_id: "t".to_owned(),
            model: "m".to_owned(),
            created: 7,
        };
        let mut stream = ChatStream::new(begun, wish);
        let mut out = BytesMut::new();
        stream.begin(&mut out);
        for one in heard {
            stream.accept(one, &mut out);
        }
        stream.close(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let frames = text.split_terminator("\n\n").map(|frame| {
            let data = frame.strip_prefix("data: ").unwrap();
            serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))
        });
        frames.collect()
    }

    fn text(text: &str) -> Heard {
        Heard::Text(text.to_owned())
    }

    fn deltas(frames: &[Value]) -> Vec<Value> {
        let with_delta = frames
            .iter()
            .filter(|frame| frame["choices"][0]["delta"].is_object());
        with_delta
            .map(|frame| frame["choices"][0]["delta"].clone())
            .collect()
    }

    #[test]
    fn an_answer_is_its_role_its_pieces_its_end_and_done() {
        let frames = run(
            wish(false, false, &[]),
            vec![text("a\n\nb"), text("c"), Heard::Over, text("d")],
        );
        assert_eq!(
            frames[1],
            json!({
                "id": "chatcmpl-t", "object": "chat.completion.chunk", "created": 7, "model": "m",
                "system_fingerprint": null,
                "choices": [{ "index": 0, "delta": { "content": "a\n\nb" }, "logprobs": null, "finish_reason": null }],
            })
        );
        let expected = [
            json!({ "role": "assistant", "content": "", "refusal": null }),
            json!({ "content": "a\n\nb" }),
            json!({ "content": "c" }),
            json!({}),
        ];
        assert_eq!(deltas(&frames), expected);
        assert_eq!(frames[3]["choices"][0]["finish_reason"], "stop");
        assert_eq!((frames[4].as_str(), frames.len()), (Some("[DONE]"), 5));
    }

    #[test]
    fn usage_comes_last_and_only_to_those_who_want_it() {
        let tokens = Tokens {
            input: 2,
            output: 5,
            total: 7,
        };
        let frames = run(
            wish(true, false, &[]),
            vec![text("a"), Heard::Tokens(tokens), Heard::Over],
        );
        assert!(frames[..3].iter().all(|frame| frame["usage"].is_null()));
        assert_eq!(frames[3]["choices"], json!([]));
        assert_eq!(
            frames[3]["usage"],
            json!({ "prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7 })
        );
        assert_eq!(frames[4], "[DONE]");
    }

    #[test]
    fn a_stop_sequence_ends_the_text_and_not_the_stream() {
        let heard = vec![text("one ST"), text("OP two"), text("three"), Heard::Over];
        let frames = run(wish(false, false, &["STOP"]), heard);
        assert_eq!(deltas(&frames)[1..], [json!({ "content": "one " }), json!({})]);
        let frames = run(wish(false, false, &["STOP"]), vec![text("one ST"), Heard::Over]);
        assert_eq!(deltas(&frames)[2], json!({ "content": "ST" }));
    }

    #[test]
    fn a_failure_is_an_error_object_and_nothing_is_said_after_it() {
        let failed = Heard::Failed {
            code: "upstream_error".to_owned(),
            message: "It failed.".to_owned(),
        };
        let frames = run(
            wish(true, true, &[]),
            vec![text("a"), failed, text("It failed."), Heard::Over],
        );
        assert_eq!(
            frames[2]["error"],
            json!({ "message": "It failed.", "type": "server_error", "param": null, "code": "upstream_error" })
        );
        assert_eq!((frames[3].as_str(), frames.len()), (Some("[DONE]"), 4));
        let cut = run(wish(false, false, &[]), vec![text("a")]);
        assert_eq!(
            cut[2]["error"]["code"], "upstream_broken",
            "a stream that broke off says so"
        );
    }

    #[test]
    fn tools_are_shown_to_those_who_want_them() {
        let tool = |name: &str| UsedTool {
            tool: name.to_owned(),
            tool_input: json!({ "a": 1 }),
            tool_output: Value::Null,
        };
        let heard = || {
            vec![
                Heard::Tools(vec![tool("x")]),
                Heard::Tools(vec![tool("y")]),
                Heard::Over,
            ]
        };
        let frames = run(wish(false, true, &[]), heard());
        let calls = |frame: &Value| frame["choices"][0]["delta"]["tool_calls"].clone();
        let call = |index: usize, name: &str| {
            let function = json!({ "name": name, "arguments": "{\"a\":1}" });
            json!([{ "index": index, "id": format!("call_t_{index}"), "type": "function", "function": function }])
        };
        assert_eq!(
            (calls(&frames[1]), calls(&frames[2])),
            (call(0, "x"), call(1, "y"))
        );
        assert_eq!(frames[3]["choices"][0]["finish_reason"], "stop");
        assert_eq!(run(wish(false, false, &[]), heard()).len(), 3);
    }
}
