//! The way of a stream from the task that makes it to the connection that carries it: bounded in pieces and in bytes,
//! so that a slow reader slows down its source instead of filling our memory, and never silent for long.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, sleep_until},
};

/// Pieces that may wait for a reader.
const PIECES_MAX: usize = 64;

/// Bytes that may wait for a reader. A single larger piece passes alone.
const BYTES_MAX: u32 = 256 << 10;

/// Pieces that are ready together leave together, up to so many bytes: a write costs the same for one word as for a
/// hundred.
const TOGETHER_MAX: usize = 16 << 10;

/// The reader has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The end that is written to.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pieces: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
}

/// The body of a response.
#[derive(Debug)]
pub(crate) struct Receiver {
    pieces: mpsc::Receiver<Piece>,
    heartbeat: &'static [u8],
    every: Duration,
    sent_at: Instant,
    alarm: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// A stream that shows `heartbeat` whenever it was silent for `every`.
pub(crate) fn channel(heartbeat: &'static [u8], every: Duration) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let room = Semaphore::new(usize::try_from(BYTES_MAX).unwrap_or(Semaphore::MAX_PERMITS));
    let now = Instant::now();
    let sender = Sender {
        pieces: sender,
        room: Arc::new(room),
    };
    let receiver = Receiver {
        pieces: receiver,
        heartbeat,
        every,
        sent_at: now,
        alarm: Box::pin(sleep_until(now + every)),
    };
    (sender, receiver)
}

impl Sender {
    /// Waits for room and sends; nothing is sent when this is dropped while it waits.
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        let weight = u32::try_from(bytes.len()).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let room = tokio::select! {
            room = self.room.clone().acquire_many_owned(weight) => room.or(Err(Gone))?,
            () = self.pieces.closed() => return Err(Gone),
        };
        let slot = self.pieces.reserve().await.or(Err(Gone))?;
        slot.send(Piece { bytes, _room: room });
        Ok(())
    }

    /// Waits until the reader has gone.
    pub(crate) async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Whether the reader has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.pieces.is_closed()
    }
}

impl Receiver {
    /// A piece with those that wait behind it; a large one alone, without being copied.
    fn and_what_is_ready(&mut self, first: Piece) -> Bytes {
        if first.bytes.len() >= TOGETHER_MAX {
            return first.bytes;
        }
        let Ok(second) = self.pieces.try_recv() else {
            return first.bytes;
        };
        let mut together = BytesMut::from(first.bytes.as_ref());
        together.extend_from_slice(&second.bytes);
        while together.len() < TOGETHER_MAX
            && let Ok(piece) = self.pieces.try_recv()
        {
            together.extend_from_slice(&piece.bytes);
        }
        together.freeze()
    }
}

impl Stream for Receiver {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.pieces.poll_recv(context) {
            Poll::Ready(Some(piece)) => {
                self.sent_at = Instant::now();
                return Poll::Ready(Some(Ok(self.and_what_is_ready(piece))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        // The alarm is only set anew when it has rung: setting it at each piece would cost more than the piece.
        while self.alarm.as_mut().poll(context).is_ready() {
            let silent_since = self.sent_at;
            let now = Instant::now();
            let rings_at = if now >= silent_since + self.every {
                now
            } else {
                silent_since
            } + self.every;
            self.alarm.as_mut().reset(rings_at);
            if now >= silent_since + self.every {
                self.sent_at = now;
                return Poll::Ready(Some(Ok(Bytes::from_static(self.heartbeat))));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    const EVERY: Duration = Duration::from_secs(15);

    /// The outcome, where there is one without waiting.
    fn now<T>(work: impl Future<Output = T>) -> Option<T> {
        // Otherwise tokio makes a task that got much done wait a little.
        tokio::task::unconstrained(work).now_or_never()
    }

    fn piece(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_stops_its_source_by_bytes_and_by_pieces() {
        for (size, fit) in [(64 << 10, 4), (1, PIECES_MAX)] {
            let (sender, mut receiver) = channel(b"\n", EVERY);
            for _ in 0..fit {
                assert_eq!(now(sender.send(piece(size))), Some(Ok(())));
            }
            assert_eq!(now(sender.send(piece(size))), None, "{size} bytes a piece");
            let together = (TOGETHER_MAX / size).clamp(1, fit) * size;
            assert_eq!(receiver.next().await.unwrap().unwrap().len(), together);
            assert_eq!(now(sender.send(piece(size))), Some(Ok(())));
        }
    }

    #[tokio::test]
    async fn a_piece_larger_than_the_buffer_passes_alone() {
        let (sender, mut receiver) = channel(b"\n", EVERY);
        assert_eq!(now(sender.send(piece(8 << 20))), Some(Ok(())));
        assert_eq!(now(sender.send(piece(1))), None);
        assert_eq!(receiver.next().await.unwrap().unwrap().len(), 8 << 20);
        assert_eq!(now(sender.send(piece(1))), Some(Ok(())));
    }

    #[tokio::test]
    async fn a_source_that_waits_for_room_learns_that_the_reader_has_gone() {
        let (sender, receiver) = channel(b"\n", EVERY);
        sender.send(piece(300_000)).await.unwrap();
        let mut blocked = Box::pin(sender.send(piece(300_000)));
        assert!(poll_fn(|context| Poll::Ready(blocked.as_mut().poll(context).is_pending())).await);
        drop(receiver);
        assert_eq!(blocked.await, Err(Gone));
        assert!(sender.is_closed());
        sender.closed().await;
    }

    #[tokio::test]
    async fn silence_is_broken_by_heartbeats_until_the_source_ends() {
        let (sender, mut receiver) = channel(b"beat", Duration::from_millis(1));
        assert_eq!(receiver.next().await.unwrap().unwrap(), "beat");
        assert_eq!(receiver.next().await.unwrap().unwrap(), "beat");
        sender.send(Bytes::from_static(b"event")).await.unwrap();
        assert_eq!(
            receiver.next().await.unwrap().unwrap(),
            "event",
            "events go first"
        );
        assert_eq!(receiver.next().await.unwrap().unwrap(), "beat");
        drop(sender);
        assert!(receiver.next().await.is_none());
    }
}
