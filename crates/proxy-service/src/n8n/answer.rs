//! An answer of n8n's on its way.

use std::time::Duration;

use moka::future::Cache;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::domain::{
    failure::Failure,
    n8n::{Parser, Piece},
};

/// An answer that is read piece by piece.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) response: Response,
    /// Where it is noted, once, that this webhook streams.
    pub(super) streaming: Option<(Cache<Url, ()>, Url)>,
    pub(super) parser: Parser,
    pub(super) idle_timeout: Duration,
    pub(super) error_grace: Duration,
    pub(super) heard_at: Instant,
    pub(super) is_over: bool,
}

impl Answer {
    /// Waits for the next bytes of the answer and hands what they complete to `on_piece`; `false` when it is over, and then
    /// [`Answer::verdict`] says whether it is whole. Dropped while it waits, it loses nothing.
    pub(crate) async fn next(&mut self, mut on_piece: impl FnMut(Piece)) -> Result<bool, Failure> {
        if self.is_over {
            return Ok(false);
        }
        let has_failed = self.parser.last_was_error();
        let patience = if has_failed {
            self.error_grace.min(self.idle_timeout)
        } else {
            self.idle_timeout
        };
        let chunk = timeout_at(self.heard_at + patience, self.response.chunk()).await;
        let failure = match chunk {
            Ok(Ok(Some(bytes))) => {
                self.heard_at = Instant::now();
                let read = self.parser.push(&bytes, &mut on_piece);
                self.note_whether_it_streams().await;
                match read {
                    Ok(()) => return Ok(true),
                    Err(_too_large) => Failure::TooLarge,
                }
            }
            Ok(Ok(None)) => return Ok(self.end(on_piece)),
            // After an error nothing more has to come.
            _ if has_failed => return Ok(self.end(on_piece)),
            Ok(Err(_)) => Failure::Broken,
            Err(_elapsed) => Failure::IdleTimeout,
        };
        self.is_over = true;
        Err(failure)
    }

    /// Whether the answer is whole, once it is over.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        self.parser.verdict()
    }

    /// Lines of it that could not be read and were left out.
    pub(crate) fn unread(&self) -> u64 {
        self.parser.unread()
    }

    async fn note_whether_it_streams(&mut self) {
        if self.parser.is_stream()
            && let Some((streaming, webhook)) = self.streaming.take()
        {
            streaming.insert(webhook, ()).await;
        }
    }

    fn end(&mut self, on_piece: impl FnMut(Piece)) -> bool {
        self.parser.finish(on_piece);
        self.is_over = true;
        false
    }
}
