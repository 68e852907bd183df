//! What a workflow is sent.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use common_http::Timestamp;
use serde_json::{Map, Value, json};

/// A visitor's message, and what a workflow may know about them.
#[derive(Clone, Debug)]
pub(crate) struct N8nMessage<'a> {
    /// The text, as it was written.
    pub(crate) text: &'a str,
    /// Names the conversation: the only thing between one visitor's memory and another's. Never what a visitor shows to
    /// prove who they are.
    pub(crate) session_id: &'a str,
    /// The host of the site.
    pub(crate) origin_domain: &'a str,
    /// The page that the visitor looks at.
    pub(crate) page_url: Option<&'a str>,
    /// The visitor's address.
    pub(crate) client_ip: IpAddr,
    /// The visitor's browser.
    pub(crate) user_agent: Option<&'a str>,
    /// Says that two sessions may be the same browser, and no more.
    pub(crate) fingerprint: Option<&'a str>,
    /// Messages of this session before this one.
    pub(crate) message_count: u64,
    /// What the page told about itself, checked.
    pub(crate) context: Option<&'a Map<String, Value>>,
}

impl N8nMessage<'_> {
    /// The body: the documented members, and those that n8n's own chat sends, which its agents and memories look for.
    pub(super) fn body(&self, token: Option<&str>, now: DateTime<Utc>) -> Value {
        let at = Timestamp(now).to_string();
        let mut context = json!({
            "session_id": self.session_id,
            "origin_domain": self.origin_domain,
            "page_url": self.page_url,
            "user_agent": self.user_agent,
            "ip_address": self.client_ip,
            "message_count": self.message_count,
            // The page's origin and the session's cookie were checked.
            "security_context": { "fingerprint": self.fingerprint, "verified": true },
        });
        if let Some(told) = self.context {
            context["user_context"] = Value::Object(told.clone());
        }
        let mut body = json!({
            "message": self.text,
            "action": "sendMessage",
            "chatInput": self.text,
            "sessionId": self.session_id,
            "session_id": self.session_id,
            "timestamp": at,
            "session": {
                "session_id": self.session_id,
                "origin_domain": self.origin_domain,
                "page_url": self.page_url,
                "client_ip": self.client_ip,
                "user_agent": self.user_agent,
                "timestamp": at,
            },
            "context": context,
        });
        if let Some(token) = token {
            body["jwt_token"] = token.into();
        }
        body
    }
}
