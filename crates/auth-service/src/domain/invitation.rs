//! Invitations: what lets somebody make an account where not everybody may.
//!
//! The code is a secret of 100 bits that is shown or mailed once; only its hash is kept.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use common_jwt::Role;

use super::{email::EmailAddress, readable, user::UserId};

/// Symbols of a code, five bits each.
const CODE_SYMBOLS: usize = 20;

/// Accounts that one invitation may be good for: a large school.
pub const USES_MAX: u32 = 10_000;

/// Days that an invitation may be good.
pub const DAYS_MAX: u32 = 365;

/// Characters of a note.
pub const NOTE_CHARS_MAX: usize = 200;

/// A code as it is handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationCode(String);

impl InvitationCode {
    /// The code of these bytes, which must be random.
    pub fn new(random: impl FnMut() -> u8) -> Self {
        Self(readable::text(random, CODE_SYMBOLS))
    }

    /// Reads a code however it is typed.
    pub fn parse(typed: &str) -> Option<Self> {
        readable::normalised(typed, CODE_SYMBOLS).map(Self)
    }

    /// The text that is handed out, and goes nowhere else.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is stored: of the bare symbols, since people leave the hyphens out.
    pub fn hash(&self) -> String {
        let bare = readable::normalised(&self.0, CODE_SYMBOLS).unwrap_or_default();
        hex::encode(digest(&SHA256, bare.as_bytes()))
    }
}

/// Without the text.
impl fmt::Debug for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationCode(..)")
    }
}

/// An invitation as it is kept.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// The only address that it is good for, where it was mailed to one.
    pub email: Option<EmailAddress>,
    /// The role of those who use it.
    pub role: Role,
    /// What the administrator wants to know it by.
    pub note: Option<String>,
    /// Accounts it is good for in all.
    pub uses: u32,
    /// And from now on.
    pub uses_left: u32,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: UserId,
}

/// What an invitation is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationState {
    /// For an account.
    Open,
    /// For nothing more: all its uses are used.
    Used,
    /// For nothing more: its time is over.
    Expired,
}

impl InvitationState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

impl Invitation {
    /// What it is good for at `now`.
    pub fn state(&self, now: DateTime<Utc>) -> InvitationState {
        if self.uses_left == 0 {
            InvitationState::Used
        } else if self.expires_at <= now {
            InvitationState::Expired
        } else {
            InvitationState::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_again_however_it_is_typed_and_is_not_shown() {
        let mut next = 0_u8;
        let code = InvitationCode::new(|| {
            next += 7;
            next
        });
        assert_eq!(code.text().len(), 24, "{}", code.text());
        for typed in [
            code.text().to_owned(),
            code.text().replace('-', ""),
            format!(" {} ", code.text().to_uppercase()),
        ] {
            assert_eq!(
                InvitationCode::parse(&typed).unwrap().hash(),
                code.hash(),
                "{typed}"
            );
        }
        for typed in ["", "x", &code.text()[1..], &format!("{}0", code.text())] {
            assert_eq!(InvitationCode::parse(typed), None, "{typed:?}");
        }
        assert!(!format!("{code:?}").contains(&code.text()[..4]));
        assert_ne!(code.hash(), code.text());
    }

    #[test]
    fn an_invitation_is_good_until_it_is_used_or_late() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let invitation = Invitation {
            id: "1".to_owned(),
            email: None,
            role: Role::EndUser,
            note: None,
            uses: 2,
            uses_left: 1,
            expires_at: now,
            created_at: now,
            created_by: UserId::generate(),
        };
        let before = now - chrono::Duration::milliseconds(1);
        assert_eq!(invitation.state(before), InvitationState::Open);
        assert_eq!(invitation.state(now), InvitationState::Expired);
        let used = Invitation {
            uses_left: 0,
            ..invitation
        };
        assert_eq!(used.state(before), InvitationState::Used);
    }
}
