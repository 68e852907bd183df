//! Random commands, with time moving, applied to the real rules and to the naive ones: they have to agree on every
//! answer, every balance and every allocation.
//!
//! `LEDGER_SEQUENCES` says how many sequences are tried, `LEDGER_SEED` repeats a run that failed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use uuid::Uuid;

use super::{
    AccountState, Adjustment, Allocation, Command, Draw, Grant, Hold, HoldStatus, Opening, Outcome, apply,
    model::{Effect, Model},
};
use crate::domain::{
    credits::{Amount, Credits},
    ids::{Actor, SessionKey, UserId},
    text::Name,
    usage::UsageNote,
};

/// Few, so that most sequences reach the limit.
const OPEN_HOLDS_MAX: usize = 3;

/// The session name that belongs to somebody else.
const FOREIGN: u8 = 5;

#[derive(Clone, Debug)]
enum Op {
    Allocate { credits: i64, secs: i64 },
    Deduct { credits: i64 },
    Remove { credits: i64 },
    RemoveAll,
    Raise { credits: i64, secs: i64 },
    Lower { credits: i64 },
    Set { credits: i64, secs: i64 },
    Hold { session: u8, credits: i64, secs: i64 },
    Capture { session: u8, credits: i64 },
    Void { session: u8 },
    Expire { session: u8 },
    Withdraw { place: usize, keep: i64 },
    Close,
    WriteOff,
}

#[derive(Clone, Debug)]
struct Step {
    /// How far the clock moves first.
    millis: i64,
    /// Whether the account is first written away and read again, as between two batches.
    reload: bool,
    /// The id of an allocation or hold that is made, but for its last byte, which is the step's place in the sequence;
    /// its order decides between equal expiries.
    id: u128,
    op: Op,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (credits, secs, session) = (1..15_i64, 0..30_i64, 0..=FOREIGN);
    let op = prop_oneof![
        4 => (credits.clone(), secs.clone()).prop_map(|(credits, secs)| Op::Allocate { credits, secs }),
        2 => credits.clone().prop_map(|credits| Op::Deduct { credits }),
        1 => credits.clone().prop_map(|credits| Op::Remove { credits }),
        1 => Just(Op::RemoveAll),
        1 => (credits.clone(), secs.clone()).prop_map(|(credits, secs)| Op::Raise { credits, secs }),
        1 => credits.clone().prop_map(|credits| Op::Lower { credits }),
        1 => (0..15_i64, secs.clone()).prop_map(|(credits, secs)| Op::Set { credits, secs }),
        5 => (session.clone(), credits, secs).prop_map(|(session, credits, secs)| Op::Hold { session, credits, secs }),
        4 => (session.clone(), 0..18_i64).prop_map(|(session, credits)| Op::Capture { session, credits }),
        2 => session.clone().prop_map(|session| Op::Void { session }),
        2 => session.prop_map(|session| Op::Expire { session }),
        2 => (0..4_usize, prop_oneof![Just(0), 0..15_i64]).prop_map(|(place, keep)| Op::Withdraw { place, keep }),
        1 => prop_oneof![9 => Just(Op::WriteOff), 1 => Just(Op::Close)],
    ];
    let millis = prop_oneof![3 => Just(0), 1 => Just(1), 3 => 0..12_000_i64];
    let step = (millis, any::<bool>(), any::<u128>(), op);
    let steps = proptest::collection::vec(
        step.prop_map(|(millis, reload, id, op)| Step {
            millis,
            reload,
            id,
            op,
        }),
        1..16,
    );
    steps.prop_map(distinct)
}

/// Gives every step an id of its own, also when a failing sequence is made smaller.
fn distinct(mut steps: Vec<Step>) -> Vec<Step> {
    for (place, step) in (0_u8..).zip(&mut steps) {
        step.id = (step.id & !0xFF) | u128::from(place);
    }
    steps
}

fn alice() -> UserId {
    UserId::parse("aaaaaaaaaaaaaaaaaaaaaaaa").unwrap()
}

/// Even sessions are a service's, odd ones the person's own.
fn key(session: u8) -> SessionKey {
    let owner = if session.is_multiple_of(2) || session == FOREIGN {
        Actor::service("proxy-service")
    } else {
        Actor::user(&alice())
    };
    SessionKey::new(owner, Name::parse(format!("s{session}")).unwrap())
}

fn amount(credits: i64) -> Amount {
    Amount::new(credits).unwrap()
}

fn grant(id: u128, credits: i64, expires_at: DateTime<Utc>) -> Grant {
    Grant {
        id: Uuid::from_u128(id),
        credits: amount(credits),
        expires_at,
        allocated_by: "system".to_owned(),
        notes: None,
    }
}

