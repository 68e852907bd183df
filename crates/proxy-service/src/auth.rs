//! A client of auth-service: what people ask it through us, and who a person is.

use std::{net::IpAddr, time::Duration};

use common_http::{Caller, Clock, CurrentUser, RequestContext, ServiceTokens};
use common_jwt::Role;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    domain::person::{Email, KnownPerson},
    error::{Error, Result},
    upstream::{Failure, read_json},
};

const AUDIENCE: &str = "auth-service";

/// The documented limit.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No answer of auth-service that we read is near this.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// People on one page of everybody: as many as auth-service gives at once.
const LIST_PAGE: &str = "200";

/// A page of those, with room for long names.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// When auth-service says 429 without saying until when.
const RETRY_AFTER_SECS: u64 = 60;

/// Speaks to auth-service.
#[derive(Clone, Debug)]
pub(crate) struct AuthClient {
    http: reqwest::Client,
    base: Url,
    tokens: ServiceTokens,
    clock: Clock,
}

/// Who asks, as far as auth-service wants to know: the device goes into the list of sessions, the address into limits.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Where the request came from.
    pub(crate) address: IpAddr,
    /// What the browser calls itself.
    pub(crate) user_agent: Option<header::HeaderValue>,
}

/// A pair of tokens, and what came with it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignedIn {
    /// For each request.
    pub(crate) access_token: SecretString,
    /// For the next pair.
    pub(crate) refresh_token: SecretString,
    /// The person, at login.
    #[serde(default)]
    pub(crate) user: Value,
    /// A sentence for people.
    pub(crate) message: Option<String>,
}

/// What somebody signs in with.
#[derive(Debug)]
pub(crate) struct SignInWith<'a> {
    /// A name or an address.
    pub(crate) username: &'a str,
    /// The password.
    pub(crate) password: &'a SecretString,
    /// A code of their authenticator app, where they know that one is needed.
    pub(crate) totp_code: Option<&'a SecretString>,
    /// A recovery code in its place.
    pub(crate) recovery_code: Option<&'a SecretString>,
}

/// What auth-service answers to a right password.
#[derive(Deserialize)]
#[serde(untagged)]
enum LoggedIn {
    SignedIn(SignedIn),
    #[serde(rename_all = "camelCase")]
    SecondFactorNeeded {
        pending_token: SecretString,
        expires_in: i64,
    },
}

#[derive(Deserialize)]
struct FoundUser {
    user: UserBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserBody {
    #[serde(rename = "_id")]
    id: String,
    username: String,
    email: String,
    role: Option<String>,
    #[serde(default)]
    is_verified: bool,
    /// Whether no admin has shut the account; older versions do not say.
    #[serde(default = "yes")]
    is_active: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserPage {
    users: Vec<UserBody>,
    next_cursor: Option<String>,
}

/// A page of everybody auth-service knows.
#[derive(Debug)]
pub(crate) struct KnownPage {
    /// The people on it.
    pub(crate) people: Vec<KnownPerson>,
    /// Where the next page begins; `None` when this was the last.
    pub(crate) next: Option<String>,
}

/// What every error body of auth-service has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    error: String,
}

impl AuthClient {
    /// A client of the service at `base`.
    pub(crate) fn new(http: reqwest::Client, base: Url, tokens: ServiceTokens, clock: Clock) -> Self {
        Self {
            http,
            base,
            tokens,
            clock,
        }
    }

