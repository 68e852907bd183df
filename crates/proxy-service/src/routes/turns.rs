//! A person's own turns over HTTP: which run, what they say, and their end.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{CurrentUser, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    CHATTING, READING, READING_ALL,
    predict::{framing_of, last_event_id, stream_of},
};
use crate::{
    domain::event_id::{EventId, NUMBER_MAX},
    error::{Error, Result},
    service::turns::{Rest, Turns},
    store::turns::{OwnTurn, Stage},
};

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        routes
            .get(&format!("{prefix}/turns"), READING_ALL, list_turns)
            .get(&format!("{prefix}/turns/{{id}}"), READING, show_turn)
            .get(&format!("{prefix}/turns/{{id}}/events"), READING, follow_turn)
            .post(&format!("{prefix}/turns/{{id}}/stop"), CHATTING, stop_turn);
    }
}

#[derive(Serialize)]
struct TurnBody {
    turn_id: String,
    session_id: String,
    chatflow_id: String,
    status: &'static str,
    delivery: Option<String>,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl From<OwnTurn> for TurnBody {
    fn from(turn: OwnTurn) -> Self {
        Self {
            turn_id: turn.id,
            session_id: turn.session_id,
            chatflow_id: turn.chatflow_id,
            status: match turn.stage {
                Stage::Running => "running",
                Stage::Settling | Stage::Settled => "ended",
            },
            delivery: turn.delivery,
            created_at: Timestamp(turn.began_at),
            ended_at: turn.ended_at.map(Timestamp),
        }
    }
}

#[derive(Deserialize)]
struct ListTurns {
    status: Option<String>,
}

/// `GET /api/v1/chat/turns?status=running`: what is being answered, oldest first.
#[tracing::instrument(skip_all)]
async fn list_turns(
    user: CurrentUser,
    query: Query<ListTurns>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    if query.status.as_deref().is_some_and(|status| status != "running") {
        return Err(Error::invalid("status", "must be `running`"));
    }
    let running = turns.list_running(&user).await?;
    let bodies: Vec<TurnBody> = running.into_iter().map(TurnBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "turns": bodies, "count": bodies.len() })))
}

/// `GET /api/v1/chat/turns/{id}`: whether it still runs.
#[tracing::instrument(skip_all)]
async fn show_turn(
    user: CurrentUser,
    turn_id: Path<String>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    let turn = turns.find_own(&user, &canonical(&turn_id)?).await?;
    Ok(HttpResponse::Ok().json(TurnBody::from(turn)))
}

#[derive(Deserialize)]
struct FollowTurn {
    after: Option<u64>,
}

/// `GET /api/v1/chat/turns/{id}/events`: its events from the first on, or from where the client lost it.
#[tracing::instrument(skip_all)]
async fn follow_turn(
    user: CurrentUser,
    request: HttpRequest,
    turn_id: Path<String>,
    query: Query<FollowTurn>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    let turn_id = canonical(&turn_id)?;
    let from = match last_event_id(&request)? {
        Some(from) if from.turn != turn_id => return Err(Error::TurnNotFound),
        Some(from) => from,
        None => EventId::new(&turn_id, query.after.unwrap_or_default().min(NUMBER_MAX)),
    };
    let rest = turns.follow(&user, &from, framing_of(&request)).await?;
    Ok(render(rest, &turn_id))
}

/// `POST /api/v1/chat/turns/{id}/stop`: no more of it. What was said is kept and paid for.
#[tracing::instrument(skip_all)]
async fn stop_turn(
    user: CurrentUser,
    turn_id: Path<String>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    let turn = turns.stop_turn(&user, &canonical(&turn_id)?).await?;
    Ok(HttpResponse::Ok().json(TurnBody::from(turn)))
}

/// The rest of a turn's events. A browser's `EventSource` connects again for ever after any end but 204.
pub(super) fn render(rest: Rest, turn_id: &str) -> HttpResponse {
    match rest {
        Rest::Streaming(events) => stream_of(turn_id).streaming(events),
        Rest::Nothing => HttpResponse::NoContent().finish(),
    }
}

/// A turn's id as it is stored, however it was written.
pub(super) fn canonical(turn_id: &str) -> Result<String> {
    let id = Uuid::parse_str(turn_id).or(Err(Error::TurnNotFound))?;
    Ok(id.to_string())
}
