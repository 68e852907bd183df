//! The cookies that browsers keep the tokens in.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
};

use crate::config::Config;

/// The access token, for every path.
pub(crate) const ACCESS_COOKIE: &str = "accessToken";

/// The refresh token, for the routes that take one. The documented service sent it to `/api/auth/refresh` only, so
/// that browsers could never sign out.
pub(crate) const REFRESH_COOKIE: &str = "refreshToken";
const REFRESH_PATH: &str = "/api/auth";

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

/// The refresh token a browser sent along.
pub(crate) fn refresh_token_of(request: &HttpRequest) -> Option<String> {
    let cookie = request.cookie(REFRESH_COOKIE)?;
    let token = cookie.value().trim();
    (!token.is_empty()).then(|| token.to_owned())
}
