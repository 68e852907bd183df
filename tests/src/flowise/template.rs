//! Recorded bodies with holes: what differs from request to request is cut out and filled in again. Pure.

use bytes::Bytes;

/// What a token event looks like, up to its text.
const TOKEN_HEAD: &str = "message:\ndata:{\"event\":\"token\",\"data\":\"";
const FRAME_END: &str = "\n\n";

/// One prediction, in the values that an answer shows. Strings are kept as the inside of a JSON string.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) chat_id: String,
    pub(super) session_id: String,
    pub(super) chat_message_id: String,
    pub(super) execution_id: String,
    pub(super) question: String,
    pub(super) reply: String,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    ChatId,
    SessionId,
    ChatMessageId,
    ExecutionId,
    Question,
    Reply,
    InputTokens,
    OutputTokens,
    TotalTokens,
}

/// Keys whose string value is a hole.
const STRING_KEYS: [(&str, Slot); 4] = [
    ("\"chatId\":\"", Slot::ChatId),
    ("\"sessionId\":\"", Slot::SessionId),
    ("\"chatMessageId\":\"", Slot::ChatMessageId),
    ("\"executionId\":\"", Slot::ExecutionId),
];

/// Keys whose number is a hole.
const NUMBER_KEYS: [(&str, Slot); 5] = [
    ("\"input_tokens\":", Slot::InputTokens),
    ("\"prompt_tokens\":", Slot::InputTokens),
    ("\"output_tokens\":", Slot::OutputTokens),
    ("\"completion_tokens\":", Slot::OutputTokens),
    ("\"total_tokens\":", Slot::TotalTokens),
];

#[derive(Clone, Copy, Debug)]
enum Piece {
    Text(&'static str),
    Hole(Slot),
}

/// A recorded text with its holes.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// Finds the holes: the values of known keys, and each place where the recorded reply or question stands.
    pub(super) fn new(text: &'static str, question: &str, reply: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((start, end, slot)) = next_hole(rest, question, reply) {
            let (before, from) = rest.split_at(start);
            pieces.push(Piece::Text(before));
            pieces.push(Piece::Hole(slot));
            rest = from.split_at(end - start).1;
        }
        pieces.push(Piece::Text(rest));
        Self(pieces)
    }

    /// The text with the values of `turn` in its holes.
    pub(super) fn fill(&self, turn: &Turn) -> Bytes {
        let mut text = String::with_capacity(256);
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Hole(Slot::ChatId) => text.push_str(&turn.chat_id),
                Piece::Hole(Slot::SessionId) => text.push_str(&turn.session_id),
                Piece::Hole(Slot::ChatMessageId) => text.push_str(&turn.chat_message_id),
                Piece::Hole(Slot::ExecutionId) => text.push_str(&turn.execution_id),
                Piece::Hole(Slot::Question) => text.push_str(&turn.question),
                Piece::Hole(Slot::Reply) => text.push_str(&turn.reply),
                Piece::Hole(Slot::InputTokens) => text.push_str(&turn.input_tokens.to_string()),
                Piece::Hole(Slot::OutputTokens) => text.push_str(&turn.output_tokens.to_string()),
                Piece::Hole(Slot::TotalTokens) => {
                    text.push_str(&(turn.input_tokens + turn.output_tokens).to_string());
                }
            }
        }
        Bytes::from(text)
    }
}

/// The first hole of `text`: where it starts and ends, and what belongs there.
fn next_hole(text: &str, question: &str, reply: &str) -> Option<(usize, usize, Slot)> {
    let strings = STRING_KEYS.iter().filter_map(|(key, slot)| {
        let start = text.find(key)? + key.len();
        let length = text.get(start..)?.find('"')?;
        Some((start, start + length, *slot))
    });
    let numbers = NUMBER_KEYS.iter().filter_map(|(key, slot)| {
        let start = text.find(key)? + key.len();
        let length = text.get(start..)?.find(|digit: char| !digit.is_ascii_digit())?;
        Some((start, start + length, *slot))
    });
    let words = [(reply, Slot::Reply), (question, Slot::Question)];
    let words = words
        .into_iter()
        .filter(|(word, _)| !word.is_empty())
        .filter_map(|(word, slot)| {
            let start = text.find(word)?;
            Some((start, start + word.len(), slot))
        });
    // Where two start together the longer one is meant.
    strings
        .chain(numbers)
        .chain(words)
        .min_by_key(|(start, end, _)| (*start, usize::MAX - *end))
}

