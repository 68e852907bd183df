//! What the three services share on the wire, so that a client who knows one knows all: problem details, who is
//! calling and what they may, request ids, health, metrics, and how a service stops.
//!
//! Nothing here knows a service's nouns or its database.

mod access;
mod address;
mod api_key_checks;
mod api_keys;
mod body;
mod browser;
mod caller;
mod clock;
mod context;
mod cors;
mod healthcheck;
mod json_stream;
mod key_feed;
mod lifecycle;
mod metrics;
mod observe;
mod openapi;
mod pages;
mod problem;
mod revocations;
mod service_tokens;
mod user_changes;

pub use access::{Access, Authenticator, Gate, KeyRule, Routes, Row, SessionCheck, rows};
pub use address::{ClientAddress, TrustedProxies};
pub use api_key_checks::ApiKeyChecks;
pub use api_keys::{API_KEY_BEGINNING, ApiKeyGrant, ApiKeyVerification};
pub use body::{
    BODY_BYTES_MAX, Body, FormOrJson, OptionalBody, Path, Query, ValidationStatus, read_bytes, read_json,
};
pub use browser::{SessionCookies, is_from_own_page, own_origin};
pub use caller::{Caller, CallingService, CurrentUser};
pub use clock::{Clock, Timestamp};
pub use context::{REQUEST_ID_HEADER, RequestContext, TRACEPARENT_HEADER};
pub use cors::cors;
pub use healthcheck::check_readiness;
pub use json_stream::{json_array, json_text};
pub use key_feed::KeyFeed;
pub use lifecycle::Lifecycle;
pub use metrics::Metrics;
pub use observe::observe;
pub use openapi::Contract;
pub use pages::{no_such_route, show_liveness, show_metrics};
pub use problem::{FieldError, Problem};
pub use revocations::{RevocationBody, RevocationFeed, RevocationSet, RevocationsBody};
pub use service_tokens::ServiceTokens;
pub use user_changes::{UserChangeBody, UserChangeFeed, UserChangeKind, UserChangesBody};
