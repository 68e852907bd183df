//! Who may ask an upstream: not too many at once (a bulkhead), and nobody while it does not answer (a circuit breaker).
//!
//! Turns that find no place wait in the order they came, so many and so long as the limits say. A turn asks for its place
//! before its credits are held, so that whoever is turned away has nothing to get back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common_http::Metrics;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    config::AdmissionLimits,
    domain::breaker::{Breaker, Phase, Ticket, Verdict},
};

/// When to come back to a full queue. Turns take seconds; nobody knows how many.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// From no wait at all to the longest that can be configured sensibly.
const WAIT_BUCKETS: [f64; 8] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// What stands before one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    upstream: &'static str,
    breaker: Mutex<Breaker>,
    places: Arc<Semaphore>,
    /// Room for those who wait; whoever finds none does not wait.
    queue: Arc<Semaphore>,
    limits: AdmissionLimits,
    numbers: Numbers,
}

/// Why a turn may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// The upstream is left alone.
    CircuitOpen {
        /// For how much longer.
        wait: Duration,
    },
    /// No place became free.
    Busy {
        /// When to come back.
        wait: Duration,
    },
}

/// How an upstream stands, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Standing {
    /// `closed`, `open` or `half_open`.
    pub(crate) circuit: &'static str,
    /// Turns that have a place.
    pub(crate) running: usize,
    /// Turns that wait for one.
    pub(crate) waiting: usize,
    /// Places there are.
    pub(crate) places: usize,
}

/// A place, and the right to ask once. Given back when it is dropped, whatever happened to the turn.
#[derive(Debug)]
pub(crate) struct Admitted {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
    _place: OwnedSemaphorePermit,
    _running: Counted,
}

impl Admission {
    /// Nobody asks yet.
    pub(crate) fn new(upstream: &'static str, limits: AdmissionLimits, metrics: &AdmissionMetrics) -> Self {
        let numbers = metrics.of(upstream);
        numbers
            .places
            .set(i64::try_from(limits.turns_max).unwrap_or(i64::MAX));
        let gate = Gate {
            upstream,
            breaker: Mutex::new(Breaker::new(limits.breaker)),
            places: Arc::new(Semaphore::new(limits.turns_max)),
            queue: Arc::new(Semaphore::new(limits.queue_max)),
            limits,
            numbers,
        };
        Self { gate: Arc::new(gate) }
    }

    /// Waits for a place, in the order of arrival. Dropped while it waits, it leaves the queue.
    pub(crate) async fn enter(&self) -> Result<Admitted, TurnedAway> {
        let entered = self.try_enter().await;
        if let Err(turned_away) = entered {
            self.gate.numbers.turned_away(turned_away);
        }
        entered
    }

    async fn try_enter(&self) -> Result<Admitted, TurnedAway> {
        let gate = &self.gate;
        // Nobody waits for a place at an upstream that does not answer.
        if let Some(wait) = gate.breaker().refusal(Instant::now()) {
            return Err(TurnedAway::CircuitOpen { wait });
        }
        let place = match gate.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => self.wait().await?,
        };
        let ticket = gate.breaker().admit(Instant::now());
        let ticket = ticket.map_err(|wait| TurnedAway::CircuitOpen { wait })?;
        gate.show_phase();
        Ok(Admitted {
            gate: gate.clone(),
            ticket: Some(ticket),
            _place: place,
            _running: Counted::new(&gate.numbers.running),
        })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, TurnedAway> {
        let gate = &self.gate;
        let busy = TurnedAway::Busy { wait: BUSY_RETRY };
        let _room = gate.queue.try_acquire().or(Err(busy))?;
        let _waiting = Counted::new(&gate.numbers.waiting);
        let began_at = Instant::now();
        let place = timeout(gate.limits.queue_timeout, gate.places.clone().acquire_owned()).await;
        gate.numbers.waited.observe(began_at.elapsed().as_secs_f64());
        // The semaphore is never closed.
        place.or(Err(busy))?.or(Err(busy))
    }

