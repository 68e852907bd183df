//! What the routes under `/api/v1` carry.

use common_jwt::Role;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{domain::user::User, service::sessions::TokenPair};

/// `POST /api/v1/auth/register`.
#[derive(Debug, Deserialize)]
pub(crate) struct Register {
    /// 3 to 30 characters.
    pub(crate) username: String,
    /// The address that has to be proven.
    pub(crate) email: String,
    /// 8 to 72 bytes.
    pub(crate) password: SecretString,
}

/// `POST /api/v1/register`.
#[derive(Debug, Deserialize)]
pub(crate) struct RegisterOther {
    /// 3 to 30 characters.
    pub(crate) username: String,
    /// The address.
    pub(crate) email: String,
    /// 8 to 72 bytes.
    pub(crate) password: SecretString,
    /// Whether they become an admin.
    pub(crate) is_admin: Option<bool>,
}

/// The answer to a sign-in.
#[derive(Serialize)]
pub(crate) struct LoggedIn {
    access_token: String,
    refresh_token: String,
    user: Person,
}

/// The answer to a registration.
#[derive(Serialize)]
pub(crate) struct Registered {
    /// For people.
    pub(crate) message: &'static str,
    /// Null where the address has to be proven first.
    pub(crate) access_token: Option<String>,
    /// Who was registered.
    pub(crate) user: Person,
}

/// A person inside an object.
#[derive(Debug, Serialize)]
pub(crate) struct PersonEnvelope<T> {
    /// For people, where something was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'static str>,
    /// The person.
    pub(crate) user: T,
}

/// A person as most of these routes show one.
#[derive(Debug, Serialize)]
pub(crate) struct Person {
    id: String,
    username: String,
    email: String,
    is_admin: bool,
    role: Role,
}

/// A person with their state, for admins and on the account page.
#[derive(Debug, Serialize)]
pub(crate) struct ListedPerson {
    #[serde(flatten)]
    person: Person,
    is_active: bool,
}

/// A person with the ways they can sign in.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    #[serde(flatten)]
    person: ListedPerson,
    has_password: bool,
    oauth_accounts: Vec<LinkedAccount>,
}

/// An account at another provider. None can be linked yet.
#[derive(Debug, Serialize)]
enum LinkedAccount {}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username,
            email: user.email,
            is_admin: user.role == Role::Admin,
            role: user.role,
        }
    }
}

impl From<User> for ListedPerson {
    fn from(user: User) -> Self {
        Self {
            is_active: !user.is_disabled,
            person: user.into(),
        }
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            has_password: !user.password_hash.is_empty(),
            oauth_accounts: Vec::new(),
            person: user.into(),
        }
    }
}

impl From<TokenPair> for LoggedIn {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access,
            refresh_token: pair.refresh,
            user: pair.user.into(),
        }
    }
}
