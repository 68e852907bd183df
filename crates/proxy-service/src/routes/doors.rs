//! Doors for clients that people already have: other products' APIs in front of the one turn of this service.
//!
//! A door translates and decides nothing: it makes of a request what [`crate::service::turns::Asking`] wants, and of the
//! events that come back what its clients read. Its errors are ours in the form its clients know.

pub(super) mod flowise;
pub(super) mod openai;

use std::convert::Infallible;

use actix_web::{
    Error as ActixError,
    body::{EitherBody, MessageBody, to_bytes_limited},
    dev::{RequestHead, ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    middleware::Next,
};
use bytes::{Bytes, BytesMut};
use common_http::Routes;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Map, Value};

use crate::domain::upstream::UpstreamEvent;

/// Bytes of an error body of ours.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// The rows of every door.
pub(super) fn table(routes: &mut Routes<'_>) {
    flowise::table(routes);
    openai::table(routes);
}

/// What leaves by a door in the place of a problem.
pub(super) struct Refused {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Refused {
    fn json((status, body): (StatusCode, Value)) -> Self {
        Self {
            status,
            content_type: "application/json; charset=utf-8",
            body: body.to_string(),
        }
    }
}

/// A problem in the form of a door.
type Shape = fn(StatusCode, &Map<String, Value>) -> Refused;

/// The form that a request's problems have at the door it came to.
fn shape_for(request: &RequestHead) -> Option<Shape> {
    let path = request.uri.path();
    let doors: [(bool, Shape); 3] = [
        (flowise::reads_events_only(request), flowise::refusal_in_words),
        (flowise::has(path), |status, problem| {
            Refused::json(flowise::refusal(status, problem))
        }),
        (openai::has(path), |status, problem| {
            Refused::json(openai::refusal(status, problem))
        }),
    ];
    doors
        .into_iter()
        .find_map(|(is_here, shape)| is_here.then_some(shape))
}

/// Gives problems the form of the door they leave by, whoever made them: a limit, the check of a token, or a handler. For
/// `actix_web::middleware::from_fn`.
pub(crate) async fn refuse_in_kind<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    let shape = shape_for(request.head());
    let response = next.call(request).await?;
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_problem = content_type.is_some_and(|kind| kind.as_bytes() == b"application/problem+json");
    let Some(shape) = shape.filter(|_| is_problem) else {
        return Ok(response.map_into_left_body());
    };
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let bytes = to_bytes_limited(body, PROBLEM_BYTES_MAX).await;
    let bytes = bytes.ok().and_then(Result::ok).unwrap_or_default();
    let problem = serde_json::from_slice(&bytes).unwrap_or_default();
    let refused = shape(response.status(), &problem);
    *response.status_mut() = refused.status;
    let content_type = HeaderValue::from_static(refused.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    let response = response.set_body(refused.body);
    Ok(ServiceResponse::new(request, response.map_into_boxed_body()).map_into_right_body())
}

/// What comes on a stream of ours.
pub(super) enum Heard<'a> {
    /// A sign that a silent turn is alive.
    Heartbeat,
    /// An event.
    Event(UpstreamEvent<'a>),
}

/// A stream of our JSON lines, translated event by event. Each piece of such a stream holds whole lines.
pub(super) fn translated(
    events: impl Stream<Item = Result<Bytes, Infallible>>,
    mut translate: impl FnMut(Heard<'_>, &mut BytesMut),
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    events.filter_map(move |piece| {
        let mut out = BytesMut::new();
        // There is no error that could come.
        let piece = piece.unwrap_or_default();
        each_line(&piece, |heard| translate(heard, &mut out));
        std::future::ready((!out.is_empty()).then(|| Ok(out.freeze())))
    })
}

/// Reads whole lines; what is none of our events is not there.
pub(super) fn each_line(lines: &[u8], mut hear: impl FnMut(Heard<'_>)) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            hear(Heard::Heartbeat);
        } else if let Some(event) = UpstreamEvent::parse(line) {
            hear(Heard::Event(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn lines_are_heard_one_by_one_and_pieces_without_any_are_not_sent() {
        let pieces = [
            "{\"event\":\"a\",\"data\":1}\n{\"event\":\"b\"}\n",
            "\n",
            "nonsense\n",
            "{\"event\":\"c\"}\n",
        ];
        let events = stream::iter(pieces.map(|piece| Ok(Bytes::from_static(piece.as_bytes()))));
        let said = translated(events, |heard, out| match heard {
            Heard::Heartbeat => {}
            Heard::Event(event) => out.extend_from_slice(event.name.as_bytes()),
        });
        let said: Vec<_> = said.map(Result::unwrap).collect().await;
        assert_eq!(said, ["ab", "c"]);
    }
}
