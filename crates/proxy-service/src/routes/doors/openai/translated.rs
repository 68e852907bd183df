//! Answers of turns, in this API's forms.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{HttpResponse, HttpResponseBuilder, http::header::HeaderName};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::{Ready, named};
use crate::{
    domain::{
        framing::Framing,
        openai::{AnswerStream, answer::Head, heard::Heard},
    },
    error::Result,
    relay,
    routes::{
        doors::{self, each_line},
        predict::{replay, replayed, stream_of},
    },
    service::turns::{Begun, Turns},
};

/// What shows that a silent stream is alive.
const HEARTBEAT: &[u8] = b": ping\n\n";

/// Begins a turn and shows it as `writer` writes it.
pub(super) async fn stream<W: AnswerStream + Unpin + 'static>(
    ready: Ready,
    turns: &Turns,
    writer: impl FnOnce(Head) -> W,
) -> Result<HttpResponse> {
    let Ready {
        asking,
        params,
        model,
        created,
    } = ready;
    let delivery = asking.delivery;
    let begun = turns.stream(asking, Framing::Lines).await;
    let head = |turn_id: String| Head {
        turn_id,
        model,
        created,
    };
    Ok(match begun.map_err(|error| named(error, &params))? {
        Begun::Streaming { turn_id, events } => {
            let mut response = stream_of(&turn_id);
            response.streaming(Translated::new(events, writer(head(turn_id))))
        }
        Begun::Replay(known) => {
            let events = replay(&known, delivery, Framing::Lines);
            let mut response = stream_of(&known.id);
            response.insert_header(replayed());
            response.body(translate_all(&events, writer(head(known.id))))
        }
    })
}

/// The head of a whole answer.
pub(super) fn whole(head: &Head, is_replay: bool) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((HeaderName::from_static("x-turn-id"), head.turn_id.as_str()));
    if is_replay {
        response.insert_header(replayed());
    }
    response
}

/// The events of a turn, as a client of this API reads them.
struct Translated<W> {
    /// Whole lines, each an event or nothing.
    events: relay::Receiver,
    writer: W,
    out: BytesMut,
    is_over: bool,
}

impl<W: AnswerStream> Translated<W> {
    fn new(events: relay::Receiver, mut writer: W) -> Self {
        let mut out = BytesMut::new();
        writer.begin(&mut out);
        Self {
            events,
            writer,
            out,
            is_over: false,
        }
    }
}

impl<W: AnswerStream + Unpin> Stream for Translated<W> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.out.is_empty() {
            if this.is_over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.events).poll_next(context)) {
                Some(Ok(lines)) => translate(&lines, &mut this.writer, &mut this.out),
                None => {
                    this.is_over = true;
                    this.writer.close(&mut this.out);
                }
            }
        }
        Poll::Ready(Some(Ok(this.out.split().freeze())))
    }
}

fn translate(lines: &[u8], writer: &mut impl AnswerStream, out: &mut BytesMut) {
    each_line(lines, |heard| match heard {
        doors::Heard::Heartbeat => out.extend_from_slice(HEARTBEAT),
        doors::Heard::Event(event) => {
            if let Some(heard) = Heard::of(&event) {
                writer.accept(heard, out);
            }
        }
    });
}

/// All of a turn that is over.
fn translate_all(events: &[u8], mut writer: impl AnswerStream) -> Bytes {
    let mut out = BytesMut::new();
    writer.begin(&mut out);
    translate(events, &mut writer, &mut out);
    writer.close(&mut out);
    out.freeze()
}
