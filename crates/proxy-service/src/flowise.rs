//! Flowise's prediction, as `proto-docs/flowise.md` and the recorded exchanges describe it.
//!
//! What comes back is told by its content type, never by its status alone: a stream that failed is a 200, a flow that
//! cannot stream answers JSON, and an unknown path is a web page. Nothing of what a client sent in its head goes on to
//! Flowise: every request is built here.

mod enclosing;

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use common_http::RequestContext;
use futures_util::FutureExt as _;
use moka::future::Cache;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::{
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};
use url::Url;

pub(crate) use self::enclosing::{Enclosed, ReadFile, UploadRules};
use crate::{
    admission::{Admission, AdmissionMetrics, Admitted},
    config::Upstream,
    domain::{
        ask::{HumanInput, Message, Upload},
        breaker::Verdict,
        failure::Failure,
        sse::Parser,
    },
    upstream::read_json,
};

/// Node closes connections that were idle for 5 s; one that is closing must not get a POST, which nobody may repeat.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How long Flowise may take to abort a run or to say whether a flow streams; both take milliseconds.
const SHORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of pieces that came together and go on together.
const TOGETHER_BYTES_MAX: usize = 16 << 10;

/// How long Flowise may take to close a stream after its last event.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// When an abort is said again of a run that had not answered: the first may have come before the run had begun.
const ABORT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Flowise counts rate limits by it.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// An answer to a short question.
const SHORT_ANSWER_BYTES_MAX: usize = 16 << 10;

/// How Flowise ends its error about a chatflow it does not know.
const UNKNOWN: &str = " not found";

/// How long it is believed whether a flow streams: its last node may be changed.
const STREAMING_TTL: Duration = Duration::from_mins(1);

/// Flows of which that is remembered.
const STREAMING_MAX: u64 = 10_000;

/// What Flowise is asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prediction<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) question: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) human_input: Option<&'a HumanInput>,
    /// Ours, so that streams and memories of two people never meet and a run can be aborted.
    pub(crate) chat_id: &'a str,
    /// The address Flowise counts this person under.
    #[serde(skip)]
    pub(crate) address: Ipv6Addr,
    /// Where the flow cannot stream, asking for it would make Flowise swallow its errors.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) streaming: bool,
    pub(crate) override_config: Map<String, Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) history: &'a [Message],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) uploads: &'a [Upload],
}

/// What Flowise answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Events as they are made.
    Stream(Events),
    /// A JSON body.
    Whole(Bytes),
}

/// Flowise.
#[derive(Clone, Debug)]
pub(crate) struct Flowise {
    http: reqwest::Client,
    api: String,
    api_key: Option<SecretString>,
    header_timeout: Duration,
    idle_timeout: Duration,
    event_bytes_max: usize,
    streaming: Cache<String, bool>,
    admission: Admission,
}

impl Flowise {
    /// A client of the Flowise that `upstream` describes.
    pub(crate) fn new(upstream: &Upstream, metrics: &AdmissionMetrics) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(upstream.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let streaming = Cache::builder()
            .max_capacity(STREAMING_MAX)
            .time_to_live(STREAMING_TTL);
        Ok(Self {
            http,
            api: api_of(&upstream.url),
            api_key: upstream.api_key.clone(),
            header_timeout: upstream.header_timeout,
            idle_timeout: upstream.idle_timeout,
            event_bytes_max: upstream.event_bytes_max,
            streaming: streaming.build(),
            admission: Admission::new("flowise", upstream.admission, metrics),
        })
    }

    /// What a turn passes before it may ask.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Runs a flow, asking for a stream where one is wanted and it has one, and learns whether Flowise answers at all.
    pub(crate) async fn ask(
        &self,
        admitted: &mut Admitted,
        flow_id: &str,
        prediction: &mut Prediction<'_>,
    ) -> Result<Reply, Failure> {
        let reply = self.try_ask(flow_id, prediction).await;
        let asked = reply.as_ref().map(|_reply| ()).map_err(|failure| *failure);
        if let Some(verdict) = Verdict::of(asked) {
            admitted.report(verdict);
        }
        reply
    }

    async fn try_ask(&self, flow_id: &str, prediction: &mut Prediction<'_>) -> Result<Reply, Failure> {
        prediction.streaming = prediction.streaming && self.streams(flow_id).await?;
        let reply = self.predict(flow_id, prediction).await;
        if prediction.streaming && matches!(reply, Err(Failure::HeaderTimeout)) {
            // Is it that Flowise does not know the chatflow any more? Then it never answers, and is well.
            self.streaming.invalidate(flow_id).await;
            self.streams(flow_id).await?;
        }
        reply
    }

