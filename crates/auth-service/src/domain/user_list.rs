//! Which users a list shows, and where its next page begins.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_jwt::Role;
use serde::{Deserialize, Serialize};

use super::{
    email,
    user::{User, UserId},
};

/// Users on one page, at most and when nothing is said.
pub const LIMIT_MAX: usize = 200;
/// See [`LIMIT_MAX`].
pub const LIMIT_DEFAULT: usize = 50;

/// What somebody searches for is no longer than this.
const SEARCH_CHARS_MAX: usize = 100;

/// A cursor holds a name or an address and little more.
const CURSOR_BYTES_MAX: usize = 1_000;

/// The form of the cursors this program writes.
const CURSOR_VERSION: u8 = 1;

/// What a list is narrowed down to; everything when all are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// How the name or the address begins.
    pub search: Option<Search>,
    /// What they may administer.
    pub role: Option<Role>,
    /// Whether they can sign in.
    pub state: Option<UserState>,
}

/// The beginning of a name or of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// It has an `@`, so it can only be an address; as addresses are stored.
    Email(String),
    /// Names that begin so, then addresses that do.
    NameOrEmail(String),
}

/// Whether somebody can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserState {
    /// They can.
    Active,
    /// An administrator has shut the account.
    Disabled,
    /// The address is not proven yet.
    Unverified,
}

/// The last user of a page, as far as the order of the list needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In the order of accounts: oldest first.
    Id(UserId),
    /// Among the names that match.
    Name {
        /// The name.
        username: String,
        /// Tells names apart that differ in case only.
        id: UserId,
    },
    /// Among the addresses that match; an empty one stands before all.
    Email(String),
}

#[derive(Serialize, Deserialize)]
enum Key {
    #[serde(rename = "i")]
    Id(String),
    #[serde(rename = "n")]
    Name(String, String),
    #[serde(rename = "e")]
    Email(String),
}

impl Search {
    /// Reads what was typed; nothing but space searches for nothing. The error completes "the search ...".
    pub fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim();
        if text.chars().count() > SEARCH_CHARS_MAX {
            return Err("must have at most 100 characters");
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters");
        }
        Ok(match text {
            "" => None,
            address if address.contains('@') => Some(Self::Email(email::normalise(address))),
            name => Some(Self::NameOrEmail(name.to_owned())),
        })
    }
}

impl UserState {
    /// Reads one of the three words.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "active" => Some(Self::Active),
            "disabled" => Some(Self::Disabled),
            "unverified" => Some(Self::Unverified),
            _ => None,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Unverified => "unverified",
        }
    }

    /// The state of this user; `None` while they wait to be approved, who have a list of their own. A shut account is
    /// shut, proven or not.
    pub const fn of(user: &User) -> Option<Self> {
        match (user.is_disabled, user.is_verified, user.awaits_approval) {
            (true, ..) => Some(Self::Disabled),
            (false, false, _) => Some(Self::Unverified),
            (false, true, false) => Some(Self::Active),
            (false, true, true) => None,
        }
    }
}

impl UserFilter {
    /// Whether role and state let this user pass.
    pub fn admits(&self, user: &User) -> bool {
        self.role.is_none_or(|role| role == user.role)
            && self.state.is_none_or(|state| UserState::of(user) == Some(state))
    }

    /// Where the list goes on after `position`, as clients carry it.
    pub fn cursor(&self, position: &Position) -> String {
        let key = match position {
            Position::Id(id) => Key::Id(id.to_string()),
            Position::Name { username, id } => Key::Name(username.clone(), id.to_string()),
            Position::Email(email) => Key::Email(email.clone()),
        };
        let json = serde_json::to_vec(&(CURSOR_VERSION, self.digest(), key)).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads a cursor that this list gave. `None` when it is none, or one of another list.
    pub fn position(&self, cursor: &str) -> Option<Position> {
        if cursor.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let json = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (version, digest, key): (u8, u32, Key) = serde_json::from_slice(&json).ok()?;
        if version != CURSOR_VERSION || digest != self.digest() {
            return None;
        }
        match (key, &self.search) {
            (Key::Id(id), None) => Some(Position::Id(UserId::parse(&id)?)),
            (Key::Name(username, id), Some(Search::NameOrEmail(_))) => Some(Position::Name {
                username,
                id: UserId::parse(&id)?,
            }),
            (Key::Email(email), Some(_)) => Some(Position::Email(email)),
            _ => None,
        }
    }

    /// Tells lists apart, so that a cursor is not taken to another one. Stays the same in every version (FNV-1a).
    fn digest(&self) -> u32 {
        let search = match &self.search {
            Some(Search::Email(text) | Search::NameOrEmail(text)) => text.as_str(),
            None => "",
        };
        let role = self.role.map_or("", Role::as_str);
        let state = self.state.map_or("", UserState::as_str);
        [search, "\0", role, "\0", state]
            .into_iter()
            .flat_map(str::bytes)
            .fold(0x811c_9dc5, |digest, byte| {
                (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(search: &str) -> UserFilter {
        UserFilter {
            search: Search::parse(search).unwrap(),
            ..UserFilter::default()
        }
    }

    #[test]
    fn an_at_sign_makes_it_an_address() {
        assert_eq!(Search::parse("   "), Ok(None));
        assert_eq!(
            Search::parse(" Mei "),
            Ok(Some(Search::NameOrEmail("Mei".to_owned())))
        );
        assert_eq!(
            Search::parse("Mei@School"),
            Ok(Some(Search::Email("mei@school".to_owned())))
        );
        assert!(Search::parse("a\0b").is_err());
        assert!(Search::parse(&"a".repeat(101)).is_err());
    }

    #[test]
    fn a_cursor_leads_back_to_where_it_was_given() {
        let id = UserId::generate();
        let name = Position::Name {
            username: "Ödön".to_owned(),
            id,
        };
        for (filter, position) in [
            (filter(""), Position::Id(id)),
            (filter("öd"), name),
            (filter("öd"), Position::Email(String::new())),
            (filter("a@"), Position::Email("a@example.com".to_owned())),
        ] {
            assert_eq!(filter.position(&filter.cursor(&position)), Some(position));
        }
    }

    #[test]
    fn a_cursor_of_another_list_or_of_nobody_is_none() {
        let by_id = filter("").cursor(&Position::Id(UserId::generate()));
        let admins = UserFilter {
            role: Some(Role::Admin),
            ..UserFilter::default()
        };
        assert_eq!(admins.position(&by_id), None);
        assert_eq!(filter("mei").position(&by_id), None);
        // The right digest on the wrong kind of place.
        let wrong_kind = filter("mei").cursor(&Position::Id(UserId::generate()));
        assert_eq!(filter("mei").position(&wrong_kind), None);
        let operator = URL_SAFE_NO_PAD.encode(r#"[1,0,{"i":{"$gt":""}}]"#);
        for text in ["", "x", "%%%", "bnVsbA", &operator, &by_id.repeat(40)] {
            assert_eq!(filter("").position(text), None, "{text:?}");
        }
    }
}
