//! Who asks: what a request says about the visitor's session, their browser, and where it comes from.

use std::net::IpAddr;

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderName},
    web,
};
use chrono::TimeDelta;
use common_http::{Caller, ClientAddress, Problem};
use futures_util::future::LocalBoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    domain::{
        origin::Origin,
        visitor::{CameFrom, Entry, Told, Visitor},
    },
    error::{Error, Result},
    limits,
    service::widget::{
        protection::{Protection, Speaker},
        visits::{Credentials, Visits},
    },
};

/// Characters of what a browser says of itself.
const USER_AGENT_CHARS_MAX: usize = 500;

/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 16;

/// What the door has to know.
#[derive(Clone, Debug)]
pub(crate) struct DoorRules {
    /// The cookie of sessions.
    pub(crate) cookie_name: String,
    /// Where the operator says that we are.
    pub(crate) public: Option<Origin>,
}

/// Whoever asks, within the limits of visitors.
pub(super) struct Door {
    pub(super) credentials: Credentials,
    pub(super) from: CameFrom,
    /// The page that asks, where the browser tells.
    pub(super) page: Option<Url>,
    pub(super) address: IpAddr,
    pub(super) user_agent: Option<String>,
    pub(super) language: Option<String>,
    /// A hash of what the browser says of itself.
    pub(super) fingerprint: String,
    /// Whether the browser talks to us over TLS, as far as we are told.
    is_secure: bool,
    cookie_name: String,
    protection: web::Data<Protection>,
}

impl Door {
    /// Lets a message in, within the limits of the visitor's session and of their embed.
    pub(super) async fn admit(&self, visits: &Visits, visitor: &Visitor, text: &str) -> Result<()> {
        let embed = visits.embed_of(visitor).await?;
        let speaker = Speaker {
            address: self.address,
            user_agent: self.user_agent.as_deref(),
            session_id: &visitor.session_id,
            since: visitor.created_at,
            messages: u64::try_from(visitor.message_count).unwrap_or_default(),
            browser_changed: visitor.fingerprint != self.fingerprint,
            // The site of a page within a page is known by its session only.
            site: match &visitor.entry {
                Entry::Page { parent: Some(site) } => Some(site.host()),
                Entry::Page { parent: None } | Entry::Site(_) | Entry::App => None,
            },
            embed_id: &embed.id,
            limits: embed.limits,
        };
        limits::of_visitor(self.protection.of_message(&speaker, text).await)
    }

    /// Counts a session that was begun.
    pub(super) async fn note_session(&self) {
        self.protection.note_session(self.address).await;
    }

    /// Lets a request in, within the limits of its address and of the site that it says it comes from.
    async fn enter(self) -> Result<Self> {
        let site = match &self.from {
            CameFrom::Site(origin) => Some(origin.host()),
            CameFrom::Ourselves | CameFrom::Hidden | CameFrom::Nowhere => None,
        };
        limits::of_visitor(self.protection.of_request(self.address, site).await)?;
        Ok(self)
    }

    /// The cookie of a session. A frame within another site's page gets it back only with `SameSite=None`, which browsers
    /// take over TLS only, and with `Partitioned` it is of no use on any other site.
    pub(super) fn cookie(&self, secret: &SecretString, life: TimeDelta) -> String {
        let attributes = self.cookie_attributes();
        let secs = life.num_seconds();
        format!(
            "{}={}; Path=/; Max-Age={secs}; {attributes}",
            self.cookie_name,
            secret.expose_secret()
        )
    }

    /// The cookie that takes it away.
    pub(super) fn no_cookie(&self) -> String {
        format!(
            "{}=; Path=/; Max-Age=0; {}",
            self.cookie_name,
            self.cookie_attributes()
        )
    }

    fn cookie_attributes(&self) -> &'static str {
        if self.is_secure {
            "HttpOnly; Secure; SameSite=None; Partitioned"
        } else {
            "HttpOnly; SameSite=Lax"
        }
    }

    fn of(request: &HttpRequest) -> Result<Self> {
        let rules = request
            .app_data::<web::Data<DoorRules>>()
            .ok_or(Error::VisitorUnknown)?;
        let protection = request.app_data::<web::Data<Protection>>();
        let text = |name: HeaderName| {
            let mut values = request.headers().get_all(name);
            // Two of them are none: nobody knows which of them is meant.
            let first = values.next()?;
            values.next().is_none().then(|| first.to_str().ok()).flatten()
        };
        let cookie = request.cookie(&rules.cookie_name);
        // The cookie of somebody who is signed in to our own pages says nothing here: they may try a widget, too.
        let shows_token = request.headers().contains_key(header::AUTHORIZATION);
        if shows_token && request.extensions().get::<Caller>().is_some() {
            let is_visitor_too = cookie.is_some();
            return Err(if is_visitor_too {
                Error::AmbiguousCredentials
            } else {
                Error::VisitorsOnly
            });
        }
        if request.headers().get_all(header::AUTHORIZATION).count() > 1 {
            return Err(Error::AmbiguousCredentials);
        }
        let token = text(header::AUTHORIZATION).and_then(bearer);
        let told = Told {
            // What cannot be read is a page that hides.
            origin: request
                .headers()
                .contains_key(header::ORIGIN)
                .then(|| text(header::ORIGIN).unwrap_or_default()),
            fetch_site: text(HeaderName::from_static("sec-fetch-site")),
            referer: text(header::REFERER),
            host: text(header::HOST),
            public: rules.public.as_ref(),
        };
        let page = told.page();
        let is_https = |url: &str| url.starts_with("https://");
        let is_secure = match (&rules.public, told.came_from()) {
            (Some(public), _) => is_https(public.as_str()),
            // A page of ours has our own scheme.
            (None, CameFrom::Ourselves) => told
                .origin
                .or(page.as_ref().map(Url::as_str))
                .is_some_and(is_https),
            (None, CameFrom::Site(_) | CameFrom::Hidden | CameFrom::Nowhere) => false,
        };
        let user_agent = text(header::USER_AGENT);
        let language = text(header::ACCEPT_LANGUAGE);
        let said = format!(
            "{}\n{}",
            user_agent.unwrap_or_default(),
            language.unwrap_or_default()
        );
        let mut fingerprint = hex::encode(Sha256::digest(said.as_bytes()));
        fingerprint.truncate(FINGERPRINT_DIGITS);
        Ok(Self {
            credentials: Credentials {
                cookie: cookie.map(|cookie| SecretString::from(cookie.value())),
                token: token.map(SecretString::from),
            },
            from: told.came_from(),
            page,
            address: ClientAddress::of(request).0,
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_CHARS_MAX).collect()),
            language: language.and_then(first_language),
            fingerprint,
            is_secure,
            cookie_name: rules.cookie_name.clone(),
            protection: protection.cloned().ok_or(Error::VisitorUnknown)?,
        })
    }
}

impl FromRequest for Door {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let door = Self::of(request);
        Box::pin(async move {
            let entered = async { door?.enter().await };
            entered.await.map_err(|error| error.problem())
        })
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The language a visitor wants most.
fn first_language(accepted: &str) -> Option<String> {
    let first = accepted.split([',', ';']).next()?.trim();
    let is_language = (2..=20).contains(&first.len())
        && first
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_language.then(|| first.to_owned())
}
