//! Sends spans in batches, and never holds anybody up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{Export, Message, spans::attribute};

/// Spans sent together.
const BATCH_MAX: usize = 512;

/// How long the first span of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// A collector that takes longer loses the batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    client: reqwest::Client,
    export: Export,
    resource: Value,
    dropped: Arc<AtomicU64>,
    /// Whether the last batch was lost, so that an outage is one line in the log and not one a second.
    is_losing: bool,
}

impl Worker {
    pub(super) fn new(
        service: &str,
        export: &Export,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(SEND_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(export.headers.clone())
            .build()?;
        let name = attribute("service.name", &json!(service));
        let version = attribute("service.version", &json!(env!("CARGO_PKG_VERSION")));
        Ok(Self {
            client,
            export: export.clone(),
            resource: json!({ "attributes": [name, version] }),
            dropped,
            is_losing: false,
        })
    }

    /// Sends until nobody can hand in spans any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(first) = queue.recv().await {
            let mut batch = Vec::new();
            let mut flushed = take(first, &mut batch);
            let deadline = tokio::time::Instant::now() + BATCH_WAIT;
            while flushed.is_none() && batch.len() < BATCH_MAX {
                match tokio::time::timeout_at(deadline, queue.recv()).await {
                    Ok(Some(message)) => flushed = take(message, &mut batch),
                    Ok(None) | Err(_) => break,
                }
            }
            if !batch.is_empty() {
                self.send(batch).await;
            }
            if let Some(flushed) = flushed {
                // Whoever asked may have given up.
                let _ = flushed.send(());
            }
        }
    }

    async fn send(&mut self, spans: Vec<Value>) {
        let count = spans.len();
        let scope = json!({ "scope": { "name": "flowgate" }, "spans": spans });
        let body = json!({ "resourceSpans": [{ "resource": self.resource, "scopeSpans": [scope] }] });
        let answer = self.client.post(self.export.url.clone()).json(&body).send().await;
        let outcome = answer.and_then(reqwest::Response::error_for_status);
        let queue_full = self.dropped.swap(0, Ordering::Relaxed);
        if queue_full > 0 {
            tracing::warn!(
                spans = queue_full,
                "spans were dropped, the collector is too slow"
            );
        }
        match outcome {
            Ok(_) => self.is_losing = false,
            Err(error) => {
                if !self.is_losing {
                    let error = error.without_url();
                    tracing::warn!(spans = count, %error, "spans are lost, the collector does not take them");
                }
                self.is_losing = true;
            }
        }
    }
}

/// Puts a span into the batch; or says whom to tell when the batch is sent.
fn take(message: Message, batch: &mut Vec<Value>) -> Option<oneshot::Sender<()>> {
    match message {
        Message::Span(span) => {
            batch.push(span.0);
            None
        }
        Message::Flush(sent) => Some(sent),
    }
}
