//! Numbers for Prometheus. Labels are bounded: route templates, never users, ids or raw paths.

use actix_web::http::Method;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

/// From a cached read to a long answer of a model.
const DURATION_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// One service's metrics: those of every HTTP request, and whatever the service registers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_progress: IntGaugeVec,
}

impl Metrics {
    /// Metrics of `service`, which becomes a label of all.
    pub fn new(service: &str) -> Result<Self, prometheus::Error> {
        let labels = [("service".to_owned(), service.to_owned())].into();
        let registry = Registry::new_custom(None, Some(labels))?;
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "Requests answered."),
            &["method", "route", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time until the head of the answer was ready.",
            )
            .buckets(DURATION_BUCKETS.to_vec()),
            &["method", "route"],
        )?;
        let in_progress = IntGaugeVec::new(
            Opts::new(
                "http_requests_in_progress",
                "Requests whose answer has not begun.",
            ),
            &["method"],
        )?;
        let metrics = Self {
            registry,
            requests,
            durations,
            in_progress,
        };
        metrics.register(metrics.requests.clone())?;
        metrics.register(metrics.durations.clone())?;
        metrics.register(metrics.in_progress.clone())?;
        // Absent outside Linux; everything else still works.
        let _ = metrics.register(prometheus::process_collector::ProcessCollector::for_self());
        Ok(metrics)
    }

    /// Adds a collector of the service's own.
    pub fn register(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(collector))
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    pub(crate) fn began(&self, method: &Method) {
        self.in_progress.with_label_values(&[method_label(method)]).inc();
    }

    pub(crate) fn ended(&self, method: &Method) {
        self.in_progress.with_label_values(&[method_label(method)]).dec();
    }

    pub(crate) fn answered(&self, method: &Method, route: &str, status: u16, seconds: f64) {
        let method = method_label(method);
        self.requests
            .with_label_values(&[method, route, &status.to_string()])
            .inc();
        self.durations
            .with_label_values(&[method, route])
            .observe(seconds);
    }
}

/// Anybody can invent methods; they share one label.
fn method_label(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known,
        _ => "other",
    }
}
