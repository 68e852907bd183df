//! A whole answer as Flowise gives it: its members, in its order, with the client's own ids.

use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::{Map, Value};

use crate::{
    domain::{session_name::SessionName, transcript::Members},
    routes::predict::replayed,
    service::turns::WholeAnswer,
    store::turns::Known,
};

/// The members of an answer, in Flowise's order.
const ANSWER: [&str; 18] = [
    "text",
    "json",
    "sourceDocuments",
    "usedTools",
    "artifacts",
    "fileAnnotations",
    "agentReasoning",
    "question",
    "form",
    "chatId",
    "chatMessageId",
    "agentFlowExecutedData",
    "action",
    "isStreamValid",
    "followUpPrompts",
    "flowVariables",
    "sessionId",
    "memoryType",
];

/// The members of the `metadata` event, likewise.
pub(super) const METADATA: [&str; 8] = [
    "chatId",
    "chatMessageId",
    "question",
    "sessionId",
    "memoryType",
    "followUpPrompts",
    "flowVariables",
    "action",
];

/// Those of a decision that is asked of the person.
pub(super) const ACTION: [&str; 4] = ["id", "mapping", "elements", "data"];

/// The answer of a turn.
pub(super) fn of_turn(said: WholeAnswer, session: Option<&SessionName>) -> HttpResponse {
    let members = said.members.unwrap_or_else(|| members_of(&said.notes));
    render(HttpResponse::Ok(), members, &said.text, &said.session_id, session)
}

/// The answer of a turn that was had before: its text and its ids are kept.
pub(super) fn of_known(known: Known, session: Option<&SessionName>) -> HttpResponse {
    let answer = known.answer.unwrap_or_default();
    let metadata: Option<Value> = answer.metadata.and_then(|json| serde_json::from_str(&json).ok());
    let members = match metadata.map(|mut event| event["data"].take()) {
        Some(Value::Object(members)) => written(&members),
        _ => Members::new(),
    };
    let mut response = HttpResponse::Ok();
    response.insert_header(replayed());
    render(response, members, &answer.text, &known.session_id, session)
}

fn render(
    mut response: HttpResponseBuilder,
    mut members: Members,
    text: &str,
    session_id: &str,
    session: Option<&SessionName>,
) -> HttpResponse {
    // A structured answer comes in the place of a text.
    if members.get("json").is_none_or(|json| json == "null") {
        members.insert("text".to_owned(), Value::from(text).to_string());
    }
    for member in ["chatId", "sessionId"] {
        members.insert(member.to_owned(), Value::from(session_id).to_string());
    }
    if let Some(action) = members.get_mut("action")
        && let Ok(object) = serde_json::from_str(action)
    {
        *action = in_order(&written(&object), &ACTION);
    }
    name_ids(&mut members, session);
    response
        .content_type("application/json; charset=utf-8")
        .body(in_order(&members, &ANSWER))
}

/// Puts the names that the client gave in the place of our ids.
pub(super) fn name_ids(members: &mut Members, session: Option<&SessionName>) {
    if let Some(SessionName { name, chat_id }) = session {
        for (member, id) in [("chatId", chat_id), ("sessionId", name)] {
            members.insert(member.to_owned(), Value::from(id.as_str()).to_string());
        }
    }
}

/// The members of an object, written out; those of a decision in Flowise's order.
pub(super) fn written(object: &Map<String, Value>) -> Members {
    let member = |(name, value): (&String, &Value)| {
        let value = match (name.as_str(), value) {
            ("action", Value::Object(action)) => in_order(&written(action), &ACTION),
            ("elements", Value::Array(buttons)) => {
                let buttons: Vec<String> = buttons.iter().map(button).collect();
                format!("[{}]", buttons.join(","))
            }
            (_, value) => value.to_string(),
        };
        (name.clone(), value)
    };
    object.iter().map(member).collect()
}

/// One of the buttons of a decision.
fn button(button: &Value) -> String {
    button.as_object().map_or_else(
        || button.to_string(),
        |button| in_order(&written(button), &["type", "label"]),
    )
}

/// The members that a stream had as events.
fn members_of(notes: &str) -> Members {
    let notes: Vec<Value> = serde_json::from_str(notes).unwrap_or_default();
    let mut members = Map::new();
    for mut event in notes {
        let name = event["event"].as_str().unwrap_or_default().to_owned();
        let data = event["data"].take();
        if let (Value::Object(data), "metadata") = (&data, name.as_str()) {
            members.extend(data.clone());
        } else if ANSWER.contains(&name.as_str()) {
            members.insert(name, data);
        }
    }
    written(&members)
}

/// The JSON of an object whose members stand in this order, and others behind them.
pub(super) fn in_order(members: &Members, order: &[&str]) -> String {
    let known = order.iter().copied().filter(|name| members.contains_key(*name));
    let others = members
        .keys()
        .map(String::as_str)
        .filter(|name| !order.contains(name));
    let member = |name: &str| {
        let value = members.get(name).map_or("null", String::as_str);
        format!("{}:{value}", Value::from(name))
    };
    let all: Vec<String> = known.chain(others).map(member).collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_stand_in_flowises_order_and_unknown_ones_behind() {
        let members = json!({
            "chatId": "c", "text": "t\"", "zeta": 1, "usedTools": [], "question": "q",
            "action": { "data": {}, "elements": [], "id": "i", "mapping": {} },
        });
        let json = in_order(&written(members.as_object().unwrap()), &ANSWER);
        assert_eq!(
            json,
            r#"{"text":"t\"","usedTools":[],"question":"q","chatId":"c","action":{"id":"i","mapping":{},"elements":[],"data":{}},"zeta":1}"#
        );
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), members);
        assert_eq!(in_order(&Members::new(), &ANSWER), "{}");
    }

    #[test]
    fn the_events_of_a_stream_are_members_of_its_answer() {
        let notes = json!([
            { "event": "start", "data": "" },
            { "event": "usedTools", "data": [1] },
            { "event": "metadata", "data": { "question": "q", "chatId": "ours" } },
        ]);
        let members = members_of(&notes.to_string());
        let expected = json!({ "usedTools": [1], "question": "q", "chatId": "ours" });
        assert_eq!(members, written(expected.as_object().unwrap()));
    }
}