    /// Signs a person in.
    pub(crate) async fn login(&self, with: &SignInWith<'_>, origin: &Origin) -> Result<SignedIn> {
        let mut body = json!({ "username": with.username, "password": with.password.expose_secret() });
        for (member, code) in [("totpCode", with.totp_code), ("recoveryCode", with.recovery_code)] {
            if let Some(code) = code {
                body[member] = code.expose_secret().into();
            }
        }
        let request = self.http.post(self.url(&["auth", "login"])).json(&body);
        let response = send(from(request, origin)).await?;
        match response.status() {
            StatusCode::OK => match read(response).await? {
                LoggedIn::SignedIn(signed_in) => Ok(signed_in),
                LoggedIn::SecondFactorNeeded {
                    pending_token,
                    expires_in,
                } => Err(Error::TotpRequired {
                    pending_token,
                    expires_in_secs: expires_in,
                }),
            },
            StatusCode::UNAUTHORIZED => Err(match refusal(response).await {
                Refusal { code, .. } if code == "invalid_second_factor" => Error::InvalidSecondFactor,
                Refusal { code, error } if code == "email_not_verified" || error == "Email not verified" => {
                    Error::EmailNotVerified
                }
                Refusal { .. } => Error::InvalidCredentials,
            }),
            StatusCode::BAD_REQUEST => Err(Error::invalid("username", refusal(response).await.error)),
            StatusCode::FORBIDDEN => Err(match refusal(response).await.code.as_str() {
                "sign_in_closed" => Error::SignInClosed,
                "password_sign_in_closed" => Error::PasswordSignInClosed,
                "approval_pending" => Error::ApprovalPending,
                _ => Error::Forbidden,
            }),
            _ => Err(refused(&response)),
        }
    }

    /// Exchanges a refresh token for the next pair.
    pub(crate) async fn refresh(&self, refresh_token: &SecretString, origin: &Origin) -> Result<SignedIn> {
        let body = json!({ "refreshToken": refresh_token.expose_secret() });
        let request = self.http.post(self.url(&["auth", "refresh"])).json(&body);
        let response = send(from(request, origin)).await?;
        match response.status() {
            StatusCode::OK => read(response).await,
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => Err(Error::InvalidRefreshToken),
            _ => Err(refused(&response)),
        }
    }

    /// Ends the session of a refresh token, or of the caller when there is none. A token that is not known any more is
    /// no error: its session has ended.
    pub(crate) async fn logout(
        &self,
        user: &CurrentUser,
        refresh_token: Option<&SecretString>,
        origin: &Origin,
    ) -> Result<()> {
        let body = match refresh_token {
            Some(token) => json!({ "refreshToken": token.expose_secret() }),
            None => json!({}),
        };
        self.end(user, &["auth", "logout"], &body, origin).await
    }

    /// Ends every session of the caller.
    pub(crate) async fn logout_all(&self, user: &CurrentUser, origin: &Origin) -> Result<()> {
        self.end(user, &["auth", "logout-all"], &json!({}), origin).await
    }

    async fn end(&self, user: &CurrentUser, path: &[&str], body: &Value, origin: &Origin) -> Result<()> {
        let request = from(self.http.post(self.url(path)).json(body), origin);
        let response = send(request.bearer_auth(user.access_token.expose_secret())).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            _ => Err(refused(&response)),
        }
    }

    /// The person with this address, looked up with the administrator's own rights, or with ours when a service asks.
    pub(crate) async fn find_by_email(&self, admin: &Caller, email: &Email) -> Result<Option<KnownPerson>> {
        let url = self.url(&["admin", "users", "by-email", email.as_str()]);
        self.find(admin, url).await
    }

    /// The person with this id, looked up likewise.
    pub(crate) async fn find_by_id(&self, admin: &Caller, id: &str) -> Result<Option<KnownPerson>> {
        self.find(admin, self.url(&["admin", "users", id])).await
    }

    async fn find(&self, admin: &Caller, url: Url) -> Result<Option<KnownPerson>> {
        let request = self.authorized(self.http.get(url), admin)?;
        let response = send(request).await?;
        match response.status() {
            StatusCode::OK => read(response)
                .await
                .map(|found: FoundUser| Some(found.user.into())),
            StatusCode::NOT_FOUND if refusal_is_ours(&response) => Ok(None),
            _ => Err(refused(&response)),
        }
    }

