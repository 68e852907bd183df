//! Mails about passwords: the link to choose one, and the news that it was changed.

use url::Url;

use super::{
    Mail,
    letters::{Paragraph, from_where, if_it_was_not_you, in_words, page, text},
};
use crate::domain::{origin::Origin, reset::ResetToken, user::User};

impl Mail {
    /// Gives a user who forgot their password the link to choose another.
    pub(crate) fn password_reset(
        user: &User,
        token: &ResetToken,
        life: chrono::Duration,
        public_url: &Url,
    ) -> Self {
        Self::letter(
            user,
            "Choose a new password",
            &[
                text("Somebody, probably you, asked for a new password for your account. Choose it here:"),
                link(token, public_url),
                text(format!("The link works once, within {}.", in_words(life))),
                text("If you did not ask, ignore this mail: nothing changes without the link."),
            ],
        )
    }

    /// Tells somebody that an account was made for them, with the link to choose its password.
    pub(crate) fn invitation(
        user: &User,
        token: &ResetToken,
        life: chrono::Duration,
        public_url: &Url,
    ) -> Self {
        Self::letter(
            user,
            "Your account is ready",
            &[
                text("An account was made for you. Choose its password here:"),
                link(token, public_url),
                text(format!(
                    "The link works once, within {}. After that, ask for a new one at {}.",
                    in_words(life),
                    page(public_url, "forgot-password"),
                )),
            ],
        )
    }

    /// Tells a user that their password was changed.
    pub(crate) fn password_changed(user: &User, origin: &Origin, public_url: &Url) -> Self {
        Self::letter(
            user,
            "Your password was changed",
            &[
                text("The password of your account was changed, and every device was signed out."),
                from_where(origin),
                if_it_was_not_you(public_url),
            ],
        )
    }

    /// Tells a user that an administrator chose a password for them.
    pub(crate) fn password_set_by_admin(user: &User, public_url: &Url) -> Self {
        Self::letter(
            user,
            "Your password was reset",
            &[
                text(
                    "An administrator has set a new password for your account, and every device was signed out. They \
                     will tell you the password; you have to choose another one when you sign in.",
                ),
                text(format!(
                    "If you did not expect this, ask your administrator. You can also choose a password by yourself at \
                     {}.",
                    page(public_url, "forgot-password"),
                )),
            ],
        )
    }
}

fn link(token: &ResetToken, public_url: &Url) -> Paragraph {
    let page = page(public_url, "reset-password");
    Paragraph::Link(format!("{page}?token={}", token.digits()))
}
