//! The other services, asked for a page: with the person's own token, for a short time, and never more than a page needs.

use std::time::Duration;

use bytes::BytesMut;
use common_http::{CurrentUser, RequestContext};
use futures_util::StreamExt as _;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
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
        let url = self.address(neighbour, path).ok_or(Away)?;
        let request = self.http.get(url).bearer_auth(user.access_token.expose_secret());
        let read = async {
            let response = RequestContext::current()
                .propagate(request)
                .send()
                .await?
                .error_for_status()?;
            let mut pieces = response.bytes_stream();
            let mut body = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                body.extend_from_slice(&piece?);
                if body.len() > ANSWER_BYTES_MAX {
                    break;
                }
            }
            Ok::<_, reqwest::Error>(body)
        };
        let body = read.await.map_err(|error| {
            tracing::warn!(?neighbour, path, error = %error.without_url(), "a page goes without another service");
            Away
        })?;
        serde_json::from_slice(&body).map_err(|error| {
            tracing::warn!(?neighbour, path, %error, "another service's answer could not be read");
            Away
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
