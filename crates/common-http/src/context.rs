//! Which request is being worked on: its id for logs and problem bodies, its trace for the services behind us.

use std::{fmt::Write as _, future::Future};

use actix_web::http::{Method, header::HeaderMap};
use uuid::Uuid;

/// Names a request in our logs, in problem bodies and to the services behind us.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// W3C Trace Context.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// A caller's request id longer than this is replaced by ours.
const REQUEST_ID_BYTES_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The request a task works for.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    request_id: String,
    trace: Trace,
}

/// Where we are in a trace: W3C's `traceparent`, with a span of ours in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trace {
    id: String,
    span: String,
    /// The caller's span, where there is one.
    parent: Option<String>,
    flags: String,
}

impl RequestContext {
    /// What the caller sent, where it is well formed; else new ids.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = text(REQUEST_ID_HEADER).filter(|id| is_request_id(id));
        let trace = text(TRACEPARENT_HEADER).and_then(Trace::continued);
        Self {
            request_id: request_id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned),
            trace: trace.unwrap_or_else(Trace::begun),
        }
    }

    /// A context of its own, for work that no request asked for.
    pub fn background() -> Self {
        Self {
            request_id: Uuid::now_v7().to_string(),
            trace: Trace::begun(),
        }
    }

    /// The context of the task that is running; an empty one outside of any request.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `work` in this context; spawned tasks do not inherit it by themselves.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The request's id; empty outside of any request.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Which trace the request belongs to; empty outside of any request.
    pub fn trace_id(&self) -> &str {
        &self.trace.id
    }

    /// The span of tracing that stands for this request in logs and, where there is a collector, in traces.
    pub(crate) fn span(&self, method: &Method, route: &str) -> tracing::Span {
        let span = tracing::info_span!(
            "request",
            request_id = self.request_id,
            trace_id = self.trace.id,
            span_id = self.trace.span,
            parent_span_id = tracing::field::Empty,
            sampled = self.trace.is_sampled(),
            method = %method,
            route,
            status = tracing::field::Empty,
        );
        if let Some(parent) = &self.trace.parent {
            span.record("parent_span_id", parent);
        }
        span
    }

    /// Hands the ids on to a service behind us.
    pub fn propagate(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.request_id.is_empty() {
            return request;
        }
        request
            .header(REQUEST_ID_HEADER, &self.request_id)
            .header(TRACEPARENT_HEADER, self.trace.header())
    }
}

fn is_request_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(allowed)
}

impl Trace {
    /// A new one. It asks to be recorded; whether it is, is for the collecting side to say.
    fn begun() -> Self {
        Self {
            id: Uuid::new_v4().simple().to_string(),
            span: new_span(),
            parent: None,
            flags: "01".to_owned(),
        }
    }

    /// The caller's trace with a span of ours, or `None` when the header is not version 00 of the format.
    fn continued(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| {
            text.len() == length
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let well_formed =
            version == "00" && hex(trace, 32) && hex(span, 16) && hex(flags, 2) && parts.next().is_none();
        (well_formed && !zero(trace) && !zero(span)).then(|| Self {
            id: trace.to_owned(),
            span: new_span(),
            parent: Some(span.to_owned()),
            flags: flags.to_owned(),
        })
    }

    fn header(&self) -> String {
        format!("00-{}-{}-{}", self.id, self.span, self.flags)
    }

    /// The lowest bit of the flags.
    fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.flags, 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

fn new_span() -> String {
    let bytes = Uuid::new_v4().into_bytes();
    bytes
        .iter()
        .take(8)
        .fold(String::with_capacity(16), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_and_a_malformed_one_replaced() {
        let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ours = Trace::continued(sent).unwrap();
        let header = ours.header();
        assert!(header.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && header.ends_with("-01"));
        assert_ne!(header, sent);
        assert_eq!(ours.parent.as_deref(), Some("00f067aa0ba902b7"));
        assert!(ours.is_sampled());
        assert_eq!(
            Trace::continued(&Trace::begun().header()).map(|trace| trace.flags),
            Some("01".to_owned())
        );
        for bad in [
            "",
            "00",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "x\ny",
        ] {
            assert_eq!(Trace::continued(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn request_ids_that_could_forge_log_lines_are_not_taken() {
        assert!(is_request_id("0190-abc_DEF.1:2"));
        for bad in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert!(!is_request_id(bad), "{bad:?}");
        }
    }
}
