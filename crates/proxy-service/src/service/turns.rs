//! Chat turns: a question, the hold that pays for it, Flowise's answer, its settlement.
//!
//! A turn is a task of its own on the main runtime. It does not end with the request that began it: a client may leave
//! and the turn still comes to its end, is stored and is paid for as the payment table says.

mod asking;
mod attending;
mod ending;
mod filing;
mod journal;
mod leaving;
mod metrics;
mod opening;
mod outbox;
mod recovering;
mod resuming;
mod running;
mod talking;
mod visiting;
mod watch;

use std::{sync::Arc, time::Instant};

use chrono::TimeDelta;
use common_http::{Clock, Lifecycle, Metrics, RequestContext, ServiceTokens};
use mongodb::Database;
use serde_json::{Map, Value};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

pub(crate) use self::{asking::Asking, visiting::VisitorTurn};
use self::{
    asking::Seat,
    metrics::TurnMetrics,
    opening::{Held, Opened, Opening},
    resuming::Readers,
    running::{Entered, Live, Running},
    talking::Begin,
    visiting::Workflow,
    watch::{Limits, Listener, Watch},
};
use crate::{
    accounting::{Accounting, Payer},
    admission::{AdmissionMetrics, Standing},
    config::Config,
    domain::{
        ask::Ask, chatflow::Chatflow, door::Door, failure::Failure, framing::Framing, transcript::Members,
        upstream::Usage,
    },
    error::{Error, Result},
    flowise::Flowise,
    n8n::N8n,
    relay,
    service::{
        access::Access,
        caps::{Capped, Caps},
        chatflows::Chatflows,
        chats::Chats,
        conversations::Conversations,
        files::{Files, Gathered},
        housekeeping::Housekeeping,
        widget::histories::Histories,
    },
    store::{
        daily_turns::DailyTurnStore,
        leases::LeaseStore,
        left_runs::LeftRunStore,
        messages::MessageStore,
        sessions::SessionStore,
        turn_events::TurnEventStore,
        turns::{Key, Known, TurnStore},
    },
};

/// How a turn reaches its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// As events, and the conversation is kept.
    Stored,
    /// As events; nothing is kept.
    Stream,
    /// As one whole answer; nothing is kept.
    Whole,
    /// As one whole answer, and the conversation is kept.
    StoredWhole,
}

impl Delivery {
    /// Idempotency keys count per route.
    const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Stream => "stream",
            Self::Whole => "whole",
            Self::StoredWhole => "stored_whole",
        }
    }

    /// Whether the conversation is kept.
    const fn is_stored(self) -> bool {
        matches!(self, Self::Stored | Self::StoredWhole)
    }

    /// Whether nobody sees anything of the answer before it is whole.
    const fn is_whole(self) -> bool {
        matches!(self, Self::Whole | Self::StoredWhole)
    }
}

/// A turn that has begun, or was had before.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The events are on their way.
    Streaming {
        /// Which turn it is.
        turn_id: String,
        /// They themselves.
        events: relay::Receiver,
    },
    /// The turn of the same idempotency key.
    Replay(Known),
}

/// A turn that was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeAnswer {
    /// The turn.
    pub(crate) turn_id: String,
    /// The text.
    pub(crate) text: String,
    /// Credits paid; `None` when accounting-service has not said it yet.
    pub(crate) cost: Option<i64>,
    /// The session it belongs to.
    pub(crate) session_id: String,
    /// Whether it is whole.
    pub(crate) outcome: std::result::Result<(), Failure>,
    /// The events other than tokens, as a JSON array.
    pub(crate) notes: String,
    /// The tokens it took, where the flow tells.
    pub(crate) usage: Option<Usage>,
    /// The members of the JSON answer that people may see, where Flowise was asked for one.
    pub(crate) members: Option<Members>,
}

/// A turn that was waited for, or was had before.
#[derive(Debug)]
pub(crate) enum Answered {
    /// Now.
    Now(WholeAnswer),
    /// The turn of the same idempotency key.
    Replay(Known),
}

pub(crate) use self::resuming::Rest;

/// Runs turns.
#[derive(Clone)]
pub(crate) struct Turns {
    shared: Arc<Shared>,
}

