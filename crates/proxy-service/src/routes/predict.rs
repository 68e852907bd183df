//! Chat turns over HTTP: whole, streamed, and streamed with a history.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderName},
    web,
};
use common_http::{CurrentUser, Routes, Timestamp};
use serde_json::{Value, json};

use super::{CHATTING, chat_body::ChatBody};
use crate::{
    balance::BalanceClient,
    domain::{
        event_id::{EventId, NoEventId},
        framing::{EventWriter, Framing},
    },
    error::{Error, Result},
    service::turns::{Answered, Asking, Begun, Delivery, Turns},
    store::turns::Known,
};

/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 255;

const STREAM_TYPE: &str = "text/event-stream; charset=utf-8";

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        routes
            .post(&format!("{prefix}/predict"), CHATTING, predict)
            .post(&format!("{prefix}/predict/stream"), CHATTING, predict_stream)
            .post(
                &format!("{prefix}/predict/stream/store"),
                CHATTING,
                predict_stream_store,
            );
    }
}

/// `POST /api/v1/chat/predict`: one turn, answered whole.
#[tracing::instrument(skip_all)]
async fn predict(
    user: CurrentUser,
    request: HttpRequest,
    body: ChatBody,
    turns: web::Data<Turns>,
    balances: web::Data<BalanceClient>,
) -> Result<HttpResponse> {
    let key = idempotency_key(&request)?;
    let ChatBody { request, share } = body;
    let chatflow_id = request.chatflow_id.clone();
    let asking = Asking::native(user.clone(), request, share, key, Delivery::Whole);
    let answered = turns.answer(asking).await?;
    // The turn is over and paid for: a balance that cannot be read now is left out.
    let remaining_credits = balances.total(&user).await.ok();
    let mut response = HttpResponse::Ok();
    let (text, cost, session_id) = match answered {
        Answered::Now(answer) => (answer.text, answer.cost, answer.session_id),
        Answered::Replay(known) => {
            response.insert_header(replayed());
            (
                known.answer.unwrap_or_default().text,
                known.cost,
                known.session_id,
            )
        }
    };
    Ok(response.json(json!({
        "response": text,
        "metadata": {
            "chatflow_id": chatflow_id,
            "cost": cost,
            "remaining_credits": remaining_credits,
            "session_id": session_id,
            "user": user.username,
            "streaming": true,
        },
    })))
}

/// `POST /api/v1/chat/predict/stream`: one turn as events, of which nothing is kept.
#[tracing::instrument(skip_all)]
async fn predict_stream(
    user: CurrentUser,
    request: HttpRequest,
    body: ChatBody,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    stream(user, &request, body, &turns, Delivery::Stream).await
}

/// `POST /api/v1/chat/predict/stream/store`: one turn of a conversation, as events.
#[tracing::instrument(skip_all)]
async fn predict_stream_store(
    user: CurrentUser,
    request: HttpRequest,
    body: ChatBody,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    stream(user, &request, body, &turns, Delivery::Stored).await
}

async fn stream(
    user: CurrentUser,
    request: &HttpRequest,
    body: ChatBody,
    turns: &Turns,
    delivery: Delivery,
) -> Result<HttpResponse> {
    let key = idempotency_key(request)?;
    let framing = framing_of(request);
    if let Some(from) = last_event_id(request)? {
        let rest = turns.go_on(&user, &body.request, &from, framing).await?;
        return Ok(super::turns::render(rest, &from.turn));
    }
    let asking = Asking::native(user, body.request, body.share, key, delivery);
    Ok(match turns.stream(asking, framing).await? {
        Begun::Streaming { turn_id, events } => stream_of(&turn_id).streaming(events),
        Begun::Replay(known) => stream_of(&known.id)
            .insert_header(replayed())
            .body(replay(&known, delivery, framing)),
    })
}

/// The head of a stream of a turn's events.
pub(super) fn stream_of(turn_id: &str) -> HttpResponseBuilder {
    let mut response = event_stream();
    response.insert_header((HeaderName::from_static("x-turn-id"), turn_id));
    response
}

/// The head of any stream of events.
pub(super) fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type(STREAM_TYPE)
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    response
}

/// The last event that a client who lost the connection has seen.
pub(super) fn last_event_id(request: &HttpRequest) -> Result<Option<EventId>> {
    let Some(value) = request.headers().get("last-event-id") else {
        return Ok(None);
    };
    let parsed = value.to_str().unwrap_or_default().parse();
    let invalid = |error: NoEventId| Error::invalid("Last-Event-ID", error.to_string());
    parsed.map(Some).map_err(invalid)
}

pub(super) fn framing_of(request: &HttpRequest) -> Framing {
    let accepts = request.headers().get_all(header::ACCEPT);
    let mut accepts = accepts.filter_map(|accept| accept.to_str().ok());
    if accepts.any(|accept| Framing::accepted(accept) == Framing::Sse) {
        Framing::Sse
    } else {
        Framing::Lines
    }
}

pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<String>> {
    let Some(value) = request.headers().get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_CHARS_MAX {
        let message = format!("must have 1 to {KEY_CHARS_MAX} visible ASCII characters");
        return Err(Error::invalid("Idempotency-Key", message));
    }
    Ok(Some(key.to_owned()))
}

pub(super) fn replayed() -> (HeaderName, &'static str) {
    (HeaderName::from_static("idempotency-replayed"), "true")
}

/// The events of a turn that is over, with its text in one. They are not those of the stream the first request got, so
/// they have no ids to go on after: who loses this stream too repeats the request.
pub(super) fn replay(known: &Known, delivery: Delivery, framing: Framing) -> web::Bytes {
    let mut events = EventWriter::unnumbered(framing);
    let answer = known.answer.clone().unwrap_or_default();
    if delivery == Delivery::Stored {
        let session = json!({
            "event": "session_id",
            "data": known.session_id,
            "chatflow_id": known.chatflow_id,
            "turn_id": known.id,
            "timestamp": Timestamp(known.began_at),
            "status": "streaming_started",
        });
        events.write("session_id", &session);
    }
    events.write("token", &json!({ "event": "token", "data": answer.text }));
    if let Some(metadata) = answer
        .metadata
        .and_then(|json| serde_json::from_str::<Value>(&json).ok())
    {
        events.write("metadata", &metadata);
    }
    if let Some(sentence) = answer.failure {
        events.write("error", &json!({ "event": "error", "data": sentence }));
        events.write(
            "token",
            &json!({ "event": "token", "data": format!("\n\n{sentence}") }),
        );
    }
    events.write("end", &json!({ "event": "end", "data": "[DONE]" }));
    events.take().framed
}
