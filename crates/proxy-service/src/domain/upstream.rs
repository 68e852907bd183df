//! The events Flowise sends, and which of them a person may see.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::payment::TOKENS_MAX;

/// An event's name goes into `event:` lines and logs; a longer or stranger one is no event of Flowise's.
const NAME_BYTES_MAX: usize = 64;

/// One event, still in the bytes it came in.
#[derive(Debug)]
pub struct UpstreamEvent<'a> {
    /// What it is called.
    pub name: Cow<'a, str>,
    /// Its `data`; absent reads as null.
    pub data: &'a str,
    /// All of it.
    pub json: &'a str,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> UpstreamEvent<'a> {
    /// Reads the data of one server-sent event; `None` when it is not one of Flowise's.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let json = std::str::from_utf8(data).ok()?;
        let wire: Wire<'a> = serde_json::from_str(json).ok()?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let well_named = (1..=NAME_BYTES_MAX).contains(&wire.event.len()) && wire.event.bytes().all(allowed);
        well_named.then_some(Self {
            name: wire.event,
            data: wire.data.map_or("null", RawValue::get),
            json,
        })
    }

    /// What it means to us.
    pub fn kind(&self) -> Kind {
        match &*self.name {
            "token" => Kind::Token,
            "end" => Kind::End,
            "error" | "abort" => Kind::Failure,
            "metadata" => Kind::Metadata,
            "nextAgentFlow" => Kind::Step,
            "agentFlowExecutedData" => Kind::Executed,
            "usageMetadata" => Kind::Usage,
            "action" => Kind::Action,
            "agentReasoning" => Kind::Inner,
            "session_id" | "files_uploaded" | "file_upload_error" => Kind::Ours,
            _ => Kind::Other,
        }
    }

    /// The data of a token.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        // A borrowed string where nothing is escaped, which is most tokens.
        let borrowed: Result<&'a str, _> = serde_json::from_str(self.data);
        borrowed
            .map(Cow::Borrowed)
            .or_else(|_| serde_json::from_str(self.data).map(Cow::Owned))
            .ok()
    }
}

/// What an event means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of the answer.
    Token,
    /// The end. We send our own, after the turn is settled.
    End,
    /// The run failed or was aborted. Its text holds internal names and is never passed on.
    Failure,
    /// The ids of the run; they are replaced by ours.
    Metadata,
    /// A node began or ended; its error text stays inside.
    Step,
    /// All nodes so far, with prompts, settings and credential ids. Shown only where the chatflow shows its inside.
    Executed,
    /// What agents were told and said to each other. The same.
    Inner,
    /// Tokens used by the last streaming node.
    Usage,
    /// A decision that is asked of the person; the settings of the node that asks stay inside.
    Action,
    /// A name that only we may use.
    Ours,
    /// Anything else is passed on as it is.
    Other,
}

/// The event on one line: Flowise writes it so, but a line break between two members would be valid JSON too.
pub fn on_one_line(json: &str) -> Option<Cow<'_, str>> {
    if !json.contains(['\n', '\r']) {
        return Some(Cow::Borrowed(json));
    }
    let value: Value = serde_json::from_str(json).ok()?;
    Some(Cow::Owned(value.to_string()))
}

/// The `metadata` event with our session's id in the place of Flowise's two.
pub fn own_metadata(mut data: Map<String, Value>, session_id: &str) -> Value {
    for member in ["chatId", "sessionId"] {
        data.insert(member.to_owned(), Value::from(session_id));
    }
    if let Some(action) = data.remove("action").and_then(own_action) {
        data.insert("action".to_owned(), action);
    }
    serde_json::json!({ "event": "metadata", "data": data })
}

/// The `nextAgentFlow` event with the members a person may see; its error text is not one of them.
pub fn own_step(data: &str) -> Option<Value> {
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Step {
        node_id: String,
        node_label: String,
        status: String,
    }
    let step: Step = serde_json::from_str(data).ok()?;
    Some(serde_json::json!({ "event": "nextAgentFlow", "data": step }))
}