/// What the database would hold: filled from outcomes only, as the writer fills it.
#[derive(Default)]
struct Tables {
    allocations: BTreeMap<Uuid, (i64, i64, DateTime<Utc>)>,
    sessions: Vec<Hold>,
    closed: bool,
}

impl Tables {
    fn load(&self) -> AccountState {
        let live = self
            .allocations
            .iter()
            .filter(|(_, (_, remaining, _))| *remaining > 0);
        let allocations = live.map(|(id, (_, remaining, expires_at))| Allocation {
            id: *id,
            remaining: Credits::new(*remaining).unwrap(),
            expires_at: *expires_at,
        });
        let open = self
            .sessions
            .iter()
            .filter(|hold| hold.is_open() && hold.user_id == alice());
        AccountState::new(
            alice(),
            allocations.collect(),
            self.sessions.clone(),
            open.count(),
        )
        .with_closed(self.closed)
    }

    /// The allocation at this place of the list, or one that is nobody's.
    fn allocation(&self, place: usize) -> Uuid {
        self.allocations.keys().nth(place).copied().unwrap_or_default()
    }

    fn store(&mut self, outcome: &Outcome) {
        if let Some(grant) = &outcome.granted {
            let row = (grant.credits.get(), 0, grant.expires_at);
            assert_eq!(self.allocations.insert(grant.id, row), None);
        }
        self.closed |= outcome.closed;
        for movement in outcome.entries().flat_map(|entry| &entry.movements) {
            let row = self.allocations.get_mut(&movement.allocation_id).unwrap();
            row.1 += movement.credits;
            assert!((0..=row.0).contains(&row.1), "I2: {row:?}");
        }
        if let Some(hold) = &outcome.hold {
            self.sessions.retain(|known| known.key != hold.key);
            self.sessions.push(hold.clone());
        }
    }
}

fn command(step: &Step, tables: &Tables, now: DateTime<Utc>) -> Command {
    let later = |secs| now + TimeDelta::seconds(secs);
    match step.op {
        Op::Allocate { credits, secs } => Command::Allocate {
            grant: grant(step.id, credits, later(secs)),
        },
        Op::Deduct { credits } => Command::Deduct {
            credits: amount(credits),
        },
        Op::Remove { credits } => Command::Remove {
            credits: amount(credits),
        },
        Op::RemoveAll => Command::RemoveAll,
        Op::Raise { credits, secs } => {
            Command::Adjust(Adjustment::Raise(grant(step.id, credits, later(secs))))
        }
        Op::Lower { credits } => Command::Adjust(Adjustment::Lower(amount(credits))),
        Op::Set { credits, secs } => Command::Set {
            target: (credits > 0).then(|| grant(step.id, credits, later(secs))),
        },
        Op::Hold {
            session,
            credits,
            secs,
        } => Command::Hold {
            opening: Opening {
                price_id: None,
                id: Uuid::from_u128(step.id),
                key: key(session),
                model_id: "m".to_owned(),
                estimated: Credits::ZERO,
                credits: amount(credits),
                expires_at: later(secs),
                open_holds_max: OPEN_HOLDS_MAX,
            },
        },
        Op::Capture { session, credits } => Command::Capture {
            key: key(session),
            credits: Credits::new(credits).unwrap(),
            succeeded: true,
            usage: UsageNote {
                id: Uuid::from_u128(step.id),
                service: "chat".to_owned(),
                operation: None,
                metadata: serde_json::Map::new(),
            },
        },
        Op::Void { session } => Command::Void { key: key(session) },
        Op::Expire { session } => Command::Expire { key: key(session) },
        Op::Withdraw { place, keep } => Command::Withdraw {
            allocation_id: tables.allocation(place),
            keep: Credits::new(keep).unwrap(),
        },
        Op::Close => Command::Close,
        Op::WriteOff => Command::WriteOff,
    }
}

fn ask(
    model: &mut Model,
    step: &Step,
    tables: &Tables,
    now: DateTime<Utc>,
) -> Result<Effect, super::Refusal> {
    let (id, later) = (Uuid::from_u128(step.id), |secs| now + TimeDelta::seconds(secs));
    let count = |credits: i64| usize::try_from(credits).unwrap();
    let name = |session: u8| key(session).session_id;
    match step.op {
        Op::Allocate { credits, secs } | Op::Raise { credits, secs } => {
            model.add(id, count(credits), later(secs))
        }
        Op::Deduct { credits } | Op::Remove { credits } | Op::Lower { credits } => {
            model.spend(count(credits), now)
        }
        Op::RemoveAll => model.remove_all(now),
        Op::Set { credits, secs } => model.set((credits > 0).then(|| (id, count(credits), later(secs))), now),
        Op::Hold {
            session,
            credits,
            secs,
        } => {
            let by_service = key(session).owner.is_service();
            model.hold(
                &name(session),
                by_service,
                count(credits),
                later(secs),
                OPEN_HOLDS_MAX,
                now,
            )
        }
        Op::Capture { session, credits } => {
            model.settle(&name(session), HoldStatus::Captured, count(credits), now)
        }
        Op::Void { session } => model.settle(&name(session), HoldStatus::Voided, 0, now),
        Op::Expire { session } => model.settle(&name(session), HoldStatus::Expired, 0, now),
        Op::Withdraw { place, keep } => model.withdraw(tables.allocation(place), count(keep), now),
        Op::Close => model.close(now),
        Op::WriteOff => Ok(if model.write_off(now) > 0 {
            Effect::Written
        } else {
            Effect::Repeated
        }),
    }
}

