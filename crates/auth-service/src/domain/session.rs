//! One sign-in on one device, and what a presented refresh token means for it (decision D3).

use std::borrow::Cow;

use chrono::{DateTime, Duration, Utc};

use super::{origin::Origin, user::UserId};

/// The claims of a session's current refresh token. From them the same token can be signed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshGrant {
    /// The token's own id.
    pub jti: String,
    /// When it was issued, in whole seconds.
    pub issued_at: DateTime<Utc>,
    /// When it ends, in whole seconds.
    pub expires_at: DateTime<Utc>,
}

/// How somebody proved who they are. What another version of this program wrote is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthMethod(pub Cow<'static, str>);

impl AuthMethod {
    /// A password and nothing else.
    pub const PASSWORD: Self = Self(Cow::Borrowed("password"));

    /// A password and a second factor.
    pub const PASSWORD_AND_TOTP: Self = Self(Cow::Borrowed("password+totp"));

    /// A provider that vouched for them.
    pub fn provider(name: &str) -> Self {
        Self(Cow::Owned(format!("oauth_{name}")))
    }

    /// The same and a second factor.
    pub fn with_second_factor(self) -> Self {
        Self(Cow::Owned(format!("{}+totp", self.0)))
    }
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id: the claim `sid`.
    pub id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// The current refresh token's claims.
    pub grant: RefreshGrant,
    /// The SHA-256 of the current refresh token.
    pub token_hash: String,
    /// The SHA-256 of the token before it.
    pub previous_hash: Option<String>,
    /// When the current token was first handed out in exchange for the one before.
    pub rotated_at: Option<DateTime<Utc>>,
    /// When the user signed in.
    pub created_at: DateTime<Utc>,
    /// When the session was last continued.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends however often it is continued.
    pub ends_at: DateTime<Utc>,
    /// From where it was opened.
    pub origin: Origin,
    /// How the user signed in.
    pub auth_method: AuthMethod,
}

/// What it means that a refresh token with a good signature is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is the current one: rotate.
    Current,
    /// It is the one before, again within the grace, and its successor is unused: hand out the same successor.
    ReplayedInGrace,
    /// It was used up before: somebody has a copy. The session must end.
    Reused,
    /// The session has reached its greatest age.
    TooOld,
}

impl Session {
    /// When it ends unless it is continued.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.grant.expires_at.min(self.ends_at)
    }

    /// Judges a presented token by its hash.
    ///
    /// Only the immediate predecessor is remembered. So once its successor is used, it counts as reused, however
    /// short ago that was; and the grace runs from the first exchange, so repeats do not prolong it.
    pub fn judge(&self, presented_hash: &str, now: DateTime<Utc>, grace: Duration) -> Presented {
        if now >= self.ends_at {
            return Presented::TooOld;
        }
        if presented_hash == self.token_hash {
            return Presented::Current;
        }
        let is_predecessor = self.previous_hash.as_deref() == Some(presented_hash);
        let in_grace = self.rotated_at.is_some_and(|rotated_at| now < rotated_at + grace);
        if is_predecessor && in_grace {
            Presented::ReplayedInGrace
        } else {
            Presented::Reused
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn time(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + secs, 0).unwrap()
    }

    fn rotated_once() -> Session {
        Session {
            id: "s".to_owned(),
            user_id: UserId::generate(),
            grant: RefreshGrant {
                jti: "j".to_owned(),
                issued_at: time(0),
                expires_at: time(7 * 86_400),
            },
            token_hash: "second".to_owned(),
            previous_hash: Some("first".to_owned()),
            rotated_at: Some(time(100)),
            created_at: time(0),
            last_seen_at: time(100),
            ends_at: time(30 * 86_400),
            origin: Origin::new(IpAddr::V4(Ipv4Addr::LOCALHOST), None),
            auth_method: AuthMethod::PASSWORD,
        }
    }

    #[test]
    fn the_predecessor_is_good_for_the_grace_and_not_a_moment_longer() {
        let session = rotated_once();
        let grace = Duration::seconds(10);

        assert_eq!(session.judge("second", time(500), grace), Presented::Current);
        assert_eq!(
            session.judge("first", time(100), grace),
            Presented::ReplayedInGrace
        );
        assert_eq!(
            session.judge("first", time(109), grace),
            Presented::ReplayedInGrace
        );
        assert_eq!(session.judge("first", time(110), grace), Presented::Reused);
        assert_eq!(session.judge("older", time(100), grace), Presented::Reused);
    }

    #[test]
    fn without_a_grace_every_repeat_is_a_reuse() {
        assert_eq!(
            rotated_once().judge("first", time(100), Duration::zero()),
            Presented::Reused
        );
    }

    #[test]
    fn the_greatest_age_counts_before_everything() {
        let session = rotated_once();
        assert_eq!(
            session.judge("second", session.ends_at, Duration::zero()),
            Presented::TooOld
        );
    }
}
