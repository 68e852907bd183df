//! Requests to addresses that an administrator typed. They go to the public internet only, over TLS, follow nobody
//! elsewhere, and end: nobody is to reach what only this service can reach, or to keep it waiting.
//!
//! The name is resolved by us, at the moment of connecting, and the connection goes to one of the very addresses that
//! were looked at. So a name that first means one thing and then another gains nothing.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::{Host, Url};

use crate::domain::public_address::is_public;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// More than any document of keys, and any person.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long it may take to resolve a name when an address is typed in.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks providers.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    http: reqwest::Client,
    /// Whether addresses inside, and plain HTTP, are fine: development only.
    is_lenient: bool,
}

/// Why there is no answer. For logs only: what is inside a network is not told by errors either.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// An address that we do not go to.
    #[error("the address is refused: {0}")]
    Address(&'static str),
    /// Not reached in time, or broken off.
    #[error("no answer")]
    Away(#[source] reqwest::Error),
    /// It did not say yes; what it said, where it was JSON.
    #[error("it answered {status}")]
    Status {
        /// With what.
        status: StatusCode,
        /// The body.
        body: Value,
    },
    /// More than anybody could have to say.
    #[error("the answer is too long")]
    TooLong,
    /// Not JSON.
    #[error("the answer is not JSON")]
    NotJson,
}

/// Resolves names to public addresses only.
#[derive(Debug)]
struct PublicOnly {
    is_lenient: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_lenient = self.is_lenient;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<_> = found.collect();
            // One that is inside spoils all: no honest name has both.
            if !is_lenient && found.iter().any(|address| !is_public(address.ip())) {
                return Err("the name means an address that is not public".into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

impl Outbound {
    /// Asks the public internet, with `is_lenient` anybody; waits so long from the first byte to the last.
    pub(crate) fn new(is_lenient: bool, timeout: Duration) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(PublicOnly { is_lenient }))
            .no_proxy()
            .https_only(!is_lenient)
            .pool_max_idle_per_host(2)
            .user_agent("flowgate")
            .build()?;
        Ok(Self { http, is_lenient })
    }

    /// What is wrong with an address, as far as it can be seen.
    pub(crate) fn check(&self, url: &Url) -> Result<(), &'static str> {
        let is_fine = url.scheme() == "https" || (self.is_lenient && url.scheme() == "http");
        if !is_fine {
            return Err("must begin with https://");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must have neither a user name nor a fragment");
        }
        let address: Option<IpAddr> = match url.host() {
            None => return Err("must name a host"),
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) => None,
        };
        if !self.is_lenient && address.is_some_and(|address| !is_public(address)) {
            return Err("must be on the public internet");
        }
        Ok(())
    }

    /// The same, and where its name leads now. A name that leads nowhere yet is fine: each request looks again.
    pub(crate) async fn check_and_resolve(&self, url: &Url) -> Result<(), &'static str> {
        self.check(url)?;
        let Some(Host::Domain(name)) = url.host().filter(|_| !self.is_lenient) else {
            return Ok(());
        };
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 443))).await;
        let Ok(Ok(mut addresses)) = looked_up else {
            return Ok(());
        };
        if addresses.any(|address| !is_public(address.ip())) {
            return Err("must be on the public internet");
        }
        Ok(())
    }

    /// `GET url`, as JSON.
    pub(crate) async fn get(&self, url: &Url, token: Option<&SecretString>) -> Result<Value, Unanswered> {
        let mut request = self.http.get(url.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token.expose_secret());
        }
        self.send(url, request).await
    }

    /// `POST url` with a form, as JSON.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &SecretString)>,
    ) -> Result<Value, Unanswered> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = self
            .http
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some((id, secret)) = basic {
            // RFC 6749 section 2.3.1: both are encoded as in a form first.
            let encoded =
                |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
            request = request.basic_auth(encoded(id), Some(encoded(secret.expose_secret())));
        }
        self.send(url, request).await
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Value, Unanswered> {
        self.check(url).map_err(Unanswered::Address)?;
        let request = request.header("accept", "application/json");
        let response = request.send().await.map_err(away)?;
        let status = response.status();
        let bytes = read(response).await?;
        if status != StatusCode::OK {
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            return Err(Unanswered::Status { status, body });
        }
        serde_json::from_slice(&bytes).or(Err(Unanswered::NotJson))
    }
}

async fn read(mut response: Response) -> Result<BytesMut, Unanswered> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Unanswered::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn away(error: reqwest::Error) -> Unanswered {
    Unanswered::Away(error.without_url())
}
