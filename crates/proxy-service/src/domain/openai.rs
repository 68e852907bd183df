//! The public API of OpenAI as far as it is spoken here: what its clients send, in our terms, and what we answer, in
//! theirs. A chatflow is a model; what a client calls sampling (temperature, tools, formats) is the chatflow's own business.

pub mod answer;
pub mod chat;
pub mod chat_stream;
pub mod content;
pub mod conversation;
pub mod fault;
pub mod heard;
pub mod response;
pub mod response_stream;
pub mod stop;
pub mod text_or_list;

use std::collections::BTreeMap;

use bytes::BytesMut;

use self::heard::Heard;
use super::session_name::{NAME_CHARS_MAX, SessionName};

/// Pairs of `metadata`, and characters of their names and values, as the API's reference has them.
const METADATA_PAIRS_MAX: usize = 16;
const METADATA_NAME_CHARS_MAX: usize = 64;
const METADATA_VALUE_CHARS_MAX: usize = 512;

/// What clients write to their requests; they get it back with some answers.
pub type Metadata = BTreeMap<String, String>;

/// Writes one answer as events.
pub trait AnswerStream {
    /// Writes what comes before everything else.
    fn begin(&mut self, out: &mut BytesMut);

    /// Writes what a turn says.
    fn accept(&mut self, heard: Heard, out: &mut BytesMut);

    /// Writes the end of an answer whose turn said nothing of one.
    fn close(&mut self, out: &mut BytesMut);
}

/// A member of a request that is not valid, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The member, as the API writes paths: `messages[0].content[1].image_url`.
    pub param: String,
    /// A sentence for people.
    pub message: String,
}

impl Invalid {
    /// This member, for this reason.
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: param.into(),
            message: message.into(),
        }
    }
}

/// The session that a request names: by `metadata.session_id`, else by `user`.
pub fn session_name(metadata: &Metadata, user: Option<&str>) -> Result<Option<SessionName>, Invalid> {
    let (param, name) = match metadata.get("session_id") {
        Some(name) => ("metadata.session_id", name.as_str()),
        None => ("user", user.unwrap_or_default()),
    };
    if name.is_empty() {
        return Ok(None);
    }
    let parsed = SessionName::parse(name).ok_or_else(|| {
        let message = format!("must have at most {NAME_CHARS_MAX} characters, and no control characters");
        Invalid::new(param, message)
    });
    parsed.map(Some)
}

/// Whether `metadata` keeps to its bounds.
pub fn check_metadata(metadata: &Metadata) -> Result<(), Invalid> {
    if metadata.len() > METADATA_PAIRS_MAX {
        let message = format!("may have at most {METADATA_PAIRS_MAX} pairs");
        return Err(Invalid::new("metadata", message));
    }
    let is_long = |text: &str, max: usize| text.chars().nth(max).is_some();
    for (name, value) in metadata {
        if is_long(name, METADATA_NAME_CHARS_MAX) || is_long(value, METADATA_VALUE_CHARS_MAX) {
            let message = format!(
                "has names of at most {METADATA_NAME_CHARS_MAX} and values of at most {METADATA_VALUE_CHARS_MAX} characters"
            );
            return Err(Invalid::new("metadata", message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn metadata_names_a_session_before_user_does() {
        let named = metadata(&[("session_id", "homework")]);
        let name = |name: &str| Ok(SessionName::parse(name));
        assert_eq!(session_name(&named, Some("bob")), name("homework"));
        assert_eq!(session_name(&metadata(&[]), Some("bob")), name("bob"));
        assert_eq!(session_name(&metadata(&[]), None), Ok(None));
        assert_eq!(
            session_name(&metadata(&[("session_id", "")]), Some("bob")),
            Ok(None)
        );
        let long = "x".repeat(256);
        assert_eq!(
            session_name(&metadata(&[]), Some(&long)).unwrap_err().param,
            "user"
        );
        let odd = metadata(&[("session_id", "a\nb")]);
        assert_eq!(session_name(&odd, None).unwrap_err().param, "metadata.session_id");
    }

    #[test]
    fn metadata_is_bounded() {
        assert_eq!(check_metadata(&metadata(&[("a", &"x".repeat(512))])), Ok(()));
        for bad in [
            metadata(&[("a", &"x".repeat(513))]),
            metadata(&[(&"x".repeat(65), "a")]),
        ] {
            assert!(check_metadata(&bad).is_err());
        }
        let many = (0..17).map(|number| (number.to_string(), String::new()));
        assert!(check_metadata(&many.collect()).is_err());
    }
}
