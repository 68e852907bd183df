//! Why a file is not taken.

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Files of this kind are not taken.
    Type,
    /// It is larger than any may be.
    TooLarge,
    /// The person keeps as much as anybody may.
    Quota,
}

impl Refusal {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Type => "file_type_refused",
            Self::TooLarge => "file_too_large",
            Self::Quota => "file_quota_exceeded",
        }
    }

    /// A sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Type => "Files of this kind are not accepted.",
            Self::TooLarge => "The file is too large.",
            Self::Quota => "Your storage is full. Delete files or conversations to make room.",
        }
    }
}
