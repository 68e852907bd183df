//! A client of accounting-service for the one number people see: what they have left.

use std::time::Duration;

use common_http::{CurrentUser, RequestContext};
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use url::Url;

use crate::{
    error::{Error, Result},
    upstream::{Failure, read_json},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Reads balances.
#[derive(Clone, Debug)]
pub(crate) struct BalanceClient {
    http: reqwest::Client,
    url: Url,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TotalBalance {
    total_credits: i64,
}

impl BalanceClient {
    /// A client of the service at `base`.
    pub(crate) fn new(http: reqwest::Client, base: &Url) -> Self {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["api", "credits", "total-balance"]);
        }
        Self { http, url }
    }

    /// The credits the caller may still spend, read with the caller's own rights.
    pub(crate) async fn total(&self, user: &CurrentUser) -> Result<i64> {
        let request = self.http.get(self.url.clone()).timeout(TIMEOUT);
        let request = request.bearer_auth(user.access_token.expose_secret());
        let response = RequestContext::current().propagate(request).send().await;
        let response = response.map_err(|error| Error::AccountingFailed(error.into()))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(Error::TokenRefused),
            status => return Err(Error::AccountingFailed(Failure::Status(status))),
        }
        let balance: Result<TotalBalance, _> = read_json(response, ANSWER_BYTES_MAX).await;
        balance
            .map(|balance| balance.total_credits)
            .map_err(Error::AccountingFailed)
    }
}
