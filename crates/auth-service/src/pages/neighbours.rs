//! The other services, asked for a page: with the person's own token, for a short time, and never more than a page needs.

use std::time::Duration;

use bytes::BytesMut;
use common_http::{CurrentUser, RequestContext};
use futures_util::StreamExt as _;
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{HeaderMap, LINK},
};
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
        let url = self.address(neighbour, path).ok_or(Away)?;
        let request = self.request(method, url, user, body);
        send(neighbour, path, request).await.map(|(answer, _)| answer)
    }

    /// The same for what must be done once, however often it is sent with this key.
    pub(super) async fn ask_once<T: DeserializeOwned>(
        &self,
        method: Method,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
        body: Option<&Value>,
        key: &str,
    ) -> Result<T, Refusal> {
        let url = self.address(neighbour, path).ok_or(Away)?;
        let request = self.request(method, url, user, body);
        let request = request.header("idempotency-key", key);
        send(neighbour, path, request).await.map(|(answer, _)| answer)
    }

    /// A page of a list that says in `Link` where it goes on; with the cursor of the next page.
    pub(super) async fn get_page<T: DeserializeOwned>(
        &self,
        neighbour: Neighbour,
        path: &str,
        user: &CurrentUser,
    ) -> Result<(T, Option<String>), Refusal> {
        let url = self.address(neighbour, path).ok_or(Away)?;
        let request = self.request(Method::GET, url, user, None);
        let (answer, headers) = send(neighbour, path, request).await?;
        Ok((answer, next_cursor(&headers)))
    }

    fn request(&self, method: Method, url: Url, user: &CurrentUser, body: Option<&Value>) -> RequestBuilder {
        let request = self.http.request(method, url);
        let request = request.bearer_auth(user.access_token.expose_secret());
        match body {
            Some(body) => request.json(body),
            None => request,
        }
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

async fn send<T: DeserializeOwned>(
    neighbour: Neighbour,
    path: &str,
    request: RequestBuilder,
) -> Result<(T, HeaderMap), Refusal> {
    let (status, headers, answer) = read(request).await.map_err(|error| {
        tracing::warn!(?neighbour, path, error = %error.without_url(), "a page goes without another service");
        Away
    })?;
    if !status.is_success() {
        return Err(refusal(status, &answer));
    }
    let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
    let answer = serde_json::from_slice(answer).map_err(|error| {
        tracing::warn!(?neighbour, path, %error, "another service's answer could not be read");
        Refusal::Away
    })?;
    Ok((answer, headers))
}

async fn read(request: RequestBuilder) -> reqwest::Result<(StatusCode, HeaderMap, BytesMut)> {
    let response = RequestContext::current().propagate(request).send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut pieces = response.bytes_stream();
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok((status, headers, body))
}

/// The cursor in `Link: <address>; rel="next"` (RFC 8288).
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    if !relation.contains("rel=\"next\"") {
        return None;
    }
    let (_, query) = address.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes())
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
    fn where_a_list_goes_on_stands_in_its_link() {
        let cursor = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            next_cursor(&headers)
        };
        assert_eq!(
            cursor("</api/v1/admin/groups?limit=2&cursor=a%2Bb>; rel=\"next\"").as_deref(),
            Some("a+b")
        );
        for none in [
            "",
            "<>",
            "</x?cursor=a>; rel=\"prev\"",
            "</x?limit=2>; rel=\"next\"",
            "/x?cursor=a",
        ] {
            assert_eq!(cursor(none), None, "{none}");
        }
        assert_eq!(next_cursor(&HeaderMap::new()), None);
    }
}
