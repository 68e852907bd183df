//! The beginning of a turn: everything that must be true, and paid for, before Flowise is asked.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::{
    accounting::HoldRefused,
    admission::{Admitted, TurnedAway},
    domain::{
        failure::Failure,
        payment::{Hold, Settlement},
        turn::Due,
    },
    error::{Error, Result},
    service::caps::Counted,
    store::turns::{Conflict, Key, Known, NewTurn, Stage},
};

use super::{Plan, Shared, Target};

/// How often a turn tries for a key that was given free while it looked.
const ATTEMPTS: i32 = 4;

/// A turn that may go on, to those who run it.
#[derive(Debug)]
pub(super) enum Opening {
    /// Its credits are held.
    Held(Held),
    /// It was had before.
    Known(Known),
}

/// What a turn has that may go on.
#[derive(Debug)]
pub(super) struct Held {
    /// A place at whoever is asked.
    pub(super) admitted: Admitted,
    /// Its number, where turns are capped.
    pub(super) counted: Counted,
    /// What pays for it.
    pub(super) hold: Hold,
    /// Whether its session begins with it.
    pub(super) is_new_session: bool,
}

/// A turn that may go on, to those who asked for it.
#[derive(Debug)]
pub(super) enum Opened {
    /// Its credits are held.
    Held,
    /// It was had before.
    Known(Known),
}

impl Shared {
    /// Writes the turn down, waits for a place at Flowise while whoever asked waits for `head`, then holds its credits.
    pub(super) async fn open_turn(
        &self,
        plan: &Plan,
        head: &mut oneshot::Sender<Result<Opened>>,
    ) -> Result<Opening> {
        let opened = self.try_open_turn(plan, head).await;
        if let Err(error) = &opened {
            self.metrics.refused(error.code(), plan.door);
        }
        opened
    }

    async fn try_open_turn(
        &self,
        plan: &Plan,
        head: &mut oneshot::Sender<Result<Opened>>,
    ) -> Result<Opening> {
        if let Some(known) = self.write_down(plan).await? {
            return Ok(Opening::Known(known));
        }
        let ids = [plan.turn_id.clone()];
        let admitted = async {
            let is_new_session = self.check_session(plan).await?;
            let admitted = self.admit(plan, head).await?;
            Ok((admitted, is_new_session))
        };
        let (admitted, is_new_session) = match admitted.await {
            Ok(admitted) => admitted,
            Err(error) => {
                self.turns.delete(&ids).await?;
                return Err(error);
            }
        };
        let counted = match self.caps.take(&plan.talker.id, &plan.capped).await {
            Ok(counted) => counted,
            Err(error) => {
                self.turns.delete(&ids).await?;
                return Err(error);
            }
        };
        let refused = match self.hold(plan).await {
            Ok(hold) => {
                let counted = match self.caps.take_held(&plan.capped, hold, counted).await {
                    Ok(counted) => counted,
                    Err(error) => {
                        self.void_unknown(plan).await?;
                        return Err(error);
                    }
                };
                self.metrics.held(hold.credits());
                return Ok(Opening::Held(Held {
                    admitted,
                    counted,
                    hold,
                    is_new_session,
                }));
            }
            Err(refused) => refused,
        };
        self.caps.give_back(counted).await;
        if refused == HoldRefused::Unknown {
            self.void_unknown(plan).await?;
        } else {
            self.turns.delete(&ids).await?;
        }
        Err(match refused {
            HoldRefused::Insufficient { required, available } => {
                Error::InsufficientCredits { required, available }
            }
            HoldRefused::TooMany { retry_after_secs } => Error::TooManyOpenHolds { retry_after_secs },
            HoldRefused::Unavailable | HoldRefused::Unknown => Error::AccountingUnavailable,
        })
    }

    /// Holds what the turn may cost.
    async fn hold(&self, plan: &Plan) -> Result<Hold, HoldRefused> {
        let (chatflow, now) = (&plan.chatflow, self.clock.now());
        if chatflow.price.is_free() {
            return Ok(Hold::None);
        }
        let hold = self
            .accounting
            .hold(&plan.turn_id, &plan.talker.payer, chatflow, now);
        Ok(chatflow.price.hold(hold.await?))
    }

    /// Waits for a place at Flowise, as long as there is somebody who waits for the answer and the service goes on.
    async fn admit(&self, plan: &Plan, head: &mut oneshot::Sender<Result<Opened>>) -> Result<Admitted> {
        let admission = match &plan.target {
            Target::Flowise { .. } => self.flowise.admission().clone(),
            Target::N8n(workflow) => self.n8n.admission(&workflow.backend),
        };
        let secs = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let entered = tokio::select! {
            biased;
            entered = admission.enter() => entered,
            () = head.closed() => return Err(Error::TurnFailed(Failure::NotAsked)),
            () = self.stop.cancelled() => return Err(Error::Stopping),
        };
        entered.map_err(|turned_away| match turned_away {
            TurnedAway::CircuitOpen { wait } => Error::UpstreamCircuitOpen {
                retry_after_secs: secs(wait),
            },
            TurnedAway::Busy { wait } => Error::UpstreamBusy {
                retry_after_secs: secs(wait),
            },
        })
    }

