//! Everything one turn's answer says, gathered while it passes: what the client sees, what is kept, whether it is whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json, value::RawValue};

use super::{
    failure::Failure,
    framing::EventWriter,
    upstream::{Kind, UpstreamEvent, Usage, on_one_line, own_action, own_metadata, own_step, usage_of_nodes},
};

/// Text kept for the history. Six times this, the worst that escaping can do, and the notes fit a document of 16 MB.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Events other than tokens kept for the history, as JSON. In BSON they are at most six times as large.
const NOTES_BYTES_MAX: usize = 512 << 10;

/// The members of a JSON answer that a stream would have sent as events, in a stream's order.
const EVENT_MEMBERS: [&str; 5] = [
    "sourceDocuments",
    "usedTools",
    "artifacts",
    "fileAnnotations",
    "action",
];

/// Those that tell about the inside.
const INNER_MEMBERS: [&str; 2] = ["agentReasoning", "agentFlowExecutedData"];

/// The members of a JSON answer that a stream would have sent in its `metadata`.
const METADATA_MEMBERS: [&str; 8] = [
    "chatId",
    "chatMessageId",
    "question",
    "sessionId",
    "memoryType",
    "followUpPrompts",
    "flowVariables",
    "action",
];

/// The members of a JSON answer that people may see, but for those that have texts, events or ids of ours.
const OTHER_MEMBERS: [&str; 3] = ["json", "form", "isStreamValid"];

/// Members of a JSON object, each as it was written.
pub type Members = BTreeMap<String, String>;

/// How much an answer has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Nothing,
    /// Events around the answer, or empty pieces of it.
    Events,
    /// A piece of the answer itself.
    Content,
}

/// Whether people see the events that tell about a chatflow's inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// They do not.
    Hidden,
    /// An administrator wants them to.
    Shown,
}

impl Inside {
    /// As the chatflow's setting says.
    pub fn of(is_shown: bool) -> Self {
        if is_shown { Self::Shown } else { Self::Hidden }
    }
}

/// One answer, as far as it has come.
#[derive(Debug)]
pub struct Transcript {
    session_id: String,
    inside: Inside,
    /// Tokens that followed each other are one text.
    texts: Vec<String>,
    text_is_open: bool,
    text_bytes: usize,
    /// Events other than tokens: JSON objects with commas between them.
    notes: String,
    metadata: Option<Value>,
    /// `None` where nobody wants them.
    members: Option<Members>,
    last_usage: Option<Usage>,
    nodes_usage: Option<Usage>,
    heard: Heard,
    ended: bool,
    failed: bool,
    unread: u64,
}

impl Transcript {
    /// An empty transcript of a turn in this session.
    pub fn new(session_id: &str) -> Self {
        Self {
            session_id: session_id.to_owned(),
            inside: Inside::Hidden,
            texts: Vec::new(),
            text_is_open: false,
            text_bytes: 0,
            notes: String::new(),
            metadata: None,
            members: None,
            last_usage: None,
            nodes_usage: None,
            heard: Heard::Nothing,
            ended: false,
            failed: false,
            unread: 0,
        }
    }

    /// The same of a chatflow whose inside people may see, or may not.
    pub fn showing(self, inside: Inside) -> Self {
        Self { inside, ..self }
    }

    /// The same for somebody who wants a JSON answer as it is.
    pub fn keeping_members(self, keeps_members: bool) -> Self {
        Self {
            members: keeps_members.then(Members::new),
            ..self
        }
    }

