//! What the routes of signing in by way of a provider carry.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    domain::provider::Provider,
    service::federation::{ProviderAnswer, Wish},
};

/// How somebody wants to be sent to a provider and back.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct WishBody {
    pub(super) redirect_uri: Option<String>,
    pub(super) next: Option<String>,
    pub(super) code_challenge: Option<String>,
    pub(super) code_challenge_method: Option<String>,
    /// With which somebody may get an account who has none.
    pub(super) invitation: Option<String>,
}

/// What a provider sends back in an address; and, for linking, how to be sent there.
#[derive(Deserialize)]
pub(crate) struct LinkQuery {
    pub(super) state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    redirect_uri: Option<String>,
    next: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

impl LinkQuery {
    /// The provider's part.
    pub(super) fn answer(&self) -> ProviderAnswer {
        ProviderAnswer {
            state: self.state.clone(),
            code: self.code.clone(),
            iss: self.iss.clone(),
            error: self.error.clone(),
        }
    }

    /// The client's part.
    pub(super) fn wish(self) -> Wish {
        WishBody {
            redirect_uri: self.redirect_uri,
            next: self.next,
            code_challenge: self.code_challenge,
            code_challenge_method: self.code_challenge_method,
            invitation: None,
        }
        .into()
    }
}

/// `POST .../callback`: what the provider sent back, and by what the client shows that it began this.
#[derive(Deserialize)]
pub(crate) struct CallbackBody {
    state: String,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    pub(super) code_verifier: Option<String>,
}

impl CallbackBody {
    /// The provider's part.
    pub(super) fn answer(&self) -> ProviderAnswer {
        ProviderAnswer {
            state: Some(self.state.clone()),
            code: self.code.clone(),
            iss: self.iss.clone(),
            error: self.error.clone(),
        }
    }
}

/// `POST /api/v1/auth/oauth/token`.
#[derive(Deserialize)]
pub(crate) struct RedeemCode {
    pub(super) code: String,
    pub(super) code_verifier: Option<String>,
}

/// `POST /api/v1/auth/oauth/link/mail`.
#[derive(Deserialize)]
pub(crate) struct LinkTokenBody {
    pub(super) link_token: SecretString,
}

/// `POST /api/v1/auth/oauth/link/confirm`: the token, and one proof; the caller's session counts as one.
#[derive(Deserialize)]
pub(crate) struct ConfirmLink {
    pub(super) link_token: SecretString,
    pub(super) password: Option<SecretString>,
    #[serde(alias = "totpCode")]
    pub(super) totp_code: Option<SecretString>,
    #[serde(alias = "recoveryCode")]
    pub(super) recovery_code: Option<SecretString>,
    pub(super) mail_code: Option<SecretString>,
}

/// Where the browser goes.
#[derive(Serialize)]
pub(crate) struct AuthorizationUrl<'a> {
    pub(super) authorization_url: &'a str,
}

/// The buttons of the log-in page.
#[derive(Serialize)]
pub(crate) struct ProviderList<'a> {
    providers: Vec<Button<'a>>,
}

/// A button.
#[derive(Serialize)]
pub(in crate::routes::v1) struct Button<'a> {
    name: &'a str,
    display_name: &'a str,
    icon: &'a str,
    color: &'a str,
}

impl<'a> ProviderList<'a> {
    /// A button for each.
    pub(super) fn new(providers: &'a [Provider]) -> Self {
        Self {
            providers: providers.iter().map(Button::from).collect(),
        }
    }
}

impl<'a> From<&'a Provider> for Button<'a> {
    fn from(provider: &'a Provider) -> Self {
        Self {
            name: &provider.name,
            display_name: &provider.display_name,
            icon: &provider.icon,
            color: &provider.color,
        }
    }
}
