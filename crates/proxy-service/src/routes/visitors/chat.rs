//! What visitors say, and what they are answered: whole, or as the events that chat widgets read.

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header, web};
use bytes::Bytes;
use common_http::{Access, Body, Path, Query, Routes, Timestamp};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::door::Door;
use crate::{
    domain::{
        framing::{EventWriter, Framing},
        said::text_of,
        visitor::{Visitor, is_conversation_name, page_url_of},
        visitor_text::{context, message},
    },
    error::{Error, Result},
    routes::{
        predict::{event_stream, framing_of, idempotency_key, stream_of},
        turns::canonical,
    },
    service::{
        turns::{Answered, Begun},
        widget::{
            histories::Histories,
            talks::{Reply, Said, Talks},
            visits::{Visits, Wish},
        },
    },
    store::{messages::Message, turns::Known},
};

/// Ten thousand characters, each as six bytes of JSON, and the rest of the message.
const BODY_BYTES_MAX: usize = 100 * 1024;

/// Messages of a page of history, and the most there may be.
const HISTORY_LIMIT: i64 = 50;
const HISTORY_LIMIT_MAX: i64 = 200;

/// Tells an `EventSource` not to ask again by itself when the connection is lost: its question stands in the address, and
/// asking it again would have it answered, and paid for, again.
const ASK_ONCE: &[u8] = b"retry: 2147483647\n\n";

pub(super) fn table(routes: &mut Routes<'_>) {
    const CHAT: &str = "/api/v1/chat";
    routes
        .post(&format!("{CHAT}/message"), Access::Optional, send_message)
        .post(&format!("{CHAT}/stream"), Access::Optional, stream_message)
        .get(&format!("{CHAT}/stream"), Access::Optional, stream_query)
        .post(
            &format!("{CHAT}/stream/{{turn_id}}/stop"),
            Access::Public,
            stop_visitor_turn,
        )
        .get(&format!("{CHAT}/history"), Access::Optional, show_visitor_history)
        // Under its older name a signed-in person's history is deleted.
        .get("/chat/history", Access::Optional, show_visitor_history)
        .get(
            &format!("{CHAT}/history/{{session_id}}"),
            Access::Optional,
            show_own_visitor_history,
        );
}

