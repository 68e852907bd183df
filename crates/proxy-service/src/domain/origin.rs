//! Where web pages come from: `https://school.example`, and patterns of it.

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// A host name has at most 253 characters; with scheme and port there are a few more.
const ORIGIN_BYTES_MAX: usize = 280;

/// The origin of a page: scheme, host and port, written as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

/// It is not the origin of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an origin such as https://www.school.example, without a path")]
pub struct NotAnOrigin;

impl Origin {
    /// Reads what stands in an `Origin` header. `null`, which sandboxed pages send, is none.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        if text.len() > ORIGIN_BYTES_MAX {
            return Err(NotAnOrigin);
        }
        let url: Url = text.parse().or(Err(NotAnOrigin))?;
        let is_bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && !text.ends_with('/');
        if is_bare { Self::of(&url) } else { Err(NotAnOrigin) }
    }

    /// The origin of a page at this address.
    pub fn of(url: &Url) -> Result<Self, NotAnOrigin> {
        let is_page = matches!(url.scheme(), "http" | "https");
        if is_page && matches!(url.host(), Some(host) if is_name_or_address(&host)) {
            Ok(Self(url.origin().ascii_serialization()))
        } else {
            Err(NotAnOrigin)
        }
    }

    /// As browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host with its port where that is not the scheme's own: what a `Host` header has.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The host alone, which older clients call a domain.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        }
    }
}

/// A `*` may stand in a URL, but no page lies there.
fn is_name_or_address(host: &Host<&str>) -> bool {
    !matches!(host, Host::Domain(name) if name.is_empty() || name.contains('*'))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which pages are meant: one origin, or all below a domain (`https://*.school.example`). Content security policies use
/// the same words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginPattern {
    /// With a first label of its own where only what lies below the domain is meant.
    origin: Origin,
    is_below: bool,
}

/// Stands for the `*` while the rest is read as an origin.
const ANY_LABEL: &str = "any";

impl OriginPattern {
    /// Whether a page is meant.
    pub fn matches(&self, origin: &Origin) -> bool {
        if !self.is_below {
            return self.origin == *origin;
        }
        let Some((scheme, rest)) = self.origin.as_str().split_once("://") else {
            return false;
        };
        let domain = rest.strip_prefix(ANY_LABEL).unwrap_or(rest);
        let Some((their_scheme, authority)) = origin.as_str().split_once("://") else {
            return false;
        };
        let label = authority.strip_suffix(domain);
        their_scheme == scheme && label.is_some_and(|label| !label.is_empty())
    }
}

impl FromStr for OriginPattern {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let text = text.trim().trim_end_matches('/');
        let Some((scheme, rest)) = text.split_once("://*.") else {
            return Ok(Self {
                origin: Origin::parse(text)?,
                is_below: false,
            });
        };
        let origin = Origin::parse(&format!("{scheme}://{ANY_LABEL}.{rest}"))?;
        // `https://*.org` would admit half of the web.
        if rest.split(':').next().unwrap_or_default().split('.').count() < 2 {
            return Err(NotAnOrigin);
        }
        Ok(Self {
            origin,
            is_below: true,
        })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_below {
            f.write_str(
                &self
                    .origin
                    .as_str()
                    .replacen(&format!("://{ANY_LABEL}."), "://*.", 1),
            )
        } else {
            self.origin.fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        assert_eq!(
            origin("https://School.Example:443").as_str(),
            "https://school.example"
        );
        assert_eq!(origin("http://localhost:8000").authority(), "localhost:8000");
        assert_eq!(origin("http://localhost:8000").host(), "localhost");
        assert_eq!(origin("http://[::1]:8000").host(), "[::1]");
        assert_eq!(origin("http://[::1]").host(), "[::1]");
        for text in [
            "",
            "null",
            "*",
            "school.example",
            "https://school.example/",
            "https://school.example/chat",
            "https://a@school.example",
            "ftp://school.example",
            "file:///etc/passwd",
            "https://",
            "https://*",
            "data:text/html,x",
            "https://school.example?x",
            "https://school.example#x",
        ] {
            assert_eq!(Origin::parse(text), Err(NotAnOrigin), "{text:?}");
        }
        assert_eq!(
            Origin::parse(&format!("https://{}.example", "a.".repeat(200))),
            Err(NotAnOrigin)
        );
    }

    #[test]
    fn a_pattern_means_one_origin_or_all_below_a_domain() {
        let one: OriginPattern = "https://school.example/".parse().unwrap();
        assert!(one.matches(&origin("https://school.example")));
        for other in [
            "http://school.example",
            "https://www.school.example",
            "https://school.example:8443",
            "https://school.example.evil.example",
            "https://evilschool.example",
        ] {
            assert!(!one.matches(&origin(other)), "{other}");
        }
        let below: OriginPattern = "https://*.school.example".parse().unwrap();
        assert_eq!(below.to_string(), "https://*.school.example");
        assert!(below.matches(&origin("https://www.school.example")));
        assert!(below.matches(&origin("https://a.b.school.example")));
        for other in [
            "https://school.example",
            "http://www.school.example",
            "https://evilschool.example",
            "https://www.school.example:8443",
            "https://www.school.example.evil.example",
        ] {
            assert!(!below.matches(&origin(other)), "{other}");
        }
        let port: OriginPattern = "http://*.school.example:8080".parse().unwrap();
        assert!(port.matches(&origin("http://www.school.example:8080")));
        for text in [
            "*",
            "https://*",
            "https://*.org",
            "https://*.",
            "https://www.*.example",
            "null",
            "https://*.org:443",
        ] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
    }
}
