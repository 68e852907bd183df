//! Collects spans as they end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tracing::{
    Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::Message;
use crate::json::Collect;

/// How many numbers eight hexadecimal digits can write.
const NUMBERS: f64 = 4_294_967_296.0;

/// OTLP's word for a request that is served.
const KIND_SERVER: u8 = 2;

/// OTLP's word for a span that failed.
const STATUS_ERROR: u8 = 2;

/// The layer that hands spans with ids to the worker, and all others to nobody.
#[derive(Debug)]
pub(crate) struct Spans {
    queue: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
    /// The part of all traces that is exported.
    share: f64,
}

/// A span that has ended, in OTLP's form.
#[derive(Debug)]
pub(super) struct Finished(pub(super) Value);

/// What is known of a span while it lasts.
struct Open {
    began: SystemTime,
    fields: Map<String, Value>,
}

impl Spans {
    pub(super) fn new(queue: mpsc::Sender<Message>, share: f64) -> Self {
        Self {
            queue,
            dropped: Arc::default(),
            share,
        }
    }

    /// How many spans found the queue full.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Every service with the same share decides alike, because the trace's own number decides.
    fn is_wanted(&self, fields: &Map<String, Value>) -> bool {
        let trace_id = fields.get("trace_id").and_then(Value::as_str);
        // The end of an id is random also where its middle is not.
        let end = trace_id.and_then(|id| id.get(24..32));
        let number = end.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let is_sampled = fields.get("sampled").and_then(Value::as_bool) == Some(true);
        is_sampled && number.is_some_and(|number| f64::from(number) / NUMBERS < self.share)
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Collect::default();
        attributes.record(&mut fields);
        let fields = fields.into_fields();
        if !self.is_wanted(&fields) {
            return;
        }
        if let Some(span) = context.span(id) {
            let began = now();
            span.extensions_mut().insert(Open { began, fields });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            let mut fields = Collect::default();
            values.record(&mut fields);
            open.fields.extend(fields.into_fields());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        if let Some(open) = open
            && self
                .queue
                .try_send(Message::Span(open.finish(span.name())))
                .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Open {
    fn finish(mut self, name: &str) -> Finished {
        let mut take = |name: &str| self.fields.remove(name);
        let (trace_id, span_id) = (take("trace_id"), take("span_id"));
        let (parent, _sampled) = (take("parent_span_id"), take("sampled"));
        let status = self.fields.get("status").and_then(Value::as_u64);
        let title = match (self.fields.get("method"), self.fields.get("route")) {
            (Some(Value::String(method)), Some(Value::String(route))) => format!("{method} {route}"),
            _ => name.to_owned(),
        };
        let mut span = json!({
            "traceId": trace_id,
            "spanId": span_id,
            "name": title,
            "kind": KIND_SERVER,
            "startTimeUnixNano": nanos(self.began),
            "endTimeUnixNano": nanos(now()),
            "attributes": attributes(self.fields),
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = parent;
        }
        if status.is_some_and(|status| status >= 500) {
            span["status"] = json!({ "code": STATUS_ERROR });
        }
        Finished(span)
    }
}

/// Fields under the names that OpenTelemetry gives them.
fn attributes(fields: Map<String, Value>) -> Vec<Value> {
    fields
        .into_iter()
        .map(|(name, value)| {
            let name = match name.as_str() {
                "method" => "http.request.method",
                "route" => "http.route",
                "status" => "http.response.status_code",
                other => other,
            };
            attribute(name, &value)
        })
        .collect()
}

/// One attribute. OTLP writes whole numbers as texts.
pub(super) fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::String(text) => json!({ "stringValue": text }),
        other @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
            json!({ "stringValue": other.to_string() })
        }
    };
    json!({ "key": name, "value": value })
}

fn nanos(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "spans carry the real time, whatever a test's clock says"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    /// What becomes of a span with this trace id when `share` of all are exported.
    fn exported(trace_id: &str, sampled: bool, share: f64) -> Option<Value> {
        let (sender, mut receiver) = mpsc::channel(4);
        let subscriber = tracing_subscriber::registry().with(Spans::new(sender, share));
        tracing::subscriber::with_default(subscriber, || {
            let status = tracing::field::Empty;
            let span = tracing::info_span!("request", trace_id, span_id = "00f067aa0ba902b7", sampled,
                method = %"GET", route = "/livez", status);
            span.record("status", 503_u64);
            tracing::info_span!("without ids");
        });
        match receiver.try_recv() {
            Ok(Message::Span(span)) => Some(span.0),
            _ => None,
        }
    }

    #[test]
    fn a_span_with_ids_is_exported_in_the_words_of_otlp() {
        let span = exported(TRACE, true, 1.0).unwrap();
        assert_eq!(span["traceId"], TRACE);
        assert_eq!(span["name"], "GET /livez");
        assert_eq!(span["status"]["code"], 2);
        assert_eq!(span["parentSpanId"], Value::Null);
        let attributes = span["attributes"].as_array().unwrap();
        assert!(attributes.contains(&attribute("http.response.status_code", &json!(503))));
        let time = |name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
    }

    #[test]
    fn the_trace_decides_whether_it_is_exported_and_every_service_decides_alike() {
        assert!(exported(TRACE, true, 0.0).is_none());
        assert!(exported(TRACE, false, 1.0).is_none(), "the caller said so");
        let low = "4bf92f3577b34da6a3ce929d00000001";
        let high = "4bf92f3577b34da6a3ce929dffffffff";
        assert!(exported(low, true, 0.5).is_some());
        assert!(exported(high, true, 0.5).is_none());
        assert!(exported(high, true, 1.0).is_some());
    }
}
