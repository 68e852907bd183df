//! Log lines: one JSON object each on standard output, the same members in every service.
//!
//! `timestamp`, `level`, `target`, `message`, `service`, then the fields of the event and of the spans around it
//! (`request_id` among them), flat, so that every log store can search them without knowing Rust. What may never be a
//! field: tokens, passwords, prompts, query strings.

mod json;
mod traces;

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use json::JsonLines;
pub use traces::{Export, Exporter};

/// Our own lines at `info`; what libraries say only when it is a warning.
const FILTER_DEFAULT: &str =
    "warn,auth_service=info,proxy_service=info,accounting_service=info,common_http=info";

/// Starts logging for the process. `filter` is `LOG_LEVEL`: a level for our own lines, or tracing's directives.
///
/// Returns the reason when `filter` cannot be read; the default is in force then.
pub fn init(service: &'static str, filter: Option<&str>) -> Result<(), String> {
    init_with_export(service, filter, None).map(drop)
}

/// The same, with spans to a collector where there is one: finish what is returned before the process ends.
pub fn init_with_export(
    service: &'static str,
    filter: Option<&str>,
    export: Option<&Export>,
) -> Result<Option<Exporter>, String> {
    let (filter, mistake) = match filter.map(directives) {
        None => (EnvFilter::new(FILTER_DEFAULT), None),
        Some(text) => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(FILTER_DEFAULT), Some(error)),
        },
    };
    let (exporter, spans) = match export {
        None => (None, None),
        Some(export) => {
            let started = Exporter::start(service, export);
            let (exporter, spans) = started.map_err(|error| format!("spans cannot be sent: {error}"))?;
            // What is exported does not depend on what is logged.
            let spans = spans.with_filter(EnvFilter::new(FILTER_DEFAULT));
            (Some(exporter), Some(spans))
        }
    };
    let lines = JsonLines::to_stdout(service).with_filter(filter);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(lines).with(spans).try_init();
    match mistake {
        None => Ok(exporter),
        Some(error) => Err(format!("LOG_LEVEL is not valid: {error}")),
    }
}

/// A bare level raises or lowers our own crates only: `debug` of every library would drown them.
fn directives(text: &str) -> String {
    let level = text.trim().to_ascii_lowercase();
    match level.as_str() {
        "error" | "warn" | "info" | "debug" | "trace" => FILTER_DEFAULT.replace("info", &level),
        "warning" => FILTER_DEFAULT.replace("info", "warn"),
        _ => text.to_owned(),
    }
}