struct Shared {
    access: Access,
    caps: Caps,
    flowise: Flowise,
    n8n: N8n,
    accounting: Accounting,
    turns: TurnStore,
    events: TurnEventStore,
    sessions: SessionStore,
    messages: MessageStore,
    left_runs: LeftRunStore,
    files: Files,
    clock: Clock,
    limits: Limits,
    prompt_chars_max: usize,
    running_max: i32,
    heartbeat: std::time::Duration,
    lease: TimeDelta,
    running: Running,
    readers: Readers,
    metrics: TurnMetrics,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Where turns run: the runtimes of the HTTP server's threads end with the server.
    runtime: Handle,
}

/// Everything about one turn that is known before it begins.
struct Plan {
    turn_id: String,
    talker: Talker,
    /// What turns, holds and reports call what is asked, and its price; of an embed it is made up.
    chatflow: Arc<Chatflow>,
    capped: Capped,
    target: Target,
    ask: Ask,
    /// Taken out when the talk begins: they are large, and not needed once Flowise has them.
    files: Gathered,
    override_config: Map<String, Value>,
    seat: Seat,
    /// Under which Flowise remembers the conversation.
    memory_id: String,
    door: Door,
    delivery: Delivery,
    framing: Framing,
    /// Whether Flowise is asked for one JSON answer where a stream could be had.
    as_json: bool,
    key: Option<Key>,
    received_at: Instant,
}

/// Who talks, and who pays for it.
#[derive(Debug)]
struct Talker {
    /// A user id, or the name of a visitor.
    id: String,
    payer: Payer,
    /// Whether it is a visitor of an embed, who has no list of conversations.
    is_visitor: bool,
}

/// Who is asked.
#[derive(Debug)]
enum Target {
    /// A chatflow of Flowise.
    Flowise {
        /// By Flowise's id.
        flow_id: String,
    },
    /// A workflow of n8n.
    N8n(Box<Workflow>),
}

impl Target {
    /// The chatflow, where it is one.
    fn flow_id(&self) -> Option<&str> {
        match self {
            Self::Flowise { flow_id } => Some(flow_id),
            Self::N8n(_) => None,
        }
    }
}

impl Turns {
    /// Opens the collections and starts to look after turns that nobody looks after.
    pub(crate) async fn open(
        config: &Config,
        database: &Database,
        access: Access,
        tokens: ServiceTokens,
        lifecycle: &Lifecycle,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let lease = TimeDelta::from_std(config.turn_lease)?;
        let sessions = SessionStore::open(database).await?;
        let clock = config.clock.clone();
        let files = Files::open(config.file_limits, database, sessions.clone(), clock, metrics).await?;
        let per_user = config.daily_turns_per_user_max;
        let counters = DailyTurnStore::open(database).await?;
        let admission = AdmissionMetrics::new(metrics)?;
        let shared = Arc::new(Shared {
            access,
            caps: Caps::new(counters, config.day_zone, per_user, config.clock.clone()),
            flowise: Flowise::new(&config.flowise, &admission)?,
            n8n: N8n::new(&config.n8n, config.clock.clone(), &admission)?,
            accounting: Accounting::new(&config.accounting_url, tokens)?,
            turns: TurnStore::open(database, lease).await?,
            events: TurnEventStore::open(database).await?,
            sessions,
            messages: MessageStore::open(database).await?,
            files,
            left_runs: LeftRunStore::open(database).await?,
            clock: config.clock.clone(),
            limits: Limits {
                streaming_max: config.streaming_max,
                abandoned_drain: config.abandoned_turn_drain,
                shutdown_grace: config.shutdown_grace,
            },
            prompt_chars_max: config.prompt_chars_max,
            running_max: i32::try_from(config.running_turns_per_user_max)?,
            heartbeat: config.heartbeat,
            lease,
            running: Running::default(),
            readers: Readers::default(),
            metrics: TurnMetrics::new(metrics)?,
            stop: lifecycle.cancelled(),
            tasks: lifecycle.tasks().clone(),
            runtime: Handle::current(),
        });
        lifecycle.tasks().spawn(outbox::keep_leases(shared.clone()));
        lifecycle.tasks().spawn(outbox::tend(shared.clone()));
        lifecycle.tasks().spawn(attending::attend(shared.clone()));
        Ok(Self { shared })
    }

