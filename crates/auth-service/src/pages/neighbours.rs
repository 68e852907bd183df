//! The other services, asked for a page: with the person's own token, for a short time, and never more than a page needs.

use std::time::Duration;

use bytes::BytesMut;
use common_http::{CurrentUser, RequestContext};
use futures_util::StreamExt as _;
use reqwest::{Method, Response, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use crate::config::Config;

/// Somebody waits for the page.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What one answer may hold.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// actix closes connections that were idle for 5 s; one that is closing must not get a request.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// What one question may take, where it is more than a page usually waits for or reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Until the whole answer is there.
    pub(super) wait: Duration,
    /// What of the answer is read.
    pub(super) bytes: usize,
}

impl Allowance {
    /// What pages need, as a rule.
    pub(super) const USUAL: Self = Self {
        wait: TIMEOUT,
        bytes: ANSWER_BYTES_MAX,
    };
}

/// A page of a list, and the cursor of the one behind it.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<String>,
}

/// The services.
#[derive(Clone, Debug)]
pub(super) struct Neighbours {
    http: reqwest::Client,
    accounting: Option<Url>,
    proxy: Option<Url>,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// accounting-service.
    Accounting,
    /// proxy-service.
    Proxy,
}

/// It is away, or did not say what it should; the log says which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Away;

/// Why another service did not do what a page asked it to.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// It is away, or did not say what it should.
    Away,
    /// It said no, and why.
    Said(SaidNo),
}

/// The problem another service answered with.
#[derive(Clone, Debug)]
pub(super) struct SaidNo {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) detail: String,
    /// The member that is wrong and what is wrong with it, where it said so.
    pub(super) fields: Vec<(String, String)>,
}

/// What pages read of a problem.
#[derive(Deserialize)]
struct SaidProblem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<SaidField>,
}

#[derive(Deserialize)]
struct SaidField {
    field: String,
    message: String,
}

impl From<Away> for Refusal {
    fn from(Away: Away) -> Self {
        Self::Away
    }
}

impl Neighbours {
    /// Those at the configured addresses.
    pub(super) fn new(config: &Config) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            accounting: config.accounting_url.clone(),
            proxy: config.proxy_url.clone(),
        })
    }

    /// `GET path` as this person.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
    ) -> Result<T, Away> {
        let refused = match self.ask(Method::GET, neighbour, path, user, None).await {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        if let Refusal::Said(said) = refused {
            tracing::warn!(?neighbour, path, status = %said.status, code = said.code, "a page goes without another service");
        }
        Err(Away)
    }

    /// Sends a request as this person. An empty answer reads as `null`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
        body: Option<&Value>,
    ) -> Result<T, Refusal> {
        self.ask_within(Allowance::USUAL, method, neighbour, path, user, body)
            .await
    }

    /// Sends a request that may take longer, or whose answer may be longer.
    pub(super) async fn ask_within<T: DeserializeOwned>(
        &self,
        allowance: Allowance,
        method: Method,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
        body: Option<&Value>,
    ) -> Result<T, Refusal> {
        let request = self
            .request(method, neighbour, path, user, body)?
            .timeout(allowance.wait);
        let response = send(neighbour, path, request).await?;
        read(neighbour, path, response, allowance.bytes).await
    }

    /// Sends a request for what must be done once, however often it is sent with this key.
    pub(super) async fn ask_once<T: DeserializeOwned>(
        &self,
        method: Method,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
        body: Option<&Value>,
        key: &str,
    ) -> Result<T, Refusal> {
        let request = self.request(method, neighbour, path, user, body)?;
        let response = send(neighbour, path, request.header("idempotency-key", key)).await?;
        read(neighbour, path, response, ANSWER_BYTES_MAX).await
    }

    /// `GET path` of a list whose next page stands in `Link` (RFC 8288).
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
    ) -> Result<Rows<T>, Refusal> {
        let request = self.request(Method::GET, neighbour, path, user, None)?;
        let response = send(neighbour, path, request).await?;
        let link = response.headers().get(header::LINK);
        let next = link.and_then(|link| next_cursor(link.to_str().ok()?));
        let rows = read(neighbour, path, response, ANSWER_BYTES_MAX).await?;
        Ok(Rows { rows, next })
    }

    /// Has this person change something. Of the answer nobody needs more than that it was done, so a long one costs nothing.
    pub(super) async fn tell(
        &self,
        method: Method,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
        body: Option<&Value>,
    ) -> Result<(), Refusal> {
        let request = self.request(method, neighbour, path, user, body)?;
        send(neighbour, path, request).await.map(drop)
    }

    fn request(
        &self,
        method: Method,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
        body: Option<&Value>,
    ) -> Result<reqwest::RequestBuilder, Away> {
        let url = self.address(neighbour, path).ok_or(Away)?;
        let request = self
            .http
            .request(method, url)
            .bearer_auth(user.access_token.expose_secret());
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    /// Whether it is ready.
    pub(super) async fn is_ready(&self, neighbour: Neighbour) -> Option<bool> {
        let url = self.address(neighbour, "/readyz")?;
        let answer = self.http.get(url).send().await;
        Some(answer.is_ok_and(|answer| answer.status().is_success()))
    }

    fn address(&self, neighbour: Neighbour, path: &str) -> Option<Url> {
        let base = match neighbour {
            Neighbour::Accounting => self.accounting.as_ref(),
            Neighbour::Proxy => self.proxy.as_ref(),
        };
        base?.join(path).ok()
    }
}

