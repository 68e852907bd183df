//! Tells somebody that they, or somebody else, signed in from elsewhere.

use chrono::{DateTime, Utc};
use url::Url;

use super::{Mail, escape};
use crate::domain::{origin::Origin, user::User};

impl Mail {
    /// Tells a user of a sign-in from a device or network they were not seen with before.
    pub(crate) fn new_device(user: &User, origin: &Origin, at: DateTime<Utc>, public_url: &Url) -> Self {
        let at = at.format("%Y-%m-%d %H:%M UTC");
        let device = origin.device();
        let address = origin.address.to_canonical();
        let text = format!(
            "There was a new sign-in to your account.\r\n\r\n\
             When: {at}\r\n\
             Device: {device}\r\n\
             Network address: {address}\r\n\r\n\
             If this was you, there is nothing to do.\r\n\r\n\
             If it was not, somebody knows your password. Go to {public_url}, end that session and change your \
             password at once; ask your administrator if you cannot sign in.\r\n"
        );
        let html = format!(
            "<p>Hello {name},</p>\r\n<p>there was a new sign-in to your account.</p>\r\n\
             <p>When: {at}<br>\r\nDevice: {device}<br>\r\nNetwork address: {address}</p>\r\n\
             <p>If this was you, there is nothing to do.</p>\r\n\
             <p>If it was not, somebody knows your password. Go to <a href=\"{url}\">{url}</a>, end that session and \
             change your password at once; ask your administrator if you cannot sign in.</p>\r\n",
            name = escape(&user.username),
            device = escape(&device.to_string()),
            url = escape(public_url.as_str()),
        );
        Self {
            to: user.email.clone(),
            subject: "A new sign-in to your account",
            text: text.into(),
            html: html.into(),
        }
    }
}
