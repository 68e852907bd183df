//! A stand-in Flowise: it answers the requests of the gateway as Flowise 3.1.4 was recorded doing, with the ids,
//! questions and replies of the request at hand, and misbehaves when a [`Rule`] tells it to.
//!
//! Its chatflows are those of the recording (see [`chatflow`]). Words in a question do what they did to the mock model
//! that was recorded: `SLOW` (40 tokens, 250 ms apart), `LONG` (400 tokens), `CALC` (a tool call, on the tool flow),
//! `FAIL401`, `FAIL429` and `FAIL500` (the model refuses).
//!
//! A run ends when its client leaves, unless its behaviour says that it `runs_on`, as at Flowise: then two streams that share
//! one `chatId` disturb each other, too.
//!
//! The LLM flow takes pictures, no other takes anything, and every file that is to be read is the recorded note.
//!
//! What it leaves out: predictions that are forms, memories, the content of files and the rate limit of a flow.

mod behaviour;
mod catalogue;
mod chats;
mod control;
mod counts;
mod performance;
pub mod recordings;
mod script;
mod server;
mod template;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;

pub use self::{
    behaviour::{Behaviour, Ending, Refusal, Rule, Writes},
    counts::Counts,
    server::SeenRequest,
};

/// The chatflows that the stand-in has, by what they are.
pub mod chatflow {
    /// A classic chain: streams token by token, knows no token counts, cannot be aborted.
    pub const CHAT: &str = "26806ff8-5cd7-41b2-8a3d-5dd901f928d0";
    /// An agentflow with a model: streams, reports `usageMetadata`, stops when it is aborted.
    pub const LLM: &str = "ef9a4544-ac36-4a2f-a807-5a91e075ea36";
    /// An agentflow without a model: its whole reply is one token.
    pub const DIRECT: &str = "8f5bc062-dc93-4d75-8ecf-9832eddb34a0";
    /// A classic agent with a calculator: `CALC` in the question makes it report `usedTools`.
    pub const TOOL: &str = "c4bcc042-f149-4c95-9c03-f726b7eefbd7";
    /// A flow that cannot stream: JSON comes back although streaming was asked for.
    pub const FUNCTION: &str = "e785d192-5153-4c79-8a83-3946fd6c959b";
    /// [`CHAT`], but only with [`super::FLOW_KEY`]; any other key gives an `error` event inside a 200.
    pub const KEYED: &str = "480f6148-f955-47a2-b12e-6a331d560bce";
    /// [`CHAT`], marked as public.
    pub const PUBLIC: &str = "12e0dda4-37db-4dd6-aff1-48d2dca5d4e8";
}

/// The key that [`chatflow::KEYED`] asks for.
pub const FLOW_KEY: &str = "FLOW-KEY-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The key that lists of chatflows need. Without one they are open, which they never are at Flowise.
    pub api_key: Option<String>,
    /// What to do at each prediction that no rule matches.
    pub usual: Behaviour,
    /// The rules to start with.
    pub rules: Vec<Rule>,
    /// Threads that serve requests.
    pub workers: usize,
    /// Whether SIGTERM and SIGINT stop it, as a program of its own wants.
    pub stops_on_signals: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            api_key: None,
            usual: Behaviour::default(),
            rules: Vec::new(),
            workers: 1,
            stops_on_signals: false,
        }
    }
}

/// A running stand-in, which stops when it is dropped.
#[derive(Debug)]
pub struct StandInFlowise {
    address: SocketAddr,
    state: Arc<server::State>,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl StandInFlowise {
    /// Starts listening; the stand-in answers from the moment this returns.
    pub fn start(options: &Options) -> io::Result<Self> {
        let state = Arc::new(server::State::new(options));
        let (address, server) = server::bind(options, Arc::clone(&state))?;
        let handle = server.handle();
        let task = tokio::spawn(server);
        Ok(Self {
            address,
            state,
            handle,
            task,
        })
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens; the port stays the caller's after [`Self::stop`], to start a new one on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a rule. The newest rule that matches a prediction decides.
    pub fn tell(&self, rule: Rule) {
        self.state.add_rule(rule);
    }

    /// Takes back every rule.
    pub fn forget_rules(&self) {
        self.state.replace_rules(Vec::new());
    }

    /// Lets every prediction that hangs now go on.
    pub fn release(&self) {
        self.state.release();
    }

    /// How often what has happened so far.
    pub fn counts(&self) -> Counts {
        self.state.counts()
    }

    /// Waits until the counts are as `enough` wants them; gives up after 30 s, so that a test fails and does not hang.
    pub async fn wait_until(&self, enough: impl Fn(&Counts) -> bool) -> Result<Counts, Counts> {
        let mut changes = self.state.changes();
        let reached = async {
            loop {
                let counts = self.counts();
                if enough(&counts) || changes.changed().await.is_err() {
                    return counts;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached)
            .await
            .map_err(|_elapsed| self.counts())
    }

    /// The newest requests, oldest first; at most 1,000 are kept.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.state.seen()
    }

    /// The newest requests for a prediction, oldest first.
    pub fn predictions(&self) -> Vec<SeenRequest> {
        let mut seen = self.requests();
        seen.retain(|request| request.path.starts_with("/api/v1/prediction/"));
        seen
    }

    /// Stops at once: connections are cut, and new ones refused when this returns.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }

    /// Runs until a signal stops it; see [`Options::stops_on_signals`].
    pub async fn run(mut self) -> io::Result<()> {
        (&mut self.task).await.map_err(io::Error::other)?
    }
}

impl Drop for StandInFlowise {
    fn drop(&mut self) {
        // The command is sent by the call; only the wait for its end is left undone.
        drop(self.handle.stop(false));
    }
}
