//! The HTTP side: Flowise's routes, heads and refusals, and the state behind them.

mod lists;
mod prediction;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer,
    dev::{Extensions, Server},
    http::{StatusCode, header},
    rt::net,
    web,
};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    behaviour::{Behaviour, Rule},
    catalogue::Catalogue,
    chats::Chats,
    control,
    counts::{Counters, Counts},
    recordings::{self, Recording},
};

/// Flowise's own limit of a JSON body.
const BODY_BYTES_MAX: usize = 50 * 1024 * 1024;
/// How many requests are remembered, and how much of each body.
pub(super) const SEEN_MAX: usize = 1_000;
const SEEN_BODY_BYTES_MAX: usize = 64 * 1024;
/// Node closes connections that are idle for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One request as it arrived.
#[derive(Clone, Debug, Serialize)]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, or nothing.
    pub query: String,
    /// Every header, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text, cut after 64 KiB.
    pub body: String,
}

impl SeenRequest {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body, when it is JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// Everything that the workers share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) catalogue: Catalogue,
    pub(super) counters: Counters,
    pub(super) chats: Chats,
    api_key: Option<String>,
    usual: Behaviour,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<VecDeque<SeenRequest>>,
    running: Mutex<HashMap<(String, String), CancellationToken>>,
    releases: watch::Sender<()>,
}

