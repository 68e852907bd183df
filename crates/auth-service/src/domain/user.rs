//! A user.

use std::fmt;

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use common_jwt::Role;

use super::{email::EmailAddress, identity::Identity, username::Username};

/// Names a user: 24 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(pub ObjectId);

impl UserId {
    /// A new id, unlike any other.
    pub fn generate() -> Self {
        Self(ObjectId::new())
    }

    /// Reads 24 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        ObjectId::parse_str(text).ok().map(Self)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Somebody with an account.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are true or not independently of each other"
)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name, unique and case-sensitive.
    pub username: String,
    /// The address, unique and lower case.
    pub email: String,
    /// A bcrypt hash.
    pub password_hash: String,
    /// What people call them, where it is known.
    pub full_name: Option<String>,
    /// Whether the address is proven to be theirs.
    pub is_verified: bool,
    /// Whether an administrator has shut the account.
    pub is_disabled: bool,
    /// Whether nobody signs in to the account: it only holds API keys.
    pub is_service_account: bool,
    /// Whether an administrator has to approve the account before its owner may sign in.
    pub awaits_approval: bool,
    /// Whether somebody else chose the password, so that another has to be chosen first.
    pub must_change_password: bool,
    /// Counts the passwords the user has had; a rehash of the same one is not counted.
    pub password_version: i32,
    /// What they may administer. A role we do not know grants nothing and reads as `enduser`.
    pub role: Role,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// A version number that older tools keep.
    pub version: i32,
    /// Who they are elsewhere: what they can sign in with besides a password.
    pub identities: Vec<Identity>,
}

impl User {
    /// Whether the account is open and its address proven.
    pub fn may_sign_in(&self) -> bool {
        SignInRule::VerifiedOnly.admits(self)
    }

    /// Whether the user can sign in and administer.
    pub fn is_active_admin(&self) -> bool {
        self.role == Role::Admin && self.may_sign_in()
    }
}

/// What an administrator changes of a user; `None` leaves a member as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// The name.
    pub username: Option<Username>,
    /// The address.
    pub email: Option<EmailAddress>,
    /// The role.
    pub role: Option<Role>,
    /// Whether the account is open.
    pub is_active: Option<bool>,
    /// Whether the address counts as proven.
    pub is_verified: Option<bool>,
}

impl Edit {
    /// The same without what is so already. A role is kept: the stored word may be one that only reads as it.
    #[must_use]
    pub fn without_known(self, user: &User) -> Self {
        Self {
            username: self.username.filter(|name| name.as_str() != user.username),
            email: self.email.filter(|email| email.as_str() != user.email),
            role: self.role,
            is_active: self.is_active.filter(|is_active| *is_active == user.is_disabled),
            is_verified: self
                .is_verified
                .filter(|is_verified| *is_verified != user.is_verified),
        }
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `user` is an admin who can sign in, and would not be one afterwards.
    pub fn ends_admin(&self, user: &User) -> bool {
        let stays = self.role.unwrap_or(user.role) == Role::Admin
            && self.is_active.unwrap_or(!user.is_disabled)
            && self.is_verified.unwrap_or(user.is_verified);
        user.is_active_admin() && !stays
    }

    /// Whether the sessions of `user` end with it: rights become others, or none.
    pub fn ends_sessions(&self, user: &User) -> bool {
        self.role.is_some_and(|role| role != user.role)
            || self.is_active == Some(false)
            || self.is_verified == Some(false)
    }
}

/// Who may sign in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInRule {
    /// Those whose address is proven.
    VerifiedOnly,
    /// Those whose address is not proven yet as well.
    Anybody,
}

impl SignInRule {
    /// Whether somebody whose account is open may sign in as far as their address is concerned.
    pub fn admits_address_of(self, user: &User) -> bool {
        user.is_verified || self == Self::Anybody
    }

    /// Whether the account is good for anything.
    pub fn opens(self, user: &User) -> bool {
        !user.is_disabled && !user.awaits_approval && self.admits_address_of(user)
    }

    /// Whether the user may hold a session.
    pub fn admits(self, user: &User) -> bool {
        self.opens(user) && !user.is_service_account
    }
}

/// How the address of somebody ends who has no mailbox.
pub const NO_MAILBOX: &str = "@service-account.invalid";

/// What stands in place of a hash where there is no password: no password has this hash.
pub const NO_PASSWORD: &str = "!";

impl User {
    /// Whether a password was ever chosen.
    pub fn has_password(&self) -> bool {
        self.password_hash != NO_PASSWORD && !self.password_hash.is_empty()
    }
}

/// Without the hash: users end up in logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("is_verified", &self.is_verified)
            .finish_non_exhaustive()
    }
}

/// The role an administrator asks for, exactly as documented; `user` is an older name of `enduser`.
pub fn parse_role(text: &str) -> Option<Role> {
    match text {
        "admin" => Some(Role::Admin),
        "supervisor" => Some(Role::Supervisor),
        "enduser" | "user" => Some(Role::EndUser),
        _ => None,
    }
}
