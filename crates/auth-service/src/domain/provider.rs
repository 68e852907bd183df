//! Somebody else who vouches for people: Google, GitHub, a school's Keycloak.

use chrono::{DateTime, Utc};
use common_jwt::Role;
use url::Url;

/// What stands in the path of a provider's routes.
const NAME_CHARS_MAX: usize = 50;

/// How a provider says who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// By an ID token; everything else about it is discovered at its issuer.
    Oidc,
    /// By an answer to "who is this?" at its userinfo address.
    OAuth2,
    /// As GitHub does: likewise, with the addresses of the person in a list of their own.
    GitHub,
}

impl ProviderKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::OAuth2 => "oauth2",
            Self::GitHub => "github",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Oidc, Self::OAuth2, Self::GitHub]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A provider as it is kept.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its id.
    pub id: String,
    /// The word in its routes, unique.
    pub name: String,
    /// What its button says.
    pub display_name: String,
    /// The icon on its button: a word that the pages know.
    pub icon: String,
    /// The colour of its button.
    pub color: String,
    /// How it says who somebody is.
    pub kind: ProviderKind,
    /// In whose name its subjects are unique.
    pub issuer: String,
    /// What we are called there.
    pub client_id: String,
    /// What we prove that with, sealed.
    pub sealed_secret: String,
    /// Where people are sent; discovered where there is none.
    pub authorize_url: Option<Url>,
    /// Where codes are exchanged; likewise.
    pub token_url: Option<Url>,
    /// Where it is asked who somebody is; likewise.
    pub userinfo_url: Option<Url>,
    /// What we ask for.
    pub scope: String,
    /// Whether anybody can sign in with it.
    pub is_active: bool,
    /// Whether people whom we do not know get an account.
    pub auto_provision: bool,
    /// The role that they get.
    pub default_role: Role,
    /// Whether its addresses count as proven although it does not say so.
    pub trust_email: bool,
    /// Addresses of clients that receive its answers themselves.
    pub redirect_uris: Vec<String>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What is known beforehand about a provider that many use.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The word for it.
    pub name: &'static str,
    /// What its button says.
    pub display_name: &'static str,
    /// The colour of its button.
    pub color: &'static str,
    /// How it says who somebody is.
    pub kind: ProviderKind,
    /// In whose name.
    pub issuer: &'static str,
    /// Where people are sent, where that is not discovered.
    pub authorize_url: Option<&'static str>,
    /// Where codes are exchanged.
    pub token_url: Option<&'static str>,
    /// Where it is asked who somebody is.
    pub userinfo_url: Option<&'static str>,
    /// What we ask for.
    pub scope: &'static str,
    /// The host of its pages, by which older settings are known.
    host: &'static str,
}

/// All of them.
pub const PRESETS: [Preset; 2] = [
    Preset {
        name: "google",
        display_name: "Google",
        color: "#4285f4",
        kind: ProviderKind::Oidc,
        issuer: "https://accounts.google.com",
        authorize_url: None,
        token_url: None,
        userinfo_url: None,
        scope: "openid email profile",
        host: "accounts.google.com",
    },
    Preset {
        name: "github",
        display_name: "GitHub",
        color: "#24292f",
        kind: ProviderKind::GitHub,
        issuer: "https://github.com",
        authorize_url: Some("https://github.com/login/oauth/authorize"),
        token_url: Some("https://github.com/login/oauth/access_token"),
        userinfo_url: Some("https://api.github.com/user"),
        scope: "read:user user:email",
        host: "github.com",
    },
];

impl Preset {
    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The preset that settings are about which send people to this address: older front ends give addresses only.
    pub fn of_address(url: &Url) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| url.host_str() == Some(preset.host))
    }
}

/// Reads the name of a provider. The error completes the sentence "the name ...".
pub fn parse_name(text: &str) -> Result<String, &'static str> {
    let name = text.trim().to_lowercase();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        return Err("is required");
    }
    if name.len() > NAME_CHARS_MAX || !name.bytes().all(allowed) || name.starts_with('-') {
        return Err("must have at most 50 letters, digits and hyphens");
    }
    Ok(name)
}

/// Reads a colour: `#` and six hex digits.
pub fn is_color(text: &str) -> bool {
    text.strip_prefix('#')
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// In whose name the subjects of a provider are unique that has no issuer.
pub fn own_issuer(provider_id: &str) -> String {
    format!("urn:flowgate:provider:{provider_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_in_a_path() {
        assert_eq!(parse_name(" Google ").unwrap(), "google");
        for text in ["", "-a", "a/b", "a b", "ä", "..", &"a".repeat(51)] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn older_settings_are_known_by_their_addresses() {
        let preset = |url: &str| Preset::of_address(&url.parse().unwrap()).map(|preset| preset.name);
        assert_eq!(
            preset("https://accounts.google.com/o/oauth2/auth"),
            Some("google")
        );
        assert_eq!(preset("https://github.com/login/oauth/authorize"), Some("github"));
        assert_eq!(preset("https://github.com.evil.example/"), None);
    }
}
