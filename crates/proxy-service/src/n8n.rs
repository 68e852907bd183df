//! n8n's webhooks, as `proto-docs/n8n.md` and the recorded exchanges describe them.
//!
//! Nothing of what a visitor sent in its head goes on to n8n, and nothing of the head of n8n's answer comes back: workflows
//! may write any header, cookies too. Errors of n8n name paths, nodes and providers' keys; only their kind is told.

mod answer;
mod gates;
mod message;
#[cfg(test)]
mod tests;
mod token;

use std::{ops::ControlFlow, time::Duration};

use chrono::{DateTime, Utc};
use common_http::{Clock, RequestContext};
use moka::future::Cache;
use reqwest::{Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout};
use url::Url;

pub(crate) use self::{answer::Answer, message::N8nMessage};
use self::{gates::Gates, token::TokenSigner};
use crate::{
    admission::{Admission, AdmissionMetrics, Admitted, Standing},
    config::N8nConfig,
    domain::{
        breaker::Verdict,
        failure::Failure,
        n8n::{Media, Parser},
    },
};

/// n8n closes connections that were idle for 5 s; one that is closing must not get a POST, which nobody may repeat.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Above this n8n answers 500, as if the workflow had failed.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Pauses before a connection that was refused is tried again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// How long it is believed that a webhook streams: its workflow may be changed.
const STREAMING_TTL: Duration = Duration::from_mins(10);

/// Webhooks of which that is remembered.
const STREAMING_MAX: u64 = 10_000;

/// What we take; asking for one of them changes nothing at n8n.
const ACCEPT: &str = "application/json, text/event-stream, text/plain";

/// A workflow.
#[derive(Clone, Debug)]
pub(crate) struct N8nBackend {
    /// Its webhook.
    pub(crate) webhook: Url,
    /// What is sent as `Authorization: Bearer`, one after the other while n8n refuses them; while a key is rotated there
    /// are two. `None` is a call without one, and so is an empty list.
    pub(crate) keys: Vec<Option<SecretString>>,
    /// Nodes whose streamed text is shown, by their names; empty for all.
    pub(crate) shown_nodes: Vec<String>,
}

/// Everything that is called n8n here.
#[derive(Clone, Debug)]
pub(crate) struct N8n {
    http: reqwest::Client,
    tokens: Option<TokenSigner>,
    header_timeout: Duration,
    idle_timeout: Duration,
    error_grace: Duration,
    event_bytes_max: usize,
    streaming: Cache<Url, ()>,
    gates: Gates,
    clock: Clock,
}

impl N8n {
    /// A client of the webhooks that embeds name.
    pub(crate) fn new(config: &N8nConfig, clock: Clock, metrics: &AdmissionMetrics) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("flowgate/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let streaming = Cache::builder()
            .max_capacity(STREAMING_MAX)
            .time_to_live(STREAMING_TTL);
        Ok(Self {
            http,
            tokens: config
                .token_secret
                .as_ref()
                .map(|secret| TokenSigner::new(secret, config.token_life)),
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
            error_grace: config.error_grace,
            event_bytes_max: config.event_bytes_max,
            streaming: streaming.build(),
            gates: Gates::new(config.admission, metrics),
            clock,
        })
    }

    /// What a message passes before it may be asked of this workflow: each n8n has a circuit and places of its own.
    pub(crate) fn admission(&self, backend: &N8nBackend) -> Admission {
        self.gates.of(&backend.webhook)
    }

    /// How each n8n stands that was asked so far.
    pub(crate) fn standings(&self) -> Vec<(&'static str, Standing)> {
        self.gates.standings()
    }

    /// Runs a workflow and learns whether its n8n answers at all.
    pub(crate) async fn ask(
        &self,
        admitted: &mut Admitted,
        backend: &N8nBackend,
        message: &N8nMessage<'_>,
    ) -> Result<Answer, Failure> {
        let answer = self.try_ask(backend, message).await;
        let asked = answer.as_ref().map(|_answer| ()).map_err(|failure| *failure);
        if let Some(verdict) = Verdict::of(asked) {
            admitted.report(verdict);
        }
        answer
    }

