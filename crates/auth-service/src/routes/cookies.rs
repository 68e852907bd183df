//! The cookies that browsers keep the tokens in: those of our own pages, and the older ones of clients that call the API.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    web,
};

use common_http::{SessionCookies, is_from_own_page};

use crate::{
    config::Config,
    domain::one_time::OneTime,
    service::{federation::BROWSER_LIFE, sessions::TokenPair},
};

/// The access token, for every path.
pub(crate) const ACCESS_COOKIE: &str = "accessToken";

/// The refresh token, for the routes that take one. The documented service sent it to `/api/auth/refresh` only, so
/// that browsers could never sign out.
pub(crate) const REFRESH_COOKIE: &str = "refreshToken";
const REFRESH_PATH: &str = "/api/auth";

/// What binds a sign-in at a provider to the browser it was begun in. Over TLS nobody but this very host can set it.
const BROWSER_COOKIE: &str = "__Host-oauth";
const BROWSER_COOKIE_WITHOUT_TLS: &str = "oauthBrowser";

/// How cookies are set.
#[derive(Clone, Debug)]
pub(crate) struct Cookies {
    secure: bool,
    access_life: Duration,
    refresh_life: Duration,
}

/// The refresh token of the session in a browser, taken from a page of ours.
pub(crate) fn own_refresh_token_of(request: &HttpRequest) -> Option<String> {
    let cookies = request.app_data::<web::Data<Cookies>>()?;
    is_from_own_page(request)
        .then(|| cookies.names().refresh_of(request))
        .flatten()
}

impl Cookies {
    /// As the configuration wants them.
    pub(crate) fn new(config: &Config) -> Self {
        let duration = |life: std::time::Duration| Duration::try_from(life).unwrap_or(Duration::ZERO);
        Self {
            secure: config.secure_cookies,
            access_life: duration(config.access_life),
            refresh_life: duration(config.refresh_life),
        }
    }

    /// Keeps an access token.
    pub(crate) fn access(&self, token: &str) -> Cookie<'static> {
        self.build(ACCESS_COOKIE, token, "/", self.access_life)
    }

    /// Keeps a refresh token.
    pub(crate) fn refresh(&self, token: &str) -> Cookie<'static> {
        self.build(REFRESH_COOKIE, token, REFRESH_PATH, self.refresh_life)
    }

    /// The names of the cookies of the session in a browser.
    pub(crate) fn names(&self) -> SessionCookies {
        SessionCookies::new(self.secure)
    }

    /// Keeps the session in a browser. The refresh token ends when nothing has continued it, or the session is too old.
    pub(crate) fn session(&self, pair: &TokenPair) -> [Cookie<'static>; 2] {
        let names = self.names();
        [
            self.lax(names.access, &pair.access, self.access_life),
            self.lax(names.refresh, &pair.refresh, self.refresh_life),
        ]
    }

    /// Forgets the session in a browser.
    pub(crate) fn no_session(&self) -> [Cookie<'static>; 2] {
        let names = self.names();
        [names.access, names.refresh].map(|name| self.lax(name, "", Duration::ZERO))
    }

    /// A cookie of our own pages. `Lax`: people come to them by links in mails and back from providers.
    pub(crate) fn lax(&self, name: &'static str, value: &str, life: Duration) -> Cookie<'static> {
        Cookie::build(name, value.to_owned())
            .path("/")
            .max_age(life)
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .finish()
    }

    /// Keeps what binds a sign-in at a provider to this browser. `Lax`: the browser comes back from another site.
    pub(crate) fn browser(&self, browser: &OneTime) -> Cookie<'static> {
        let name = if self.secure {
            BROWSER_COOKIE
        } else {
            BROWSER_COOKIE_WITHOUT_TLS
        };
        self.lax(
            name,
            browser.text(),
            Duration::seconds(BROWSER_LIFE.num_seconds()),
        )
    }

    /// Forgets both.
    pub(crate) fn cleared(&self) -> [Cookie<'static>; 2] {
        [
            self.build(ACCESS_COOKIE, "", "/", Duration::ZERO),
            self.build(REFRESH_COOKIE, "", REFRESH_PATH, Duration::ZERO),
        ]
    }

    fn build(&self, name: &'static str, value: &str, path: &'static str, life: Duration) -> Cookie<'static> {
        Cookie::build(name, value.to_owned())
            .path(path)
            .max_age(life)
            .http_only(true)
            .same_site(SameSite::Strict)
            .secure(self.secure)
            .finish()
    }
}

/// What binds this browser to its sign-ins at providers, if it is one of ours. A cookie that anybody on a sibling host
/// can set counts only where there is no TLS and so no other.
pub(crate) fn browser_of(request: &HttpRequest) -> Option<OneTime> {
    let is_secure = request
        .app_data::<web::Data<Cookies>>()
        .is_some_and(|cookies| cookies.secure);
    let name = if is_secure {
        BROWSER_COOKIE
    } else {
        BROWSER_COOKIE_WITHOUT_TLS
    };
    OneTime::parse(request.cookie(name)?.value())
}

/// The refresh token a browser sent along.
pub(crate) fn refresh_token_of(request: &HttpRequest) -> Option<String> {
    let cookie = request.cookie(REFRESH_COOKIE)?;
    let token = cookie.value().trim();
    (!token.is_empty()).then(|| token.to_owned())
}
