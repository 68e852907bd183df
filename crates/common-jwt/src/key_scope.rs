//! What an API key may be used for.

use serde::{Deserialize, Serialize};

/// A scope of an API key. A key never does more than its owner may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Chatting, and reading what belongs to it: chatflows, conversations, files.
    Chat,
    /// Reading the same, and one's own credits; nothing is changed.
    Read,
    /// On the routes that the other scopes open, the key has its owner's role. Only keys of admins have it.
    Admin,
}

impl KeyScope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Read, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// Reads one of the words.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for scope in KeyScope::ALL {
            assert_eq!(KeyScope::parse(scope.as_str()), Some(scope));
            assert_eq!(
                serde_json::to_string(&scope).unwrap(),
                format!("\"{}\"", scope.as_str())
            );
        }
        for text in ["", "Chat", "write", "admin "] {
            assert_eq!(KeyScope::parse(text), None, "{text:?}");
        }
    }
}