    /// Tries again only where n8n has certainly not begun: the connection was refused, or the key was. A connection that
    /// broke before the answer may have carried the message, and workflows send mails.
    async fn try_ask(&self, backend: &N8nBackend, message: &N8nMessage<'_>) -> Result<Answer, Failure> {
        let mut pauses = RETRY_AFTER.iter();
        let mut keys = backend.keys.iter().map(Option::as_ref);
        let mut key = keys.next().flatten();
        loop {
            let response = match self.send(backend, key, message).await {
                Ok(response) => response,
                Err(Unsent::Refused) => match pauses.next() {
                    Some(pause) => {
                        tokio::time::sleep(*pause).await;
                        continue;
                    }
                    None => return Err(Failure::Unreachable),
                },
                Err(Unsent::Failed(failure)) => return Err(failure),
            };
            match self.read_head(backend, response) {
                ControlFlow::Break(answer) => return answer,
                ControlFlow::Continue(()) => {
                    let Some(next) = keys.next() else {
                        // The visitor may do nothing about it; the operator has to know.
                        tracing::warn!("n8n refuses the key of a webhook");
                        return Err(Failure::Refused);
                    };
                    key = next;
                }
            }
        }
    }

    async fn send(
        &self,
        backend: &N8nBackend,
        key: Option<&SecretString>,
        message: &N8nMessage<'_>,
    ) -> Result<Response, Unsent> {
        let body = self.body(message, self.clock.now())?;
        let request = self
            .http
            .post(backend.webhook.clone())
            // Without it the body is lost, and the workflow runs all the same.
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, ACCEPT)
            .header(header::ACCEPT_ENCODING, "identity")
            .body(body);
        let request = RequestContext::current().propagate(request);
        let request = match key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        };
        // A workflow that does not stream gives not one byte before it is done.
        let streams = self.streaming.contains_key(&backend.webhook);
        let (patience, too_late) = if streams {
            (self.header_timeout, Failure::HeaderTimeout)
        } else {
            (self.idle_timeout, Failure::IdleTimeout)
        };
        match timeout(patience, request.send()).await {
            Ok(sent) => sent.map_err(|error| Unsent::of(&error)),
            Err(_elapsed) => {
                self.streaming.invalidate(&backend.webhook).await;
                Err(Unsent::Failed(too_late))
            }
        }
    }

    fn body(&self, message: &N8nMessage<'_>, now: DateTime<Utc>) -> Result<Vec<u8>, Unsent> {
        let token = match &self.tokens {
            Some(tokens) => Some(
                tokens
                    .sign(message, now)
                    .or(Err(Unsent::Failed(Failure::Refused)))?,
            ),
            None => None,
        };
        let body = message.body(token.as_deref(), now).to_string().into_bytes();
        if body.len() < BODY_BYTES_MAX {
            Ok(body)
        } else {
            Err(Unsent::Failed(Failure::Refused))
        }
    }

    /// What the head of an answer says; `Continue` where n8n did not like the key and has not begun.
    fn read_head(&self, backend: &N8nBackend, response: Response) -> ControlFlow<Result<Answer, Failure>> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let media = Media::of(text(header::CONTENT_TYPE).unwrap_or_default());
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return ControlFlow::Continue(()),
            StatusCode::TOO_MANY_REQUESTS => return ControlFlow::Break(Err(Failure::RateLimited)),
            // Whatever goes wrong in a run is a 500 with an error body.
            StatusCode::INTERNAL_SERVER_ERROR if media == Some(Media::Json) => {
                return ControlFlow::Break(Err(Failure::Failed));
            }
            status if status.is_server_error() => return ControlFlow::Break(Err(Failure::Unavailable)),
            _ => return ControlFlow::Break(Err(Failure::Refused)),
        }
        let is_plain = text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
        let Some(media) = media.filter(|_| is_plain) else {
            return ControlFlow::Break(Err(Failure::NotAnAnswer));
        };
        ControlFlow::Break(Ok(Answer {
            response,
            streaming: Some((self.streaming.clone(), backend.webhook.clone())),
            parser: Parser::new(media, &backend.shown_nodes, self.event_bytes_max),
            idle_timeout: self.idle_timeout,
            error_grace: self.error_grace,
            heard_at: Instant::now(),
            is_over: false,
        }))
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsent {
    /// Nobody listened: the message can be sent again.
    Refused,
    /// It may have arrived, or sending it again will not help.
    Failed(Failure),
}

impl Unsent {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() && !error.is_timeout() {
            Self::Refused
        } else if error.is_connect() {
            Self::Failed(Failure::Unreachable)
        } else {
            Self::Failed(Failure::Broken)
        }
    }
}
