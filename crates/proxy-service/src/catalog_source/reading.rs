//! One page of Flowise's list, entry by entry: one that cannot be read does not spoil the others.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{domain::chatflow::ListedChatflow, upstream::Failure};

/// Graphs that are larger are not kept; people can still chat.
const GRAPH_BYTES_MAX: usize = 4 << 20;

/// Flowise's ids are UUIDs; a little room is left for what may come.
const ID_BYTES_MAX: usize = 64;

/// An entry that is no chatflow we can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Its id, when at least that can be read.
    pub(crate) flowise_id: Option<String>,
    /// What is wrong.
    pub(crate) reason: &'static str,
}

/// A page: with `total` where Flowise pages, without where this is everything.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<Result<ListedChatflow, Unreadable>>,
    pub(super) total: Option<usize>,
}

#[derive(Deserialize)]
struct PageBody<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    total: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    name: Option<String>,
    description: Option<String>,
    deployed: Option<bool>,
    is_public: Option<bool>,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    apikeyid: Option<String>,
    flow_data: Option<Value>,
    chatbot_config: Option<Value>,
    api_config: Option<Value>,
    analytic: Option<Value>,
    speech_to_text: Option<Value>,
    created_date: Option<String>,
    updated_date: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// Reads a page in either form.
pub(super) fn read_page(bytes: &[u8]) -> Result<Page, Failure> {
    let is_bare = bytes.trim_ascii_start().first() == Some(&b'[');
    let (entries, total) = if is_bare {
        (serde_json::from_slice(bytes).map_err(Failure::Shape)?, None)
    } else {
        let page: PageBody<'_> = serde_json::from_slice(bytes).map_err(Failure::Shape)?;
        (page.data, Some(page.total))
    };
    let entries: Vec<&RawValue> = entries;
    Ok(Page {
        entries: entries.into_iter().map(read_entry).collect(),
        total,
    })
}

fn read_entry(raw: &RawValue) -> Result<ListedChatflow, Unreadable> {
    let entry: Entry = serde_json::from_str(raw.get()).map_err(|_error| Unreadable {
        flowise_id: serde_json::from_str(raw.get())
            .ok()
            .map(|Id { id }| id)
            .filter(|id| is_id(id)),
        reason: "a member of the entry has another type than expected",
    })?;
    if !is_id(&entry.id) {
        return Err(Unreadable {
            flowise_id: None,
            reason: "the entry has no usable id",
        });
    }
    Ok(ListedChatflow {
        name: entry
            .name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| entry.id.clone()),
        flowise_id: entry.id,
        description: entry.description,
        category: entry.category,
        kind: entry.kind.unwrap_or_else(|| "CHATFLOW".to_owned()),
        deployed: entry.deployed.unwrap_or_default(),
        is_public: entry.is_public.unwrap_or_default(),
        api_key_id: entry.apikeyid,
        flow_data: entry.flow_data.and_then(object),
        chatbot_config: entry.chatbot_config.and_then(object),
        api_config: entry.api_config.and_then(object),
        analytic_config: entry.analytic.and_then(object),
        speech_to_text_config: entry.speech_to_text.and_then(object),
        created_date: entry.created_date.as_deref().and_then(time),
        updated_date: entry.updated_date.as_deref().and_then(time),
    })
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(allowed)
}

/// Flowise keeps settings as JSON in a string; empty and broken ones count as none.
fn object(value: Value) -> Option<Value> {
    let value = match value.as_str() {
        Some(text) if text.len() <= GRAPH_BYTES_MAX => serde_json::from_str(text).ok()?,
        Some(_) => return None,
        None => value,
    };
    value
        .as_object()
        .is_some_and(|members| !members.is_empty())
        .then_some(value)
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(page: &Value) -> Page {
        read_page(page.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn settings_are_json_in_a_string() {
        let entry = |config: Value| json!([{ "id": "a", "name": "A", "chatbotConfig": config }]);
        let config = |value: Value| read(&entry(value)).entries[0].clone().unwrap().chatbot_config;
        assert_eq!(config(json!("{\"a\":1}")), Some(json!({ "a": 1 })));
        for none in [
            json!(null),
            json!(""),
            json!("{}"),
            json!("{"),
            json!("[1]"),
            json!({}),
        ] {
            assert_eq!(config(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_does_not_spoil_the_others() {
        let page = read(&json!({ "total": 4, "data": [
            { "id": "a", "name": 7 },
            { "name": "no id" },
            { "id": "b/../c", "name": "no id either" },
            { "id": "d" },
        ] }));
        let ids: Vec<_> = page
            .entries
            .iter()
            .map(|entry| {
                entry
                    .as_ref()
                    .map_err(|unreadable| unreadable.flowise_id.as_deref())
            })
            .map(|entry| entry.map(|chatflow| chatflow.name.as_str()))
            .collect();
        assert_eq!(ids, [Err(Some("a")), Err(None), Err(None), Ok("d")]);
        assert_eq!(page.total, Some(4));
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for body in [
            "",
            "<html>",
            "null",
            "{}",
            "{\"error\":\"Unauthorized Access\"}",
            "{\"data\":{}}",
            "[1,",
        ] {
            assert!(read_page(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
