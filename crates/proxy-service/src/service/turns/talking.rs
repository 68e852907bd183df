//! The middle of a turn: Flowise is asked, and what it says goes to the client as it comes.

use std::{sync::Arc, time::Instant};

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use common_http::Timestamp;
use serde_json::{Value, json};

use super::{Plan, Shared, Target, running::Live, watch::Watch};
use crate::{
    admission::Admitted,
    domain::{
        ask::{Message, Upload},
        failure::Failure,
        framing::EventWriter,
        n8n::Piece,
        payment::Hold,
        transcript::{Inside, Transcript},
        upstream_ids::address_of,
    },
    flowise::{Events, Prediction, Reply},
    n8n,
    service::files::Gathered,
    store::{messages::Place, writer::WriteError},
};

/// What a talk begins with.
pub(super) struct Begin {
    pub(super) live: Arc<Live>,
    pub(super) watch: Watch,
    pub(super) admitted: Admitted,
    /// What pays for it.
    pub(super) hold: Hold,
    pub(super) files: Gathered,
    /// Earlier messages that the client sent along.
    pub(super) history: Vec<Message>,
}

/// What has been said and to whom, when the talk is over.
pub(super) struct Talk {
    pub(super) live: Arc<Live>,
    pub(super) watch: Watch,
    pub(super) hold: Hold,
    pub(super) transcript: Transcript,
    pub(super) writer: EventWriter,
    pub(super) outcome: Result<(), Failure>,
    /// The stored question.
    pub(super) question: Option<Question>,
    /// When Flowise was asked.
    pub(super) asked_at: Option<Instant>,
    /// The name of the run's stream.
    pub(super) chat_id: String,
    /// Whether Flowise has begun to answer.
    pub(super) has_head: bool,
    /// When it had said everything.
    pub(super) heard_at: Instant,
    content_is_marked: bool,
}

/// An answer that has begun.
enum Answering {
    Flowise(Box<Reply>),
    N8n(Box<n8n::Answer>),
}

/// A question in the history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) id: ObjectId,
    pub(super) asked_at: DateTime<Utc>,
}

impl Shared {
    /// Asks and relays until the answer is over or has to be.
    pub(super) async fn talk(self: &Arc<Self>, plan: &Plan, begun: Begin) -> Talk {
        let Begin {
            live,
            watch,
            admitted,
            hold,
            files,
            history,
        } = begun;
        let mut talk = Talk {
            live,
            watch,
            hold,
            transcript: Transcript::new(&plan.seat.session_id)
                .showing(Inside::of(plan.chatflow.show_inner_events))
                .keeping_members(plan.as_json),
            writer: EventWriter::new(plan.framing, &plan.turn_id),
            outcome: Ok(()),
            question: None,
            asked_at: None,
            chat_id: plan.memory_id.clone(),
            has_head: false,
            heard_at: Instant::now(),
            content_is_marked: false,
        };
        talk.outcome = self.try_talk(plan, admitted, (files, history), &mut talk).await;
        talk.heard_at = Instant::now();
        talk
    }

    async fn try_talk(
        self: &Arc<Self>,
        plan: &Plan,
        mut admitted: Admitted,
        enclosed: (Gathered, Vec<Message>),
        talk: &mut Talk,
    ) -> Result<(), Failure> {
        // The way to an answer takes much room, and the answer may take minutes: on the heap, that room is given back.
        let answering = Box::pin(self.ask(plan, &mut admitted, enclosed, talk)).await?;
        match answering {
            Answering::N8n(answer) => return self.relay_workflow(plan, answer, talk).await,
            Answering::Flowise(reply) => match *reply {
                Reply::Stream(events) => self.relay(plan, events, talk).await?,
                Reply::Whole(body) => {
                    talk.transcript.accept_whole(&body, &mut talk.writer)?;
                    self.mark_content(plan, talk);
                    talk.deliver().await?;
                }
            },
        }
        talk.transcript.verdict()
    }

    /// Stores the question and its files, and asks.
    async fn ask(
        self: &Arc<Self>,
        plan: &Plan,
        admitted: &mut Admitted,
        (files, history): (Gathered, Vec<Message>),
        talk: &mut Talk,
    ) -> Result<Answering, Failure> {
        if talk.watch.is_stopped() {
            return Err(Failure::Stopped);
        }
        if talk.watch.is_abandoned() {
            return Err(Failure::NotAsked);
        }
        let now = self.clock.now();
        if plan.delivery.is_stored() {
            talk.question = Some(Question {
                id: ObjectId::new(),
                asked_at: now,
            });
        }
        let attached = self.attach_files(plan, files, talk).await?;
        if plan.delivery.is_stored() && !plan.talker.is_visitor {
            talk.writer.write("session_id", &session_event(plan, now));
            talk.deliver().await?;
        }
        let chat_id = talk.watch.guard(self.chat_id(plan)).await?;
        talk.chat_id = chat_id.or(Err(Failure::Storage))?;
        talk.asked_at = Some(Instant::now());
        let mut prediction = plan.prediction(&talk.chat_id, &history, &attached.uploads);
        let asking = async {
            match &plan.target {
                Target::Flowise { flow_id } => {
                    let reply = self.flowise.ask(admitted, flow_id, &mut prediction).await;
                    reply.map(|reply| Answering::Flowise(Box::new(reply)))
                }
                Target::N8n(workflow) => {
                    let message = workflow.message(plan.ask.question.as_str());
                    let answer = self.n8n.ask(admitted, &workflow.backend, &message).await;
                    answer.map(|answer| Answering::N8n(Box::new(answer)))
                }
            }
        };
        let file_ids = attached.ids();
        let storing = self.store_question(plan, talk.question, &file_ids);
        let both = async { tokio::join!(storing, asking) };
        let (stored, reply) = talk.watch.guard(both).await?;
        // Returning frees the large parts of the request, and the memory set aside for them: Flowise has them now.
        talk.has_head = reply.is_ok();
        stored.or(Err(Failure::Storage))?;
        reply
    }

