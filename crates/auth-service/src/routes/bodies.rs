//! What requests and answers carry, as the contract names it. Members we do not know are ignored, never honoured.

use common_http::Timestamp;
use common_jwt::Role;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::user::{SignInRule, User};

/// `POST /api/auth/signup`.
#[derive(Debug, Deserialize)]
pub(crate) struct SignUp {
    /// 3 to 30 characters.
    pub(crate) username: String,
    /// The address that has to be proven.
    pub(crate) email: String,
    /// 8 to 72 bytes.
    pub(crate) password: SecretString,
    /// The code of an invitation, where they have one.
    pub(crate) invitation: Option<SecretString>,
}

/// The answer to a new account.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserCreated {
    /// For people.
    pub(crate) message: &'static str,
    /// The new id.
    pub(crate) user_id: String,
    /// The same; the CSV scripts read it here.
    #[serde(rename = "_id")]
    pub(crate) id: String,
}

/// `POST /api/auth/verify-email`.
#[derive(Deserialize)]
pub(crate) struct VerifyEmail {
    /// The six digits.
    pub(crate) token: String,
    /// The address they were sent to; with it, tries of strangers do not count.
    pub(crate) email: Option<String>,
}

/// `POST /api/auth/resend-verification`.
#[derive(Debug, Deserialize)]
pub(crate) struct ResendVerification {
    /// The address to be proven.
    pub(crate) email: String,
}

/// `POST /api/auth/login`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogIn {
    /// A name or an address.
    pub(crate) username: String,
    /// The password.
    pub(crate) password: SecretString,
    /// A code of the authenticator app, where it is known to be needed.
    #[serde(rename = "totpCode", alias = "totp_code")]
    pub(crate) totp_code: Option<SecretString>,
    /// A recovery code in its place.
    #[serde(rename = "recoveryCode", alias = "recovery_code")]
    pub(crate) recovery_code: Option<SecretString>,
}

/// The answer to a sign-in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedIn {
    /// For people.
    pub(crate) message: &'static str,
    /// Sent with each request.
    pub(crate) access_token: String,
    /// Exchanged for the next pair.
    pub(crate) refresh_token: String,
    /// Who signed in.
    pub(crate) user: SignedInUser,
    /// Whether nothing is open to them before they choose another password.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) must_change_password: bool,
}

/// A user in the answer to a sign-in: `id`, not `_id`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignedInUser {
    /// 24 hex digits.
    pub(crate) id: String,
    /// The name.
    pub(crate) username: String,
    /// The address.
    pub(crate) email: String,
    /// True unless unproven addresses are admitted here.
    pub(crate) is_verified: bool,
    /// What they may administer.
    pub(crate) role: Role,
}

/// `POST /api/auth/refresh` and `/api/auth/logout`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefreshTokenBody {
    /// Where no cookie carries it.
    pub(crate) refresh_token: Option<SecretString>,
}

/// The answer to a refresh.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refreshed {
    /// For people.
    pub(crate) message: &'static str,
    /// Sent with each request.
    pub(crate) access_token: String,
    /// Exchanged for the next pair.
    pub(crate) refresh_token: String,
}

/// An answer that only says that something was done.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    /// For people, and for scripts that compare it.
    pub(crate) message: &'static str,
}

/// `PUT /api/profile`. Missing, null and empty members leave things as they are.
#[derive(Debug, Deserialize)]
pub(crate) struct UpdateProfile {
    /// The new name.
    pub(crate) username: Option<String>,
    /// The address, as it is or as it is wished.
    pub(crate) email: Option<String>,
    /// Needed for another address.
    #[serde(rename = "currentPassword")]
    pub(crate) current_password: Option<SecretString>,
}

/// The answer to `PUT /api/profile`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdatedProfile {
    /// The user.
    pub(crate) user: UserBody,
    /// The address that waits for its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pending_email: Option<String>,
}

/// `GET /api/dashboard`.
#[derive(Debug, Serialize)]
pub(crate) struct Dashboard {
    /// For people.
    pub(crate) message: &'static str,
    /// Who is looking.
    pub(crate) user: DashboardUser,
}

/// A user on their dashboard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DashboardUser {
    /// 24 hex digits.
    pub(crate) user_id: String,
    /// The name.
    pub(crate) username: String,
    /// What they may administer.
    pub(crate) role: Role,
}