/// An answer that says yes; a page has no use for the rest of it.
async fn send(
    neighbour: Neighbour,
    path: &str,
    request: reqwest::RequestBuilder,
) -> Result<Response, Refusal> {
    let sent = RequestContext::current().propagate(request).send().await;
    let response = sent.map_err(|error| away(neighbour, path, error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem = bytes_of(response, ANSWER_BYTES_MAX).await;
    let problem = problem.map_err(|error| away(neighbour, path, error))?;
    Err(refusal(status, &problem))
}

async fn read<T: DeserializeOwned>(
    neighbour: Neighbour,
    path: &str,
    response: Response,
    bytes_max: usize,
) -> Result<T, Refusal> {
    let answer = bytes_of(response, bytes_max).await;
    let answer = answer.map_err(|error| away(neighbour, path, error))?;
    let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
    serde_json::from_slice(answer).map_err(|error| {
        tracing::warn!(?neighbour, path, %error, "another service's answer could not be read");
        Refusal::Away
    })
}

fn away(neighbour: Neighbour, path: &str, error: reqwest::Error) -> Away {
    tracing::warn!(?neighbour, path, error = %error.without_url(), "a page goes without another service");
    Away
}

async fn bytes_of(response: Response, bytes_max: usize) -> reqwest::Result<BytesMut> {
    let mut pieces = response.bytes_stream();
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > bytes_max {
            break;
        }
    }
    Ok(body)
}

/// The cursor in `<address?cursor=...>; rel="next"`.
fn next_cursor(link: &str) -> Option<String> {
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    let (_, query) = address
        .split_once('?')
        .filter(|_| relation.contains("rel=\"next\""))?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(name, _)| name == "cursor")
        .map(|(_, cursor)| cursor.into_owned())
}

/// What is wrong on their side is as if they were away; what is wrong with what was asked can be said.
fn refusal(status: StatusCode, answer: &[u8]) -> Refusal {
    let problem = serde_json::from_slice::<SaidProblem>(answer);
    match problem {
        Ok(problem) if !status.is_server_error() => Refusal::Said(SaidNo {
            status,
            code: problem.code,
            detail: problem.detail,
            fields: problem
                .errors
                .into_iter()
                .map(|error| (error.field, error.message))
                .collect(),
        }),
        _ => {
            tracing::warn!(%status, "another service could not do what a page asked for");
            Refusal::Away
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_a_link() {
        let link = r#"</api/v1/admin/chatflows?limit=50&cursor=WyJhIl0%3D>; rel="next""#;
        assert_eq!(next_cursor(link).as_deref(), Some("WyJhIl0="));
        for other in [
            "",
            r#"</x?cursor=a>; rel="prev""#,
            r#"</x>; rel="next""#,
            r#"</x?limit=1>; rel="next""#,
        ] {
            assert_eq!(next_cursor(other), None, "{other}");
        }
    }
}
