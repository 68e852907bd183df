//! What a site's tag asks of the widget, and where the widget is: read from the request, believed as little as that.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
    web,
};
use common_http::TrustedProxies;
use url::Url;

use crate::domain::origin::Origin;

/// No text of a tag is longer.
const TEXT_CHARS_MAX: usize = 500;

/// Where pages of the widget are.
const PAGES: &str = "/widget/";

/// The options of `embed.js` that the page behind it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) embed: Option<String>,
    pub(super) theme: Option<String>,
    pub(super) position: Option<String>,
    pub(super) title: Option<String>,
    pub(super) placeholder: Option<String>,
    pub(super) welcome_message: Option<String>,
    pub(super) language: Option<String>,
    pub(super) dir: Option<String>,
    /// The page around ours, as ours says.
    pub(super) parent: Option<String>,
}

impl Options {
    /// Those of a request: its own query's, else those of the page that it comes from. The old page never reads its own
    /// options, but its requests carry its address.
    pub(super) fn of(request: &HttpRequest, own: Option<&Origin>) -> Self {
        let options = Self::read(request.query_string());
        if options != Self::default() {
            return options;
        }
        let referer = referer(request).filter(|referer| referer.path().starts_with(PAGES));
        let from_us = |referer: &Url| Origin::of(referer).is_ok_and(|origin| Some(&origin) == own);
        referer
            .filter(from_us)
            .and_then(|referer| referer.query().map(Self::read))
            .unwrap_or_default()
    }

    fn read(query: &str) -> Self {
        let mut options = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "embed" | "embedId" | "embed_id" => &mut options.embed,
                "theme" => &mut options.theme,
                "position" => &mut options.position,
                "title" => &mut options.title,
                "placeholder" => &mut options.placeholder,
                "welcomeMessage" => &mut options.welcome_message,
                "language" => &mut options.language,
                "dir" => &mut options.dir,
                "parent" => &mut options.parent,
                _ => continue,
            };
            let text: String = value
                .chars()
                .filter(|character| !character.is_control())
                .take(TEXT_CHARS_MAX)
                .collect();
            if place.is_none() && !text.trim().is_empty() {
                *place = Some(text);
            }
        }
        options
    }
}

/// The address of the page a request comes from, where the browser tells.
pub(super) fn referer(request: &HttpRequest) -> Option<Url> {
    text(request, &header::REFERER)?.parse().ok()
}

/// Where the request's client sees us: what the operator set, else what the client asked for. A forged host name changes
/// only the answer of whoever forges it, and no cache keeps it.
pub(super) fn public_origin(request: &HttpRequest, set: Option<&Url>) -> Option<Origin> {
    if let Some(origin) = set.and_then(|url| Origin::of(url).ok()) {
        return Some(origin);
    }
    let peer = request.peer_addr().map(|peer| peer.ip());
    let trusted = request.app_data::<web::Data<TrustedProxies>>();
    let is_trusted = matches!((peer, trusted), (Some(peer), Some(trusted)) if trusted.contains(peer));
    // The nearest proxy writes last.
    let forwarded = |name: &'static str| {
        let value = text(request, &HeaderName::from_static(name)).filter(|_| is_trusted)?;
        value
            .rsplit(',')
            .next()
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    let scheme = forwarded("x-forwarded-proto").unwrap_or("http");
    let host = forwarded("x-forwarded-host").or_else(|| text(request, &header::HOST))?;
    Origin::parse(&format!("{scheme}://{host}")).ok()
}

pub(super) fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(headers: &[(&'static str, &'static str)], uri: &str) -> HttpRequest {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let peer = headers
            .iter()
            .find(|(name, _)| *name == "peer")
            .map_or("203.0.113.9:1", |(_, peer)| peer);
        let mut request = TestRequest::with_uri(uri)
            .app_data(web::Data::new(trusted))
            .peer_addr(peer.parse().unwrap());
        for header in headers.iter().filter(|(name, _)| *name != "peer") {
            request = request.insert_header(*header);
        }
        request.to_http_request()
    }

    fn seen(headers: &[(&'static str, &'static str)], set: Option<&str>) -> Option<String> {
        let set = set.map(|url| url.parse().unwrap());
        public_origin(&request(headers, "/"), set.as_ref()).map(|origin| origin.to_string())
    }

    #[test]
    fn our_address_is_what_the_operator_says_or_the_client_sees() {
        let host = ("host", "chat.example:8000");
        let forwarded = [
            host,
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "chat.example"),
        ];
        let trusted = [forwarded[0], forwarded[1], forwarded[2], ("peer", "10.1.2.3:4")];
        assert_eq!(seen(&[host], None).unwrap(), "http://chat.example:8000");
        assert_eq!(
            seen(&forwarded, None).unwrap(),
            "http://chat.example:8000",
            "a stranger is not believed"
        );
        assert_eq!(seen(&trusted, None).unwrap(), "https://chat.example");
        assert_eq!(
            seen(&trusted, Some("https://set.example/base")).unwrap(),
            "https://set.example"
        );
        assert_eq!(seen(&[], None), None);
        for host in ["evil.example/path", "a b", "user@evil.example", "evil.example#"] {
            assert_eq!(seen(&[("host", host)], None), None, "{host}");
        }
    }

    #[test]
    fn options_come_from_the_query_or_the_page_before() {
        let own = Origin::parse("http://chat.example").unwrap();
        let page =
            "http://chat.example/widget/modern-widget.html?embed=shop&title=Shop%20%3Cb%3E&theme=dark&x=y";
        let options = Options::of(
            &request(&[("referer", page)], "/widget/widget-config.json"),
            Some(&own),
        );
        assert_eq!(options.embed.as_deref(), Some("shop"));
        assert_eq!(options.title.as_deref(), Some("Shop <b>"));
        let options = Options::of(
            &request(&[("referer", page)], "/widget/widget-config.json?embed=two"),
            Some(&own),
        );
        assert_eq!(
            (options.embed.as_deref(), options.title),
            (Some("two"), None),
            "never mixed"
        );
        for foreign in [
            "http://evil.example/widget/modern-widget.html?embed=shop",
            "http://chat.example/elsewhere?embed=shop",
            "https://chat.example/widget/?embed=shop",
            "rubbish",
        ] {
            let options = Options::of(&request(&[("referer", foreign)], "/"), Some(&own));
            assert_eq!(options, Options::default(), "{foreign}");
        }
    }

    #[test]
    fn options_are_short_and_printable() {
        let query = format!(
            "title={}&placeholder=a%00b%0Ac&welcomeMessage=%20&dir=rtl&dir=ltr",
            "é".repeat(600)
        );
        let options = Options::read(&query);
        assert_eq!(options.title.unwrap().chars().count(), TEXT_CHARS_MAX);
        assert_eq!(options.placeholder.as_deref(), Some("abc"));
        assert_eq!(options.welcome_message, None);
        assert_eq!(options.dir.as_deref(), Some("rtl"), "the first counts");
    }
}
