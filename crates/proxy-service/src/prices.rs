//! A client of accounting-service for its table of prices: whether a model is in it.

use std::time::Duration;

use common_http::{Clock, RequestContext, ServiceTokens};
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use crate::{
    config::Config,
    error::{Error, Result},
    upstream::{Failure, read_json},
};

const AUDIENCE: &str = "accounting-service";

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Looks models up.
#[derive(Clone)]
pub(crate) struct PriceClient {
    http: reqwest::Client,
    base: Url,
    tokens: ServiceTokens,
    clock: Clock,
}

impl PriceClient {
    /// A client of the service that the configuration names.
    pub(crate) fn new(http: reqwest::Client, config: &Config, tokens: ServiceTokens) -> Self {
        Self {
            http,
            base: config.accounting_url.clone(),
            tokens,
            clock: config.clock.clone(),
        }
    }

    /// Whether the model has a price of its own now. What cannot be looked up is an error, never a no.
    pub(crate) async fn has(&self, model_id: &str) -> Result<bool> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "prices", model_id]);
        }
        let token = self.tokens.token(AUDIENCE, self.clock.now());
        let token = token.map_err(|error| Error::AccountingFailed(error.into()))?;
        let request = self.http.get(url).timeout(TIMEOUT).bearer_auth(token);
        let response = RequestContext::current().propagate(request).send().await;
        let response = response.map_err(|error| Error::AccountingFailed(error.into()))?;
        let status = response.status();
        let answer = read_json::<Value>(response, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(Error::AccountingFailed)?;
        match (status, answer["code"].as_str()) {
            (StatusCode::OK, _) if answer["modelId"] == model_id => Ok(true),
            (StatusCode::NOT_FOUND, Some("price_not_found")) => Ok(false),
            _ => Err(Error::AccountingFailed(Failure::Status(status))),
        }
    }
}
