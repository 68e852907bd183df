//! How sessions are shown: to those whose they are, and to administrators.

use common_http::Timestamp;
use serde::Serialize;

use crate::domain::{device::DeviceKind, session::Session};

/// A session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionBody {
    id: String,
    device: DeviceKind,
    browser: Option<String>,
    os: Option<String>,
    ip_address: String,
    user_agent: Option<String>,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    auth_method: String,
    /// Whether it is the one that asks.
    current: bool,
}

/// The caller's sessions.
#[derive(Debug, Serialize)]
pub(crate) struct SessionList<T> {
    /// Newest first.
    pub(crate) sessions: Vec<T>,
    /// How many there are.
    pub(crate) total: u64,
}

/// A session as administrators see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdminSessionBody {
    #[serde(flatten)]
    session: SessionBody,
    user_id: String,
    /// None when the user is gone.
    username: Option<String>,
}

/// A page of sessions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionPage {
    /// Newest first.
    pub(crate) sessions: Vec<AdminSessionBody>,
    /// Where the next page begins.
    pub(crate) next_cursor: Option<String>,
}

/// The same session under the names of older clients too.
#[derive(Debug, Serialize)]
pub(crate) struct SessionInBothStyles {
    #[serde(flatten)]
    session: AdminSessionBody,
    #[serde(rename = "user_id")]
    user_id: String,
    auth_method: String,
    ip_address: String,
    user_agent: Option<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    is_active: bool,
}

/// An answer to one session having been ended.
#[derive(Debug, Serialize)]
pub(crate) struct SessionRevoked {
    status: &'static str,
    message: &'static str,
    session_id: String,
    #[serde(rename = "sessionId")]
    same_session_id: String,
}

/// An answer to several sessions having been ended.
#[derive(Debug, Serialize)]
pub(crate) struct SessionsRevoked {
    status: &'static str,
    message: &'static str,
    revoked_count: u64,
    #[serde(rename = "revokedCount")]
    same_revoked_count: u64,
}

impl SessionBody {
    /// A session, shown to somebody who asks with the session `current`.
    pub(crate) fn new(session: Session, current: &str) -> Self {
        let device = session.origin.device();
        Self {
            current: session.id == current,
            device: device.kind,
            browser: device.browser.map(|browser| browser.to_string()),
            os: device.os.map(|os| os.to_string()),
            ip_address: session.origin.address.to_canonical().to_string(),
            created_at: session.created_at.into(),
            last_seen_at: session.last_seen_at.into(),
            expires_at: session.expires_at().into(),
            auth_method: session.auth_method.0.into_owned(),
            user_agent: session.origin.user_agent,
            id: session.id,
        }
    }
}

impl AdminSessionBody {
    /// A session of the user called `username`.
    pub(crate) fn new(session: Session, current: &str, username: Option<String>) -> Self {
        Self {
            user_id: session.user_id.to_string(),
            username,
            session: SessionBody::new(session, current),
        }
    }
}

impl From<AdminSessionBody> for SessionInBothStyles {
    fn from(body: AdminSessionBody) -> Self {
        let session = &body.session;
        Self {
            user_id: body.user_id.clone(),
            auth_method: session.auth_method.clone(),
            ip_address: session.ip_address.clone(),
            user_agent: session.user_agent.clone(),
            created_at: session.created_at,
            expires_at: session.expires_at,
            is_active: true,
            session: body,
        }
    }
}

impl SessionRevoked {
    /// The session with this id was ended.
    pub(crate) fn new(session_id: String) -> Self {
        Self {
            status: "success",
            message: "Session revoked",
            session_id: session_id.clone(),
            same_session_id: session_id,
        }
    }
}

impl SessionsRevoked {
    /// So many were ended.
    pub(crate) const fn new(count: u64) -> Self {
        Self {
            status: "success",
            message: "Sessions revoked",
            revoked_count: count,
            same_revoked_count: count,
        }
    }
}
