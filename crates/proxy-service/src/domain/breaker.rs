//! A circuit breaker: after so many failures in a row an upstream is left alone for a while, then asked by one turn.
//!
//! It judges whether the upstream *answers*, nothing else. A failure is: no connection, a connection that breaks before
//! the head of the answer, no head in time, a 5xx that is not one of the upstream's own error bodies, or something that is
//! no answer at all. Anything else shows that it works: a whole answer, but also a refused input, a rate limit, a flow or
//! a model that fails, a stream that breaks later. So nobody can close an upstream to others by what they send.
//!
//! ```text
//!            failures in a row            open_for is over, one asks
//!   Closed ───────────────────► Open ────────────────────────────────► Probing ──► Closed   it answered
//!                                 ▲                                      │    └──► Open     it did not
//!                                 └──────── the probe was given up ──────┘  (the next one asks at once)
//! ```

use std::time::{Duration, Instant};

use super::failure::Failure;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row.
    pub failures: u32,
    /// How long nobody asks.
    pub open_for: Duration,
}

/// What one call says about its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers, whatever it says.
    Alive,
    /// It does not.
    Dead,
}

impl Verdict {
    /// What the outcome of asking says; `None` when it says nothing, because we gave up by ourselves.
    pub const fn of(asked: Result<(), Failure>) -> Option<Self> {
        match asked {
            Err(
                Failure::Unreachable
                | Failure::HeaderTimeout
                | Failure::Unavailable
                | Failure::NotAnAnswer
                | Failure::Broken,
            ) => Some(Self::Dead),
            Ok(())
            | Err(
                Failure::Refused
                | Failure::RateLimited
                | Failure::Failed
                | Failure::Reported
                | Failure::Empty
                | Failure::TooLarge,
            ) => Some(Self::Alive),
            // A flow that does not stream may think for minutes.
            Err(
                Failure::IdleTimeout
                | Failure::TooLong
                | Failure::Abandoned
                | Failure::NotAsked
                | Failure::Stopped
                | Failure::Stopping
                | Failure::Storage,
            ) => None,
        }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everybody may ask.
    Closed,
    /// Nobody may.
    Open,
    /// One may, or one does.
    HalfOpen,
}

impl Phase {
    /// Its name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The right to ask once; to be reported on or given back.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    epoch: u64,
}

/// The breaker of one upstream.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// Counts changes of the state: what is reported by a ticket of an earlier one is old news.
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing { since: Instant },
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(limits: BreakerLimits) -> Self {
        Self {
            limits,
            state: State::Closed { failures: 0 },
            epoch: 0,
        }
    }

