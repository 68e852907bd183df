//! The end of a turn: what was said is stored, what it costs is settled, and only then the client is told that it is
//! over.

use std::sync::Arc;

use common_http::Timestamp;
use serde_json::json;

use super::{
    Plan, Shared, WholeAnswer,
    leaving::{LeftRun, leaves_a_run_behind},
    talking::{Question, Talk},
};
use crate::{
    domain::{
        failure::Failure,
        payment::{self, Ending, Hold, Settlement},
        transcript::Transcript,
        turn::{Due, next_attempt},
        upstream::Usage,
    },
    service::caps::Counted,
    store::{messages::QuestionStatus, turns::StoredAnswer, writer::WriteError},
};

impl Shared {
    /// Stores, settles and says goodbye. Nothing of it depends on a client that may have left or stalled.
    pub(super) async fn end_turn(self: &Arc<Self>, plan: &Plan, talk: Talk, counted: Counted) {
        let Talk {
            live,
            watch,
            hold,
            transcript,
            mut writer,
            outcome,
            question,
            asked_at,
            chat_id,
            has_head,
            heard_at,
            ..
        } = talk;
        if asked_at.is_some()
            && outcome.is_err_and(leaves_a_run_behind)
            && let Some(flow_id) = plan.target.flow_id()
        {
            let run = LeftRun {
                turn_id: &plan.turn_id,
                chatflow_id: flow_id,
                memory_id: &plan.memory_id,
                chat_id,
                may_not_have_begun: !has_head,
            };
            self.leave_run(run).await;
        }
        let due = settlement_of(plan, &transcript, outcome, hold);
        let mut counted = Some(counted);
        if outcome.is_err() && !was_delivered(plan, &transcript) {
            self.caps.give_back(counted.take().unwrap_or_default()).await;
        }
        let now = self.clock.now();
        let kept = stored_answer(plan, &transcript, outcome, due.settlement);
        let (stored, recorded) = tokio::join!(
            self.store_answer(plan, question, &transcript, outcome),
            self.turns.record_settlement(&due, kept.as_ref(), now)
        );
        if let Err(error) = stored {
            tracing::error!(%error, turn_id = plan.turn_id, "an answer could not be stored");
        }
        if let Err(error) = recorded {
            // Whoever takes the turn over settles it again; accounting-service settles once.
            tracing::error!(%error, turn_id = plan.turn_id, "a settlement could not be written down");
        }
        let paid = self.tell(&due).await;
        // Before anybody is told that the turn is over: whoever then asks again finds what is left.
        if let Some((counted, paid)) = counted.zip(paid) {
            self.caps.give_back_unpaid(counted, paid).await;
        }

        if let Err(failure) = outcome {
            // What the owner of an embed pays is nothing to its visitors.
            let shown = if plan.talker.is_visitor {
                Settlement::Nothing
            } else {
                due.settlement
            };
            say_failure(&mut writer, failure, shown, &transcript, Timestamp(now));
        }
        writer.write("end", &json!({ "event": "end", "data": "[DONE]" }));
        let cost = paid.or(due.settlement.cost());
        let whole = || WholeAnswer {
            turn_id: plan.turn_id.clone(),
            text: transcript.text(),
            cost,
            session_id: plan.seat.session_id.clone(),
            outcome,
            notes: transcript.notes(),
            usage: transcript.usage(),
            members: transcript.members().cloned(),
        };
        let last = writer.take();
        live.journal.push(&last, tokio::time::Instant::now());
        watch.finish(last.framed, whole).await;

        let before = asked_at.map_or_else(Default::default, |asked_at| asked_at - plan.received_at);
        self.metrics.added(before + heard_at.elapsed(), plan.door);
        self.metrics.unread(transcript.unread());
        self.metrics.ended(outcome, plan.door);
        tracing::info!(
            turn_id = plan.turn_id,
            outcome = outcome.map_or_else(Failure::code, |()| "completed"),
            credits = cost,
            "turn ended"
        );
        match paid {
            Some(paid) => self.note_settled(&due, paid).await,
            None => self.postpone(due).await,
        }
    }

    /// Tells accounting-service, which says what was paid; `None` when it has to be told again.
    pub(super) async fn tell(&self, due: &Due) -> Option<i64> {
        match self.accounting.settle(due, self.clock.now()).await {
            Ok(paid) => {
                self.metrics.settled(due, paid);
                Some(paid)
            }
            Err(error) => {
                tracing::warn!(
                    error = %anyhow::Error::new(error),
                    turn_id = due.id,
                    attempts = due.attempts,
                    "a turn could not be settled; it will be tried again"
                );
                None
            }
        }
    }

