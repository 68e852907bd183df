//! A user.

use std::fmt;

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use common_jwt::Role;

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
}

impl User {
    /// Whether the account is open and its address proven.
    pub fn may_sign_in(&self) -> bool {
        self.is_verified && !self.is_disabled
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

    /// Whether the user may hold a session.
    pub fn admits(self, user: &User) -> bool {
        !user.is_disabled && self.admits_address_of(user)
    }
}

/// What stands in place of a hash where there is no password: no password has this hash.
pub const NO_PASSWORD: &str = "!";

impl User {
    /// Whether a password was ever chosen.
    pub fn has_password(&self) -> bool {
        self.password_hash != NO_PASSWORD
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
