//! The session in a browser: the cookies that hold its tokens, and from whose pages they are taken.
//!
//! A browser sends cookies along with whatever any page makes it send. `SameSite=Lax` keeps them back from most of that;
//! here the rest is: only requests of our own pages count, and of those that the browser names nobody for only such as
//! change nothing. Anything else is as if there were no cookie.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
    web,
};
use url::Url;

use crate::address::TrustedProxies;

/// The names of the cookies of one kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCookies {
    /// Holds the access token.
    pub access: &'static str,
    /// Holds the refresh token; for auth-service only.
    pub refresh: &'static str,
    /// Whether they are sent over TLS only.
    pub secure: bool,
}

impl SessionCookies {
    /// Over TLS. Browsers see to it that nobody but this very host can set cookies of such names.
    pub const SECURE: Self = Self {
        access: "__Host-access",
        refresh: "__Host-refresh",
        secure: true,
    };

    /// Without TLS, where such names do not exist.
    pub const PLAIN: Self = Self {
        access: "flowgateAccess",
        refresh: "flowgateRefresh",
        secure: false,
    };

    /// Those of a service that sets them `Secure`, or not.
    pub const fn new(secure: bool) -> Self {
        if secure { Self::SECURE } else { Self::PLAIN }
    }

    /// The access token in the browser's cookie, when the request comes from a page of ours.
    ///
    /// Where the browser speaks TLS, a cookie without the prefix is nobody's: a sibling host could have set it.
    pub fn access_token(request: &HttpRequest) -> Option<String> {
        if !is_from_own_page(request) {
            return None;
        }
        let plain = || {
            let is_tls = own_origin(request).is_some_and(|origin| origin.starts_with("https:"));
            if is_tls {
                None
            } else {
                Self::PLAIN.access_of(request)
            }
        };
        Self::SECURE.access_of(request).or_else(plain)
    }

    /// The access token in the cookie, wherever the request comes from.
    pub fn access_of(self, request: &HttpRequest) -> Option<String> {
        value_of(request, self.access)
    }

    /// The refresh token in the cookie, wherever the request comes from.
    pub fn refresh_of(self, request: &HttpRequest) -> Option<String> {
        value_of(request, self.refresh)
    }
}

fn value_of(request: &HttpRequest, name: &str) -> Option<String> {
    let cookie = request.cookie(name)?;
    (!cookie.value().is_empty()).then(|| cookie.value().to_owned())
}

/// Whether a page of ours sends this request, or a person who typed its address.
///
/// Browsers say where a request comes from in `Sec-Fetch-Site`, over TLS and to this machine. Elsewhere `Origin` has to do,
/// which is sent with everything that may change something.
pub fn is_from_own_page(request: &HttpRequest) -> bool {
    let may_read_only = request.method().is_safe();
    let text = |name: &HeaderName| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    match text(&HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin") => true,
        Some("none") => may_read_only,
        Some(_) => false,
        None => match text(&header::ORIGIN) {
            Some(origin) => own_origin(request).as_deref() == Some(origin),
            None => may_read_only,
        },
    }
}

/// Where the client sees us, such as `https://chat.example`: what it asked for, or what a proxy we trust says that it did.
pub fn own_origin(request: &HttpRequest) -> Option<String> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let trusted = request.app_data::<web::Data<TrustedProxies>>();
    let is_trusted = matches!((peer, trusted), (Some(peer), Some(trusted)) if trusted.contains(peer));
    let text = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    // The nearest proxy writes last.
    let forwarded = |name: &'static str| {
        let value = text(&HeaderName::from_static(name)).filter(|_| is_trusted)?;
        let nearest = value.rsplit(',').next().map(str::trim);
        nearest.filter(|value| !value.is_empty())
    };
    let scheme = forwarded("x-forwarded-proto").unwrap_or("http");
    let host = forwarded("x-forwarded-host").or_else(|| text(&header::HOST))?;
    let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
    let is_bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (is_bare && matches!(url.scheme(), "http" | "https")).then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use actix_web::{http::Method, test::TestRequest};

    use super::*;

    fn request(method: Method, headers: &[(&'static str, &'static str)]) -> HttpRequest {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut request = TestRequest::with_uri("/")
            .method(method)
            .app_data(web::Data::new(trusted))
            .peer_addr("10.1.2.3:4".parse().unwrap())
            .insert_header(("host", "inside:3000"))
            .insert_header(("x-forwarded-proto", "https"))
            .insert_header(("x-forwarded-host", "chat.example"));
        for header in headers {
            request = request.insert_header(*header);
        }
        request.to_http_request()
    }

    #[test]
    fn only_our_pages_and_those_who_type_are_believed() {
        let own = |method: Method, headers: &[(&'static str, &'static str)]| {
            is_from_own_page(&request(method, headers))
        };
        for (get, post, headers) in [
            (true, true, &[("sec-fetch-site", "same-origin")][..]),
            (true, false, &[("sec-fetch-site", "none")]),
            (false, false, &[("sec-fetch-site", "same-site")]),
            (false, false, &[("sec-fetch-site", "cross-site")]),
            (false, false, &[("sec-fetch-site", "rubbish")]),
            (false, false, &[("sec-fetch-site", "")]),
            (
                false,
                false,
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://chat.example"),
                ],
            ),
            (true, false, &[]),
            (true, true, &[("origin", "https://chat.example")]),
            (false, false, &[("origin", "http://chat.example")]),
            (false, false, &[("origin", "https://evil.example")]),
            (false, false, &[("origin", "null")]),
            (false, false, &[("origin", "")]),
        ] {
            assert_eq!(own(Method::GET, headers), get, "GET {headers:?}");
            assert_eq!(own(Method::POST, headers), post, "POST {headers:?}");
        }
    }

    #[test]
    fn over_tls_a_cookie_that_a_sibling_may_have_set_is_none() {
        let access = |headers: &[(&'static str, &'static str)]| {
            SessionCookies::access_token(&request(Method::GET, headers))
        };
        assert_eq!(access(&[("cookie", "flowgateAccess=t")]), None);
        assert_eq!(access(&[("cookie", "__Host-access=t")]).as_deref(), Some("t"));
        assert_eq!(
            access(&[("cookie", "flowgateAccess=t"), ("x-forwarded-proto", "http")]).as_deref(),
            Some("t")
        );
        assert_eq!(
            access(&[("cookie", "flowgateAccess=t; __Host-access=u")]).as_deref(),
            Some("u")
        );
        assert_eq!(access(&[("cookie", "__Host-access=")]), None);
        assert_eq!(
            access(&[("cookie", "__Host-access=t"), ("sec-fetch-site", "cross-site")]),
            None
        );
    }

    #[test]
    fn no_header_makes_an_origin_of_something_else() {
        for host in [
            "evil.example/path",
            "a b",
            "user@evil.example",
            "evil.example#",
            "x?y",
        ] {
            let request = TestRequest::with_uri("/")
                .insert_header(("host", host))
                .to_http_request();
            assert_eq!(own_origin(&request), None, "{host}");
        }
    }
}