/// `GET /api/admin/dashboard` and `/api/admin/reports`.
#[derive(Debug, Serialize)]
pub(crate) struct Greeting {
    /// Compared by scripts.
    pub(crate) message: &'static str,
    /// The caller's role.
    pub(crate) role: Role,
}

/// `POST /api/admin/users`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateUser {
    /// 3 to 30 characters.
    pub(crate) username: String,
    /// The address; a service account may do without.
    pub(crate) email: Option<String>,
    /// 8 to 72 bytes; a service account has none.
    pub(crate) password: Option<SecretString>,
    /// `supervisor`, `enduser` or `user`.
    pub(crate) role: Option<String>,
    /// Only a literal `true` counts.
    #[serde(default)]
    pub(crate) skip_verification: Value,
    /// Only a literal `true` counts: nobody signs in to it, it only holds API keys.
    #[serde(default)]
    pub(crate) is_service_account: Value,
}

/// `PUT /api/admin/users/{id}/role`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangeRole {
    /// `admin`, `supervisor`, `enduser` or `user`.
    pub(crate) role: String,
}

/// A user as nearly every route shows one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the documented members")]
pub(crate) struct UserBody {
    /// 24 hex digits.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    /// The name.
    pub(crate) username: String,
    /// The address.
    pub(crate) email: String,
    /// Whether the address is proven.
    pub(crate) is_verified: bool,
    /// Whether the account is open; an admin may have shut it.
    pub(crate) is_active: bool,
    /// Whether an admin has to approve it first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) awaits_approval: bool,
    /// Whether nobody signs in to it; there only when true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_service_account: bool,
    /// What people call them, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) full_name: Option<String>,
    /// What they may administer.
    pub(crate) role: Role,
    /// When the account was made.
    pub(crate) created_at: Timestamp,
    /// When it was last changed.
    pub(crate) updated_at: Timestamp,
    /// Whether somebody else chose the password; there only when true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) must_change_password: bool,
    /// Kept by older tools.
    #[serde(rename = "__v")]
    pub(crate) version: i32,
}

/// A user as `GET /api/auth/users/{id}` shows one to everybody, and the rest of it to admins and our services.
#[derive(Debug, Serialize)]
pub(crate) struct PublicUser {
    #[serde(rename = "_id")]
    id: String,
    username: String,
    /// Whether they may use anything.
    active: bool,
    /// Always false: whoever is deleted is not found.
    deleted: bool,
    #[serde(flatten)]
    details: Option<UserDetails>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserDetails {
    email: String,
    role: Role,
    is_verified: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl PublicUser {
    /// What somebody who `sees_all` is shown of `user`, or somebody who does not.
    pub(crate) fn new(user: User, sees_all: bool) -> Self {
        Self {
            id: user.id.to_string(),
            active: SignInRule::VerifiedOnly.opens(&user),
            deleted: false,
            details: sees_all.then_some(UserDetails {
                email: user.email,
                role: user.role,
                is_verified: user.is_verified,
                created_at: user.created_at.into(),
                updated_at: user.updated_at.into(),
            }),
            username: user.username,
        }
    }
}

/// A user inside an object.
#[derive(Debug, Serialize)]
pub(crate) struct UserEnvelope<T> {
    /// The user.
    pub(crate) user: T,
}

/// A user as `GET /api/admin/users/{id}` shows one: in the style of that route and, for the proxy, in that of the others.
#[derive(Debug, Serialize)]
pub(crate) struct UserInBothStyles {
    user_id: String,
    is_verified: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(flatten)]
    user: UserBody,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username,
            email: user.email,
            is_verified: user.is_verified,
            is_active: !user.is_disabled,
            awaits_approval: user.awaits_approval,
            is_service_account: user.is_service_account,
            full_name: user.full_name,
            role: user.role,
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
            must_change_password: user.must_change_password,
            version: user.version,
        }
    }
}

impl From<User> for UserInBothStyles {
    fn from(user: User) -> Self {
        Self {
            user_id: user.id.to_string(),
            is_verified: user.is_verified,
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
            user: user.into(),
        }
    }
}

impl From<User> for SignedInUser {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username,
            email: user.email,
            is_verified: user.is_verified,
            role: user.role,
        }
    }
}

impl UserCreated {
    /// The answer to `user` having been made.
    pub(crate) fn new(message: &'static str, user: &User) -> Self {
        let id = user.id.to_string();
        Self {
            message,
            user_id: id.clone(),
            id,
        }
    }
}