#[derive(Deserialize)]
struct SendMessage {
    message: String,
    conversation_id: Option<String>,
    page_url: Option<String>,
    context: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct HistoryQuery {
    conversation_id: Option<String>,
    limit: Option<i64>,
    offset: Option<u64>,
}

/// `POST /api/v1/chat/message`: one message, answered whole; as events where the client asks for them.
#[tracing::instrument(skip_all)]
async fn send_message(
    request: HttpRequest,
    door: Door,
    body: Body<SendMessage, BODY_BYTES_MAX>,
    visits: web::Data<Visits>,
    talks: web::Data<Talks>,
) -> Result<HttpResponse> {
    let said = said(&request, &door, body.into_inner())?;
    let mut visitor = visits.find(&door.credentials, &door.from).await?;
    door.admit(&visits, &visitor, &said.text).await?;
    if framing_of(&request) == Framing::Sse {
        return answer_as_events(&door, &visits, &talks, &mut visitor, said).await;
    }
    let (answered, is_renewed) = talks.answer(&mut visitor, said).await?;
    let (text, is_replay) = match answered {
        Answered::Now(answer) => (answer.text, false),
        Answered::Replay(known) => (known.answer.unwrap_or_default().text, true),
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if is_replay {
        response.insert_header(("idempotency-replayed", "true"));
    }
    renew(&mut response, &door, &visits, is_renewed);
    Ok(response.json(json!({ "response": text, "session_id": visitor.session_id })))
}

/// `POST /api/v1/chat/stream`: one message, answered as events.
#[tracing::instrument(skip_all)]
async fn stream_message(
    request: HttpRequest,
    door: Door,
    body: Body<SendMessage, BODY_BYTES_MAX>,
    visits: web::Data<Visits>,
    talks: web::Data<Talks>,
) -> Result<HttpResponse> {
    let said = said(&request, &door, body.into_inner())?;
    let mut visitor = visits.find(&door.credentials, &door.from).await?;
    door.admit(&visits, &visitor, &said.text).await?;
    answer_as_events(&door, &visits, &talks, &mut visitor, said).await
}

/// `GET /api/v1/chat/stream?message=`: the same for the documented widget, which asks by `EventSource` with its cookie and
/// never learns that a session is over: a page of ours gets another one by itself.
#[tracing::instrument(skip_all)]
async fn stream_query(
    request: HttpRequest,
    mut door: Door,
    query: Query<SendMessage>,
    visits: web::Data<Visits>,
    talks: web::Data<Talks>,
) -> Result<HttpResponse> {
    let said = said(&request, &door, query.0)?;
    let found = visits.find(&door.credentials, &door.from).await;
    let (mut visitor, is_new) = match found {
        Err(Error::VisitorUnknown) if door.credentials.token.is_none() => {
            let wish = Wish {
                page_url: said.page_url.clone(),
                fingerprint: door.fingerprint.clone(),
                ..Wish::default()
            };
            let visit = visits.begin(wish, &door.from, door.page.as_ref(), None).await;
            // Whoever may not begin a session without a ticket is told that there is none.
            let visit = visit.map_err(|error| {
                if matches!(error, Error::TicketRefused) {
                    Error::VisitorUnknown
                } else {
                    error
                }
            })?;
            door.note_session().await;
            door.credentials.cookie = Some(visit.secret);
            (visit.visitor, true)
        }
        found => (found?, false),
    };
    door.admit(&visits, &visitor, &said.text).await?;
    let (reply, is_renewed) = talks.stream(&mut visitor, said).await?;
    let mut response = head_of(&reply);
    renew(&mut response, &door, &visits, is_renewed || is_new);
    Ok(if let Reply::Streaming(Begun::Streaming { events, .. }) = reply {
        let first = stream::iter([Ok(Bytes::from_static(ASK_ONCE))]);
        response.streaming(first.chain(events))
    } else {
        response.body(whole_of(reply))
    })
}

/// `POST /api/v1/chat/stream/{turn_id}/stop`: no more of this answer. It is over when this is answered.
#[tracing::instrument(skip_all)]
async fn stop_visitor_turn(
    door: Door,
    turn_id: Path<String>,
    visits: web::Data<Visits>,
    talks: web::Data<Talks>,
) -> Result<HttpResponse> {
    let visitor = visits.find(&door.credentials, &door.from).await?;
    talks.stop(&visitor, &canonical(&turn_id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn answer_as_events(
    door: &Door,
    visits: &Visits,
    talks: &Talks,
    visitor: &mut Visitor,
    said: Said,
) -> Result<HttpResponse> {
    let (reply, is_renewed) = talks.stream(visitor, said).await?;
    let mut response = head_of(&reply);
    renew(&mut response, door, visits, is_renewed);
    Ok(if let Reply::Streaming(Begun::Streaming { events, .. }) = reply {
        response.streaming(events)
    } else {
        response.body(whole_of(reply))
    })
}

/// The head of a stream; `no-transform` keeps proxies from compressing, and so from holding back, what has to go out at
/// once.
fn head_of(reply: &Reply) -> HttpResponseBuilder {
    let mut response = match reply {
        Reply::Streaming(Begun::Streaming { turn_id, .. }) => stream_of(turn_id),
        Reply::Streaming(Begun::Replay(known)) => stream_of(&known.id),
        Reply::Sorry(_) => event_stream(),
    };
    response.insert_header((
        header::CACHE_CONTROL,
        "no-cache, no-store, must-revalidate, no-transform",
    ));
    response
}

/// The events of an answer that is there already.
fn whole_of(reply: Reply) -> Bytes {
    let text = match reply {
        Reply::Sorry(text) => text,
        Reply::Streaming(Begun::Replay(Known { answer, .. })) => {
            let answer = answer.unwrap_or_default();
            match answer.failure {
                Some(sentence) => format!("{}\n\n{sentence}", answer.text),
                None => answer.text,
            }
        }
        Reply::Streaming(Begun::Streaming { .. }) => String::new(),
    };
    let mut events = EventWriter::unnumbered(Framing::Widget);
    events.write("token", &json!({ "event": "token", "data": text }));
    events.write("end", &json!({ "event": "end", "data": "[DONE]" }));
    events.take().framed
}

fn renew(response: &mut HttpResponseBuilder, door: &Door, visits: &Visits, is_renewed: bool) {
    if let Some(secret) = door.credentials.cookie.as_ref().filter(|_| is_renewed) {
        response.insert_header((header::SET_COOKIE, door.cookie(secret, visits.life())));
    }
}

fn said(request: &HttpRequest, door: &Door, body: SendMessage) -> Result<Said> {
    let text = message(&body.message).map_err(|reason| Error::invalid("message", reason))?;
    let told = body.context.as_ref().map(context).transpose();
    Ok(Said {
        text,
        conversation: named(body.conversation_id)?,
        page_url: body.page_url.as_deref().and_then(page_url_of),
        context: told.map_err(|reason| Error::invalid("context", reason))?,
        client_ip: door.address,
        user_agent: door.user_agent.clone(),
        language: door.language.clone(),
        key: idempotency_key(request)?,
    })
}

fn named(conversation: Option<String>) -> Result<Option<String>> {
    if conversation
        .as_deref()
        .is_some_and(|name| !is_conversation_name(name))
    {
        let message = "must have 1 to 64 letters, digits, - and _";
        return Err(Error::invalid("conversation_id", message));
    }
    Ok(conversation)
}

/// `GET /api/v1/chat/history`: what was said in a conversation, oldest first.
#[tracing::instrument(skip_all)]
async fn show_visitor_history(
    door: Door,
    Query(query): Query<HistoryQuery>,
    visits: web::Data<Visits>,
    histories: web::Data<Histories>,
) -> Result<HttpResponse> {
    let visitor = visits.find(&door.credentials, &door.from).await?;
    history_of(&visitor, query, &histories).await
}

/// `GET /api/v1/chat/history/{session_id}`: the same where the session is named; it is the visitor's own or none.
#[tracing::instrument(skip_all)]
async fn show_own_visitor_history(
    door: Door,
    session_id: Path<String>,
    Query(query): Query<HistoryQuery>,
    visits: web::Data<Visits>,
    histories: web::Data<Histories>,
) -> Result<HttpResponse> {
    let visitor = visits.find(&door.credentials, &door.from).await?;
    if visitor.session_id != *session_id {
        return Err(Error::SessionNotFound);
    }
    history_of(&visitor, query, &histories).await
}

async fn history_of(visitor: &Visitor, query: HistoryQuery, histories: &Histories) -> Result<HttpResponse> {
    let limit = query.limit.unwrap_or(HISTORY_LIMIT);
    if !(1..=HISTORY_LIMIT_MAX).contains(&limit) {
        return Err(Error::invalid(
            "limit",
            format!("must be from 1 to {HISTORY_LIMIT_MAX}"),
        ));
    }
    let conversation = named(query.conversation_id)?;
    let offset = query.offset.unwrap_or_default().min(u64::from(u32::MAX));
    let (messages, total) = histories
        .list(visitor, conversation.as_deref(), offset, limit)
        .await?;
    let messages: Vec<_> = messages.iter().map(message_body).collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({
            "messages": messages,
            "total_count": total,
            "session_id": visitor.session_id,
        })))
}

fn message_body(message: &Message) -> Value {
    json!({
        "id": message.id,
        "role": message.role,
        "content": text_of(&message.role, &message.content),
        "created_at": Timestamp(message.created_at),
        "metadata": {},
    })
}
