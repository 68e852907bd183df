//! What a person may administer.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A person's role, in ascending order of rights. Roles grant administration, never a chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Own profile, own chats, own balance.
    #[default]
    EndUser,
    /// Reports and limited administration of credits.
    Supervisor,
    /// Everything.
    Admin,
}

impl Role {
    /// The role as it stands in tokens, bodies and databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndUser => "enduser",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Exact and case-sensitive; whatever is not known grants nothing and reads as [`Role::EndUser`].
impl FromStr for Role {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "admin" => Self::Admin,
            "supervisor" => Self::Supervisor,
            _ => Self::EndUser,
        })
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.parse() {
            Ok(role) => role,
            Err(never) => match never {},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_roles_grant_nothing() {
        for text in ["teacher", "student", "user", "Admin", "ADMIN", " admin", ""] {
            assert_eq!(text.parse(), Ok(Role::EndUser), "{text:?}");
        }
        assert_eq!("admin".parse(), Ok(Role::Admin));
        assert!(Role::Admin > Role::Supervisor && Role::Supervisor > Role::EndUser);
    }
}
