//! Mails about identities at providers.

use url::Url;

use super::{
    Mail,
    letters::{Paragraph, ascii, from_where, page, text},
};
use crate::domain::{origin::Origin, user::User};

impl Mail {
    /// Tells a user that they can sign in by way of a provider from now on.
    pub(crate) fn identity_linked(
        user: &User,
        provider: &str,
        email: Option<&str>,
        origin: &Origin,
        public_url: &Url,
    ) -> Self {
        let provider = ascii(provider);
        let whom = email
            .map(|email| format!(" ({})", ascii(email)))
            .unwrap_or_default();
        Self::letter(
            user,
            "A way to sign in was added to your account",
            &[
                text(format!(
                    "From now on you can sign in to your account by way of {provider}{whom}."
                )),
                from_where(origin),
                text(format!(
                    "If this was not you, remove it on your account page at {}, choose a new password and tell your \
                     administrator.",
                    page(public_url, "account"),
                )),
            ],
        )
    }

    /// Tells a user that they cannot any more.
    pub(crate) fn identity_unlinked(user: &User, provider: &str, origin: &Origin, public_url: &Url) -> Self {
        Self::letter(
            user,
            "A way to sign in was removed from your account",
            &[
                text(format!(
                    "You cannot sign in to your account by way of {} any more.",
                    ascii(provider)
                )),
                from_where(origin),
                text(format!(
                    "If this was not you, look at your account page at {} and tell your administrator.",
                    page(public_url, "account"),
                )),
            ],
        )
    }

    /// Tells a user that their password was taken away, as they wanted.
    pub(crate) fn password_removed(user: &User, origin: &Origin, public_url: &Url) -> Self {
        Self::letter(
            user,
            "Your password was removed",
            &[
                text(
                    "Your account has no password any more: you sign in by way of a provider. Every device was signed out.",
                ),
                from_where(origin),
                text(format!(
                    "If this was not you, choose a new password at {} at once and tell your administrator.",
                    page(public_url, "forgot-password"),
                )),
            ],
        )
    }

    /// Sends the code that proves that an account belongs to somebody who came from a provider.
    pub(crate) fn confirm_link(
        user: &User,
        provider: &str,
        code: &str,
        life: chrono::Duration,
        origin: &Origin,
        public_url: &Url,
    ) -> Self {
        let minutes = life.num_minutes().max(1);
        Self::letter(
            user,
            "Confirm a new way to sign in",
            &[
                text(format!(
                    "Somebody who signed in at {} with your e-mail address wants to use your account at {public_url}.",
                    ascii(provider)
                )),
                Paragraph::Line(format!("Your confirmation code: {code}")),
                text(format!(
                    "If this is you, enter the code where you signed in, within {minutes} minutes. Give it to nobody \
                     else."
                )),
                from_where(origin),
                text("If this is not you, ignore this mail: without the code nothing happens."),
            ],
        )
    }
}