    /// Takes the session, a slot and the idempotency key in one write. The turn that has the key already is returned.
    async fn write_down(&self, plan: &Plan) -> Result<Option<Known>> {
        let first_slot = first_slot(&plan.turn_id, self.running_max);
        let mut slot = first_slot;
        // Each slot that is found taken was taken by another turn; there are only so many.
        for _ in 0..ATTEMPTS + self.running_max {
            let turn = NewTurn {
                id: &plan.turn_id,
                user_id: &plan.talker.id,
                payer_id: plan.talker.payer_id(),
                flow_id: plan.target.flow_id().filter(|_| plan.talker.is_visitor),
                session_id: &plan.seat.session_id,
                chatflow_id: &plan.chatflow.flowise_id,
                hold: plan.chatflow.price.hold_to_be(),
                slot,
                key: plan.key.as_ref(),
                delivery: plan.delivery.name(),
            };
            let Err(conflict) = self.turns.insert(&turn, self.clock.now()).await else {
                return Ok(None);
            };
            // The same request sent twice collides in its session too; that it is the same says more.
            if let Some(key) = &plan.key
                && let Some(known) = self.turns.find_by_key(&plan.talker.id, &key.key).await?
            {
                return known_or_refused(known, key).map(Some);
            }
            match conflict {
                Conflict::SessionIsBusy => {
                    let turn_id = self
                        .turns
                        .find_running(&plan.talker.id, &plan.seat.session_id)
                        .await?;
                    return Err(Error::TurnRunning { turn_id });
                }
                Conflict::SlotIsTaken => slot = self.free_slot(&plan.talker.id, first_slot).await?,
                Conflict::KeyIsUsed => {}
                Conflict::Failed(error) => return Err(error.into()),
            }
        }
        Err(self.too_many())
    }

    /// The first free slot from `first` on: turns that begin together look at different ones.
    async fn free_slot(&self, user_id: &str, first: i32) -> Result<i32> {
        let taken = self.turns.list_slots(user_id).await?;
        let mut slots = (first..self.running_max).chain(0..first);
        let free = slots.find(|slot| !taken.contains(slot));
        free.ok_or_else(|| self.too_many())
    }

    fn too_many(&self) -> Error {
        Error::TooManyTurns {
            max: usize::try_from(self.running_max).unwrap_or_default(),
        }
    }

    /// A stored conversation is gone on with only by whom it belongs to, with the chatflow it began with. What is not
    /// stored needs no look: the id Flowise gets is made of the user's id too. Says whether the session is a new one; it is
    /// taken by now, so it does not begin elsewhere meanwhile.
    async fn check_session(&self, plan: &Plan) -> Result<bool> {
        if plan.seat.is_new || !plan.delivery.is_stored() || plan.talker.is_visitor {
            return Ok(plan.seat.is_new);
        }
        let (session_id, user_id) = (&plan.seat.session_id, &plan.talker.id);
        if self
            .sessions
            .exists(session_id, user_id, &plan.chatflow.flowise_id)
            .await?
        {
            Ok(false)
        } else if plan.seat.name.is_some() {
            Ok(true)
        } else {
            Err(Error::SessionNotFound)
        }
    }

    /// A hold whose fate nobody knows is voided through the outbox: if it was not made, nothing happens.
    async fn void_unknown(&self, plan: &Plan) -> Result<()> {
        let due = Due {
            id: plan.turn_id.clone(),
            user_id: plan.talker.payer.id.clone(),
            chatflow_id: plan.chatflow.flowise_id.clone(),
            held: plan.chatflow.price.hold_to_be().credits(),
            settlement: Settlement::Void,
            success: false,
            total_tokens: None,
            attempts: 0,
        };
        self.turns.record_settlement(&due, None, self.clock.now()).await?;
        self.postpone(due).await;
        Ok(())
    }
}

/// A finished turn is given again; a running one, or another request under the same key, is refused.
fn known_or_refused(known: Known, key: &Key) -> Result<Known> {
    if known.fingerprint != key.fingerprint {
        return Err(Error::IdempotencyKeyReused);
    }
    match known.stage {
        Stage::Running => Err(Error::IdempotencyInProgress { turn_id: known.id }),
        // The conversation was deleted, and its answers with it.
        Stage::Settling | Stage::Settled if known.answer.is_none() => Err(Error::SessionNotFound),
        Stage::Settling | Stage::Settled => Ok(known),
    }
}

/// A slot to try first: any will do, and the last digits of a turn's id are random.
fn first_slot(turn_id: &str, running_max: i32) -> i32 {
    let digits = turn_id.get(turn_id.len().saturating_sub(6)..).unwrap_or_default();
    i32::from_str_radix(digits, 16).unwrap_or_default() % running_max.max(1)
}
