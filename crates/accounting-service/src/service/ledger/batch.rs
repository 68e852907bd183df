//! Applies a batch in memory: from what was loaded to what is to be written. No database, no waiting.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Answer, Job};
use crate::{
    domain::{
        idempotency::IdempotencyKey,
        ids::Actor,
        ledger::{Entry, Outcome, apply},
        notice::Watch,
    },
    error::{Error, Result},
    store::{Changes, LedgerRow, Loaded, Remembered, RememberedRow, RuleGrantRow, Wanted},
};

/// Why credits are written off, in the words of the ledger.
pub(in crate::service) const EXPIRED: &str = "expired";

const RETURNED_TOO_LATE: &str = "returned after their allocation had expired";

/// What the jobs speak of. `doubtful` are commands that may have been carried out already.
pub(super) fn wanted(jobs: &[Job], doubtful: Vec<Uuid>) -> Wanted<'_> {
    let mut wanted = Wanted {
        doubtful,
        ..Wanted::default()
    };
    for job in jobs {
        let instruction = &job.instruction;
        wanted.users.insert(&instruction.user_id);
        if instruction.command.opens_hold() {
            wanted.openers.insert(&instruction.user_id);
        }
        let session = instruction.command.session();
        wanted
            .sessions
            .extend(session.map(|key| (&instruction.user_id, key)));
        let claim = instruction.command.claim();
        wanted
            .claims
            .extend(claim.map(|claim| (&instruction.user_id, claim)));
        wanted.keys.extend(&instruction.origin.idempotency);
    }
    wanted
}

/// A batch while it is being applied.
pub(super) struct Batch<'a> {
    loaded: Loaded,
    /// Answers of commands whose commit was sent before the connection broke.
    decided: &'a HashMap<Uuid, Answer>,
    now: DateTime<Utc>,
    /// What the operator wants to be told of.
    watch: Option<Watch>,
    /// What is to be written.
    pub(super) changes: Changes,
    /// The answers that hold once it is written, by command.
    pub(super) deciding: HashMap<Uuid, Answer>,
    /// Whether something was applied that must not be written.
    pub(super) spoiled: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        loaded: Loaded,
        decided: &'a HashMap<Uuid, Answer>,
        now: DateTime<Utc>,
        watch: Option<Watch>,
    ) -> Self {
        Self {
            loaded,
            decided,
            now,
            watch,
            changes: Changes::default(),
            deciding: HashMap::new(),
            spoiled: false,
        }
    }

    /// Applies one job. A refusal touches nothing that its neighbours see.
    pub(super) fn run(&mut self, job: &Job) -> Result<Answer> {
        if self.loaded.done.contains(&job.id) {
            return self.decided.get(&job.id).cloned().ok_or(Error::OutcomeUnknown);
        }
        let instruction = &job.instruction;
        if let Some(answer) = self.replay(instruction.origin.idempotency.as_ref())? {
            return Ok(answer);
        }
        let claim = instruction.command.claim();
        let claim = claim.map(|claim| (instruction.user_id.clone(), claim.clone()));
        if claim
            .as_ref()
            .is_some_and(|claim| self.loaded.claimed.contains(claim))
        {
            return Ok(Answer::given_before(instruction.status));
        }
        let account = self
            .loaded
            .accounts
            .get_mut(&instruction.user_id)
            .ok_or(Error::UserNotFound)?;
        let outcome = apply(account, &instruction.command, self.now)?;
        // What was applied cannot be undone: when its answer cannot be written, the whole batch is void.
        let body = (instruction.render)(&outcome).inspect_err(|_| self.spoiled = true)?;
        let answer = Answer {
            status: instruction.status,
            body,
            replayed: false,
        };

        let rows = ledger_rows(job, &outcome);
        let command_id = (!rows.is_empty()).then_some(job.id);
        if command_id.is_some() {
            self.deciding.insert(job.id, answer.clone());
        }
        self.changes.add(&instruction.user_id, &outcome, rows);
        if let Some((user_id, claim)) = claim {
            self.changes.claim(RuleGrantRow {
                user_id: user_id.clone(),
                claim: claim.clone(),
                transaction_id: job.id,
            });
            self.loaded.claimed.insert((user_id, claim));
        }
        if let Some(watch) = self.watch {
            watch.look(&mut self.changes.noticed, &instruction.user_id, &outcome);
        }
        if let Some(key) = &instruction.origin.idempotency {
            self.remember(key, &answer, command_id);
        }
        Ok(answer)
    }

    /// The answer an earlier request with this key got. Only what had an effect is remembered: a refusal changed
    /// nothing, so its key stays free, and a client that was short of credits may try again with the same one.
    fn replay(&self, key: Option<&IdempotencyKey>) -> Result<Option<Answer>> {
        let Some(key) = key else {
            return Ok(None);
        };
        let Some(known) = self.loaded.remembered.get(&(key.scope.clone(), key.key.clone())) else {
            return Ok(None);
        };
        Answer::replay(known, key).map(Some)
    }

    /// For the database, and for a twin in the same batch.
    fn remember(&mut self, key: &IdempotencyKey, answer: &Answer, command_id: Option<Uuid>) {
        let row = RememberedRow {
            key: key.clone(),
            status: i16::try_from(answer.status).unwrap_or(i16::MAX),
            body: answer.body.clone(),
            command_id,
            created_at: self.now,
        };
        self.loaded
            .remembered
            .insert((key.scope.clone(), key.key.clone()), Remembered::from(&row));
        self.changes.remember(row);
    }
}

/// The lines of one command. Its own has the command's id; the write-offs around it are the system's.
fn ledger_rows(job: &Job, outcome: &Outcome) -> Vec<LedgerRow> {
    let instruction = &job.instruction;
    let row = |id: Uuid, entry: &Entry, actor: Actor, description: Option<String>| LedgerRow {
        id,
        user_id: instruction.user_id.clone(),
        entry: entry.clone(),
        description,
        actor,
        request_id: instruction.origin.request_id.clone(),
    };
    let written_off = |entry: &Option<Entry>, why: &str| {
        let entry = entry.as_ref()?;
        Some(row(Uuid::now_v7(), entry, Actor::system(), Some(why.to_owned())))
    };
    let own = outcome.entry.as_ref().map(|entry| {
        let origin = &instruction.origin;
        row(
            job.id,
            entry,
            origin.actor.clone(),
            instruction.description.clone(),
        )
    });
    [
        written_off(&outcome.lapsed_before, EXPIRED),
        own,
        written_off(&outcome.lapsed_after, RETURNED_TOO_LATE),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Answer {
    /// The answer to something that was done once and for all.
    fn given_before(status: u16) -> Self {
        Self {
            status,
            body: String::new(),
            replayed: true,
        }
    }

    /// The remembered answer once more, if it was to the same request.
    pub fn replay(known: &Remembered, key: &IdempotencyKey) -> Result<Self> {
        if known.fingerprint != key.fingerprint {
            return Err(Error::IdempotencyKeyReused);
        }
        Ok(Self {
            status: u16::try_from(known.status).or(Err(Error::Unreadable("idempotency_keys.status")))?,
            body: known.body.clone(),
            replayed: true,
        })
    }
}
