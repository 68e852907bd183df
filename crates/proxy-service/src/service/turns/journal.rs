//! What a running turn has said, on its way to where readers who lost their connection find it.
//!
//! Only what has not been written down yet is in memory: a little of it, for a little while.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{domain::framing::Written, store::turn_events::Piece};

/// How long events may be known to this process only. Whatever is older survives its death.
const AGE_MAX: Duration = Duration::from_secs(5);

/// Bytes that are written down without waiting for their age.
const TAIL_BYTES_MAX: usize = 64 << 10;

/// Bytes kept of one turn. What comes after them is streamed, and only the text of it is in the history.
const TURN_BYTES_MAX: usize = 4 << 20;

/// The events of one running turn that have not been written down.
#[derive(Debug)]
pub(super) struct Journal {
    tail: Mutex<Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    lines: String,
    /// The number of the last event that was taken away.
    taken: u64,
    /// The number of the last event in `lines`.
    last: u64,
    /// When the first of `lines` came.
    since: Option<Instant>,
    /// Bytes of the whole turn.
    bytes: usize,
    /// Nothing more is kept.
    is_closed: bool,
}

impl Journal {
    /// A journal of a turn whose events can be read again, or of one that has none.
    pub(super) fn new(is_kept: bool) -> Self {
        let tail = Tail {
            is_closed: !is_kept,
            ..Tail::default()
        };
        Self {
            tail: Mutex::new(tail),
        }
    }

    /// Adds what was written.
    pub(super) fn push(&self, written: &Written, now: Instant) {
        let mut tail = self.lock();
        tail.bytes += written.lines.len();
        if tail.is_closed || tail.bytes > TURN_BYTES_MAX {
            tail.is_closed = true;
            return;
        }
        if let Ok(lines) = std::str::from_utf8(&written.lines)
            && !lines.is_empty()
        {
            tail.lines.push_str(lines);
            tail.last = written.last;
            tail.since.get_or_insert(now);
        }
    }

    /// Takes away what has to be written down now: with `at_once` everything, else what is old or large.
    pub(super) fn take(&self, at_once: bool, now: Instant) -> Option<Piece> {
        let mut tail = self.lock();
        let since = tail.since?;
        (at_once || tail.lines.len() >= TAIL_BYTES_MAX || now.duration_since(since) >= AGE_MAX)
            .then(|| tail.take())
    }

    /// Takes away the last of it; `None` where nothing, or not everything, was kept.
    pub(super) fn close(&self) -> Option<Piece> {
        let mut tail = self.lock();
        let was_closed = std::mem::replace(&mut tail.is_closed, true);
        (!was_closed && tail.since.is_some()).then(|| Piece {
            ends: true,
            ..tail.take()
        })
    }

    /// Keeps nothing more: a piece was lost, and what follows it is of no use.
    pub(super) fn give_up(&self) {
        let mut tail = self.lock();
        tail.is_closed = true;
        tail.take();
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn take(&mut self) -> Piece {
        let first = self.taken + 1;
        self.taken = self.last;
        self.since = None;
        Piece {
            first,
            last: self.last,
            lines: std::mem::take(&mut self.lines),
            ends: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn written(last: u64, bytes: usize) -> Written {
        let lines = Bytes::from("x".repeat(bytes));
        Written {
            framed: lines.clone(),
            lines,
            last,
        }
    }

    fn numbers(piece: &Piece) -> (u64, u64, bool) {
        (piece.first, piece.last, piece.ends)
    }

    #[test]
    fn events_are_written_down_when_they_are_wanted_old_or_many() {
        let (journal, now) = (Journal::new(true), Instant::now());
        assert_eq!(journal.take(true, now), None);
        journal.push(&written(2, 10), now);
        assert_eq!(journal.take(false, now), None);
        assert_eq!(numbers(&journal.take(true, now).unwrap()), (1, 2, false));
        journal.push(&written(3, TAIL_BYTES_MAX), now);
        assert_eq!(numbers(&journal.take(false, now).unwrap()), (3, 3, false));
        journal.push(&written(5, 10), now);
        assert_eq!(
            numbers(&journal.take(false, now + AGE_MAX).unwrap()),
            (4, 5, false)
        );
        journal.push(&written(6, 10), now);
        assert_eq!(numbers(&journal.close().unwrap()), (6, 6, true));
        assert_eq!(journal.close(), None);
    }

    #[test]
    fn a_turn_that_says_too_much_is_not_kept_to_its_end() {
        let (journal, now) = (Journal::new(true), Instant::now());
        journal.push(&written(1, TURN_BYTES_MAX), now);
        journal.push(&written(2, 1), now);
        assert_eq!(numbers(&journal.take(true, now).unwrap()), (1, 1, false));
        journal.push(&written(3, 1), now);
        assert_eq!((journal.take(true, now), journal.close()), (None, None));
    }

    #[test]
    fn after_a_lost_piece_nothing_is_kept() {
        let (journal, now) = (Journal::new(true), Instant::now());
        journal.push(&written(1, 10), now);
        journal.give_up();
        journal.push(&written(2, 10), now);
        assert_eq!((journal.take(true, now), journal.close()), (None, None));
    }
}
