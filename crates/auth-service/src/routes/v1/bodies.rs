//! What the routes under `/api/v1` carry.

use common_http::Timestamp;
use common_jwt::Role;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        email::EmailAddress,
        user::{Edit, User},
    },
    error::{Error, Result},
    service::sessions::TokenPair,
};

/// `POST /api/v1/auth/register`.
#[derive(Debug, Deserialize)]
pub(crate) struct Register {
    /// 3 to 30 characters.
    pub(crate) username: String,
    /// The address that has to be proven.
    pub(crate) email: String,
    /// 8 to 72 bytes.
    pub(crate) password: SecretString,
    /// The code of an invitation, where they have one.
    pub(crate) invitation: Option<SecretString>,
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

/// `PUT /api/v1/auth/account`. Missing, null and empty members leave things as they are.
#[derive(Debug, Deserialize)]
pub(crate) struct UpdateAccount {
    /// Another address.
    pub(crate) email: Option<String>,
    /// Another password.
    pub(crate) password: Option<SecretString>,
    /// The password they have.
    #[serde(alias = "currentPassword")]
    pub(crate) current_password: Option<SecretString>,
}

/// `PUT /api/v1/users/{user_id}`. Missing, null and empty members leave things as they are.
#[derive(Debug, Deserialize)]
pub(crate) struct UpdateOther {
    email: Option<String>,
    is_admin: Option<bool>,
    is_active: Option<bool>,
    password: Option<SecretString>,
}

impl UpdateOther {
    /// The edit, and the password to be given. Whoever is no admin any more is an `enduser`.
    pub(crate) fn parse(self) -> Result<(Edit, Option<SecretString>)> {
        let email = self.email.filter(|text| !text.is_empty());
        let email = email.as_deref().map(EmailAddress::parse).transpose();
        let edit = Edit {
            username: None,
            email: email.map_err(|message| Error::invalid("email", message))?,
            role: self
                .is_admin
                .map(|is_admin| if is_admin { Role::Admin } else { Role::EndUser }),
            is_active: self.is_active,
            is_verified: None,
        };
        let password = self.password.filter(|text| !text.expose_secret().is_empty());
        Ok((edit, password))
    }
}

/// `DELETE /api/v1/auth/account/password`.
#[derive(Deserialize)]
pub(crate) struct RemovePassword {
    /// The password they have.
    #[serde(alias = "currentPassword")]
    pub(crate) current_password: SecretString,
}

/// The answer to a change of one's own account.
#[derive(Serialize)]
pub(crate) struct AccountUpdated {
    message: &'static str,
    user: ListedPerson,
    /// Only after a change of the password, which ended the session of the old tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl AccountUpdated {
    /// What `user` is now, and the tokens of the new session, if there is one.
    pub(crate) fn new(user: User, pair: Option<TokenPair>) -> Self {
        let (access_token, refresh_token) = pair.map(|pair| (pair.access, pair.refresh)).unzip();
        Self {
            message: "Account updated successfully",
            user: user.into(),
            access_token,
            refresh_token,
        }
    }
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

/// An identity at a provider.
#[derive(Debug, Serialize)]
pub(crate) struct LinkedAccount {
    id: String,
    /// None when the provider is gone.
    provider: Option<String>,
    provider_user_id: String,
    email: Option<String>,
    connected_at: Timestamp,
}

impl LinkedAccount {
    /// Those of this user; `names` are the providers' by their ids.
    pub(crate) fn all(user: &User, names: &[(String, String)]) -> Vec<Self> {
        let name_of = |id: &str| {
            let found = names.iter().find(|(known, _)| known == id);
            found.map(|(_, name)| name.clone())
        };
        let linked = user.identities.iter().map(|identity| Self {
            id: identity.id.clone(),
            provider: name_of(&identity.provider_id),
            provider_user_id: identity.subject.clone(),
            email: identity.email.clone(),
            connected_at: identity.connected_at.into(),
        });
        linked.collect()
    }
}

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

impl Account {
    /// This user; `names` are the providers' by their ids.
    pub(crate) fn new(user: User, names: &[(String, String)]) -> Self {
        Self {
            has_password: user.has_password(),
            oauth_accounts: LinkedAccount::all(&user, names),
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