    /// Takes in the data of one event of the stream and writes what the client may see of it.
    pub fn accept(&mut self, data: &[u8], out: &mut EventWriter) {
        if self.ended {
            return;
        }
        let Some(event) = UpstreamEvent::parse(data) else {
            self.unread += 1;
            return;
        };
        match event.kind() {
            Kind::Token => match (event.text(), on_one_line(event.json)) {
                (Some(text), Some(json)) => {
                    self.keep_text(&text);
                    out.write_raw("token", &json);
                }
                _ => self.unread += 1,
            },
            Kind::End => self.ended = true,
            Kind::Failure => self.failed = true,
            Kind::Metadata => match serde_json::from_str::<Map<String, Value>>(event.data) {
                Ok(data) => self.keep_metadata(data, out),
                Err(_) => self.unread += 1,
            },
            Kind::Step => match own_step(event.data) {
                Some(step) => self.pass_on(&event.name, &step.to_string(), out),
                None => self.unread += 1,
            },
            Kind::Executed => {
                self.heard = self.heard.max(Heard::Events);
                self.nodes_usage = usage_of_nodes(event.data).or(self.nodes_usage);
                if self.inside == Inside::Shown {
                    self.pass_on(&event.name, event.json, out);
                }
            }
            Kind::Inner if self.inside == Inside::Hidden => self.heard = self.heard.max(Heard::Events),
            Kind::Usage => {
                self.last_usage = serde_json::from_str(event.data).ok().or(self.last_usage);
                self.pass_on(&event.name, event.json, out);
            }
            Kind::Action => match serde_json::from_str(event.data).ok().and_then(own_action) {
                Some(data) => {
                    let action = json!({ "event": &event.name, "data": data });
                    self.pass_on(&event.name, &action.to_string(), out);
                }
                None => self.unread += 1,
            },
            Kind::Ours => self.unread += 1,
            Kind::Inner | Kind::Other => self.pass_on(&event.name, event.json, out),
        }
    }

    /// Takes in text of an answer that has no other events.
    pub fn say(&mut self, text: &str, out: &mut EventWriter) {
        self.keep_text(text);
        out.write("token", &json!({ "event": "token", "data": text }));
    }

    /// Takes in a JSON answer, which comes where a flow cannot stream, as the events a stream would have had.
    pub fn accept_whole(&mut self, body: &[u8], out: &mut EventWriter) -> Result<(), Failure> {
        let mut answer: Map<String, Value> = serde_json::from_slice(body).or(Err(Failure::NotAnAnswer))?;
        let text = match (answer.remove("text"), answer.get("json")) {
            (Some(Value::String(text)), _) => text,
            (_, Some(structured)) if !structured.is_null() => structured.to_string(),
            _ => String::new(),
        };
        if let Some(action) = answer.remove("action").and_then(own_action) {
            answer.insert("action".to_owned(), action);
        }
        if text.is_empty() && !answer.contains_key("action") {
            return Err(if is_error(&answer) {
                Failure::Reported
            } else {
                Failure::Empty
            });
        }
        self.nodes_usage = answer
            .get("agentFlowExecutedData")
            .and_then(|nodes| usage_of_nodes(&nodes.to_string()));
        self.keep_text(&text);
        out.write("token", &json!({ "event": "token", "data": text }));
        let inner: &[&str] = if self.inside == Inside::Shown {
            &INNER_MEMBERS
        } else {
            &[]
        };
        for name in EVENT_MEMBERS.iter().chain(inner) {
            if let Some(data) = answer.get(*name).filter(|data| !data.is_null()) {
                self.pass_on(name, &json!({ "event": name, "data": data }).to_string(), out);
            }
        }
        if self.members.is_some() {
            let seen = [&EVENT_MEMBERS[..], &METADATA_MEMBERS, &OTHER_MEMBERS, inner].concat();
            self.members = Some(members_of(body, &seen, answer.get("action"))?);
        }
        answer.retain(|member, _| METADATA_MEMBERS.contains(&member.as_str()));
        self.keep_metadata(answer, out);
        self.ended = true;
        Ok(())
    }

    fn keep_text(&mut self, text: &str) {
        let heard = if text.is_empty() {
            Heard::Events
        } else {
            Heard::Content
        };
        self.heard = self.heard.max(heard);
        if self.text_bytes + text.len() > TEXT_BYTES_MAX {
            // Streamed, not kept; what follows is not kept either, so that the history has no hole in it.
            self.text_bytes = TEXT_BYTES_MAX;
            return;
        }
        self.text_bytes += text.len();
        match self.texts.last_mut() {
            Some(open) if self.text_is_open => open.push_str(text),
            _ => self.texts.push(text.to_owned()),
        }
        self.text_is_open = true;
    }

    fn keep_metadata(&mut self, data: Map<String, Value>, out: &mut EventWriter) {
        let event = own_metadata(data, &self.session_id);
        self.pass_on("metadata", &event.to_string(), out);
        self.metadata = Some(event);
    }

    fn pass_on(&mut self, name: &str, json: &str, out: &mut EventWriter) {
        let Some(json) = on_one_line(json) else {
            self.unread += 1;
            return;
        };
        self.heard = self.heard.max(Heard::Events);
        self.text_is_open = false;
        if self.notes.len() + json.len() < NOTES_BYTES_MAX {
            if !self.notes.is_empty() {
                self.notes.push(',');
            }
            self.notes.push_str(&json);
        }
        out.write_raw(name, &json);
    }

