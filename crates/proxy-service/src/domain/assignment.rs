//! Who may use which chatflow.

use chrono::{DateTime, Utc};

use super::window::Window;

/// One active assignment of one person to one chatflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The person: the `sub` of their tokens.
    pub external_user_id: String,
    /// Our id of the chatflow, in hexadecimal. Older data may hold something else, which names no chatflow.
    pub chatflow_id: String,
    /// Since when.
    pub assigned_at: Option<DateTime<Utc>>,
    /// From when until when it may be used.
    pub window: Window,
}

/// What an assignment changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentChange {
    /// The person had never had access.
    Assigned,
    /// The person had lost access and has it again.
    Reactivated,
    /// The person had access already, and has it at other times now.
    Rescheduled,
    /// The person had access already.
    Unchanged,
}

impl AssignmentChange {
    /// The word of the documented answers.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Assigned => "Assigned",
            Self::Reactivated => "Reactivated",
            Self::Rescheduled => "Updated",
            Self::Unchanged => "No Action",
        }
    }

    /// A sentence for the administrator.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Assigned => "User has been assigned to the chatflow.",
            Self::Reactivated => "User's access to the chatflow has been restored.",
            Self::Rescheduled => "User's access to the chatflow has other dates now.",
            Self::Unchanged => "User already has access to the chatflow.",
        }
    }
}
