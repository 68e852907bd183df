//! n8n, as we call it. Which webhooks there are stands in the embeds.

use std::time::Duration;

use common_config::{Env, Invalid, SIGNING_SECRET_BYTES_MIN};
use secrecy::SecretString;

use super::{AdmissionLimits, Upstream};

/// How n8n is called.
#[derive(Clone, Debug)]
pub struct N8nConfig {
    /// Signs the short token by which a workflow knows that we ask; without it none is sent.
    pub token_secret: Option<SecretString>,
    /// How long that token is good.
    pub token_life: Duration,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long the head of a stream may take. n8n flushes it at once; workflows that do not stream have the idle limit.
    pub header_timeout: Duration,
    /// How long an answer may be silent. n8n sends no heartbeats, and some of its streams never end.
    pub idle_timeout: Duration,
    /// The same after an error: a workflow that was stopped says so and then nothing, for ever.
    pub error_grace: Duration,
    /// The largest line of a stream, or JSON answer.
    pub event_bytes_max: usize,
    /// Who may ask each n8n.
    pub admission: AdmissionLimits,
}

impl N8nConfig {
    /// Reads every variable before failing. What n8n shares with Flowise is read there.
    pub(super) fn from_env(env: &Env) -> Result<Self, Invalid> {
        let token_secret = env
            .var("SESSION_SECRET_KEY")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let token_secs = env.var("JWT_EXPIRATION_SECONDS").within(5..=300, 30);
        let connect_secs = env.var("N8N_CONNECT_TIMEOUT_SECS").within(1..=60, 5);
        let header_secs = env.var("N8N_HEADER_TIMEOUT_SECS").within(1..=600, 30);
        let idle_secs = env.var("N8N_IDLE_TIMEOUT_SECS").within(1..=840, 120);
        let grace_secs = env.var("N8N_ERROR_GRACE_SECS").within(0..=300, 10);
        Ok(Self {
            token_secret: token_secret?,
            token_life: Duration::from_secs(token_secs?),
            connect_timeout: Duration::from_secs(connect_secs?),
            header_timeout: Duration::from_secs(header_secs?),
            idle_timeout: Duration::from_secs(idle_secs?),
            error_grace: Duration::from_secs(grace_secs?),
            ..Self::default()
        })
    }

    /// With what it shares with Flowise.
    pub(super) fn beside(self, flowise: &Upstream) -> Self {
        Self {
            event_bytes_max: flowise.event_bytes_max,
            admission: flowise.admission,
            ..self
        }
    }
}

impl Default for N8nConfig {
    fn default() -> Self {
        Self {
            token_secret: None,
            token_life: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(2),
            error_grace: Duration::from_secs(10),
            event_bytes_max: 8 << 20,
            admission: AdmissionLimits::default(),
        }
    }
}
