//! Predictions, as JSON and as streams, and their abort.

use std::{collections::VecDeque, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web,
};
use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::{Socket, State, bearer, error, head, json, replay};
use crate::flowise::{
    FLOW_KEY,
    behaviour::{Behaviour, Ending, Refusal},
    catalogue::{Flow, Kind, Reply, reply, uses_tools},
    performance::{HEARTBEAT, Performance, Running},
    recordings,
    script::{self, Step},
    template::{Turn, frame, json_inside},
};

/// What every failure inside a flow begins with.
const CAUSE_HEAD: &str = "Error: predictionsServices.buildChatflow - ";

/// `PUT /api/v1/chatmessage/abort/{chatflow}/{chat}`: says the same whether or not there was something to abort.
pub(super) async fn abort(
    request: HttpRequest,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    state.remember(&request, b"");
    let (chatflow, chat_id) = path.into_inner();
    state.abort(&chatflow, &chat_id);
    replay(&recordings::CHATMESSAGE_ABORT_UNKNOWN)
}

/// `POST /api/v1/prediction/{id}`.
pub(super) async fn predict(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let Ok(body) = body else {
        state.remember(&request, b"");
        return replay(&recordings::BAD_TOO_LARGE);
    };
    state.remember(&request, &body);
    let Ok(asked) = Asked::read(&request, &body) else {
        return replay(&recordings::BAD_JSON);
    };
    let Some(flow) = state.catalogue.find(&id) else {
        return unknown_flow(&id, &asked).await;
    };

    state.counters.add(|counters| &counters.predictions);
    let behaviour = state.behaviour(&flow.id, asked.question());
    let chat_id = asked.chat_id();
    let mut running = Running::new(&state, &flow.id, &chat_id);

    pause(behaviour.head_delay_ms).await;
    if behaviour.hang_before_head {
        running.hang().released().await;
    }
    if let Some(refusal) = &behaviour.refuse {
        running.finish();
        return refuse(&request, refusal);
    }
    let allowed = asked.refusal(&request, flow).map_or(Ok(()), Err);
    let streams = asked.is_streaming && flow.can_stream() && !behaviour.answers_json;
    match (allowed, streams) {
        (Err(message), true) => play(
            script::failed_stream(&format!("{CAUSE_HEAD}{message}")),
            None,
            &behaviour,
            running,
        ),
        (Err(message), false) => {
            running.finish();
            error(500, &format!("{CAUSE_HEAD}{message}"))
        }
        (Ok(()), true) => stream(&state, flow, &asked, &chat_id, &behaviour, running),
        (Ok(()), false) => whole(&request, &state, flow, &asked, &chat_id, &behaviour, running).await,
    }
}

/// Sleeps, but not for no time at all: that would still cost a tick of the timer.
async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// What a request wants.
struct Asked {
    body: Value,
    is_streaming: bool,
    /// Flowise says nothing at all about an error when it takes the request for a stream.
    swallows_errors: bool,
}

impl Asked {
    /// Reads JSON; a body of any other kind is an empty question, as at Flowise.
    fn read(request: &HttpRequest, body: &[u8]) -> Result<Self, serde_json::Error> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let is_json = content_type.is_some_and(|kind| kind.starts_with("application/json"));
        let body = if is_json && !body.is_empty() {
            serde_json::from_slice(body)?
        } else {
            Value::Null
        };
        let flag = &body["streaming"];
        let is_streaming = flag == &Value::Bool(true) || flag == "true";
        let is_truthy = match flag {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty() && text != "false",
            Value::Array(_) | Value::Object(_) => true,
        };
        Ok(Self {
            is_streaming,
            swallows_errors: is_truthy,
            body,
        })
    }

    fn question(&self) -> &str {
        self.body["question"].as_str().unwrap_or_default()
    }

    fn has_question(&self) -> bool {
        self.body["question"].is_string()
    }

    /// The caller's `chatId`, else its `sessionId`, else a new one.
    fn chat_id(&self) -> String {
        let given = self.body["chatId"].as_str().or(self.session_id());
        given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
    }

    fn session_id(&self) -> Option<&str> {
        self.body["overrideConfig"]["sessionId"].as_str()
    }

    /// Why the flow does not run.
    fn refusal(&self, request: &HttpRequest, flow: &Flow) -> Option<&'static str> {
        if flow.is_keyed && bearer(request) != Some(FLOW_KEY) {
            return Some("Unauthorized");
        }
        let chat_id = &self.body["chatId"];
        (!chat_id.is_null() && !chat_id.is_string()).then_some("Invalid chatId: must be a string")
    }
}

async fn unknown_flow(id: &str, asked: &Asked) -> HttpResponse {
    if asked.swallows_errors {
        // Not a byte, ever: the connection stays open until the client has had enough.
        std::future::pending::<()>().await;
    }
    if Uuid::parse_str(id).is_err() {
        return replay(&recordings::BAD_UUID_JSON);
    }
    error(404, &format!("Chatflow {id} not found in the database!"))
}

