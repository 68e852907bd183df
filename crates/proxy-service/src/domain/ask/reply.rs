//! What a person sends instead of a question: a form that is filled in, or a decision that a flow waits for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Invalid, NAME_CHARS_MAX};

/// Fields of a form.
const FIELDS_MAX: usize = 100;

/// A node's id, such as `humanInputAgentflow_0`.
const NODE_ID_BYTES_MAX: usize = 128;

/// A decision that an agentflow has stopped for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HumanInput {
    /// Whether to go on.
    #[serde(rename = "type")]
    pub decision: Decision,
    /// The node that asked, as its `action` event said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_node_id: Option<String>,
    /// What the person says to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Go on.
    Proceed,
    /// Do not.
    Reject,
}

impl HumanInput {
    /// Checks a decision whose feedback may have `chars_max` characters.
    pub(super) fn check(&self, chars_max: usize) -> Result<(), Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let is_id = |id: &str| (1..=NODE_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed);
        if !self.start_node_id.as_deref().is_none_or(is_id) {
            return Err(Invalid::member(
                "humanInput.startNodeId",
                "must be the id of a node",
            ));
        }
        let feedback = self.feedback.as_deref().unwrap_or_default();
        if feedback.chars().nth(chars_max).is_some() {
            let message = format!("may have at most {chars_max} characters");
            return Err(Invalid::member("humanInput.feedback", message));
        }
        Ok(())
    }

    /// How the history shows it.
    pub(super) fn text(&self) -> &str {
        match (self.feedback.as_deref(), self.decision) {
            (Some(feedback), _) if !feedback.is_empty() => feedback,
            (_, Decision::Proceed) => "Proceed",
            (_, Decision::Reject) => "Reject",
        }
    }
}

/// Checks a form whose names and values together may have `chars_max` characters, as a question may.
pub(super) fn check_form(form: &Map<String, Value>, chars_max: usize) -> Result<(), Invalid> {
    if form.len() > FIELDS_MAX {
        return Err(Invalid::member(
            "form",
            format!("may have at most {FIELDS_MAX} fields"),
        ));
    }
    for (name, value) in form {
        if name.is_empty() || name.chars().nth(NAME_CHARS_MAX).is_some() {
            let message = format!("the name of a field has 1 to {NAME_CHARS_MAX} characters");
            return Err(Invalid::member("form", message));
        }
        if value.is_array() || value.is_object() {
            let field = format!("form.{name}");
            return Err(Invalid::member(field, "must be a text, a number, true or false"));
        }
    }
    if form_text(form).chars().nth(chars_max).is_some() {
        let message = format!("may have at most {chars_max} characters");
        return Err(Invalid::member("form", message));
    }
    Ok(())
}

/// How the history shows a form, which is how Flowise's own does: a line for each field.
pub(super) fn form_text(form: &Map<String, Value>) -> String {
    let line = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{name}: {text}"),
        None => format!("{name}: {value}"),
    };
    form.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(value: &Value) -> Result<String, Invalid> {
        let form = value.as_object().unwrap();
        check_form(form, 40).map(|()| form_text(form))
    }

    #[test]
    fn a_form_is_shown_as_flowise_shows_it() {
        let shown = form(&json!({ "subject": "Tea", "count": 3, "hot": true })).unwrap();
        let mut lines: Vec<&str> = shown.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["count: 3", "hot: true", "subject: Tea"]);
    }

    #[test]
    fn a_form_has_a_size_and_only_plain_values() {
        let many: Map<String, Value> = (0..101).map(|n| (n.to_string(), json!(1))).collect();
        for bad in [
            json!({ "a": {} }),
            json!({ "a": ["x"] }),
            json!({ "": "x" }),
            json!({ "a": "x".repeat(40) }),
            Value::Object(many),
        ] {
            assert!(form(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_decision_is_proceed_or_reject_for_a_node() {
        let parse = |value: Value| serde_json::from_value::<HumanInput>(value);
        let input = parse(json!({ "type": "proceed", "startNodeId": "humanInputAgentflow_0" })).unwrap();
        assert_eq!((input.check(10).is_ok(), input.text()), (true, "Proceed"));
        let input = parse(json!({ "type": "reject", "feedback": "too dear" })).unwrap();
        assert_eq!((input.check(8).is_ok(), input.text()), (true, "too dear"));
        assert!(input.check(7).is_err());
        assert!(parse(json!({ "type": "maybe" })).is_err());
        let input = parse(json!({ "type": "proceed", "startNodeId": "../x" })).unwrap();
        assert!(input.check(10).is_err());
    }
}
