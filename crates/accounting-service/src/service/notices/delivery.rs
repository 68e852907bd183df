//! One message, one request. Only the configured address is ever called: what it redirects to is not.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, StatusCode, Url, header, redirect::Policy};

use crate::{config::WebhookConfig, domain::webhook::WebhookSigner, store::Message};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest wait a receiver may ask for.
const RETRY_AFTER_SECS_MAX: i64 = 6 * 60 * 60;

/// Who gets the messages.
#[derive(Clone, Debug)]
pub struct Receiver {
    client: Client,
    url: Url,
    signer: WebhookSigner,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// In words of ours; nothing that the receiver wrote.
    pub(super) error: String,
    /// Whether it is not to be sent again.
    pub(super) is_final: bool,
    /// How long the receiver wants to be left alone.
    pub(super) not_before: Option<TimeDelta>,
}

impl Receiver {
    /// The configured receiver.
    pub fn new(config: &WebhookConfig) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(config.timeout)
            .redirect(Policy::none())
            .user_agent("flowgate-webhooks")
            .build()?;
        Ok(Self {
            client,
            url: config.url.clone(),
            signer: config.signer.clone(),
        })
    }

    /// Sends a message; any 2xx takes it. The body of the answer is not read.
    pub(super) async fn send(&self, message: &Message, now: DateTime<Utc>) -> Result<(), Refused> {
        let (id, timestamp) = (message.id.to_string(), now.timestamp());
        let signature = self.signer.sign(&id, timestamp, &message.payload);
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(message.payload.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(Refused::unreachable(&error)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let secs = retry_after.and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
        Err(Refused {
            error: format!("answered {}", status.as_u16()),
            // The receiver says that it is gone for good.
            is_final: status == StatusCode::GONE,
            not_before: secs.map(|secs| TimeDelta::seconds(secs.clamp(0, RETRY_AFTER_SECS_MAX))),
        })
    }
}

impl Refused {
    fn unreachable(error: &reqwest::Error) -> Self {
        let error = if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "no connection"
        } else {
            "the connection broke"
        };
        Self {
            error: error.to_owned(),
            is_final: false,
            not_before: None,
        }
    }
}
