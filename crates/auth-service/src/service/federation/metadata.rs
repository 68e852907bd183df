//! What OpenID Connect issuers publish about themselves: where they are asked, and what they sign with. Kept for a
//! while, one entry a provider; read again early only when somebody signs with a key that we have not heard of, and
//! then once a minute at most.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Duration, Utc};
use common_http::Clock;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::{
    domain::{jwks::KeySet, provider::Provider},
    error::{FederationError, Result},
    service::outbound::Outbound,
};

/// How long what was read counts.
const KEPT_FOR: Duration = Duration::hours(1);

/// The least time between two looks for new keys at one issuer.
const LOOK_AGAIN_AFTER: Duration = Duration::minutes(1);

/// The least time between two tries where the last one failed.
const TRY_AGAIN_AFTER: Duration = Duration::seconds(5);

/// More providers than there may be.
const ENTRIES_MAX: usize = 200;

/// The metadata of all issuers.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    outbound: Outbound,
    entries: Arc<Mutex<HashMap<String, Arc<Mutex<Entry>>>>>,
    clock: Clock,
}

/// What is kept of one issuer. One request reads at a time; the others wait for it.
#[derive(Debug, Default)]
struct Entry {
    issuer: String,
    endpoints: Option<(Arc<Endpoints>, DateTime<Utc>)>,
    keys: Option<(Arc<KeySet>, DateTime<Utc>)>,
    failed_at: Option<DateTime<Utc>>,
}

/// Where a provider is asked, and how.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    /// Where people are sent.
    pub(crate) authorize: Url,
    /// Where codes are exchanged.
    pub(crate) token: Url,
    /// Where it is asked who somebody is.
    pub(crate) userinfo: Option<Url>,
    /// Its keys.
    jwks: Option<Url>,
    /// Whether our secret goes into the form, and not into a header.
    pub(crate) takes_secret_in_form: bool,
    /// Whether each of its answers says whose it is (RFC 9207).
    pub(crate) names_itself: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Nothing is known yet.
    pub(crate) fn new(outbound: Outbound, clock: Clock) -> Self {
        Self {
            outbound,
            entries: Arc::default(),
            clock,
        }
    }

    /// Where this provider is asked: as it was configured, or as its issuer says.
    pub(crate) async fn endpoints(&self, provider: &Provider) -> Result<Arc<Endpoints>> {
        if let (Some(authorize), Some(token)) = (&provider.authorize_url, &provider.token_url) {
            return Ok(Arc::new(Endpoints {
                authorize: authorize.clone(),
                token: token.clone(),
                userinfo: provider.userinfo_url.clone(),
                jwks: None,
                takes_secret_in_form: true,
                names_itself: false,
            }));
        }
        let entry = self.entry(provider).await;
        let mut entry = entry.lock().await;
        self.discover(provider, &mut entry).await
    }

    /// The keys of the issuer; read again with `anew`, unless that was done a moment ago.
    pub(crate) async fn keys(&self, provider: &Provider, anew: bool) -> Result<Arc<KeySet>> {
        let entry = self.entry(provider).await;
        let mut entry = entry.lock().await;
        let now = self.clock.now();
        if let Some((keys, read_at)) = &entry.keys {
            let counts_for = if anew { LOOK_AGAIN_AFTER } else { KEPT_FOR };
            if now < *read_at + counts_for {
                return Ok(Arc::clone(keys));
            }
        }
        let endpoints = self.discover(provider, &mut entry).await?;
        let url = endpoints
            .jwks
            .as_ref()
            .ok_or(FederationError::ProviderUnreachable)?;
        let document = self.ask(url, &mut entry).await?;
        let Some(keys) = KeySet::parse(document) else {
            return Err(self.unusable(provider, &mut entry));
        };
        let keys = Arc::new(keys);
        entry.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    async fn entry(&self, provider: &Provider) -> Arc<Mutex<Entry>> {
        let mut entries = self.entries.lock().await;
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&provider.id) {
            entries.clear();
        }
        let entry = Arc::clone(entries.entry(provider.id.clone()).or_default());
        drop(entries);
        let mut held = entry.lock().await;
        if held.issuer != provider.issuer {
            // An administrator pointed the provider elsewhere.
            *held = Entry {
                issuer: provider.issuer.clone(),
                ..Entry::default()
            };
        }
        drop(held);
        entry
    }

    async fn discover(&self, provider: &Provider, entry: &mut Entry) -> Result<Arc<Endpoints>> {
        let now = self.clock.now();
        if let Some((endpoints, read_at)) = &entry.endpoints
            && now < *read_at + KEPT_FOR
        {
            return Ok(Arc::clone(endpoints));
        }
        let address = format!(
            "{}/.well-known/openid-configuration",
            provider.issuer.trim_end_matches('/')
        );
        let url = Url::parse(&address).or(Err(FederationError::ProviderUnreachable))?;
        let document = self.ask(&url, entry).await?;
        let document: Option<Document> = serde_json::from_value(document).ok();
        // Whoever answers for another issuer could have us send its codes elsewhere.
        let Some(document) = document.filter(|document| document.issuer == provider.issuer) else {
            return Err(self.unusable(provider, entry));
        };
        let addresses = [
            &document.authorization_endpoint,
            &document.token_endpoint,
            &document.jwks_uri,
        ];
        if addresses
            .into_iter()
            .chain(&document.userinfo_endpoint)
            .any(|url| self.outbound.check(url).is_err())
        {
            return Err(self.unusable(provider, entry));
        }
        let methods = document.token_endpoint_auth_methods_supported;
        let endpoints = Arc::new(Endpoints {
            authorize: document.authorization_endpoint,
            token: document.token_endpoint,
            userinfo: document.userinfo_endpoint,
            jwks: Some(document.jwks_uri),
            takes_secret_in_form: methods
                .is_some_and(|methods| !methods.iter().any(|method| method == "client_secret_basic")),
            names_itself: document.authorization_response_iss_parameter_supported,
        });
        entry.endpoints = Some((Arc::clone(&endpoints), now));
        Ok(endpoints)
    }

    /// Asks, unless the last answer failed a moment ago.
    async fn ask(&self, url: &Url, entry: &mut Entry) -> Result<serde_json::Value> {
        let now = self.clock.now();
        if entry
            .failed_at
            .is_some_and(|failed_at| now < failed_at + TRY_AGAIN_AFTER)
        {
            return Err(FederationError::ProviderUnreachable.into());
        }
        match self.outbound.get(url, None).await {
            Ok(document) => {
                entry.failed_at = None;
                Ok(document)
            }
            Err(error) => {
                entry.failed_at = Some(now);
                tracing::warn!(error = ?error, issuer = entry.issuer, "an issuer's metadata could not be read");
                Err(FederationError::ProviderUnreachable.into())
            }
        }
    }

    fn unusable(&self, provider: &Provider, entry: &mut Entry) -> crate::error::Error {
        entry.failed_at = Some(self.clock.now());
        tracing::warn!(issuer = provider.issuer, "an issuer's metadata is not usable");
        FederationError::ProviderUnreachable.into()
    }
}
