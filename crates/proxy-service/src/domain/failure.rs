//! Every way a turn can end without a whole answer.

use std::fmt;

/// Why a turn has no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection to Flowise.
    Unreachable,
    /// The head of a stream did not come in time, though Flowise flushes it at once.
    HeaderTimeout,
    /// The stream fell silent, or a flow that does not stream said nothing for as long.
    IdleTimeout,
    /// The turn took longer than any turn may.
    TooLong,
    /// Flowise answered with a 4xx.
    Refused,
    /// Flowise's own rate limit.
    RateLimited,
    /// Flowise ran the flow and says with a 5xx of its own that it failed: a key, a model, a bad input.
    Failed,
    /// A 5xx that is none of Flowise's own, such as that of a proxy in front of it.
    Unavailable,
    /// Something that is neither a stream nor JSON, such as Flowise's web page.
    NotAnAnswer,
    /// The stream ended without saying so.
    Broken,
    /// One event, or a whole JSON answer, above the limit.
    TooLarge,
    /// An error inside a stream that began well.
    Reported,
    /// A stream or an answer with nothing in it.
    Empty,
    /// The client left and the answer did not come in the time that is left to such turns.
    Abandoned,
    /// The client left before Flowise was asked.
    NotAsked,
    /// The person who asked wanted no more of it.
    Stopped,
    /// This service is stopping.
    Stopping,
    /// The question could not be stored.
    Storage,
}

impl Failure {
    /// A bounded name for metrics, logs and clients.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "upstream_unreachable",
            Self::HeaderTimeout => "upstream_header_timeout",
            Self::IdleTimeout => "upstream_idle_timeout",
            Self::TooLong => "turn_too_long",
            Self::Refused => "upstream_refused",
            Self::RateLimited => "upstream_rate_limited",
            Self::Failed => "upstream_failed",
            Self::Unavailable => "upstream_unavailable",
            Self::NotAnAnswer => "upstream_not_an_answer",
            Self::Broken => "upstream_broken",
            Self::TooLarge => "upstream_too_large",
            Self::Reported => "upstream_error",
            Self::Empty => "upstream_empty",
            Self::Abandoned => "client_left",
            Self::NotAsked => "client_left_early",
            Self::Stopped => "stopped",
            Self::Stopping => "service_stopping",
            Self::Storage => "storage_unavailable",
        }
    }

    /// Whether Flowise is to blame.
    pub const fn is_upstream(self) -> bool {
        !matches!(
            self,
            Self::TooLong | Self::Abandoned | Self::NotAsked | Self::Stopped | Self::Stopping | Self::Storage
        )
    }

    /// A sentence for the person who asked. Nothing of the inside is in it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::HeaderTimeout | Self::IdleTimeout | Self::TooLong => {
                "The assistant took too long to answer."
            }
            Self::RateLimited => "The assistant is busy. Please try again in a moment.",
            Self::Broken | Self::Abandoned | Self::NotAsked => "The answer was cut off. Please try again.",
            Self::Stopped => "The answer was stopped.",
            Self::TooLarge => "The answer was too large to be passed on.",
            Self::Empty => "The assistant gave no answer.",
            Self::Stopping => "The service is being restarted. Please try again in a moment.",
            Self::Storage => "Your message could not be saved. Please try again in a moment.",
            Self::Unreachable
            | Self::Refused
            | Self::Failed
            | Self::Unavailable
            | Self::NotAnAnswer
            | Self::Reported => "The assistant could not answer. Please try again later.",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}
