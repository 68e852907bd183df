//! Circuits and places: one gate for each n8n, so that one that is away does not close the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use url::Url;

use crate::{
    admission::{Admission, AdmissionMetrics, Standing},
    config::AdmissionLimits,
};

/// The names of the first of them, in the order in which they were asked. Addresses of n8n stay out of metrics; the log says
/// which is which.
const NAMES: [&str; 16] = [
    "n8n-1", "n8n-2", "n8n-3", "n8n-4", "n8n-5", "n8n-6", "n8n-7", "n8n-8", "n8n-9", "n8n-10", "n8n-11",
    "n8n-12", "n8n-13", "n8n-14", "n8n-15", "n8n-16",
];

/// What all others share.
const OTHERS: &str = "n8n-others";

/// The gates of every n8n.
#[derive(Clone, Debug)]
pub(super) struct Gates {
    limits: AdmissionLimits,
    metrics: AdmissionMetrics,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    by_origin: HashMap<String, Admission>,
    others: Option<Admission>,
}

impl Gates {
    pub(super) fn new(limits: AdmissionLimits, metrics: &AdmissionMetrics) -> Self {
        Self {
            limits,
            metrics: metrics.clone(),
            known: Arc::default(),
        }
    }

    /// The gate of the n8n at this address: scheme, host and port are one n8n.
    pub(super) fn of(&self, webhook: &Url) -> Admission {
        let origin = webhook.origin().ascii_serialization();
        let mut known = self.lock();
        if let Some(gate) = known.by_origin.get(&origin) {
            return gate.clone();
        }
        let Some(name) = NAMES.get(known.by_origin.len()) else {
            let new = || Admission::new(OTHERS, self.limits, &self.metrics);
            return known.others.get_or_insert_with(new).clone();
        };
        tracing::info!(upstream = name, origin, "an n8n is asked for the first time");
        let gate = Admission::new(name, self.limits, &self.metrics);
        known.by_origin.insert(origin, gate.clone());
        gate
    }

    pub(super) fn standings(&self) -> Vec<(&'static str, Standing)> {
        let known = self.lock();
        let all = known.by_origin.values().chain(&known.others);
        let mut standings: Vec<_> = all.map(Admission::standing).collect();
        standings.sort_by_key(|(name, _)| (name.len(), *name));
        standings
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
