//! API keys: what programs of a person use in the place of a password. The secret is shown once; only its hash is kept.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use common_jwt::{KeyScope, Role};

use super::user::UserId;

/// Keys that one person may have at a time.
pub const KEYS_MAX: i32 = 50;

/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// What every key begins with.
const BEGINNING: &str = "fg-";

/// Characters of a key by which its owner knows it again: 42 of its 256 bits.
const PREFIX_CHARS: usize = 10;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 100;

/// Chatflows that one key may be bound to, and characters of the id of one.
const CHATFLOWS_MAX: usize = 100;
const CHATFLOW_CHARS_MAX: usize = 100;

/// The largest cap: far more than anybody has, and exact in every JSON reader.
pub const CREDIT_CAP_MAX: i64 = 1_000_000_000_000;

/// Requests a minute that a key may be limited to. Whoever wants more leaves the limit out.
pub const RATE_MAX: i64 = 10_000;

/// How far ahead a key may expire.
const LIFE_MAX_DAYS: i64 = 3_660;

/// A key as it is handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    /// The key of these bytes, which must be random.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text that is handed out, and goes nowhere else.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is stored. A plain hash does for 256 random bits.
    pub fn hash(&self) -> String {
        hex::encode(digest(&SHA256, self.0.as_bytes()))
    }

    /// What its owner is shown of it later.
    pub fn prefix(&self) -> String {
        self.0.chars().take(PREFIX_CHARS).collect()
    }
}

/// Without the text.
impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

/// Reads the hash of a key as services send it: 64 lower-case hex digits.
pub fn is_key_hash(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(is_hex)
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// How it begins.
    pub prefix: String,
    /// What it may be used for.
    pub terms: KeyTerms,
    /// Counts how often everything that was known of it became void.
    pub epoch: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom: its owner, or an administrator.
    pub created_by: UserId,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// What a key is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for; never empty.
    pub scopes: Vec<KeyScope>,
    /// The chatflows it may be used with; all of the owner's when `None`.
    pub chatflows: Option<Vec<String>>,
    /// The credits that may be spent with it in all.
    pub credit_cap: Option<i64>,
    /// Requests a minute.
    pub rate: Option<u32>,
    /// Not good from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What somebody wants of a key, as typed.
#[derive(Clone, Debug, Default)]
pub struct KeyWish {
    /// See [`KeyTerms::name`].
    pub name: String,
    /// Words; `chat` and `read` when `None`.
    pub scopes: Option<Vec<String>>,
    /// Ids.
    pub chatflows: Option<Vec<String>>,
    /// Credits.
    pub credit_cap: Option<i64>,
    /// Requests a minute.
    pub rate: Option<i64>,
    /// RFC 3339.
    pub expires_at: Option<String>,
}

/// A member that cannot be accepted, and why.
pub type Mistake = (&'static str, &'static str);

impl ApiKey {
    /// What the feed of revocations calls the key as it stands now.
    pub fn sid(&self) -> String {
        sid_of(&self.id, self.epoch)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.terms.expires_at.is_some_and(|end| end <= now)
    }

    /// The role that the key has, of an owner with this role.
    pub fn role(&self, of_owner: Role) -> Role {
        if self.terms.scopes.contains(&KeyScope::Admin) {
            of_owner
        } else {
            Role::EndUser
        }
    }

    /// What it may be used for while its owner has this role.
    pub fn scopes(&self, of_owner: Role) -> Vec<KeyScope> {
        let scopes = self.terms.scopes.iter().copied();
        scopes
            .filter(|scope| *scope != KeyScope::Admin || of_owner == Role::Admin)
            .collect()
    }
}

/// What the feed of revocations calls a key.
pub fn sid_of(id: &str, epoch: i32) -> String {
    format!("key:{id}:{epoch}")
}

impl KeyTerms {
    /// Reads a wish of or for somebody with this role, and reports everything wrong with it at once.
    pub fn parse(wish: KeyWish, role: Role, now: DateTime<Utc>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let name = wish.name.trim().to_owned();
        if name.is_empty() {
            mistakes.push(("name", "is required"));
        } else if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            mistakes.push(("name", "must have at most 100 characters, all visible"));
        }
        let scopes = parse_scopes(wish.scopes.as_deref(), role).unwrap_or_else(|why| {
            mistakes.push(("scopes", why));
            Vec::new()
        });
        let chatflows = parse_chatflows(wish.chatflows).unwrap_or_else(|why| {
            mistakes.push(("chatflows", why));
            None
        });
        if wish
            .credit_cap
            .is_some_and(|cap| !(1..=CREDIT_CAP_MAX).contains(&cap))
        {
            mistakes.push(("creditCap", "must be a whole number from 1 to 1,000,000,000,000"));
        }
        if wish.rate.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
            mistakes.push(("rate", "must be a whole number from 1 to 10,000"));
        }
        let expires_at = parse_end(wish.expires_at.as_deref(), now).unwrap_or_else(|why| {
            mistakes.push(("expiresAt", why));
            None
        });
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            name,
            scopes,
            chatflows,
            credit_cap: wish.credit_cap,
            rate: wish.rate.and_then(|rate| u32::try_from(rate).ok()),
            expires_at,
        })
    }
}

