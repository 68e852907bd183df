//! Spans to a collector, as OTLP over HTTP in its JSON form, which every collector takes at port 4318.
//!
//! The ids are not made here: a span is exported when it carries the fields `trace_id` and `span_id`, which are those
//! of the `traceparent` that goes to the services behind us. So one trace id finds a request in the logs and in the
//! traces of all services.

mod spans;
mod worker;

use std::time::Duration;

use common_config::{Env, Invalid};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::spans::Spans;
use self::{spans::Finished, worker::Worker};

/// Spans that may wait for the collector; more are dropped and counted.
const QUEUE_MAX: usize = 8_192;

/// How long the last spans may take when the process ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Export {
    url: reqwest::Url,
    headers: reqwest::header::HeaderMap,
    /// The part of all traces that is exported, from 0 to 1.
    share: f64,
}

impl Export {
    /// Reads the variables that OpenTelemetry names; `None` when there is no collector.
    pub fn from_env(env: &Env) -> Result<Option<Self>, Invalid> {
        let endpoint = env.var("OTEL_EXPORTER_OTLP_ENDPOINT").optional::<reqwest::Url>();
        let headers = env.var("OTEL_EXPORTER_OTLP_HEADERS").optional_secret(0);
        let share = env.var("OTEL_TRACES_SAMPLER_ARG").within(0.0..=1.0, 1.0_f64);
        let (endpoint, headers, share) = (endpoint?, headers?, share?);
        let Some(mut url) = endpoint else {
            return Ok(None);
        };
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let headers = match headers {
            None => reqwest::header::HeaderMap::new(),
            Some(text) => parse_headers(&text).ok_or_else(|| {
                env.mistake("OTEL_EXPORTER_OTLP_HEADERS must be name=value, with commas between them")
            })?,
        };
        Ok(Some(Self { url, headers, share }))
    }
}

fn parse_headers(text: &SecretString) -> Option<reqwest::header::HeaderMap> {
    let pairs = text.expose_secret().split(',').map(str::trim);
    let pairs = pairs.filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = reqwest::header::HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let mut value = reqwest::header::HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
}

/// What goes to the worker.
#[derive(Debug)]
enum Message {
    Span(Finished),
    /// Everything before this is to be sent now.
    Flush(oneshot::Sender<()>),
}

/// The running export. Spans that wait are sent when it is finished, not when it is dropped.
#[derive(Clone, Debug)]
pub struct Exporter(mpsc::Sender<Message>);

impl Exporter {
    /// Starts sending for `service`, and the layer that collects for it. Needs a runtime.
    pub(crate) fn start(service: &'static str, export: &Export) -> Result<(Self, Spans), reqwest::Error> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let spans = Spans::new(sender.clone(), export.share);
        let worker = Worker::new(service, export, spans.dropped())?;
        tokio::spawn(worker.run(receiver));
        Ok((Self(sender), spans))
    }

    /// Sends what waits; gives up after some seconds when the collector does not answer.
    pub async fn finish(self) {
        let (sent, is_sent) = oneshot::channel();
        let flush = async {
            if self.0.send(Message::Flush(sent)).await.is_ok() {
                let _ = is_sent.await;
            }
        };
        // A collector that is away must not keep the process.
        let _ = tokio::time::timeout(FINISH_TIMEOUT, flush).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_open_telemetry_are_read() {
        let env = Env::from_pairs([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Basic abc=, x-team = school",
            ),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);

        let export = Export::from_env(&env).unwrap().unwrap();

        assert_eq!(export.url.as_str(), "http://collector:4318/v1/traces");
        assert_eq!(export.headers["authorization"], "Basic abc=");
        assert_eq!(export.headers["x-team"], "school");
        assert!((export.share - 0.25).abs() < f64::EPSILON);
        assert!(
            !format!("{export:?}").contains("abc"),
            "credentials are not shown"
        );
    }

    #[test]
    fn nothing_is_exported_unless_asked_for_and_mistakes_are_named() {
        assert!(Export::from_env(&Env::default()).unwrap().is_none());
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
        ] {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
            let env = Env::from_pairs([endpoint, (name, value)]);
            assert!(Export::from_env(&env).is_err(), "{name}");
            assert!(env.mistakes().join("").contains(name), "{:?}", env.mistakes());
        }
    }
}