fn refuse(request: &HttpRequest, refusal: &Refusal) -> HttpResponse {
    match refusal {
        Refusal::Error(cause) => error(500, &format!("{CAUSE_HEAD}{cause}")),
        Refusal::RateLimited => replay(&recordings::LIMITED),
        Refusal::WebPage => replay(&recordings::UNKNOWN_ROUTE_KEY),
        Refusal::Answer {
            status,
            content_type,
            body,
        } => {
            let mut response = head(*status);
            if let Ok(content_type) = HeaderValue::from_str(content_type) {
                response.insert_header((header::CONTENT_TYPE, content_type));
            }
            response.body(body.clone())
        }
        Refusal::Close => close(request),
    }
}

fn close(request: &HttpRequest) -> HttpResponse {
    if let Some(socket) = request.conn_data::<Socket>() {
        socket.close();
    }
    HttpResponse::InternalServerError().finish()
}

fn turn(flow: &Flow, asked: &Asked, chat_id: &str, reply: &Reply, behaviour: &Behaviour) -> Turn {
    let words = |text: &str| u64::try_from(text.split_whitespace().count()).unwrap_or(u64::MAX);
    let text = reply.text();
    let (input_tokens, output_tokens) = behaviour
        .usage
        .unwrap_or_else(|| (words(asked.question()), words(&text)));
    let session_id = asked.session_id().unwrap_or(chat_id);
    let execution_id = match flow.kind {
        Kind::Llm | Kind::Direct => Uuid::new_v4().to_string(),
        Kind::Chat | Kind::Tool | Kind::Function => String::new(),
    };
    Turn {
        chat_id: json_inside(chat_id),
        session_id: json_inside(session_id),
        chat_message_id: Uuid::new_v4().to_string(),
        execution_id,
        question: json_inside(asked.question()),
        reply: json_inside(&text),
        input_tokens,
        output_tokens,
    }
}

fn stream(
    state: &State,
    flow: &Flow,
    asked: &Asked,
    chat_id: &str,
    behaviour: &Behaviour,
    running: Running,
) -> HttpResponse {
    let Some(template) = state.catalogue.stream(flow, asked.question()) else {
        return error(500, "this flow has no stream");
    };
    let reply = reply(flow.kind, asked.question(), behaviour);
    let turn = turn(flow, asked, chat_id, &reply, behaviour);
    let tools = uses_tools(flow, asked.question()).then(|| {
        frame(
            "usedTools",
            r#"[{"tool":"calculator","toolInput":{"input":"2+3"},"toolOutput":"5"}]"#,
        )
    });
    let steps = script::stream(template, &turn, &reply, tools, behaviour);
    // Only agentflows listen to an abort; a classic chain runs on.
    let on_abort = (flow.kind == Kind::Llm).then(|| {
        state
            .catalogue
            .abort_tail
            .iter()
            .map(|template| Step::Send(template.fill(&turn)))
            .collect()
    });
    play(steps, on_abort, behaviour, running)
}

fn play(
    steps: VecDeque<Step>,
    on_abort: Option<VecDeque<Step>>,
    behaviour: &Behaviour,
    running: Running,
) -> HttpResponse {
    let heartbeat = behaviour.heartbeat_ms.map_or(HEARTBEAT, Duration::from_millis);
    let performance = Performance {
        steps,
        on_abort,
        heartbeat,
        running,
        hanging: None,
    };
    let mut response = head(200);
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONNECTION, "keep-alive"))
        .insert_header(("x-accel-buffering", "no"));
    if behaviour.runs_on {
        response.streaming(performance.run_on())
    } else {
        response.streaming(performance.into_stream())
    }
}

/// A JSON answer: nothing until all is done.
async fn whole(
    request: &HttpRequest,
    state: &State,
    flow: &Flow,
    asked: &Asked,
    chat_id: &str,
    behaviour: &Behaviour,
    mut running: Running,
) -> HttpResponse {
    let reply = reply(flow.kind, asked.question(), behaviour);
    let tokens = u64::try_from(reply.tokens.len()).unwrap_or(u64::MAX);
    let work = async {
        pause(reply.token_delay_ms.saturating_mul(tokens)).await;
        if let Some((_, Ending::Hang | Ending::Endless)) = behaviour.ending {
            running.hang().released().await;
        }
    };
    let is_aborted = tokio::select! {
        () = work => false,
        () = running.abort.cancelled(), if flow.kind == Kind::Llm => true,
    };
    running.finish();
    if is_aborted {
        running.mark_aborted();
        return error(
            500,
            &format!("{CAUSE_HEAD}Error in LLM node: This operation was aborted"),
        );
    }
    match &behaviour.ending {
        Some((_, Ending::Cut | Ending::Stop)) => close(request),
        Some((_, Ending::Error(message))) => error(500, message),
        Some((_, Ending::Hang | Ending::Endless | Ending::Oversized(_) | Ending::Raw(_))) | None => {
            let question = asked.has_question().then(|| asked.question());
            let turn = turn(flow, asked, chat_id, &reply, behaviour);
            let failed = state.catalogue.fails(flow, asked.question());
            json(
                if failed { 500 } else { 200 },
                state.catalogue.json(flow, question).fill(&turn),
            )
        }
    }
}