/// A test that panicked while it held a lock has not broken the data behind it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            catalogue: Catalogue::new(),
            counters: Counters::default(),
            chats: Chats::default(),
            api_key: options.api_key.clone(),
            usual: options.usual.clone(),
            rules: Mutex::new(options.rules.clone()),
            seen: Mutex::default(),
            running: Mutex::default(),
            releases: watch::Sender::default(),
        }
    }

    pub(super) fn add_rule(&self, rule: Rule) {
        lock(&self.rules).push(rule);
    }

    pub(super) fn replace_rules(&self, rules: Vec<Rule>) {
        *lock(&self.rules) = rules;
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        lock(&self.rules).clone()
    }

    /// What the newest matching rule wants, which is one time less its rule afterwards.
    fn behaviour(&self, chatflow: &str, question: &str) -> Behaviour {
        let mut rules = lock(&self.rules);
        match rules
            .iter_mut()
            .rev()
            .find(|rule| rule.matches(chatflow, question))
        {
            Some(rule) => {
                rule.times = rule.times.map(|times| times - 1);
                rule.behaviour.clone()
            }
            None => self.usual.clone(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counters.read()
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.counters.changes()
    }

    pub(super) fn release(&self) {
        self.releases.send_replace(());
    }

    pub(super) fn releases(&self) -> watch::Receiver<()> {
        self.releases.subscribe()
    }

    pub(super) fn seen(&self) -> Vec<SeenRequest> {
        lock(&self.seen).iter().cloned().collect()
    }

    pub(super) fn register(&self, key: (String, String), abort: CancellationToken) {
        lock(&self.running).insert(key, abort);
    }

    /// Forgets a prediction, unless its key belongs to a newer one by now: a cancelled token is as good as none.
    pub(super) fn unregister(&self, key: &(String, String), abort: &CancellationToken) {
        abort.cancel();
        let mut running = lock(&self.running);
        if running.get(key).is_some_and(CancellationToken::is_cancelled) {
            running.remove(key);
        }
    }

    fn abort(&self, chatflow: &str, chat_id: &str) {
        self.counters.add(|counters| &counters.abort_calls);
        if let Some(running) = lock(&self.running).get(&(chatflow.to_owned(), chat_id.to_owned())) {
            running.cancel();
        }
    }

    fn remember(&self, request: &HttpRequest, body: &[u8]) {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let shown = body.get(..SEEN_BODY_BYTES_MAX).unwrap_or(body);
        let request = SeenRequest {
            method: request.method().to_string(),
            path: request.path().to_owned(),
            query: request.query_string().to_owned(),
            headers: headers.collect(),
            body: String::from_utf8_lossy(shown).into_owned(),
        };
        let mut seen = lock(&self.seen);
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(request);
        drop(seen);
        self.counters.add(|counters| &counters.requests);
    }

    /// Refuses what lacks the key of the workspace, in the recorded words.
    fn refuse_without_key(&self, request: &HttpRequest) -> Option<HttpResponse> {
        if request
            .headers()
            .get("x-request-from")
            .is_some_and(|from| from == "internal")
        {
            return Some(replay(&recordings::INTERNAL_HEADER_WITH_KEY));
        }
        let wanted = self.api_key.as_deref()?;
        (bearer(request) != Some(wanted)).then(|| replay(&recordings::CHATFLOWS_NO_KEY))
    }
}

/// A way to close a connection without an answer, which the framework does not offer.
struct Socket(TcpStream);

impl Socket {
    /// The client sees the end of the connection; whatever is answered afterwards goes nowhere.
    fn close(&self) {
        // It may be closed already, which is as good.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn keep_socket(connection: &dyn std::any::Any, extensions: &mut Extensions) {
    if let Some(socket) = connection.downcast_ref::<net::TcpStream>() {
        use std::os::fd::AsFd;
        if let Ok(copy) = socket.as_fd().try_clone_to_owned() {
            extensions.insert(Socket(TcpStream::from(copy)));
        }
    }
}

/// Binds the address and prepares the server; it runs when it is polled.
pub(super) fn bind(options: &Options, state: Arc<State>) -> io::Result<(SocketAddr, Server)> {
    let data = web::Data::from(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .configure(routes)
    })
    .workers(options.workers)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(1)
    // A client that has gone ends what it asked for at once, not at the next write.
    .h1_allow_half_closed(false)
    .on_connect(keep_socket);
    let server = if options.stops_on_signals {
        server
    } else {
        server.disable_signals()
    };
    let server = server.bind(options.bind)?;
    let address = server.addrs().first().copied();
    Ok((
        address.ok_or_else(|| io::Error::other("nothing was bound"))?,
        server.run(),
    ))
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/_control", web::get().to(control::show))
        .route("/_control", web::put().to(control::change))
        .route("/api/v1/ping", web::get().to(lists::ping))
        .route("/api/v1/version", web::get().to(lists::version))
        .route("/api/v1/chatflows", web::get().to(lists::list_chatflows))
        .route("/api/v1/chatflows/{id}", web::get().to(lists::find_chatflow))
        .route(
            "/api/v1/chatflows-streaming/{id}",
            web::get().to(lists::can_stream),
        )
        .route(
            "/api/v1/chatflows-uploads/{id}",
            web::get().to(lists::show_uploads),
        )
        .route(
            "/api/v1/attachments/{chatflow}/{chat}",
            web::post().to(lists::read_files),
        )
        .route(
            "/api/v1/chatmessage/abort/{chatflow}/{chat}",
            web::put().to(prediction::abort),
        )
        .route("/api/v1/prediction/{id}", web::post().to(prediction::predict))
        .default_service(web::to(lists::unknown_route));
}

/// The key of a request; Flowise lets the word `Bearer` be left out.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(value.strip_prefix("Bearer ").unwrap_or(value))
}

/// The head of every answer of Flowise.
fn head(status: u16) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::VARY, "Origin"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "frame-ancestors 'self'"))
        .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"));
    response
}

/// A JSON answer with a body of our own.
fn json(status: u16, body: impl Into<Bytes>) -> HttpResponse {
    head(status)
        .insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"))
        .insert_header((header::CONNECTION, "keep-alive"))
        .insert_header(("keep-alive", "timeout=5"))
        .body(body.into())
}

/// A recorded answer as it is.
fn replay(recording: &Recording) -> HttpResponse {
    replay_with(recording, recording.body)
}

/// A recorded answer with another body. What belongs to the recorded body or connection is left to the server.
fn replay_with(recording: &Recording, body: impl Into<Bytes>) -> HttpResponse {
    let status = StatusCode::from_u16(recording.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in recording.headers() {
        if !["content-length", "date", "etag", "transfer-encoding"].contains(&&*name.to_ascii_lowercase()) {
            response.insert_header((name, value));
        }
    }
    response.body(body.into())
}

/// Flowise's usual error body.
fn error(status: u16, message: &str) -> HttpResponse {
    let message = serde_json::Value::from(message);
    let body = format!("{{\"statusCode\":{status},\"success\":false,\"message\":{message},\"stack\":{{}}}}");
    json(status, body)
}