    /// How the upstream stands now.
    pub(crate) fn standing(&self) -> (&'static str, Standing) {
        let gate = &self.gate;
        let places = gate.limits.turns_max;
        let standing = Standing {
            circuit: gate.breaker().phase(Instant::now()).name(),
            running: places.saturating_sub(gate.places.available_permits()),
            waiting: gate
                .limits
                .queue_max
                .saturating_sub(gate.queue.available_permits()),
            places,
        };
        (gate.upstream, standing)
    }
}

impl Admitted {
    /// Says what asking showed, once; later calls say nothing new about whether the upstream answers.
    pub(crate) fn report(&mut self, verdict: Verdict) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let (now, mut breaker) = (Instant::now(), self.gate.breaker());
        let before = breaker.phase(now);
        breaker.report(ticket, verdict, now);
        let after = breaker.phase(now);
        drop(breaker);
        if before != after {
            self.gate.note_change(after);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.breaker().give_back(ticket);
        }
    }
}

impl Gate {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_phase(&self) {
        self.numbers.show(self.breaker().phase(Instant::now()));
    }

    fn note_change(&self, phase: Phase) {
        self.numbers.show(phase);
        self.numbers
            .changes
            .with_label_values(&[self.upstream, phase.name()])
            .inc();
        if phase == Phase::Closed {
            tracing::info!(upstream = self.upstream, "it answers again; turns go on");
        } else {
            let secs = self.limits.breaker.open_for.as_secs();
            tracing::warn!(
                upstream = self.upstream,
                secs,
                "it does not answer and is left alone"
            );
        }
    }
}

/// The numbers of all upstreams.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionMetrics {
    circuit: IntGaugeVec,
    changes: IntCounterVec,
    turns: IntGaugeVec,
    places: IntGaugeVec,
    refused: IntCounterVec,
    waited: HistogramVec,
}

impl AdmissionMetrics {
    /// Registers them.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let gauges =
            |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let counters =
            |name: &str, help: &str, label| IntCounterVec::new(Opts::new(name, help), &["upstream", label]);
        let waited = HistogramOpts::new(
            "upstream_queue_wait_seconds",
            "How long turns waited for a place.",
        );
        let ours = Self {
            circuit: gauges(
                "upstream_circuit_state",
                "0 while an upstream is asked, 1 while one turn tries, 2 while it is left alone.",
                &["upstream"],
            )?,
            changes: counters(
                "upstream_circuit_changes_total",
                "Circuits opened and closed.",
                "to",
            )?,
            turns: gauges(
                "upstream_turns",
                "Turns that have a place at an upstream, or wait for one.",
                &["upstream", "state"],
            )?,
            places: gauges("upstream_turns_max", "Places at an upstream.", &["upstream"])?,
            refused: counters(
                "upstream_turned_away_total",
                "Turns that could not ask.",
                "reason",
            )?,
            waited: HistogramVec::new(waited.buckets(WAIT_BUCKETS.to_vec()), &["upstream"])?,
        };
        metrics.register(ours.circuit.clone())?;
        metrics.register(ours.changes.clone())?;
        metrics.register(ours.turns.clone())?;
        metrics.register(ours.places.clone())?;
        metrics.register(ours.refused.clone())?;
        metrics.register(ours.waited.clone())?;
        Ok(ours)
    }

    fn of(&self, upstream: &'static str) -> Numbers {
        Numbers {
            circuit: self.circuit.with_label_values(&[upstream]),
            changes: self.changes.clone(),
            running: self.turns.with_label_values(&[upstream, "running"]),
            waiting: self.turns.with_label_values(&[upstream, "waiting"]),
            places: self.places.with_label_values(&[upstream]),
            circuit_open: self.refused.with_label_values(&[upstream, "circuit_open"]),
            busy: self.refused.with_label_values(&[upstream, "busy"]),
            waited: self.waited.with_label_values(&[upstream]),
        }
    }
}

/// The numbers of one upstream.
#[derive(Debug)]
struct Numbers {
    circuit: IntGauge,
    changes: IntCounterVec,
    running: IntGauge,
    waiting: IntGauge,
    places: IntGauge,
    circuit_open: prometheus::IntCounter,
    busy: prometheus::IntCounter,
    waited: Histogram,
}