    /// Whether the flow streams its answers. Where Flowise does not say, it is taken to: most do. A chatflow that it does
    /// not know is told here, because asked for a stream of it, it never answers.
    pub(crate) async fn streams(&self, flow_id: &str) -> Result<bool, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            is_streaming: Option<bool>,
            message: Option<String>,
        }
        if let Some(streams) = self.streaming.get(flow_id).await {
            return Ok(streams);
        }
        let request = self
            .http
            .get(format!("{}/chatflows-streaming/{flow_id}", self.api))
            .timeout(SHORT_TIMEOUT);
        let request = RequestContext::current().propagate(request);
        let response = request.send().await.map_err(|error| failure_of(&error))?;
        let status = response.status();
        let Ok(answer) = read_json::<Answer>(response, SHORT_ANSWER_BYTES_MAX).await else {
            return Ok(true);
        };
        let is_unknown = |message: &str| message.contains(flow_id) && message.contains(UNKNOWN);
        match answer {
            Answer {
                is_streaming: Some(is_streaming),
                ..
            } if status == StatusCode::OK => {
                self.streaming.insert(flow_id.to_owned(), is_streaming).await;
                Ok(is_streaming)
            }
            Answer {
                message: Some(message),
                ..
            } if !status.is_success() && is_unknown(&message) => Err(Failure::Refused),
            Answer { .. } => Ok(true),
        }
    }

    /// Never repeated: the flow may have acted before the connection broke.
    async fn predict(&self, flow_id: &str, prediction: &Prediction<'_>) -> Result<Reply, Failure> {
        let request = self
            .http
            .post(format!("{}/prediction/{flow_id}", self.api))
            .header(FORWARDED_FOR, prediction.address.to_string())
            .json(prediction);
        // A flow that does not stream gives not one byte before it is done.
        let (patience, too_late) = if prediction.streaming {
            (self.header_timeout, Failure::HeaderTimeout)
        } else {
            (self.idle_timeout, Failure::IdleTimeout)
        };
        let sent = timeout(patience, self.authorized(request).send()).await;
        let response = sent.or(Err(too_late))?.map_err(|error| failure_of(&error))?;
        let media_type = media_type(&response);
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(Failure::RateLimited),
            // Whatever goes wrong in a run is a 500 with an error body.
            StatusCode::INTERNAL_SERVER_ERROR if media_type == "application/json" => {
                return Err(Failure::Failed);
            }
            status if status.is_server_error() => return Err(Failure::Unavailable),
            _ => return Err(Failure::Refused),
        }
        match &*media_type {
            "text/event-stream" => Ok(Reply::Stream(Events {
                response,
                parser: Parser::new(self.event_bytes_max),
                idle_timeout: self.idle_timeout,
                heard_at: Instant::now(),
            })),
            "application/json" => self.read_whole(response).await.map(Reply::Whole),
            _ => Err(Failure::NotAnAnswer),
        }
    }

    /// Asks Flowise to stop a run, once more if it `may_not_have_begun`. Flowise says yes whatever happens, and some kinds
    /// of flow run on. The call needs no key.
    pub(crate) async fn abort(&self, flow_id: &str, chat_id: &str, may_not_have_begun: bool) {
        self.abort_once(flow_id, chat_id).await;
        if may_not_have_begun {
            tokio::time::sleep(ABORT_AGAIN_AFTER).await;
            self.abort_once(flow_id, chat_id).await;
        }
    }

    async fn abort_once(&self, flow_id: &str, chat_id: &str) {
        let request = self
            .http
            .put(format!("{}/chatmessage/abort/{flow_id}/{chat_id}", self.api));
        let request = RequestContext::current().propagate(request);
        if let Err(error) = request.timeout(SHORT_TIMEOUT).send().await {
            tracing::warn!(error = %error.without_url(), "a run could not be aborted");
        }
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        let request = RequestContext::current().propagate(request);
        match &self.api_key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    async fn read_whole(&self, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = Vec::new();
        loop {
            let chunk = timeout(self.idle_timeout, response.chunk()).await;
            match chunk.or(Err(Failure::IdleTimeout))?.or(Err(Failure::Broken))? {
                None => return Ok(body.into()),
                Some(chunk) if body.len() + chunk.len() > self.event_bytes_max => {
                    return Err(Failure::TooLarge);
                }
                Some(chunk) => body.extend_from_slice(&chunk),
            }
        }
    }
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    response: Response,
    parser: Parser,
    idle_timeout: Duration,
    heard_at: Instant,
}

impl Events {
    /// Waits for the next piece of the stream and hands the data of each event that ends in it to `on_event`; `false` when
    /// the stream is over. Heartbeats are silence. Dropped while it waits, it loses nothing.
    pub(crate) async fn next(&mut self, on_event: impl FnMut(&[u8])) -> Result<bool, Failure> {
        let silent_until = self.heard_at + self.idle_timeout;
        let piece = timeout_at(silent_until, self.response.chunk()).await;
        match piece.or(Err(Failure::IdleTimeout))?.or(Err(Failure::Broken))? {
            Some(piece) => self.read(&piece, on_event)?,
            None => return Ok(false),
        }
        // The connection hands over one piece at a time, and has the next one only when it has run again. Whoever watches
        // over this looks up meanwhile, also when Flowise never pauses.
        yield_now().await;
        Ok(true)
    }

    /// The same for the pieces that have come by now; it waits for nothing.
    pub(crate) async fn catch_up(&mut self, mut on_event: impl FnMut(&[u8])) -> Result<bool, Failure> {
        let mut bytes = 0;
        while bytes < TOGETHER_BYTES_MAX
            && let Some(piece) = self.response.chunk().now_or_never()
        {
            let Some(piece) = piece.or(Err(Failure::Broken))? else {
                return Ok(false);
            };
            self.read(&piece, &mut on_event)?;
            bytes += piece.len();
            yield_now().await;
        }
        Ok(true)
    }

    fn read(&mut self, piece: &[u8], mut on_event: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut heard = false;
        let read = self.parser.push(piece, |data| {
            heard = true;
            on_event(data);
        });
        if heard {
            self.heard_at = Instant::now();
        }
        read.or(Err(Failure::TooLarge))
    }

    /// Reads what is left after the last event, which is nothing, so that the connection can be used again.
    pub(crate) async fn finish(mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        // A server that goes on after its last event loses the connection.
        let _ = timeout(FINISH_TIMEOUT, rest).await;
    }
}

fn api_of(url: &Url) -> String {
    let base = url.as_str().trim_end_matches('/');
    format!("{}/api/v1", base.trim_end_matches("/api"))
}

fn media_type(response: &Response) -> String {
    let value = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn failure_of(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        Failure::Unreachable
    } else if error.is_timeout() {
        Failure::HeaderTimeout
    } else {
        Failure::Broken
    }
}
