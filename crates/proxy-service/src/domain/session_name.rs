//! Names that clients give their conversations. Many clients call them what they like; ours are UUIDs nobody guesses.
//!
//! The same name is one session for one person and one chatflow, and another one for everybody else: the session's id is
//! made of all three, so that nobody reaches a session by knowing its name.

use uuid::Uuid;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 255;

/// The namespace of sessions that have a name.
const NAMES: Uuid = Uuid::from_u128(0x2f6e_9b1c_4d87_4c0b_9a3e_71c5_0be2_8d46);

/// What a client calls a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionName {
    /// Tells it from the other sessions of this person with this chatflow.
    pub name: String,
    /// What the client calls the chat in it, where it tells the two apart.
    pub chat_id: String,
}

impl SessionName {
    /// One name for both; `None` when it is empty, too long, or holds what no name holds.
    pub fn parse(name: &str) -> Option<Self> {
        Self::parse_both(name, name)
    }

    /// A session and the chat in it.
    pub fn parse_both(name: &str, chat_id: &str) -> Option<Self> {
        let is_name = |text: &str| {
            !text.is_empty() && text.chars().nth(NAME_CHARS_MAX).is_none() && !text.contains(char::is_control)
        };
        (is_name(name) && is_name(chat_id)).then(|| Self {
            name: name.to_owned(),
            chat_id: chat_id.to_owned(),
        })
    }

    /// The id of the session that this person calls so.
    pub fn session_id(&self, user_id: &str, chatflow_id: &str) -> String {
        // Ids of people and of chatflows hold no colon; a name may.
        let of = format!("{user_id}:{chatflow_id}:{}", self.name);
        Uuid::new_v5(&NAMES, of.as_bytes()).to_string()
    }

    /// The id of a session of ours that the name may be: clients repeat the ids they were given.
    pub fn own_id(&self) -> Option<String> {
        Uuid::parse_str(&self.name).ok().map(|id| id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_session_for_one_person_and_one_chatflow() {
        let name = SessionName::parse("support").unwrap();
        let id = name.session_id("alice", "flow");
        assert_eq!(id, name.session_id("alice", "flow"));
        assert_ne!(id, name.session_id("bob", "flow"));
        assert_ne!(id, name.session_id("alice", "another"));
        assert_ne!(
            id,
            SessionName::parse("Support").unwrap().session_id("alice", "flow")
        );
        assert!(Uuid::parse_str(&id).is_ok());
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(SessionName::parse(&"你".repeat(NAME_CHARS_MAX)).is_some());
        for bad in ["", "a\nb", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert_eq!(SessionName::parse(bad), None, "{bad:?}");
            assert_eq!(SessionName::parse_both("ok", bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_a_uuid_may_be_an_id_of_ours() {
        let own = |name| SessionName::parse(name).unwrap().own_id();
        assert_eq!(own("support"), None);
        assert_eq!(
            own("D4FD9C78C25F458A89ED5A4B53EB12CF").as_deref(),
            Some("d4fd9c78-c25f-458a-89ed-5a4b53eb12cf")
        );
    }
}
