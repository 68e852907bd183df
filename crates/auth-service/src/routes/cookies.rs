//! The cookies that browsers keep the tokens in.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    web,
};

use crate::{config::Config, domain::one_time::OneTime, service::federation::BROWSER_LIFE};

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

    /// Keeps what binds a sign-in at a provider to this browser. `Lax`: the browser comes back from another site.
    pub(crate) fn browser(&self, browser: &OneTime) -> Cookie<'static> {
        let name = if self.secure {
            BROWSER_COOKIE
        } else {
            BROWSER_COOKIE_WITHOUT_TLS
        };
        Cookie::build(name, browser.text().to_owned())
            .path("/")
            .max_age(Duration::seconds(BROWSER_LIFE.num_seconds()))
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .finish()
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
