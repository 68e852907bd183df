//! How a door asks for a turn: what it hands over, and what is checked of it before anything is written.

use std::time::Instant;

use common_http::CurrentUser;
use tokio::sync::mpsc;

use super::{
    Answered, Begun, Delivery, Framing, Plan, Talker, Target, Turns, opening::Opened, watch::Listener,
};
use crate::{
    accounting::Payer,
    domain::{
        ask::{Ask, ChatRequest},
        chatflow::Chatflow,
        door::Door,
        failure::Failure,
        session_name::SessionName,
        turn::{new_session_id, new_turn_id},
        upstream_ids::memory_id,
    },
    error::{Error, Result},
    relay,
    service::caps::Capped,
    store::turns::Key,
    upload_memory::Share,
};

/// A turn that a person asks for.
#[derive(Debug)]
pub(crate) struct Asking {
    /// Who asks, and pays.
    pub(crate) user: CurrentUser,
    /// What is asked.
    pub(crate) request: ChatRequest,
    /// The memory that the request has.
    pub(crate) share: Share,
    /// The client's idempotency key.
    pub(crate) key: Option<String>,
    /// Through which door.
    pub(crate) door: Door,
    /// How it is answered, and whether the conversation is kept.
    pub(crate) delivery: Delivery,
    /// What the client calls the session, where it does so by a name of its own; then the request's `sessionId` says
    /// nothing. A name that is new begins a session.
    pub(crate) session: Option<SessionName>,
    /// Whether Flowise is asked for one JSON answer, whose members a stream does not have, instead of for a stream.
    pub(crate) as_json: bool,
}

impl Asking {
    /// A turn of our own chat routes.
    pub(crate) fn native(
        user: CurrentUser,
        request: ChatRequest,
        share: Share,
        key: Option<String>,
        delivery: Delivery,
    ) -> Self {
        Self {
            user,
            request,
            share,
            key,
            door: Door::Native,
            delivery,
            session: None,
            as_json: false,
        }
    }

    /// Idempotency keys count per route.
    fn key(&mut self) -> Option<Key> {
        let key = self.key.take()?;
        let fingerprint = self.request.fingerprint(self.session.as_ref());
        let delivery = self.delivery.name();
        let key = match self.door {
            Door::Native | Door::Widget => format!("{delivery}:{key}"),
            Door::Flowise | Door::OpenAi => format!("{}-{delivery}:{key}", self.door.as_str()),
        };
        Some(Key { key, fingerprint })
    }
}

/// Which session a turn belongs to.
pub(super) struct Seat {
    pub(super) session_id: String,
    /// Whether it begins with this turn; a session with a name may, too.
    pub(super) is_new: bool,
    /// What the client calls it.
    pub(super) name: Option<SessionName>,
}

impl Turns {
    /// Begins a turn whose events are read as they come.
    pub(crate) async fn stream(&self, asking: Asking, framing: Framing) -> Result<Begun> {
        let plan = self.plan(asking, framing).await?;
        let turn_id = plan.turn_id.clone();
        let (sender, receiver) = relay::channel(framing.heartbeat(), self.shared.heartbeat);
        let opened = self.spawn(plan, Listener::Stream(sender)).await?;
        Ok(match opened {
            Opened::Held => Begun::Streaming {
                turn_id,
                events: receiver,
            },
            Opened::Known(known) => Begun::Replay(known),
        })
    }

    /// Runs a turn to its end.
    pub(crate) async fn answer(&self, asking: Asking) -> Result<Answered> {
        let plan = self.plan(asking, Framing::Lines).await?;
        let (sender, mut receiver) = mpsc::channel(1);
        if let Opened::Known(known) = self.spawn(plan, Listener::Whole(sender)).await? {
            return Ok(Answered::Replay(known));
        }
        // A task that panicked answers nobody; its hold is voided when its lease runs out.
        let answer = receiver.recv().await.ok_or(Error::TurnFailed(Failure::Broken))?;
        answer.outcome.map_err(Error::TurnFailed)?;
        Ok(Answered::Now(answer))
    }

    /// Checks everything that can be checked before anything is written.
    async fn plan(&self, mut asking: Asking, framing: Framing) -> Result<Plan> {
        let received_at = Instant::now();
        if self.shared.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        let key = asking.key();
        let Asking {
            user,
            request,
            share,
            door,
            delivery,
            session,
            as_json,
            ..
        } = asking;
        let mut ask = Ask::parse(request, self.shared.prompt_chars_max)?;
        let grant = self.shared.access.grant_for(&user, &ask.chatflow_id).await?;
        let chatflow = grant.chatflow.clone();
        let flow_id = chatflow.flowise_id.clone();
        let override_config = ask.override_config(&chatflow.override_config_allowed)?;
        let capped = Capped::person(grant, &user);
        let seat = self.seat(&user.id, &chatflow, &ask, session, delivery).await?;
        // Only our own streams have events about files.
        let is_told = door == Door::Native && !delivery.is_whole();
        let files = self
            .shared
            .gather_files(&user.id, &mut ask, is_told, share)
            .await?;
        Ok(Plan {
            turn_id: new_turn_id(),
            memory_id: memory_id(&user.id, &chatflow.flowise_id, &seat.session_id),
            talker: Talker {
                id: user.id.clone(),
                payer: Payer::from(user),
                is_visitor: false,
            },
            chatflow,
            capped,
            target: Target::Flowise { flow_id },
            ask,
            files,
            override_config,
            seat,
            door,
            delivery,
            framing,
            as_json,
            key,
            received_at,
        })
    }

    /// The session that a request means. A name that is the id of one of the person's own sessions with the chatflow
    /// means that one, wherever it was begun.
    async fn seat(
        &self,
        user_id: &str,
        chatflow: &Chatflow,
        ask: &Ask,
        name: Option<SessionName>,
        delivery: Delivery,
    ) -> Result<Seat> {
        let Some(name) = name else {
            return Ok(Seat {
                session_id: ask.session_id.clone().unwrap_or_else(new_session_id),
                is_new: ask.session_id.is_none(),
                name: None,
            });
        };
        let own = if delivery.is_stored() {
            self.own_session(user_id, &chatflow.flowise_id, &name).await?
        } else {
            None
        };
        Ok(match own {
            Some(session_id) => Seat {
                session_id,
                is_new: false,
                name: None,
            },
            None => Seat {
                session_id: name.session_id(user_id, &chatflow.flowise_id),
                is_new: false,
                name: Some(name),
            },
        })
    }

    /// The id of the session that the person calls so, which may not have begun.
    pub(crate) async fn session_named(
        &self,
        user_id: &str,
        flowise_id: &str,
        name: &SessionName,
    ) -> Result<String> {
        let own = self.own_session(user_id, flowise_id, name).await?;
        Ok(own.unwrap_or_else(|| name.session_id(user_id, flowise_id)))
    }

    async fn own_session(
        &self,
        user_id: &str,
        flowise_id: &str,
        name: &SessionName,
    ) -> Result<Option<String>> {
        let Some(own) = name.own_id() else {
            return Ok(None);
        };
        let exists = self.shared.sessions.exists(&own, user_id, flowise_id).await?;
        Ok(exists.then_some(own))
    }
}