/// What a person needs to decide: the choices and the node that asks. The node's input, with the settings of its model,
/// is not among it.
pub fn own_action(action: Value) -> Option<Value> {
    #[derive(Deserialize, Serialize)]
    struct Action {
        #[serde(default)]
        id: Value,
        #[serde(default)]
        mapping: Value,
        #[serde(default)]
        elements: Value,
        data: Option<Asking>,
    }
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Asking {
        node_id: String,
        #[serde(default)]
        node_label: String,
    }
    let action: Action = serde_json::from_value(action).ok()?;
    Some(serde_json::json!(action))
}

/// Tokens that a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

impl Usage {
    /// All tokens, also where the sum was left to us; `None` when nothing was counted.
    pub fn tokens(self) -> Option<i64> {
        let tokens = i64::try_from(self.sum()).unwrap_or(TOKENS_MAX);
        (tokens > 0).then_some(tokens.min(TOKENS_MAX))
    }

    fn sum(self) -> u64 {
        let sum = self.input_tokens.saturating_add(self.output_tokens);
        self.total_tokens.max(sum)
    }
}

/// The usage of all nodes in the data of `agentFlowExecutedData`; `None` when no node tells.
pub fn usage_of_nodes(data: &str) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Node {
        data: Option<NodeData>,
    }
    #[derive(Deserialize)]
    struct NodeData {
        output: Option<Output>,
    }
    #[derive(Deserialize)]
    struct Output {
        #[serde(rename = "usageMetadata")]
        usage: Option<Usage>,
    }
    let nodes: Vec<Node> = serde_json::from_str(data).ok()?;
    let usages = nodes.into_iter().filter_map(|node| node.data?.output?.usage);
    usages.reduce(|sum, usage| Usage {
        input_tokens: sum.input_tokens.saturating_add(usage.input_tokens),
        output_tokens: sum.output_tokens.saturating_add(usage.output_tokens),
        total_tokens: sum.sum().saturating_add(usage.sum()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_summed_where_flowise_does_not_and_bounded() {
        let tokens = |input_tokens, output_tokens, total_tokens| {
            let usage = Usage {
                input_tokens,
                output_tokens,
                total_tokens,
            };
            usage.tokens()
        };
        assert_eq!(tokens(2, 5, 7), Some(7));
        assert_eq!(tokens(2, 5, 0), Some(7), "a total that is missing");
        assert_eq!(tokens(2, 5, 9), Some(9), "thinking is counted in the total only");
        assert_eq!(tokens(0, 0, 0), None);
        assert_eq!(tokens(u64::MAX, u64::MAX, 1), Some(TOKENS_MAX));
        assert_eq!(tokens(0, 0, 1 << 40), Some(TOKENS_MAX));
    }

    #[test]
    fn what_is_not_an_event_of_flowises_is_told_apart() {
        for bad in [
            &b"[DONE]"[..],
            b"",
            b"{}",
            b"{\"event\":1}",
            b"{\"event\":\"\"}",
            b"{\"event\":\"a\\nb\"}",
            b"{\"event\":\"a\",\"event\":\"b\"}",
            b"{\"event\":\"token\",\"data\":\"\xFF\"}",
            b"{\"event\":\"token\",\"data\":\"raw\nbreak\"}",
        ] {
            let event = UpstreamEvent::parse(bad);
            assert!(event.is_none(), "{event:?}");
        }
        let event = UpstreamEvent::parse(br#"{"event":"token","data":"\u4f60 \"x\""}"#).unwrap();
        assert_eq!(
            (event.kind(), event.text().unwrap().as_ref()),
            (Kind::Token, "你 \"x\"")
        );
        assert_eq!(
            UpstreamEvent::parse(br#"{"event":"start"}"#).unwrap().data,
            "null"
        );
    }

    #[test]
    fn usage_is_summed_over_the_nodes_that_tell() {
        let nodes = r#"[{"data":{"output":{"content":"x"}}},{"status":"ERROR"},
            {"data":{"output":{"usageMetadata":{"input_tokens":2,"output_tokens":5,"total_tokens":7}}}},
            {"data":{"output":{"usageMetadata":{"input_tokens":1,"output_tokens":1,"total_tokens":2,"total_cost":0.1}}}}]"#;
        let sum = Usage {
            input_tokens: 3,
            output_tokens: 6,
            total_tokens: 9,
        };
        assert_eq!(usage_of_nodes(nodes), Some(sum));
        assert_eq!(usage_of_nodes("[]"), None);
        assert_eq!(usage_of_nodes("null"), None);
    }
}