    async fn relay(
        self: &Arc<Self>,
        plan: &Plan,
        mut events: Events,
        talk: &mut Talk,
    ) -> Result<(), Failure> {
        loop {
            let Talk {
                watch,
                transcript,
                writer,
                ..
            } = talk;
            let next = events.next(|data| transcript.accept(data, writer));
            let mut heard = watch.guard(next).await?;
            if heard == Ok(true) {
                // Each piece on its own would cost timers, a lock and a wake-up of the reader's connection.
                heard = events.catch_up(|data| transcript.accept(data, writer)).await;
            }
            // What came before a break still belongs to the reader.
            self.mark_content(plan, talk);
            talk.deliver().await?;
            if talk.transcript.has_ended() {
                self.tasks.spawn(events.finish());
                return Ok(());
            }
            match heard {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // What has told of an error is over, however its connection ends.
                Err(_) if talk.transcript.has_failed() => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The same for a workflow of n8n. Nodes that speak one after the other are set apart by a blank line.
    async fn relay_workflow(
        self: &Arc<Self>,
        plan: &Plan,
        mut answer: Box<n8n::Answer>,
        talk: &mut Talk,
    ) -> Result<(), Failure> {
        let mut is_apart = true;
        loop {
            let Talk {
                watch,
                transcript,
                writer,
                ..
            } = talk;
            let next = answer.next(|piece| match piece {
                Piece::Begin => is_apart = !transcript.has_content(),
                Piece::Item(text) => {
                    if !std::mem::replace(&mut is_apart, true) {
                        transcript.say("\n\n", writer);
                    }
                    transcript.say(&text, writer);
                }
                Piece::End | Piece::Failed => {}
            });
            let heard = watch.guard(next).await?;
            self.mark_content(plan, talk);
            talk.deliver().await?;
            if !heard? {
                self.metrics.unread(answer.unread());
                return answer.verdict();
            }
        }
    }

    /// Notes the first content in the database, without making the stream wait: if this process dies, the turn is paid
    /// for. Somebody who waits for a whole answer has not been given anything yet.
    fn mark_content(self: &Arc<Self>, plan: &Plan, talk: &mut Talk) {
        if talk.content_is_marked || !talk.transcript.has_content() {
            return;
        }
        talk.content_is_marked = true;
        if let Some(asked_at) = talk.asked_at {
            self.metrics.first_token(asked_at.elapsed());
        }
        if plan.delivery.is_whole() {
            return;
        }
        let (shared, turn_id, held) = (self.clone(), plan.turn_id.clone(), talk.hold.credits());
        self.tasks.spawn(async move {
            if let Err(error) = shared.turns.mark_content(&turn_id, held).await {
                tracing::warn!(%error, turn_id, "the content of a turn could not be noted");
            }
        });
    }

    async fn store_question(
        &self,
        plan: &Plan,
        question: Option<Question>,
        file_ids: &[String],
    ) -> Result<(), WriteError> {
        let Some(question) = question else {
            return Ok(());
        };
        let text = &*plan.ask.text();
        let message =
            self.messages
                .insert_question(question.id, plan.place(), text, file_ids, question.asked_at);
        let session = async {
            // Visitors' sessions are no conversations in anybody's list.
            if plan.talker.is_visitor {
                return Ok(());
            }
            let (seat, user_id, flow_id) = (&plan.seat, &plan.talker.id, &plan.chatflow.flowise_id);
            let (session_id, name) = (&seat.session_id, seat.name.as_ref());
            if !seat.is_new {
                let at = question.asked_at;
                return self.sessions.go_on(session_id, user_id, name, text, at).await;
            }
            self.sessions
                .insert(session_id, user_id, flow_id, name, text, question.asked_at)
                .await
        };
        let (message, session) = tokio::join!(message, session);
        message.and(session)
    }
}

impl Talk {
    /// Sends what has been written, and keeps it for those who lose their connection.
    async fn deliver(&mut self) -> Result<(), Failure> {
        let written = self.writer.take();
        self.live.journal.push(&written, tokio::time::Instant::now());
        self.watch.deliver(written.framed).await
    }
}

impl Plan {
    /// What Flowise is asked.
    fn prediction<'a>(
        &'a self,
        chat_id: &'a str,
        history: &'a [Message],
        uploads: &'a [Upload],
    ) -> Prediction<'a> {
        let mut override_config = self.override_config.clone();
        override_config.insert("sessionId".to_owned(), Value::from(self.memory_id.as_str()));
        Prediction {
            question: self.ask.prompt(),
            form: self.ask.form.as_ref(),
            human_input: self.ask.human_input.as_ref(),
            chat_id,
            address: address_of(&self.talker.id),
            streaming: !self.as_json,
            override_config,
            history,
            uploads,
        }
    }

    /// Where this turn's messages belong.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            turn: &self.turn_id,
            user: &self.talker.id,
            chatflow: &self.chatflow.flowise_id,
            session: &self.seat.session_id,
        }
    }
}

/// The first event of a stored conversation.
fn session_event(plan: &Plan, now: DateTime<Utc>) -> Value {
    json!({
        "event": "session_id",
        "data": plan.seat.session_id,
        "chatflow_id": plan.chatflow.flowise_id,
        "turn_id": plan.turn_id,
        "timestamp": Timestamp(now),
        "status": "streaming_started",
    })
}