fn parse_scopes(words: Option<&[String]>, role: Role) -> Result<Vec<KeyScope>, &'static str> {
    let Some(words) = words else {
        return Ok(vec![KeyScope::Chat, KeyScope::Read]);
    };
    let read: Option<Vec<_>> = words.iter().map(|word| KeyScope::parse(word)).collect();
    let mut scopes = read.ok_or("must be chat, read or admin")?;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err("must name at least one");
    }
    if scopes.contains(&KeyScope::Admin) && role != Role::Admin {
        return Err("admin is for keys of admins only");
    }
    Ok(scopes)
}

fn parse_chatflows(ids: Option<Vec<String>>) -> Result<Option<Vec<String>>, &'static str> {
    let Some(mut ids) = ids else {
        return Ok(None);
    };
    let is_id = |id: &String| {
        let is_id_character = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=CHATFLOW_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_id_character)
    };
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err("must name at least one, or be left out for all");
    }
    if ids.len() > CHATFLOWS_MAX {
        return Err("must be at most 100");
    }
    if !ids.iter().all(is_id) {
        return Err("must be ids of chatflows");
    }
    Ok(Some(ids))
}

fn parse_end(text: Option<&str>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, &'static str> {
    let Some(text) = text else {
        return Ok(None);
    };
    let end = DateTime::parse_from_rfc3339(text).or(Err("must be a time such as 2027-01-31T00:00:00Z"))?;
    let end = end.to_utc();
    if end <= now {
        return Err("must be in the future");
    }
    if end > now + Duration::days(LIFE_MAX_DAYS) {
        return Err("must be within ten years");
    }
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn wish() -> KeyWish {
        KeyWish {
            name: " My notebook ".to_owned(),
            ..KeyWish::default()
        }
    }

    #[test]
    fn a_key_has_256_bits_and_is_not_shown() {
        let secret = KeySecret::new([255; SECRET_BYTES]);
        assert_eq!(secret.text(), format!("fg-{}8", "_".repeat(42)));
        assert_eq!(secret.prefix(), "fg-_______");
        assert!(is_key_hash(&secret.hash()));
        assert!(!format!("{secret:?}").contains("__"));
        for text in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert!(!is_key_hash(text), "{text}");
        }
    }

    #[test]
    fn little_has_to_be_said() {
        let terms = KeyTerms::parse(wish(), Role::EndUser, now()).unwrap();
        assert_eq!(terms.name, "My notebook");
        assert_eq!(terms.scopes, [KeyScope::Chat, KeyScope::Read]);
        assert_eq!(
            (terms.chatflows, terms.credit_cap, terms.rate),
            (None, None, None)
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let bad = KeyWish {
            name: " ".to_owned(),
            scopes: Some(vec!["write".to_owned()]),
            chatflows: Some(Vec::new()),
            credit_cap: Some(0),
            rate: Some(RATE_MAX + 1),
            expires_at: Some("tomorrow".to_owned()),
        };
        let mistakes = KeyTerms::parse(bad, Role::Admin, now()).unwrap_err();
        let fields: Vec<_> = mistakes.iter().map(|(field, _)| *field).collect();
        assert_eq!(
            fields,
            ["name", "scopes", "chatflows", "creditCap", "rate", "expiresAt"]
        );
    }

    #[test]
    fn ends_lie_ahead_and_not_too_far() {
        let end = |text: &str| parse_end(Some(text), now());
        assert!(end("2027-01-16T00:00:00+01:00").is_ok_and(|end| end.is_some()));
        for text in [
            "2027-01-15T08:00:00Z",
            "1970-01-01T00:00:00Z",
            "2099-01-01T00:00:00Z",
            "",
        ] {
            assert!(end(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_keys_of_admins_administer_and_only_while_they_are_admins() {
        let with_admin = || KeyWish {
            scopes: Some(vec!["admin".to_owned(), "chat".to_owned(), "chat".to_owned()]),
            ..wish()
        };
        assert!(KeyTerms::parse(with_admin(), Role::Supervisor, now()).is_err());
        let key = ApiKey {
            id: "1".to_owned(),
            user_id: UserId::generate(),
            prefix: String::new(),
            terms: KeyTerms::parse(with_admin(), Role::Admin, now()).unwrap(),
            epoch: 3,
            created_at: now(),
            created_by: UserId::generate(),
            last_used_at: None,
        };
        assert_eq!(key.sid(), "key:1:3");
        assert_eq!(key.scopes(Role::Admin), [KeyScope::Chat, KeyScope::Admin]);
        assert_eq!(key.scopes(Role::EndUser), [KeyScope::Chat]);
        assert_eq!(key.role(Role::EndUser), Role::EndUser);
    }

    #[test]
    fn ids_of_chatflows_are_ids() {
        let ids = |ids: &[&str]| parse_chatflows(Some(ids.iter().map(|id| (*id).to_owned()).collect()));
        assert_eq!(ids(&["b", "a", "b"]).unwrap().unwrap(), ["a", "b"]);
        for bad in [vec![""], vec!["a b"], vec!["$gt"], vec!["ä"]] {
            assert!(ids(&bad).is_err(), "{bad:?}");
        }
    }
}