fn foreign_hold(now: DateTime<Utc>) -> Hold {
    Hold {
        price_id: None,
        id: Uuid::nil(),
        key: key(FOREIGN),
        user_id: UserId::parse("bbbbbbbbbbbbbbbbbbbbbbbb").unwrap(),
        model_id: "m".to_owned(),
        estimated: Credits::ZERO,
        held: amount(1).into(),
        captured: Credits::ZERO,
        status: HoldStatus::Open,
        draws: vec![Draw {
            allocation_id: Uuid::nil(),
            credits: amount(1).into(),
            expires_at: now,
        }],
        succeeded: None,
        started_at: now,
        expires_at: now,
        settled_at: None,
    }
}

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let (mut tables, mut model) = (Tables::default(), Model::default());
    tables.sessions.push(foreign_hold(now));
    model.add_foreign(&key(FOREIGN).session_id, now);
    let mut account = tables.load();
    let mut ledger_sum = 0;

    for step in steps {
        now += TimeDelta::milliseconds(step.millis);
        if step.reload {
            account = tables.load();
        }
        let before = (account.clone(), model.balance(now));
        let outcome = apply(&mut account, &command(step, &tables, now), now);
        let expected = ask(&mut model, step, &tables, now);
        if expected == Ok(Effect::Written) {
            model.write_off(now);
        }

        match (outcome, expected) {
            (Ok(outcome), Ok(effect)) => {
                prop_assert_eq!(outcome.entry.is_some(), effect == Effect::Written);
                prop_assert_eq!(outcome.balance_before.get(), i64::try_from(before.1).unwrap());
                prop_assert_eq!(outcome.balance_after, account.spendable(now));
                for entry in outcome.entries() {
                    ledger_sum += entry.amount;
                    prop_assert_eq!(entry.balance_after.get(), ledger_sum);
                    prop_assert_eq!(
                        entry.amount,
                        entry
                            .movements
                            .iter()
                            .map(|movement| movement.credits)
                            .sum::<i64>()
                    );
                }
                if effect == Effect::Written {
                    prop_assert_eq!(
                        outcome.balance_after.get(),
                        ledger_sum,
                        "the statement ends in the balance"
                    );
                } else {
                    prop_assert_eq!(outcome.entries().count(), 0);
                }
                prop_assert_eq!(
                    outcome.usage.is_some(),
                    effect == Effect::Written && matches!(step.op, Op::Capture { .. })
                );
                tables.store(&outcome);
            }
            (Err(refusal), Err(expected)) => {
                prop_assert_eq!(refusal, expected);
                prop_assert_eq!(&account, &before.0, "a refusal changes nothing");
            }
            (outcome, expected) => prop_assert!(false, "{outcome:?} instead of {expected:?}"),
        }

        prop_assert_eq!(
            account.spendable(now).get(),
            i64::try_from(model.balance(now)).unwrap()
        );
        let remaining: BTreeMap<_, _> = tables
            .allocations
            .iter()
            .map(|(id, (_, remaining, _))| (*id, *remaining))
            .collect();
        prop_assert_eq!(&remaining, &model.remaining());
        prop_assert_eq!(ledger_sum, remaining.values().sum::<i64>(), "I1");
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test run is repeated by its environment"
)]
fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_rules_agree_with_a_naive_ledger_on_random_commands() {
    let seed: u64 = variable("LEDGER_SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    let cases = variable("LEDGER_SEQUENCES").unwrap_or(10_000);
    // The fast generator: in a debug build the strong one would take most of the time.
    let bytes = [seed.to_le_bytes(), (!seed).to_le_bytes()].concat();
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);

    println!("{cases} sequences, LEDGER_SEED={seed}");
    let result = TestRunner::new_with_rng(config, rng).run(&steps(), |steps| run(&steps));

    assert!(
        result.is_ok(),
        "LEDGER_SEED={seed} fails: {}",
        result.unwrap_err()
    );
}