impl Numbers {
    fn show(&self, phase: Phase) {
        self.circuit.set(match phase {
            Phase::Closed => 0,
            Phase::HalfOpen => 1,
            Phase::Open => 2,
        });
    }

    fn turned_away(&self, why: TurnedAway) {
        match why {
            TurnedAway::CircuitOpen { .. } => self.circuit_open.inc(),
            TurnedAway::Busy { .. } => self.busy.inc(),
        }
    }
}

/// One more in a gauge until it is dropped.
#[derive(Debug)]
struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, poll};

    use super::*;
    use crate::domain::breaker::BreakerLimits;

    fn admission(turns_max: usize, queue_max: usize) -> Admission {
        waiting_at_most(Duration::from_mins(1), turns_max, queue_max)
    }

    fn waiting_at_most(queue_timeout: Duration, turns_max: usize, queue_max: usize) -> Admission {
        let limits = AdmissionLimits {
            turns_max,
            queue_max,
            queue_timeout,
            breaker: BreakerLimits {
                failures: 2,
                open_for: Duration::from_mins(1),
            },
        };
        let metrics = AdmissionMetrics::new(&Metrics::new("test").unwrap()).unwrap();
        Admission::new("test", limits, &metrics)
    }

    fn enter(admission: &Admission) -> Result<Admitted, TurnedAway> {
        admission.enter().now_or_never().expect("nobody waits")
    }

    #[tokio::test]
    async fn places_are_given_in_the_order_of_arrival_and_the_queue_is_bounded() {
        let admission = admission(1, 2);
        let first = enter(&admission).unwrap();
        let (mut second, mut third) = (Box::pin(admission.enter()), Box::pin(admission.enter()));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        assert_eq!(admission.standing().1.waiting, 2);
        assert_eq!(
            enter(&admission).unwrap_err(),
            TurnedAway::Busy { wait: BUSY_RETRY }
        );

        drop(first);
        assert!(poll!(&mut third).is_pending(), "it is not their turn");
        let second = second.await.unwrap();
        assert!(poll!(&mut third).is_pending());
        drop(second);
        drop(third.await.unwrap());
        let standing = admission.standing().1;
        assert_eq!((standing.running, standing.waiting), (0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_gives_their_room_to_others() {
        let admission = admission(1, 1);
        let first = enter(&admission).unwrap();
        let mut waiting = Box::pin(admission.enter());
        assert!(poll!(&mut waiting).is_pending());
        drop(waiting);
        assert_eq!(admission.standing().1.waiting, 0);
        let mut waiting = Box::pin(admission.enter());
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        drop(waiting.await.unwrap());
        drop(enter(&admission).unwrap());
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_time_out() {
        let admission = waiting_at_most(Duration::from_millis(1), 1, 1);
        let _first = enter(&admission).unwrap();
        assert_eq!(
            admission.enter().await.unwrap_err(),
            TurnedAway::Busy { wait: BUSY_RETRY }
        );
        assert_eq!(admission.standing().1.waiting, 0);
    }

    #[tokio::test]
    async fn those_who_waited_are_turned_away_when_the_circuit_opens_meanwhile() {
        let admission = admission(1, 5);
        let mut first = enter(&admission).unwrap();
        let mut waiting = Box::pin(admission.enter());
        assert!(poll!(&mut waiting).is_pending());
        first.report(Verdict::Dead);
        drop(first);
        let mut second = waiting.await.unwrap();
        let mut waiting = Box::pin(admission.enter());
        assert!(poll!(&mut waiting).is_pending());
        second.report(Verdict::Dead);
        drop(second);
        let turned_away = waiting.await.unwrap_err();
        assert!(matches!(turned_away, TurnedAway::CircuitOpen { .. }));
        assert!(matches!(
            enter(&admission).unwrap_err(),
            TurnedAway::CircuitOpen { .. }
        ));
        assert_eq!(admission.standing().1.circuit, "open");
        assert_eq!(admission.standing().1.running, 0, "every place is free");
    }
}
