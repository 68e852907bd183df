//! The HTTP side: webhooks, their refusals, and what was sent to them.

use std::{
    collections::{HashSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    API_KEY, Options,
    script::{Answer, Step, answer},
    workflow,
};

/// Node closes connections that are idle for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// n8n's own limit of a body.
const BODY_BYTES_MAX: usize = 16 << 20;
/// How many messages are remembered.
const SEEN_MAX: usize = 1_000;

/// One message as it arrived.
#[derive(Clone, Debug)]
pub struct SeenMessage {
    /// The workflow that was asked.
    pub workflow: String,
    /// Every header, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; null when it was no JSON.
    pub body: Value,
    /// The claims of its token, where that is good and was not used before.
    pub claims: Option<Value>,
}

impl SeenMessage {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Everything that the workers share.
#[derive(Debug)]
pub(super) struct State {
    options: Options,
    seen: Mutex<VecDeque<SeenMessage>>,
    used_tokens: Mutex<HashSet<String>>,
    paused: watch::Sender<usize>,
    releases: watch::Sender<()>,
}

/// A test that panicked while it held a lock has not broken the data behind it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            seen: Mutex::default(),
            used_tokens: Mutex::default(),
            paused: watch::Sender::new(0),
            releases: watch::Sender::default(),
        }
    }

    pub(super) fn seen(&self) -> Vec<SeenMessage> {
        lock(&self.seen).iter().cloned().collect()
    }

    pub(super) fn release(&self) {
        self.releases.send_replace(());
    }

    pub(super) fn paused(&self) -> watch::Receiver<usize> {
        self.paused.subscribe()
    }

    fn remember(&self, message: SeenMessage) {
        let mut seen = lock(&self.seen);
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(message);
    }

    /// What a careful workflow checks: signature, audience, use, age, and that nobody has shown the token before.
    fn check_token(&self, body: &Value) -> Option<Value> {
        let secret = self.options.token_secret.as_ref()?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&["n8n"]);
        rules.leeway = 0;
        let key = DecodingKey::from_secret(secret.as_bytes());
        let token = body.get("jwt_token")?.as_str()?;
        let claims = decode::<Value>(token, &key, &rules).ok()?.claims;
        let id = claims.get("jti")?.as_str()?.to_owned();
        let is_chat = claims.get("type")?.as_str()? == "n8n_chat";
        (is_chat && lock(&self.used_tokens).insert(id)).then_some(claims)
    }
}

/// An answer that is held back, counted until it goes on or is given up.
struct Pause {
    state: Arc<State>,
    releases: watch::Receiver<()>,
}

impl Pause {
    fn new(state: &Arc<State>) -> Self {
        // Listens before it is counted, so that whoever sees the count can release it.
        let releases = state.releases.subscribe();
        state.paused.send_modify(|paused| *paused += 1);
        Self {
            state: Arc::clone(state),
            releases,
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.state.paused.send_modify(|paused| *paused -= 1);
    }
}

/// Binds the address and prepares the server; it runs when it is polled.
pub(super) fn bind(options: &Options, state: Arc<State>) -> io::Result<(SocketAddr, Server)> {
    let data = web::Data::from(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("/healthz", web::get().to(show_health))
            .route("/webhook/{workflow}", web::post().to(run))
            .default_service(web::to(unknown))
    })
    .workers(1)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(1)
    .h1_allow_half_closed(false);
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

async fn show_health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn run(request: HttpRequest, state: web::Data<State>, body: Bytes) -> HttpResponse {
    let state = state.into_inner();
    let name = request.match_info().get("workflow").unwrap_or_default();
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            422,
            &json!({ "code": 422, "message": "Failed to parse request body" }),
        );
    };
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let claims = state.check_token(&body);
    let is_known = claims.is_some();
    state.remember(SeenMessage {
        workflow: name.to_owned(),
        headers: headers.collect(),
        body: body.clone(),
        claims,
    });
    if name == workflow::KEYED
        && let Some(refused) = refuse_without_key(&request)
    {
        return refused;
    }
    if name == workflow::CHECKS_TOKEN && !is_known {
        return error(403, &json!({ "message": "invalid token" }));
    }
    let message = body.get("chatInput").and_then(Value::as_str).unwrap_or_default();
    match answer(name, message, state.options.word_delay) {
        None => unknown(request).await,
        Some(Answer::Error(status, body)) => error(status, &body),
        Some(Answer::Whole(media_type, body)) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, media_type))
            .insert_header((header::SET_COOKIE, "workflow=1"))
            .body(body),
        Some(Answer::Stream(steps)) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .streaming(play(state, steps.into())),
    }
}

/// n8n asks for a log-in box whichever kind of key a webhook wants.
fn refuse_without_key(request: &HttpRequest) -> Option<HttpResponse> {
    let (status, text) = match request.headers().get(header::AUTHORIZATION) {
        None => (StatusCode::UNAUTHORIZED, "No token provided"),
        Some(given) if given.as_bytes() == format!("Bearer {API_KEY}").as_bytes() => return None,
        Some(_) => (StatusCode::FORBIDDEN, "Authorization data is wrong!"),
    };
    let mut refused = HttpResponse::build(status);
    refused.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"Webhook\""));
    Some(refused.body(text))
}

async fn unknown(request: HttpRequest) -> HttpResponse {
    let path = request.path().trim_start_matches("/webhook/");
    let message = format!(
        "The requested webhook \"{} {path}\" is not registered.",
        request.method()
    );
    error(
        404,
        &json!({ "code": 404, "message": message, "hint": "The workflow must be active." }),
    )
}

fn error(status: u16, body: &Value) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).json(body)
}

fn play(state: Arc<State>, steps: VecDeque<Step>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold((state, steps), |(state, mut steps)| async move {
        loop {
            match steps.pop_front()? {
                Step::Send(bytes) => return Some((Ok(bytes), (state, steps))),
                Step::Wait(pause) => tokio::time::sleep(pause).await,
                Step::Pause => {
                    let mut pause = Pause::new(&state);
                    // The sender lives in the state that is held here.
                    let _ = pause.releases.changed().await;
                }
                Step::Hang => std::future::pending().await,
            }
        }
    })
}
