//! Mails about API keys.

use url::Url;

use super::{
    Mail,
    letters::{ascii, from_where, page, text},
};
use crate::domain::{api_key::ApiKey, origin::Origin, user::User};

impl Mail {
    /// Tells the owner of a new key that there is one. Of the key it says no more than its list does.
    pub(crate) fn api_key_created(
        owner: &User,
        key: &ApiKey,
        is_own_act: bool,
        origin: &Origin,
        public_url: &Url,
    ) -> Self {
        let (name, prefix) = (ascii(&key.terms.name), &key.prefix);
        let what = if is_own_act {
            format!("An API key was made for your account: {name} ({prefix}...).")
        } else {
            format!("An administrator made an API key for your account: {name} ({prefix}...).")
        };
        let keys = page(public_url, "account/keys");
        let mut paragraphs = vec![
            text(what),
            text("Programs that have it can use your account as far as the key allows."),
        ];
        if is_own_act {
            paragraphs.push(from_where(origin));
        }
        paragraphs.push(text(format!(
            "If you did not expect this, revoke it at {keys} and tell your administrator."
        )));
        Self::letter(owner, "A new API key for your account", &paragraphs)
    }
}
