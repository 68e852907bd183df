//! A sign-in by way of a provider: what is remembered while the person is there, and where they may go afterwards.

use chrono::Duration;
use url::Url;

use super::user::UserId;

/// How long somebody may take at the provider.
pub const FLOW_LIFE: Duration = Duration::minutes(10);

/// How long the code is good that our callback hands to a client.
pub const CODE_LIFE: Duration = Duration::minutes(1);

/// How long somebody may take to prove that an account is theirs.
pub const LINK_LIFE: Duration = Duration::minutes(15);

/// Longer addresses to go back to are refused.
const NEXT_BYTES_MAX: usize = 2_000;

/// Who may finish what was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The browser that holds the cookie with this hash.
    Browser(String),
    /// Whoever knows the verifier of this PKCE challenge.
    Client(String),
}

/// What somebody wants a provider to confirm their identity for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To sign in.
    SignIn {
        /// The hash of the invitation with which they may get an account, if they have none.
        invitation: Option<String>,
    },
    /// To link the identity to the account they are signed in to.
    Link {
        /// Whose account.
        user_id: UserId,
        /// In which session they asked; it must still stand.
        session_id: String,
    },
}

/// A sign-in that is under way at a provider.
#[derive(Clone, Debug)]
pub struct Flow {
    /// At which.
    pub provider_id: String,
    /// Where the provider sends its answer, to the letter.
    pub redirect_uri: String,
    /// The hash of the nonce.
    pub nonce_hash: String,
    /// The PKCE verifier for the provider, sealed.
    pub sealed_verifier: String,
    /// Who may finish it.
    pub binding: Binding,
    /// What for.
    pub purpose: Purpose,
    /// Where the browser goes afterwards.
    pub next: Option<String>,
}

/// Reads where a browser shall go afterwards: a path of ours, or a page of a web client that we know. Everything that
/// could be read as another host by whatever browser is refused.
pub fn parse_next(text: &str, origins: &[String]) -> Option<String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if text.len() > NEXT_BYTES_MAX || !is_plain {
        return None;
    }
    if let Some(rest) = text.strip_prefix('/') {
        return (!rest.starts_with('/')).then(|| text.to_owned());
    }
    let url = Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    let is_known = matches!(url.scheme(), "http" | "https") && origins.contains(&origin);
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // Written with the slashes, so that no browser and we can read it differently.
    (is_known && is_bare && text.starts_with(&format!("{origin}/"))).then(|| url.into())
}

/// `next` with one more parameter.
pub fn with_parameter(next: &str, name: &str, value: &str) -> String {
    let (path, fragment) = next
        .split_once('#')
        .map_or((next, None), |(path, rest)| (path, Some(rest)));
    let joint = if path.contains('?') { '&' } else { '?' };
    let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let fragment = fragment.map(|rest| format!("#{rest}")).unwrap_or_default();
    format!("{path}{joint}{name}={value}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_back_to_pages_of_ours_and_nowhere_else() {
        let origins = [
            "https://app.example.com".to_owned(),
            "http://localhost:5173".to_owned(),
        ];
        for text in [
            "/",
            "/account?tab=1#x",
            "https://app.example.com/done",
            "http://localhost:5173/a?b=c",
        ] {
            assert_eq!(parse_next(text, &origins).as_deref(), Some(text));
        }
        for text in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https:evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "evil.example",
            "https://evil.example/",
            "/a\r\nSet-Cookie: x",
            "/\t/evil.example",
            "https://app.example.com.evil.example/",
            "https://app.example.com@evil.example/",
            "https://u:p@app.example.com/",
            "http://app.example.com/",
            "https:app.example.com/",
            " /a",
            "https://app.example.com:444/",
            "/ä",
        ] {
            assert_eq!(parse_next(text, &origins), None, "{text:?}");
        }
    }

    #[test]
    fn parameters_are_added_where_they_belong() {
        assert_eq!(with_parameter("/a", "code", "x"), "/a?code=x");
        assert_eq!(with_parameter("/a?b=c#d", "code", "x y"), "/a?b=c&code=x+y#d");
    }
}