/// A recorded stream: what comes before its tokens, and what after them.
#[derive(Clone, Debug)]
pub(super) struct StreamTemplate {
    pub(super) before: Vec<Template>,
    pub(super) after: Vec<Template>,
    /// Whether tokens come between the two; not when the recorded model failed at once.
    pub(super) has_tokens: bool,
}

impl StreamTemplate {
    /// Cuts a recorded stream into frames. The empty tokens at both ends of a reply belong to its frame, not to it.
    pub(super) fn new(stream: &'static str, question: &str, reply: &str) -> Self {
        let frames: Vec<&'static str> = stream.split_inclusive(FRAME_END).collect();
        let says_something = |frame: &&str| {
            frame
                .strip_prefix(TOKEN_HEAD)
                .is_some_and(|text| !text.starts_with('"'))
        };
        let compile = |frames: &[&'static str]| -> Vec<Template> {
            frames
                .iter()
                .map(|frame| Template::new(frame, question, reply))
                .collect()
        };
        let first = frames.iter().position(&says_something);
        let last = frames.iter().rposition(says_something);
        match first.zip(last) {
            Some((first, last)) => Self {
                before: compile(frames.get(..first).unwrap_or_default()),
                after: compile(frames.get(last + 1..).unwrap_or_default()),
                has_tokens: true,
            },
            None => Self {
                before: compile(&frames),
                after: Vec::new(),
                has_tokens: false,
            },
        }
    }
}

/// The inside of `text` as a JSON string.
pub(super) fn json_inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

/// The frame of one event in Flowise's framing; `data` is JSON already.
pub(super) fn frame(event: &str, data: &str) -> Bytes {
    Bytes::from(format!(
        "message:\ndata:{{\"event\":\"{event}\",\"data\":{data}}}{FRAME_END}"
    ))
}

/// The frame of one token.
pub(super) fn token_frame(token: &str) -> Bytes {
    frame("token", &serde_json::Value::from(token).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> Turn {
        Turn {
            chat_id: "c".into(),
            session_id: "s".into(),
            chat_message_id: "m".into(),
            execution_id: "e".into(),
            question: "why?".into(),
            reply: "Mock reply to: why?".into(),
            input_tokens: 1,
            output_tokens: 4,
        }
    }

    #[test]
    fn every_recorded_value_is_replaced_and_nothing_else() {
        let recorded = r#"{"text":"Mock reply to: hello world","question":"hello world","chatId":"1","sessionId":"2","chatMessageId":"3","executionId":"4","usage":{"input_tokens":2,"output_tokens":5,"total_tokens":7},"hello":"world"}"#;
        let filled = Template::new(recorded, "hello world", "Mock reply to: hello world").fill(&turn());
        assert_eq!(
            std::str::from_utf8(&filled).unwrap(),
            r#"{"text":"Mock reply to: why?","question":"why?","chatId":"c","sessionId":"s","chatMessageId":"m","executionId":"e","usage":{"input_tokens":1,"output_tokens":4,"total_tokens":5},"hello":"world"}"#
        );
    }

    #[test]
    fn the_empty_tokens_around_a_reply_stay() {
        let stream = concat!(
            "message:\ndata:{\"event\":\"token\",\"data\":\"\"}\n\n",
            "message:\ndata:{\"event\":\"token\",\"data\":\"a \"}\n\n",
            "message:\ndata:{\"event\":\"token\",\"data\":\"b\"}\n\n",
            "message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}\n\n",
        );
        let template = StreamTemplate::new(stream, "", "");
        assert_eq!(
            (template.before.len(), template.after.len(), template.has_tokens),
            (1, 1, true)
        );
    }

    #[test]
    fn json_strings_are_escaped_inside() {
        assert_eq!(json_inside("a \"b\"\n\\"), r#"a \"b\"\n\\"#);
        assert_eq!(json_inside(""), "");
    }
}