    /// Whether a piece of the answer itself has come.
    pub fn has_content(&self) -> bool {
        self.heard == Heard::Content
    }

    /// Whether Flowise said that it is done.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether Flowise told of an error.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the answer is whole. A stream that is over without `end` is not, nor is one that told of an error, nor
    /// one that said nothing at all.
    pub fn verdict(&self) -> Result<(), Failure> {
        match (self.failed, self.ended, self.heard) {
            (true, _, _) => Err(Failure::Reported),
            (false, false, _) => Err(Failure::Broken),
            (false, true, Heard::Nothing) => Err(Failure::Empty),
            (false, true, Heard::Events | Heard::Content) => Ok(()),
        }
    }

    /// Events that could not be read and were left out.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// The tokens used, where the flow tells: the sum over its nodes, else those of the last one.
    pub fn usage(&self) -> Option<Usage> {
        self.nodes_usage.or(self.last_usage)
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.texts.concat()
    }

    /// The `metadata` event, as the client saw it.
    pub fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    /// The members of a JSON answer other than its text, when they are kept; ids in them are Flowise's.
    pub fn members(&self) -> Option<&Members> {
        self.members.as_ref().filter(|members| !members.is_empty())
    }

    /// The content of the stored message: the token events, with those that followed each other made one.
    pub fn content(&self) -> String {
        let tokens = self.texts.iter().filter(|text| !text.is_empty());
        let tokens = tokens.map(|text| json!({ "event": "token", "data": text }));
        Value::Array(tokens.collect()).to_string()
    }

    /// The events other than tokens, as a JSON array.
    pub fn notes(&self) -> String {
        format!("[{}]", self.notes)
    }
}

/// Those members of a JSON answer that are `seen`, with the `action` that people may see.
fn members_of(body: &[u8], seen: &[&str], action: Option<&Value>) -> Result<Members, Failure> {
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(body).or(Err(Failure::NotAnAnswer))?;
    let seen = members
        .into_iter()
        .filter(|(name, _)| seen.contains(&name.as_str()));
    let mut members: Members = seen.map(|(name, value)| (name, value.get().to_owned())).collect();
    members.remove("action");
    members.extend(action.map(|action| ("action".to_owned(), action.to_string())));
    Ok(members)
}

