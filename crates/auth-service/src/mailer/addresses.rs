//! Mails about another e-mail address: the code goes to the new one, the news to the old one.

use url::Url;

use super::{
    Mail,
    letters::{Paragraph, from_where, if_it_was_not_you, text},
};
use crate::domain::{origin::Origin, user::User, verification::Code};

impl Mail {
    /// Sends a code to the address that a user wants to have instead of theirs.
    pub(crate) fn confirm_new_address(
        user: &User,
        new_address: &str,
        code: &Code,
        life: chrono::Duration,
        public_url: &Url,
    ) -> Self {
        let minutes = life.num_minutes().max(1);
        Self::letter_to(
            new_address,
            user,
            "Confirm your new e-mail address",
            &[
                Paragraph::Line(format!("Your verification code: {}", code.digits())),
                text(format!(
                    "Enter it at {public_url} within {minutes} minutes, and this address replaces the one your account \
                     has."
                )),
                text("If you did not ask for this, ignore this mail: without the code nothing happens."),
            ],
        )
    }

    /// Tells the address that a user has that they want another.
    pub(crate) fn address_change_asked(
        user: &User,
        new_address: &str,
        origin: &Origin,
        public_url: &Url,
    ) -> Self {
        Self::letter(
            user,
            "Another e-mail address for your account",
            &[
                text(format!(
                    "Somebody who knows your password asked for {new_address} to become the e-mail address of your \
                     account. Nothing has changed so far."
                )),
                from_where(origin),
                if_it_was_not_you(public_url),
            ],
        )
    }

    /// Tells the address that a user had that it is not theirs any more.
    pub(crate) fn address_changed(
        before: &User,
        new_address: &str,
        origin: &Origin,
        public_url: &Url,
    ) -> Self {
        Self::letter(
            before,
            "Your e-mail address was changed",
            &[
                text(format!(
                    "The e-mail address of your account is {new_address} now. This is the last mail to this address."
                )),
                from_where(origin),
                text(format!(
                    "If this was not you, tell your administrator at once: links to choose a password now go to the \
                     new address. The platform is at {public_url}."
                )),
            ],
        )
    }
}
