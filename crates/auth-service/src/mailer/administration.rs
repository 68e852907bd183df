//! What people are told about changes that others made to their account.

use url::Url;

use super::{Mail, escape};
use crate::domain::user::User;

impl Mail {
    /// Tells the owner, at the address that was theirs until now, that it has been replaced. The new one is not named:
    /// this mail may be read by somebody else by now.
    pub(crate) fn email_changed_by_admin(before: &User, public_url: &Url) -> Self {
        let text = format!(
            "An administrator gave your account another e-mail address.\r\n\r\n\
             Mail about it goes there from now on. If you did not expect this, ask whoever runs {public_url}\r\n"
        );
        let html = format!(
            "<p>Hello {name},</p>\r\n<p>an administrator gave your account another e-mail address. Mail about it goes \
             there from now on.</p>\r\n\
             <p>If you did not expect this, ask whoever runs <a href=\"{url}\">{url}</a>.</p>\r\n",
            name = escape(&before.username),
            url = escape(public_url.as_str()),
        );
        Self {
            to: before.email.clone(),
            subject: "The e-mail address of your account was changed",
            text: text.into(),
            html: html.into(),
        }
    }
}