/// Whether this is one of Flowise's error bodies, whatever status it came with.
fn is_error(answer: &Map<String, Value>) -> bool {
    answer.contains_key("error") || answer.get("success") == Some(&Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{framing::Framing, sse::Parser};

    fn recorded(case: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/recordings/flowise");
        std::fs::read(format!("{folder}/{case}/body")).unwrap()
    }

    fn replay(stream: &[u8]) -> (Transcript, Vec<Value>) {
        let mut transcript = Transcript::new("our-session");
        let mut out = EventWriter::new(Framing::Lines, "turn");
        let mut parser = Parser::new(1 << 20);
        parser
            .push(stream, |data| transcript.accept(data, &mut out))
            .unwrap();
        let text = String::from_utf8(out.take().framed.to_vec()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (transcript, events.collect())
    }

    fn names(events: &[Value]) -> Vec<&str> {
        events
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn a_chatflow_stream_is_passed_on_without_its_end_and_with_our_ids() {
        let (transcript, events) = replay(&recorded("predict-chat-stream"));
        assert_eq!(
            names(&events),
            ["start", "token", "token", "token", "token", "token", "metadata"]
        );
        assert_eq!(events[6]["data"]["chatId"], "our-session");
        assert_eq!(events[6]["data"]["sessionId"], "our-session");
        assert_eq!(transcript.verdict(), Ok(()));
        assert_eq!(transcript.text(), "Mock reply to: hello world");
        assert_eq!(
            transcript.content(),
            r#"[{"data":"Mock reply to: hello world","event":"token"}]"#
        );
        let notes: Vec<Value> = serde_json::from_str(&transcript.notes()).unwrap();
        assert_eq!(names(&notes), ["start", "metadata"]);
    }

    #[test]
    fn an_agent_stream_hides_its_inside_and_tells_its_usage() {
        let (transcript, events) = replay(&recorded("predict-llm-stream"));
        assert!(!names(&events).contains(&"agentFlowExecutedData"));
        let seen = Value::from(events).to_string();
        for inside in ["basepath", "llmModelConfig", "credential", "mock-1"] {
            assert!(!seen.contains(inside), "{inside}");
            assert!(!transcript.notes().contains(inside), "{inside}");
        }
        let usage = Usage {
            input_tokens: 2,
            output_tokens: 5,
            total_tokens: 7,
        };
        assert_eq!(transcript.usage(), Some(usage));
    }

    #[test]
    fn error_texts_of_a_failed_run_stay_inside() {
        for case in [
            "model-fail500-llm-stream",
            "model-fail401-chat-stream",
            "keyed-no-key-stream",
            "abort-stream-llm",
        ] {
            let (transcript, events) = replay(&recorded(case));
            assert_eq!(transcript.verdict(), Err(Failure::Reported), "{case}");
            let seen = Value::from(events).to_string();
            for inside in ["Error", "mock 500", "Unauthorized", "API key", "aborted"] {
                assert!(!seen.contains(inside), "{case}: {inside} in {seen}");
                assert!(!transcript.notes().contains(inside), "{case}: {inside}");
            }
        }
        let (transcript, _) = replay(&recorded("abort-stream-llm"));
        assert!(transcript.has_content(), "it had begun to answer");
    }

    #[test]
    fn a_json_answer_becomes_the_events_of_a_stream() {
        let mut transcript = Transcript::new("our-session");
        let mut out = EventWriter::new(Framing::Lines, "turn");
        transcript
            .accept_whole(&recorded("predict-tool-json"), &mut out)
            .unwrap();
        let text = String::from_utf8(out.take().framed.to_vec()).unwrap();
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(names(&events), ["token", "usedTools", "metadata"]);
        assert_eq!(events[0]["data"], "The tool said 5");
        assert_eq!(events[2]["data"]["sessionId"], "our-session");
        assert_eq!((transcript.verdict(), transcript.has_content()), (Ok(()), true));
    }

    #[test]
    fn a_json_answer_without_an_answer_is_none() {
        let accept = |body: &[u8]| {
            let mut out = EventWriter::new(Framing::Lines, "turn");
            Transcript::new("s").accept_whole(body, &mut out)
        };
        assert_eq!(accept(b"{\"text\":\"\"}"), Err(Failure::Empty));
        assert_eq!(
            accept(&recorded("model-fail401-chat-json")),
            Err(Failure::Reported)
        );
        assert_eq!(
            accept(b"{\"error\":\"Unauthorized Access\"}"),
            Err(Failure::Reported)
        );
        assert_eq!(accept(b"[]"), Err(Failure::NotAnAnswer));
        assert_eq!(accept(b"<html>"), Err(Failure::NotAnAnswer));
        assert_eq!(accept(b"{\"json\":{\"a\":1}}"), Ok(()), "a structured answer");
        assert_eq!(accept(&recorded("human-stop-json")), Ok(()));
    }

    #[test]
    fn only_an_end_without_an_error_and_after_something_is_a_whole_answer() {
        let stream = |names: &[&str]| {
            let frames = names
                .iter()
                .map(|name| format!("data:{{\"event\":\"{name}\",\"data\":{{}}}}\n\n"));
            replay(frames.collect::<String>().as_bytes()).0.verdict()
        };
        assert_eq!(
            stream(&["metadata", "end"]),
            Ok(()),
            "a stream without a token has been seen"
        );
        assert_eq!(stream(&["end"]), Err(Failure::Empty));
        assert_eq!(stream(&["start", "metadata"]), Err(Failure::Broken));
        assert_eq!(stream(&[]), Err(Failure::Broken));
        assert_eq!(stream(&["abort", "end"]), Err(Failure::Reported));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_passes_is_not() {
        let mut transcript = Transcript::new("s");
        let mut out = EventWriter::new(Framing::Lines, "turn");
        let token = json!({ "event": "token", "data": "x".repeat(300_000) }).to_string();
        let note = json!({ "event": "usedTools", "data": "y".repeat(200_000) }).to_string();
        for _ in 0..8 {
            transcript.accept(token.as_bytes(), &mut out);
            transcript.accept(note.as_bytes(), &mut out);
        }
        assert!(out.take().framed.len() > 4_000_000);
        assert_eq!(transcript.text().len(), 900_000);
        assert!(transcript.notes().len() <= NOTES_BYTES_MAX + 2);
    }
}