    /// Takes a settled turn out of the outbox. A crash before this only means that it is settled once more, to no
    /// effect.
    pub(super) async fn note_settled(&self, due: &Due, paid: i64) {
        if let Err(error) = self.turns.mark_settled(due, paid, self.clock.now()).await {
            tracing::warn!(%error, turn_id = due.id, "a settled turn stays in the outbox for now");
        }
    }

    /// Leaves a settlement to the outbox.
    pub(super) async fn postpone(&self, mut due: Due) {
        let due_at = next_attempt(due.attempts, self.clock.now());
        due.attempts = due.attempts.saturating_add(1);
        if let Err(error) = self.turns.postpone(&due, due_at).await {
            tracing::warn!(%error, turn_id = due.id, "a settlement waits for its lease to run out");
        }
    }

    async fn store_answer(
        &self,
        plan: &Plan,
        question: Option<Question>,
        transcript: &Transcript,
        outcome: Result<(), Failure>,
    ) -> Result<(), WriteError> {
        let Some(question) = question else {
            return Ok(());
        };
        let status = match outcome {
            Ok(()) => QuestionStatus::Answered,
            Err(Failure::Stopped) => QuestionStatus::Stopped,
            Err(_) => QuestionStatus::Failed,
        };
        let answer = async {
            if outcome.is_err() && !transcript.has_content() {
                return Ok(());
            }
            let (content, notes) = (transcript.content(), transcript.notes());
            let (asked_at, now) = (question.asked_at, self.clock.now());
            self.messages
                .insert_answer(plan.place(), &content, &notes, asked_at, now)
                .await
        };
        let (answer, question) = tokio::join!(answer, self.messages.update_question(question.id, status));
        answer.and(question)
    }
}

/// Whether the reader was given something of the answer.
fn was_delivered(plan: &Plan, transcript: &Transcript) -> bool {
    transcript.has_content() && !plan.delivery.is_whole()
}

/// What becomes of the turn's hold. Somebody who waited for a whole answer was given nothing of a broken one.
fn settlement_of(plan: &Plan, transcript: &Transcript, outcome: Result<(), Failure>, hold: Hold) -> Due {
    let ending = if outcome.is_ok() {
        Ending::Completed
    } else {
        Ending::Broken
    };
    let delivered = was_delivered(plan, transcript);
    let tokens = transcript.usage().and_then(Usage::tokens);
    Due {
        id: plan.turn_id.clone(),
        user_id: plan.talker.payer.id.clone(),
        chatflow_id: plan.chatflow.flowise_id.clone(),
        held: hold.credits(),
        settlement: payment::settle(ending, delivered, tokens, hold),
        success: outcome.is_ok(),
        total_tokens: tokens,
        attempts: 0,
    }
}

/// What a repeat of the request is answered with: only a turn that answered or cost something is not run again.
fn stored_answer(
    plan: &Plan,
    transcript: &Transcript,
    outcome: Result<(), Failure>,
    settlement: Settlement,
) -> Option<StoredAnswer> {
    plan.key.as_ref()?;
    (outcome.is_ok() || settlement.is_capture()).then(|| StoredAnswer {
        text: transcript.text(),
        metadata: transcript.metadata().map(ToString::to_string),
        failure: outcome.err().map(|failure| failure.sentence().to_owned()),
    })
}

/// An event for programs and a sentence for people: the existing client shows nothing but tokens.
fn say_failure(
    writer: &mut crate::domain::framing::EventWriter,
    failure: Failure,
    settlement: Settlement,
    transcript: &Transcript,
    now: Timestamp,
) {
    if failure == Failure::Stopped {
        // Nothing failed: whoever stopped it knows why it ends.
        writer.write(
            "abort",
            &json!({ "event": "abort", "data": "[DONE]", "timestamp": now }),
        );
        return;
    }
    let sentence = failure.sentence();
    let error = json!({ "event": "error", "data": sentence, "code": failure.code(), "timestamp": now });
    writer.write("error", &error);
    let gap = if transcript.has_content() { "\n\n" } else { "" };
    let refund = if settlement == Settlement::Void {
        " No credits were used."
    } else {
        ""
    };
    writer.write(
        "token",
        &json!({ "event": "token", "data": format!("{gap}{sentence}{refund}") }),
    );
}
