//! Signing in from other addresses and with other devices.

use auth_service::Config;
use common_http::TrustedProxies;
use reqwest::Method;
use serde_json::json;
use test_support::Answer;

use crate::support::{PASSWORD, SignedIn, TestApp};

/// Firefox on a phone.
pub(crate) const PHONE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0";

/// Edge on a computer.
pub(crate) const LAPTOP: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86";

/// As behind a reverse proxy on this machine: what it says of the client's address counts.
pub(crate) fn behind_a_proxy(config: &mut Config) {
    config.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
}

impl TestApp {
    pub(crate) async fn try_log_in_from(
        &self,
        address: &str,
        user_agent: &str,
        login: &str,
        password: &str,
    ) -> Answer {
        let request = self.client.request(Method::POST, "/api/auth/login");
        let request = request
            .header("x-forwarded-for", address)
            .header("user-agent", user_agent);
        let body = json!({ "username": login, "password": password });
        self.client.send(request.json(&body)).await
    }

    pub(crate) async fn log_in_from(&self, address: &str, user_agent: &str, username: &str) -> SignedIn {
        let answer = self
            .try_log_in_from(address, user_agent, username, PASSWORD)
            .await;
        SignedIn::from_answer(self, username, &answer.expect(200))
    }
}
