//! What a visitor of a site may send: a message, and what the page tells about itself.
//!
//! Nothing in a message is replaced or escaped: questions about SQL, HTML and prices are questions. Whoever shows a text
//! escapes it there.

use serde_json::{Map, Value};

/// Characters of a message.
pub const MESSAGE_CHARS_MAX: usize = 10_000;

/// Characters of the whole context, written as JSON.
const CONTEXT_CHARS_MAX: usize = 5_000;

/// What a page may tell; everything else is left out.
const CONTEXT_KEYS: [&str; 10] = [
    "user_id",
    "page_title",
    "page_section",
    "product_id",
    "category",
    "search_query",
    "user_intent",
    "language",
    "timezone",
    "custom_data",
];

const CONTEXT_TEXT_CHARS_MAX: usize = 1_000;
const CONTEXT_ITEMS_MAX: usize = 100;
const CONTEXT_ITEM_CHARS_MAX: usize = 500;

/// A message without what cannot be seen: control characters other than tabs and line feeds, and space around it. The error
/// completes the sentence "the message ...".
pub fn message(text: &str) -> Result<String, &'static str> {
    // A text of so many characters has no more bytes than this; nothing longer is copied.
    if text.len() > MESSAGE_CHARS_MAX * 8 {
        return Err("may have at most 10000 characters");
    }
    let seen: String = text
        .replace("\r\n", "\n")
        .chars()
        .filter(|c| is_seen(*c))
        .collect();
    let trimmed = seen.trim();
    match trimmed.chars().count() {
        0 => Err("is required"),
        count if count > MESSAGE_CHARS_MAX => Err("may have at most 10000 characters"),
        _ => Ok(trimmed.to_owned()),
    }
}

fn is_seen(character: char) -> bool {
    !character.is_control() || matches!(character, '\t' | '\n')
}

/// The members of a context that a workflow may see. The error completes the sentence "the context ...".
pub fn context(told: &Map<String, Value>) -> Result<Map<String, Value>, &'static str> {
    if Value::Object(told.clone()).to_string().chars().count() > CONTEXT_CHARS_MAX {
        return Err("may have at most 5000 characters");
    }
    let known = told
        .iter()
        .filter(|(name, _)| CONTEXT_KEYS.contains(&name.as_str()));
    let kept = known.filter_map(|(name, value)| {
        let value = if let (Value::Object(members), "custom_data") = (value, name.as_str()) {
            let members = members
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), plain(value)?)));
            Value::Object(members.collect())
        } else {
            plain(value)?
        };
        Some((name.clone(), value))
    });
    Ok(kept.collect())
}

/// A value without anything nested, cut to its length.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
        Value::String(text) => Some(cut(text, CONTEXT_TEXT_CHARS_MAX)),
        Value::Array(items) => {
            let items = items.iter().filter_map(|item| match item {
                Value::String(text) => Some(cut(text, CONTEXT_ITEM_CHARS_MAX)),
                Value::Number(_) => Some(item.clone()),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            });
            Some(Value::Array(items.take(CONTEXT_ITEMS_MAX).collect()))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn cut(text: &str, chars_max: usize) -> Value {
    text.chars()
        .filter(|character| is_seen(*character))
        .take(chars_max)
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_goes_on_as_it_was_written() {
        for text in [
            "hi",
            "SELECT name FROM users WHERE id = 1; -- why does this fail?",
            "<script>alert(1)</script> & <b>bold</b>",
            "# title\n\n\tcode { }",
            "你好，我想退货",
        ] {
            assert_eq!(message(text).as_deref(), Ok(text));
        }
        assert_eq!(
            message(" \r\n a\r\nb\u{0}\u{7}\u{1b}[31m\u{85} ").as_deref(),
            Ok("a\nb[31m")
        );
    }

    #[test]
    fn a_message_has_one_to_ten_thousand_characters() {
        for empty in ["", "  \n\t ", "\u{0}\u{8}"] {
            assert_eq!(message(empty), Err("is required"));
        }
        let longest = "я".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(
            message(&format!("  {longest}  ")).map(|text| text.len()),
            Ok(20_000)
        );
        assert!(message(&format!("{longest}я")).is_err());
        assert!(message(&" ".repeat(1 << 20)).is_err());
    }

    #[test]
    fn of_a_context_the_documented_members_are_kept() {
        let told = json!({
            "language": "de",
            "user_intent": "x".repeat(1_200),
            "category": ["a", 1, true, { "b": 1 }],
            "custom_data": { "plan": "pro", "deep": { "er": 1 } },
            "is_admin": true,
            "__proto__": {},
            "page_title": { "nested": 1 },
            "product_id": null,
        });
        let kept = context(told.as_object().unwrap()).unwrap();
        let expected = json!({
            "language": "de",
            "user_intent": "x".repeat(1_000),
            "category": ["a", 1],
            "custom_data": { "plan": "pro" },
        });
        assert_eq!(Value::Object(kept), expected);
        let long = json!({ "other": "x".repeat(5_000) });
        assert!(context(long.as_object().unwrap()).is_err());
    }
}
