//! Mails about the second factor.

use url::Url;

use super::{
    Mail,
    letters::{from_where, if_it_was_not_you, text},
};
use crate::domain::{origin::Origin, user::User};

impl Mail {
    /// Tells a user that sign-ins ask for a code from now on.
    pub(crate) fn second_factor_enabled(user: &User, origin: &Origin, public_url: &Url) -> Self {
        Self::news(
            user,
            "Second factor turned on",
            "From now on, signing in to your account takes a code of your authenticator app. Keep the recovery codes \
             where you find them without your phone.",
            origin,
            public_url,
        )
    }

    /// Tells a user that sign-ins ask for no code any more.
    pub(crate) fn second_factor_disabled(user: &User, origin: &Origin, public_url: &Url) -> Self {
        Self::news(
            user,
            "Second factor turned off",
            "Signing in to your account takes the password only from now on.",
            origin,
            public_url,
        )
    }

    /// Tells a user that there are new recovery codes.
    pub(crate) fn recovery_codes_renewed(user: &User, origin: &Origin, public_url: &Url) -> Self {
        Self::news(
            user,
            "New recovery codes",
            "New recovery codes were made for your account; the old ones are worthless.",
            origin,
            public_url,
        )
    }

    /// Tells a user that somebody signed in, or did more, with a recovery code.
    pub(crate) fn recovery_code_used(user: &User, left: usize, origin: &Origin, public_url: &Url) -> Self {
        Self::news(
            user,
            "A recovery code was used",
            &format!(
                "A recovery code of your account was used in place of the authenticator app; {left} are left."
            ),
            origin,
            public_url,
        )
    }

    /// Tells a user that somebody who has the password right gets the codes wrong.
    pub(crate) fn second_factor_guessed(user: &User, origin: &Origin, public_url: &Url) -> Self {
        Self::news(
            user,
            "Wrong codes for your account",
            "Somebody gave the right password of your account, and then several wrong codes. Without a right one they \
             do not get in.",
            origin,
            public_url,
        )
    }

    /// Tells a user that an administrator took the second factor away.
    pub(crate) fn second_factor_removed(user: &User, public_url: &Url) -> Self {
        Self::letter(
            user,
            "Second factor removed",
            &[
                text(
                    "An administrator has removed the second factor of your account, and every device was signed out. \
                     Signing in takes the password only; please set a new second factor up.",
                ),
                text(format!(
                    "If you did not ask for this, tell your administrator at once. The platform is at {public_url}."
                )),
            ],
        )
    }

    fn news(user: &User, subject: &'static str, words: &str, origin: &Origin, public_url: &Url) -> Self {
        Self::letter(
            user,
            subject,
            &[text(words), from_where(origin), if_it_was_not_you(public_url)],
        )
    }
}
