//! Turns of visitors: an embed's owner pays, a chatflow or a workflow answers, and the rest is as for everybody.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bson::oid::ObjectId;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::{
    Answered, Begun, Delivery, Framing, Plan, Talker, Target, Turns, asking::Seat, opening::Opened,
    watch::Listener,
};
use crate::{
    accounting::Payer,
    domain::{
        ask::{Ask, ChatRequest},
        chatflow::{Chatflow, Price, SyncStatus},
        door::Door,
        embed::{Backend, Embed},
        failure::Failure,
        turn::new_turn_id,
        upstream_ids::memory_id,
        visitor::Visitor,
    },
    error::{Error, Result},
    n8n::{N8nBackend, N8nMessage},
    relay,
    service::{caps::Capped, files::Gathered},
    store::turns::Key,
};

/// A message of a visitor.
#[derive(Debug)]
pub(crate) struct VisitorTurn {
    pub(crate) visitor: Visitor,
    pub(crate) embed: Arc<Embed>,
    pub(crate) payer: Payer,
    /// The conversation, as the embed's sessions tell them apart.
    pub(crate) conversation_id: String,
    pub(crate) text: String,
    pub(crate) page_url: Option<String>,
    pub(crate) client_ip: IpAddr,
    pub(crate) user_agent: Option<String>,
    /// What the page told about itself, checked.
    pub(crate) context: Option<Map<String, Value>>,
    pub(crate) key: Option<String>,
}

/// A workflow and what it is told of the visitor.
#[derive(Debug)]
pub(super) struct Workflow {
    pub(super) backend: N8nBackend,
    conversation_id: String,
    origin_domain: String,
    page_url: Option<String>,
    client_ip: IpAddr,
    user_agent: Option<String>,
    fingerprint: String,
    message_count: u64,
    context: Option<Map<String, Value>>,
}

impl Workflow {
    /// A message for it.
    pub(super) fn message<'a>(&'a self, text: &'a str) -> N8nMessage<'a> {
        N8nMessage {
            text,
            session_id: &self.conversation_id,
            origin_domain: &self.origin_domain,
            page_url: self.page_url.as_deref(),
            client_ip: self.client_ip,
            user_agent: self.user_agent.as_deref(),
            fingerprint: Some(&self.fingerprint),
            message_count: self.message_count,
            context: self.context.as_ref(),
        }
    }
}

impl Talker {
    /// Who pays, where that is not who talks.
    pub(super) fn payer_id(&self) -> Option<&str> {
        self.is_visitor.then_some(self.payer.id.as_str())
    }
}

impl Turns {
    /// Begins a visitor's turn, whose events are read as they come.
    pub(crate) async fn stream_for_visitor(&self, turn: VisitorTurn) -> Result<Begun> {
        let plan = self.visitor_plan(turn, Delivery::Stored)?;
        let turn_id = plan.turn_id.clone();
        let (sender, receiver) = relay::channel(plan.framing.heartbeat(), self.shared.heartbeat);
        Ok(match self.spawn(plan, Listener::Stream(sender)).await? {
            Opened::Held => Begun::Streaming {
                turn_id,
                events: receiver,
            },
            Opened::Known(known) => Begun::Replay(known),
        })
    }

    /// Runs a visitor's turn to its end.
    pub(crate) async fn answer_visitor(&self, turn: VisitorTurn) -> Result<Answered> {
        let plan = self.visitor_plan(turn, Delivery::StoredWhole)?;
        let (sender, mut receiver) = mpsc::channel(1);
        if let Opened::Known(known) = self.spawn(plan, Listener::Whole(sender)).await? {
            return Ok(Answered::Replay(known));
        }
        let answer = receiver.recv().await.ok_or(Error::TurnFailed(Failure::Broken))?;
        answer.outcome.map_err(Error::TurnFailed)?;
        Ok(Answered::Now(answer))
    }

    fn visitor_plan(&self, turn: VisitorTurn, delivery: Delivery) -> Result<Plan> {
        let received_at = Instant::now();
        if self.shared.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        let talker_id = turn.visitor.talker_id();
        let session_id = turn.conversation_id.clone();
        // Only where Flowise answers is it asked under this name.
        let (target, memory_id) = match &turn.embed.backend {
            Backend::Flowise { chatflow_id } => (
                Target::Flowise {
                    flow_id: chatflow_id.clone(),
                },
                memory_id(&talker_id, chatflow_id, &session_id),
            ),
            Backend::N8n(webhook) => {
                let backend = N8nBackend {
                    webhook: webhook.url.clone(),
                    keys: webhook.keys(self.shared.clock.now()),
                    shown_nodes: webhook.shown_nodes.clone(),
                };
                (
                    Target::N8n(Box::new(workflow_of(&turn, backend))),
                    session_id.clone(),
                )
            }
        };
        let request = ChatRequest {
            question: Some(turn.text),
            form: None,
            human_input: None,
            chatflow_id: uuid::Uuid::nil().to_string(),
            override_config: None,
            history: None,
            session_id: Some(session_id.clone()),
            uploads: None,
            takes_read_files: false,
        };
        let key = turn.key.map(|key| Key {
            key: format!("{}:{key}", delivery.name()),
            fingerprint: request.fingerprint(None),
        });
        Ok(Plan {
            turn_id: new_turn_id(),
            talker: Talker {
                id: talker_id,
                payer: turn.payer,
                is_visitor: true,
            },
            capped: Capped::Embed {
                id: turn.embed.id.clone(),
                budget: turn.embed.budget,
                credits: turn.embed.price,
            },
            chatflow: Arc::new(stand_in(&turn.embed)),
            target,
            ask: Ask::parse(request, self.shared.prompt_chars_max)?,
            files: Gathered::default(),
            override_config: Map::new(),
            memory_id,
            seat: Seat {
                session_id,
                is_new: false,
                name: None,
            },
            door: Door::Widget,
            delivery,
            framing: Framing::Widget,
            as_json: false,
            key,
            received_at,
        })
    }
}

fn workflow_of(turn: &VisitorTurn, backend: N8nBackend) -> Workflow {
    let site = turn.visitor.entry.site();
    Workflow {
        backend,
        conversation_id: turn.conversation_id.clone(),
        origin_domain: site.map(|site| site.host().to_owned()).unwrap_or_default(),
        page_url: turn.page_url.clone().or_else(|| turn.visitor.page_url.clone()),
        client_ip: turn.client_ip,
        user_agent: turn.user_agent.clone(),
        fingerprint: turn.visitor.fingerprint.clone(),
        message_count: u64::try_from(turn.visitor.message_count).unwrap_or_default(),
        context: turn.context.clone(),
    }
}

/// What turns, holds and reports see in the place of a chatflow.
fn stand_in(embed: &Embed) -> Chatflow {
    Chatflow {
        id: ObjectId::from_bytes([0; 12]),
        flowise_id: embed.operation(),
        name: embed.name.clone(),
        description: None,
        category: None,
        kind: String::new(),
        deployed: false,
        is_public: false,
        created_date: None,
        updated_date: None,
        sync_status: SyncStatus::Active,
        price: Price::Flat(embed.price),
        override_config_allowed: Vec::new(),
        show_inner_events: false,
        daily_turns_max: None,
        daily_turns_per_user_max: None,
    }
}
