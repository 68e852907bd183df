//! One turn, asked for as Flowise's clients ask.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderName},
    web,
};
use common_http::{CurrentUser, Path};
use futures_util::stream;

use super::{
    answer,
    body::{Asked, PredictionBody},
    events::Narrator,
};
use crate::{
    domain::{door::Door, framing::Framing},
    error::Result,
    routes::{
        doors::translated,
        predict::{idempotency_key, replay, replayed},
    },
    service::{
        chats::Chats,
        turns::{Answered, Asking, Begun, Delivery, Turns},
    },
};

/// `POST /api/v1/prediction/{flowise_id}`: one turn, whole or as events in Flowise's own framing.
#[tracing::instrument(skip_all)]
pub(super) async fn predict(
    user: CurrentUser,
    request: HttpRequest,
    flowise_id: Path<String>,
    body: PredictionBody,
    turns: web::Data<Turns>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let key = idempotency_key(&request)?;
    let (asked, share) = body.ask(&flowise_id)?;
    let Asked {
        request,
        session,
        streams,
    } = asked;
    // A flow that cannot stream answers JSON, whatever is asked for. Where nobody can tell, the turn itself will.
    let streams = streams && chats.streams(&user, &flowise_id).await.unwrap_or(true);
    let asking = Asking {
        user,
        request,
        share,
        key,
        door: Door::Flowise,
        delivery: if streams {
            Delivery::Stored
        } else {
            Delivery::StoredWhole
        },
        session: session.clone(),
        as_json: !streams,
    };
    if !streams {
        return Ok(match turns.answer(asking).await? {
            Answered::Now(said) => answer::of_turn(said, session.as_ref()),
            Answered::Replay(known) => answer::of_known(known, session.as_ref()),
        });
    }
    let mut narrator = Narrator::new(session);
    Ok(match turns.stream(asking, Framing::Lines).await? {
        Begun::Streaming { turn_id, events } => {
            stream_of(&turn_id).streaming(translated(events, move |heard, out| narrator.tell(heard, out)))
        }
        Begun::Replay(known) => {
            let lines = replay(&known, Delivery::Stored, Framing::Lines);
            let told = translated(stream::iter([Ok(lines)]), move |heard, out| {
                narrator.tell(heard, out);
            });
            stream_of(&known.id).insert_header(replayed()).streaming(told)
        }
    })
}

/// The head that Flowise's own streams have.
fn stream_of(turn_id: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .insert_header((HeaderName::from_static("x-turn-id"), turn_id));
    response
}
