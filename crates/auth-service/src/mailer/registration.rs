//! Mails to people who may make an account, or have made one that an administrator has to look at.

use url::Url;

use super::{
    Mail,
    letters::{Paragraph, ascii, in_words, page, text},
};
use crate::domain::{email::EmailAddress, invitation::InvitationCode, user::User};

/// Where an invitation is used: also for administrators who hand it over themselves.
pub(crate) fn invitation_link(public_url: &Url, code: &InvitationCode) -> String {
    format!("{}?invitation={}", page(public_url, "register"), code.text())
}

impl Mail {
    /// Invites somebody who has no account yet. The code proves the address: it goes nowhere else.
    pub(crate) fn registration_invitation(
        email: &EmailAddress,
        site: &str,
        code: &InvitationCode,
        life: chrono::Duration,
        public_url: &Url,
    ) -> Self {
        let paragraphs = [
            text(format!(
                "You are invited to make an account at {}. Do it here:",
                ascii(site)
            )),
            Paragraph::Link(invitation_link(public_url, code)),
            Paragraph::Line(format!("Your invitation code: {}", code.text())),
            text(format!(
                "It is good once, for this e-mail address, within {}. Give it to nobody else.",
                in_words(life)
            )),
            text(
                "If you do not know what this is about, ignore this mail: nothing happens without the code.",
            ),
        ];
        Self::letter_greeting(email.as_str(), "<p>Hello,</p>", "You are invited", &paragraphs)
    }

    /// Tells somebody who waited that they are in.
    pub(crate) fn registration_approved(user: &User, site: &str, public_url: &Url) -> Self {
        Self::letter(
            user,
            "Your account was approved",
            &[
                text(format!(
                    "An administrator has approved your account at {}. You can sign in now:",
                    ascii(site)
                )),
                Paragraph::Link(page(public_url, "login")),
            ],
        )
    }

    /// Tells somebody who waited that they are not.
    pub(crate) fn registration_refused(user: &User, site: &str) -> Self {
        Self::letter(
            user,
            "Your registration was not accepted",
            &[
                text(format!(
                    "An administrator has looked at your registration at {} and did not accept it. What you entered was \
                     deleted.",
                    ascii(site)
                )),
                text("If you think that this is a mistake, ask them."),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_name_of_the_platform_is_text_in_a_mail() {
        let code = InvitationCode::new(|| 1);
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let url = "https://chat.example.com".parse().unwrap();
        let mail =
            Mail::registration_invitation(&email, "<b>Schüler</b>", &code, chrono::Duration::days(7), &url);
        let (plain, html) = (mail.text.expose_secret(), mail.html.expose_secret());
        assert!(plain.is_ascii() && plain.contains(code.text()), "{plain}");
        assert!(
            plain.contains("https://chat.example.com/register?invitation=1111-"),
            "{plain}"
        );
        assert!(!html.contains("<b>Sch"), "{html}");
    }
}