    /// What was said, over the same stores.
    pub(crate) fn conversations(&self) -> Conversations {
        let Shared {
            sessions,
            messages,
            turns,
            events,
            files,
            access,
            clock,
            ..
        } = &*self.shared;
        Conversations::new(
            sessions.clone(),
            messages.clone(),
            turns.clone(),
            events.clone(),
            files.clone(),
            access.clone(),
            clock.clone(),
        )
    }

    /// What clients of Flowise's API ask for around turns, over the same stores.
    pub(crate) fn chats(&self, chatflows: Chatflows) -> Chats {
        let Shared {
            access,
            flowise,
            sessions,
            messages,
            files,
            clock,
            ..
        } = &*self.shared;
        Chats {
            access: access.clone(),
            chatflows,
            turns: self.clone(),
            flowise: flowise.clone(),
            sessions: sessions.clone(),
            messages: messages.clone(),
            files: files.clone(),
            clock: clock.clone(),
        }
    }

    /// How each upstream stands.
    pub(crate) fn upstreams(&self) -> Vec<(&'static str, Standing)> {
        let mut standings = self.shared.n8n.standings();
        standings.push(self.shared.flowise.admission().standing());
        standings
    }

    /// What tidies up behind people and processes.
    pub(crate) fn housekeeping(
        &self,
        config: &Config,
        histories: Histories,
        leases: LeaseStore,
    ) -> Housekeeping {
        Housekeeping {
            files: self.files(),
            conversations: self.conversations(),
            histories,
            sessions: self.shared.sessions.clone(),
            leases,
            retention: config.history_retention,
            clock: config.clock.clone(),
        }
    }

    /// People's files.
    pub(crate) fn files(&self) -> Files {
        self.shared.files.clone()
    }

    /// Where everything about turns is kept.
    pub(crate) fn stores(&self) -> (SessionStore, MessageStore, TurnStore) {
        let Shared {
            sessions,
            messages,
            turns,
            ..
        } = &*self.shared;
        (sessions.clone(), messages.clone(), turns.clone())
    }

    /// Where turns and credits are counted.
    pub(crate) fn counters(&self) -> DailyTurnStore {
        self.shared.caps.store()
    }

    /// Where the events of turns are kept for a while.
    pub(crate) fn events(&self) -> TurnEventStore {
        self.shared.events.clone()
    }

    /// Starts the turn's task and waits until it is refused, found again, or paid for and under way.
    async fn spawn(&self, plan: Plan, listener: Listener) -> Result<Opened> {
        let (head, opened) = oneshot::channel();
        let is_kept = !plan.delivery.is_whole();
        let live = Live::new(&plan.turn_id, &plan.talker.id, &plan.seat.session_id, is_kept);
        let entered = self.shared.running.enter(live);
        let watch = Watch::new(
            listener,
            entered.live.clone(),
            self.shared.limits,
            self.shared.stop.clone(),
        );
        let turn = self.shared.clone().run(plan, entered, watch, head);
        let turn = RequestContext::current().scope(turn);
        let span = tracing::Span::current();
        self.shared
            .tasks
            .spawn_on(turn.instrument(span), &self.shared.runtime);
        opened.await.unwrap_or(Err(Error::TurnFailed(Failure::Broken)))
    }
}

impl Shared {
    async fn run(
        self: Arc<Self>,
        mut plan: Plan,
        entered: Entered,
        watch: Watch,
        mut head: oneshot::Sender<Result<Opened>>,
    ) {
        let _active = self.metrics.begin();
        // The middle of a turn is long; what its beginning and its end need has room only then.
        let refused_or_known = match Box::pin(self.open_turn(&plan, &mut head)).await {
            Ok(Opening::Held(Held {
                admitted,
                counted,
                hold,
                is_new_session,
            })) => {
                plan.seat.is_new = is_new_session;
                // Whoever asked may have left by now; the watch knows.
                let _ = head.send(Ok(Opened::Held));
                let files = std::mem::take(&mut plan.files);
                let history = std::mem::take(&mut plan.ask.history);
                let begun = Begin {
                    live: entered.live.clone(),
                    watch,
                    admitted,
                    hold,
                    files,
                    history,
                };
                let talk = self.talk(&plan, begun).await;
                Box::pin(self.end_turn(&plan, talk, counted)).await;
                Box::pin(self.close_journal(&entered.live)).await;
                return;
            }
            Ok(Opening::Known(known)) => Ok(Opened::Known(known)),
            Err(refused) => Err(refused),
        };
        let _ = head.send(refused_or_known);
    }
}
