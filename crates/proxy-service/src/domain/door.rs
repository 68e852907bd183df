//! The ways in: through which a turn was asked for, in bounded words for metrics and idempotency keys.

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Our own chat routes.
    Native,
    /// The routes of Flowise's own API.
    Flowise,
    /// The routes of OpenAI's API.
    OpenAi,
    /// The visitors of an embed.
    Widget,
}

impl Door {
    /// Its name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Flowise => "flowise",
            Self::OpenAi => "openai",
            Self::Widget => "widget",
        }
    }
}