    /// Lets one call ask, or says when to come back.
    pub fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        if let Some(wait) = self.refusal(now) {
            return Err(wait);
        }
        if matches!(self.state, State::Open { .. }) {
            self.change(State::Probing { since: now });
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// When to come back, where nobody may ask now. How long a probe takes is not known.
    pub fn refusal(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } => until.checked_duration_since(now).filter(|wait| !wait.is_zero()),
            State::Probing { .. } => Some(Duration::from_secs(1)),
        }
    }

    /// Takes in what a call found.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good once")]
    pub fn report(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) {
        if ticket.epoch != self.epoch {
            return;
        }
        match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Alive) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Dead) if failures + 1 < self.limits.failures => {
                self.state = State::Closed {
                    failures: failures + 1,
                };
            }
            (State::Probing { .. }, Verdict::Alive) => self.change(State::Closed { failures: 0 }),
            (State::Closed { .. } | State::Probing { .. }, Verdict::Dead) => {
                self.change(State::Open {
                    until: now + self.limits.open_for,
                });
            }
            // No ticket is given out in this state.
            (State::Open { .. }, _) => {}
        }
    }

    /// Takes a ticket back that found out nothing. A probe that was given up leaves its place to the next one.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good once")]
    pub fn give_back(&mut self, ticket: Ticket) {
        if let State::Probing { since } = self.state
            && ticket.epoch == self.epoch
        {
            self.change(State::Open { until: since });
        }
    }

    /// Where it stands.
    pub fn phase(&self, now: Instant) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { until } if now < until => Phase::Open,
            State::Open { .. } | State::Probing { .. } => Phase::HalfOpen,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 5,
        open_for: Duration::from_mins(1),
    };

    fn fail(breaker: &mut Breaker, now: Instant) {
        let ticket = breaker.admit(now).unwrap();
        breaker.report(ticket, Verdict::Dead, now);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_success_in_between_does_not() {
        let (mut breaker, now) = (Breaker::new(LIMITS), Instant::now());
        for _ in 0..4 {
            fail(&mut breaker, now);
        }
        let ticket = breaker.admit(now).unwrap();
        breaker.report(ticket, Verdict::Alive, now);
        for _ in 0..4 {
            fail(&mut breaker, now);
        }
        assert_eq!(breaker.phase(now), Phase::Closed);
        fail(&mut breaker, now);
        assert_eq!(breaker.phase(now), Phase::Open);
        let later = now + Duration::from_secs(45);
        assert_eq!(breaker.admit(later).unwrap_err(), Duration::from_secs(15));
    }

    #[test]
    fn one_probe_decides() {
        let now = Instant::now();
        for (verdict, phase) in [(Verdict::Alive, Phase::Closed), (Verdict::Dead, Phase::Open)] {
            let mut breaker = Breaker::new(LIMITS);
            (0..5).for_each(|_| fail(&mut breaker, now));
            let later = now + LIMITS.open_for;
            assert_eq!(breaker.phase(later), Phase::HalfOpen);
            let probe = breaker.admit(later).unwrap();
            assert!(breaker.admit(later).is_err(), "only one asks");
            breaker.report(probe, verdict, later);
            assert_eq!(breaker.phase(later), phase);
        }
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_place() {
        let (mut breaker, now) = (Breaker::new(LIMITS), Instant::now());
        (0..5).for_each(|_| fail(&mut breaker, now));
        let later = now + LIMITS.open_for;
        let probe = breaker.admit(later).unwrap();
        breaker.give_back(probe);
        let probe = breaker.admit(later).unwrap();
        breaker.report(probe, Verdict::Alive, later);
        assert_eq!(breaker.phase(later), Phase::Closed);
    }

    #[test]
    fn what_was_asked_before_it_opened_is_old_news() {
        let (mut breaker, now) = (Breaker::new(LIMITS), Instant::now());
        let slow: Vec<Ticket> = (0..8).map(|_| breaker.admit(now).unwrap()).collect();
        (0..5).for_each(|_| fail(&mut breaker, now));
        for (index, ticket) in slow.into_iter().enumerate() {
            let verdict = if index % 2 == 0 {
                Verdict::Alive
            } else {
                Verdict::Dead
            };
            breaker.report(ticket, verdict, now + Duration::from_secs(30));
            assert_eq!(breaker.phase(now + Duration::from_secs(59)), Phase::Open);
        }
        assert_eq!(breaker.phase(now + LIMITS.open_for), Phase::HalfOpen);
    }

    #[test]
    fn what_people_send_and_what_flows_do_never_opens_it() {
        for failure in [
            Failure::Refused,
            Failure::RateLimited,
            Failure::Failed,
            Failure::Reported,
            Failure::Empty,
            Failure::TooLarge,
            Failure::IdleTimeout,
            Failure::TooLong,
            Failure::Abandoned,
            Failure::NotAsked,
            Failure::Stopping,
            Failure::Storage,
        ] {
            assert_ne!(Verdict::of(Err(failure)), Some(Verdict::Dead), "{failure:?}");
        }
    }

    /// What can happen to a breaker; numbers choose one of the tickets that are out.
    #[derive(Clone, Debug)]
    enum Step {
        Ask,
        Report(prop::sample::Index, Verdict),
        GiveUp(prop::sample::Index),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let verdict = prop_oneof![1 => Just(Verdict::Alive), 3 => Just(Verdict::Dead)];
        let step = prop_oneof![
            4 => Just(Step::Ask),
            4 => (any::<prop::sample::Index>(), verdict).prop_map(|(ticket, verdict)| Step::Report(ticket, verdict)),
            1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
            2 => (0_u64..50_000).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn whatever_happens_it_opens_only_for_reasons_stays_open_long_enough_and_never_sticks(
            steps in steps(), failures in 1_u32..6,
        ) {
            let limits = BreakerLimits { failures, ..LIMITS };
            let mut breaker = Breaker::new(limits);
            let mut now = Instant::now();
            // Each ticket with whether it is a probe.
            let mut out: Vec<(Ticket, bool)> = Vec::new();
            let mut dead_in_a_row = 0_u32;
            let mut opened_at: Option<Instant> = None;
            for step in steps {
                let before = breaker.phase(now);
                match step {
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::Ask => match breaker.admit(now) {
                        Ok(ticket) => {
                            prop_assert_ne!(before, Phase::Open);
                            let is_probe = before == Phase::HalfOpen;
                            prop_assert!(!(is_probe && out.iter().any(|(ticket, is_probe)| {
                                *is_probe && ticket.epoch == breaker.epoch
                            })), "two probes at once");
                            if let (true, Some(opened_at)) = (is_probe, opened_at) {
                                prop_assert!(now - opened_at >= limits.open_for, "asked too early");
                            }
                            out.push((ticket, is_probe));
                        }
                        Err(wait) => {
                            prop_assert_ne!(before, Phase::Closed);
                            prop_assert!(!wait.is_zero() && wait <= limits.open_for);
                        }
                    },
                    Step::Report(..) | Step::GiveUp(_) if out.is_empty() => {}
                    Step::GiveUp(index) => {
                        let (ticket, _) = out.swap_remove(index.index(out.len()));
                        breaker.give_back(ticket);
                        prop_assert_eq!(breaker.phase(now), before, "giving up says nothing");
                    }
                    Step::Report(index, verdict) => {
                        let (ticket, _) = out.swap_remove(index.index(out.len()));
                        let is_news = ticket.epoch == breaker.epoch;
                        breaker.report(ticket, verdict, now);
                        let after = breaker.phase(now);
                        if !is_news {
                            prop_assert_eq!(after, before, "old news");
                            continue;
                        }
                        match verdict {
                            Verdict::Alive => {
                                dead_in_a_row = 0;
                                prop_assert_eq!(after, Phase::Closed);
                            }
                            Verdict::Dead => {
                                dead_in_a_row += 1;
                                let opens = before == Phase::HalfOpen || dead_in_a_row >= failures;
                                prop_assert_eq!(after == Phase::Open, opens);
                                if opens {
                                    dead_in_a_row = 0;
                                    opened_at = Some(now);
                                }
                            }
                        }
                    }
                }
            }
            // Whatever is out comes back, and after a while somebody may ask.
            for (ticket, _) in out {
                breaker.give_back(ticket);
            }
            let probe = breaker.admit(now + limits.open_for);
            prop_assert!(probe.is_ok(), "it sticks");
            breaker.report(probe.unwrap(), Verdict::Alive, now + limits.open_for);
            prop_assert_eq!(breaker.phase(now + limits.open_for), Phase::Closed);
        }
    }
}
