//! Who is calling, as handlers see it. The route's access row was checked before a handler runs.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, http::StatusCode};
use chrono::{DateTime, Utc};
use common_jwt::Role;
use secrecy::SecretString;

use crate::{api_keys::ApiKeyGrant, problem::Problem};

/// A signed-in person.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// The user id: 24 hex digits.
    pub id: String,
    /// The session of this sign-in.
    pub session_id: String,
    /// The name the user signs in with.
    pub username: String,
    /// Lower case.
    pub email: String,
    /// What the user may administer.
    pub role: Role,
    /// Whether they have to choose another password before anything else.
    pub must_change_password: bool,
    /// When the access token ends.
    pub expires_at: DateTime<Utc>,
    /// The access token itself, or the key, to act for the user at another service.
    pub access_token: SecretString,
    /// The API key that stands for the person, where they are not here themselves.
    pub key: Option<Arc<ApiKeyGrant>>,
}

impl CurrentUser {
    /// The person that a key stands for, with the rights that the key has.
    pub(crate) fn by_key(grant: Arc<ApiKeyGrant>, key: &str) -> Self {
        let end = grant.expires_at.and_then(|end| DateTime::from_timestamp(end, 0));
        Self {
            id: grant.user_id.clone(),
            session_id: grant.sid.clone(),
            username: grant.username.clone(),
            email: grant.email.clone(),
            role: grant.role,
            must_change_password: false,
            expires_at: end.unwrap_or(DateTime::<Utc>::MAX_UTC),
            access_token: SecretString::from(key),
            key: Some(grant),
        }
    }

    /// Whether this chatflow may be used: any, unless an API key says otherwise.
    pub fn may_use_chatflow(&self, chatflow_id: &str) -> bool {
        self.key
            .as_ref()
            .is_none_or(|key| key.allows_chatflow(chatflow_id))
    }
}

/// Another service of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingService {
    /// Its name, such as `proxy-service`.
    pub name: String,
}

/// Either; for routes that both may call with different rights.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A signed-in person.
    User(CurrentUser),
    /// Another service.
    Service(CallingService),
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(
            request
                .extensions()
                .get::<Self>()
                .cloned()
                .ok_or_else(not_identified),
        )
    }
}

impl FromRequest for CurrentUser {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.extensions().get::<Caller>() {
            Some(Caller::User(user)) => Ok(user.clone()),
            Some(Caller::Service(_)) | None => Err(not_identified()),
        })
    }
}

impl FromRequest for CallingService {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.extensions().get::<Caller>() {
            Some(Caller::Service(service)) => Ok(service.clone()),
            Some(Caller::User(_)) | None => Err(not_identified()),
        })
    }
}

/// A route asks for somebody its access row does not let in: closed, not open.
fn not_identified() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "this route is not open to this caller",
    )
}