    /// A page of everybody, or of everybody with this role, from the oldest account on.
    pub(crate) async fn list(
        &self,
        admin: &Caller,
        role: Option<Role>,
        after: Option<&str>,
    ) -> Result<KnownPage> {
        let mut url = self.url(&["admin", "users"]);
        url.query_pairs_mut().append_pair("limit", LIST_PAGE);
        if let Some(role) = role {
            url.query_pairs_mut().append_pair("role", role.as_str());
        }
        if let Some(after) = after {
            url.query_pairs_mut().append_pair("cursor", after);
        }
        let response = send(self.authorized(self.http.get(url), admin)?).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        let page: UserPage = read_json(response, PAGE_BYTES_MAX)
            .await
            .map_err(Error::AuthUnavailable)?;
        Ok(KnownPage {
            people: page.users.into_iter().map(KnownPerson::from).collect(),
            next: page.next_cursor,
        })
    }

    fn authorized(&self, request: RequestBuilder, admin: &Caller) -> Result<RequestBuilder> {
        Ok(match admin {
            Caller::User(user) => request.bearer_auth(user.access_token.expose_secret()),
            Caller::Service(_) => {
                let token = self.tokens.token(AUDIENCE, self.clock.now());
                request.bearer_auth(token.map_err(|error| Error::AuthUnavailable(error.into()))?)
            }
        })
    }

    /// The address of `/api/<path>`, every segment percent-encoded.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        url
    }
}

impl From<UserBody> for KnownPerson {
    fn from(user: UserBody) -> Self {
        Self {
            external_id: user.id,
            username: user.username,
            email: user.email.trim().to_lowercase(),
            role: user.role.unwrap_or_else(|| "user".to_owned()),
            is_active: user.is_verified && user.is_active,
        }
    }
}

/// Says for whom we call; auth-service believes it where we are among its `TRUSTED_PROXIES`.
fn from(request: RequestBuilder, origin: &Origin) -> RequestBuilder {
    let request = request.header("x-forwarded-for", origin.address.to_string());
    match &origin.user_agent {
        Some(user_agent) => request.header(header::USER_AGENT, user_agent),
        None => request,
    }
}

async fn send(request: RequestBuilder) -> Result<Response> {
    let request = RequestContext::current().propagate(request.timeout(TIMEOUT));
    request
        .send()
        .await
        .map_err(|error| Error::AuthUnavailable(error.into()))
}

async fn read<T: serde::de::DeserializeOwned>(response: Response) -> Result<T> {
    read_json(response, ANSWER_BYTES_MAX)
        .await
        .map_err(Error::AuthUnavailable)
}

/// What a refusal says; nothing when it is not one of auth-service's own.
async fn refusal(response: Response) -> Refusal {
    read_json(response, ANSWER_BYTES_MAX).await.unwrap_or_default()
}

/// Whether a 404 comes from auth-service, not from something else that listens at its address.
fn refusal_is_ours(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.to_str().is_ok_and(|text| text.contains("json")))
}

/// The refusals that mean the same on every route.
fn refused(response: &Response) -> Error {
    match response.status() {
        StatusCode::UNAUTHORIZED => Error::TokenRefused,
        StatusCode::FORBIDDEN => Error::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => {
            let header = response.headers().get(header::RETRY_AFTER);
            let secs = header.and_then(|value| value.to_str().ok()?.parse().ok());
            Error::TooManyAttempts {
                retry_after_secs: secs.unwrap_or(RETRY_AFTER_SECS),
            }
        }
        status => Error::AuthUnavailable(Failure::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_stays_one_segment_of_the_path() {
        let client = AuthClient::new(
            crate::upstream::client().unwrap(),
            "http://auth.example:3000/base/".parse().unwrap(),
            ServiceTokens::new("proxy-service", &"unused".into()),
            Clock::System,
        );
        let path = |email: &str| client.url(&["admin", "users", "by-email", email]).to_string();
        assert_eq!(
            path("ada+x@example.com"),
            "http://auth.example:3000/base/api/admin/users/by-email/ada+x@example.com"
        );
        assert!(path("a/../b?c#d%@example.com").ends_with("/by-email/a%2F..%2Fb%3Fc%23d%25@example.com"));
    }
}
