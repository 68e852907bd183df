//! The answer in a JSON document. n8n fixes no shape: the author of a workflow chooses the names.

use serde_json::{Map, Value};

/// Where answers stand by habit, the agent's own name first.
const FIELDS: [&str; 5] = ["output", "text", "response", "content", "message"];

/// What n8n says when a workflow is set to answer at once: nothing of the workflow is in it.
const STARTED: &str = "Workflow was started";

/// What a document tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Text(String),
    /// A node failed and the workflow went on.
    Error,
    Nothing,
}

/// Finds the answer in a document.
pub(super) fn tell(value: &Value) -> Told {
    match value {
        Value::Null => Told::Nothing,
        Value::Bool(_) | Value::Number(_) => Told::Text(value.to_string()),
        Value::String(text) if text.is_empty() => Told::Nothing,
        Value::String(text) => Told::Text(text.clone()),
        Value::Array(items) => tell_all(items),
        Value::Object(members) => tell_object(members),
    }
}

/// The answer in a text that is a JSON object with one of the usual names; a `Respond to Webhook` node sends such texts.
pub(super) fn answer_in(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with('{') || !text.ends_with('}') {
        return None;
    }
    let members: Map<String, Value> = serde_json::from_str(text).ok()?;
    usual(&members)
}

fn tell_all(items: &[Value]) -> Told {
    let mut texts = Vec::new();
    let mut has_failed = false;
    for item in items {
        match tell(item) {
            Told::Text(text) => texts.push(text),
            Told::Error => has_failed = true,
            Told::Nothing => {}
        }
    }
    match (texts.is_empty(), has_failed) {
        (false, _) => Told::Text(texts.join("\n\n")),
        (true, true) => Told::Error,
        (true, false) => Told::Nothing,
    }
}

fn tell_object(members: &Map<String, Value>) -> Told {
    if let Some(text) = usual(members) {
        return Told::Text(text);
    }
    if names_an_error(members) {
        return Told::Error;
    }
    // Somebody chose another name.
    match members.iter().next() {
        Some((name, Value::String(text))) if members.len() == 1 && !text.is_empty() && name != "message" => {
            Told::Text(text.clone())
        }
        _ => Told::Nothing,
    }
}

fn usual(members: &Map<String, Value>) -> Option<String> {
    if members.len() == 1 && members.get("message").is_some_and(|message| message == STARTED) {
        return None;
    }
    let is_error = names_an_error(members);
    let named = FIELDS.iter().find_map(|name| {
        // Beside an error a message is the error's.
        if is_error && *name == "message" {
            return None;
        }
        match tell(members.get(*name)?) {
            Told::Text(text) => Some(text),
            Told::Error | Told::Nothing => None,
        }
    });
    named.or_else(|| {
        let choice = members.get("choices")?.get(0)?;
        let said = choice.get("delta").or_else(|| choice.get("message"))?;
        said.get("content")?.as_str().map(str::to_owned)
    })
}

fn names_an_error(members: &Map<String, Value>) -> bool {
    members
        .get("error")
        .is_some_and(|error| !matches!(error, Value::Null | Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_answer_is_found_where_authors_put_it() {
        for (document, text) in [
            (json!({ "output": "Hello" }), "Hello"),
            (json!({ "text": "Hello", "sessionId": "s" }), "Hello"),
            (json!([{ "response": "Hello" }]), "Hello"),
            (json!([{ "output": "one" }, { "output": "two" }]), "one\n\ntwo"),
            (
                json!({ "output": { "content": "Hello", "state": "done" } }),
                "Hello",
            ),
            (json!({ "message": "Hello" }), "Hello"),
            (json!("Hello"), "Hello"),
            (json!(42), "42"),
            (json!({ "antwort": "Hallo" }), "Hallo"),
            (json!({ "choices": [{ "delta": { "content": "Hel" } }] }), "Hel"),
            (json!({ "output": "fine", "error": "ignored" }), "fine"),
        ] {
            assert_eq!(tell(&document), Told::Text(text.to_owned()), "{document}");
        }
    }

    #[test]
    fn what_is_no_answer_is_not_shown() {
        for document in [
            json!(null),
            json!({}),
            json!([]),
            json!({ "data": [] }),
            json!({ "output": "" }),
            json!({ "a": "one", "b": "two" }),
            json!({ "message": "Workflow was started" }),
        ] {
            assert_eq!(tell(&document), Told::Nothing, "{document}");
        }
        for document in [
            json!({ "error": "Incorrect API key provided: sk-1" }),
            json!({ "error": { "message": "no" }, "message": "key sk-1" }),
            json!([{ "error": "no" }]),
        ] {
            assert_eq!(tell(&document), Told::Error, "{document}");
        }
    }

    #[test]
    fn only_a_text_that_is_an_object_with_a_usual_name_is_opened() {
        assert_eq!(answer_in(" {\"output\":\"x\"}\n").as_deref(), Some("x"));
        for text in [
            "",
            "{",
            "{}",
            "[1]",
            "{\"a\":\"x\"}",
            "hello {\"output\":\"x\"}",
            "42",
            "{\"output\":1}x",
        ] {
            assert_eq!(answer_in(text), None, "{text}");
        }
    }
}
