//! A stand-in n8n: it answers webhooks as n8n 1.123 was recorded doing (`recordings/n8n`), with words of the message at
//! hand. Which workflow answers is said by the path: see [`workflow`].
//!
//! Three words in a message do something: `PAUSE` holds the answer back at this word until [`StandInN8n::release`],
//! `MARKDOWN` is answered with some, and `LONG` with four hundred words.

mod script;
mod server;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;

pub use self::server::SeenMessage;

/// The workflows that the stand-in has: the last part of `/webhook/...`. Most are named as the recording that they answer
/// like; whatever else is asked is not registered (404).
pub mod workflow {
    /// An agent that streams a few words.
    pub const AGENT: &str = "stream-agent";
    /// Two agents, one after the other.
    pub const TWO: &str = "stream-two";
    /// An agent that calls a tool first: a beginning and an end without text.
    pub const TOOL: &str = "stream-tool";
    /// An agent, and a node that responds with the same text as JSON.
    pub const AGENT_RESPOND: &str = "stream-agent-respond";
    /// The model refuses, with words that name a key.
    pub const MODEL_FAILS: &str = "stream-err-model-401";
    /// The model breaks off after two words.
    pub const BREAKS_OFF: &str = "stream-err-late";
    /// A node fails and another one answers.
    pub const GOES_ON: &str = "stream-err-continue";
    /// A run that was stopped: an error, and an answer that never ends.
    pub const NEVER_ENDS: &str = "stream-user-stop";
    /// A run that failed before it answered: an empty 200.
    pub const NOTHING: &str = "stream-nothing";
    /// JSON in one piece.
    pub const JSON: &str = "last-node";
    /// A list of items.
    pub const ARRAY: &str = "last-node-all";
    /// Text, called a web page as n8n calls it.
    pub const TEXT: &str = "respond-text";
    /// Server-sent events in one piece.
    pub const EVENTS: &str = "respond-sse";
    /// A workflow that answers before it runs.
    pub const IMMEDIATE: &str = "immediate";
    /// A node fails before anything is answered.
    pub const FAILS: &str = "err-lastnode";
    /// Wants the key: without one 401, with another 403.
    pub const KEYED: &str = "keyed";
    /// [`AGENT`], but only with a good token that was not used before.
    pub const CHECKS_TOKEN: &str = "checks-token";
}

/// The key that [`workflow::KEYED`] wants.
pub const API_KEY: &str = "N8N-KEY-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// What a provider says to a bad key. No visitor may see it.
pub const PROVIDERS_WORDS: &str = "Incorrect API key provided: sk-mock";

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Checks the tokens in messages; without it none is good.
    pub token_secret: Option<String>,
    /// Silence before each word.
    pub word_delay: Duration,
    /// Whether SIGTERM and SIGINT stop it, as a program of its own wants.
    pub stops_on_signals: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            token_secret: None,
            word_delay: Duration::ZERO,
            stops_on_signals: false,
        }
    }
}

/// A running stand-in, which stops when it is dropped.
#[derive(Debug)]
pub struct StandInN8n {
    address: SocketAddr,
    state: Arc<server::State>,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl StandInN8n {
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

    /// The address of a workflow.
    pub fn webhook(&self, workflow: &str) -> String {
        format!("{}/webhook/{workflow}", self.url())
    }

    /// The newest messages, oldest first; at most 1,000 are kept.
    pub fn messages(&self) -> Vec<SeenMessage> {
        self.state.seen()
    }

    /// Lets every answer go on that is held back now.
    pub fn release(&self) {
        self.state.release();
    }

    /// Waits until so many answers are held back; gives up after 30 s, so that a test fails and does not hang.
    pub async fn wait_until_paused(&self, count: usize) -> Result<(), usize> {
        let mut paused = self.state.paused();
        let reached = paused.wait_for(|paused| *paused >= count);
        let reached = tokio::time::timeout(Duration::from_secs(30), reached).await;
        let is_reached = matches!(reached, Ok(Ok(_)));
        let now = *self.state.paused().borrow();
        if is_reached { Ok(()) } else { Err(now) }
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

impl Drop for StandInN8n {
    fn drop(&mut self) {
        // The command is sent by the call; only the wait for its end is left undone.
        drop(self.handle.stop(false));
    }
}
