//! A person's way back to a turn of theirs: after a lost connection, after a reload of the page, from another device, and
//! to its end when they want no more of it.
//!
//! A reader who comes back reads what is written down, whichever replica runs the turn, if one still does. Who runs it is
//! told that somebody reads, and then writes down at once what the chatflow says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use common_http::CurrentUser;
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Shared, Turns};
use crate::{
    domain::{
        ask::ChatRequest,
        event_id::EventId,
        framing::{EventWriter, Framing},
        upstream::UpstreamEvent,
    },
    error::{Error, Result},
    relay,
    store::{
        turn_events::Piece,
        turns::{OwnTurn, Stage},
    },
};

/// How often it is looked for more.
const EVERY: Duration = Duration::from_millis(150);

/// How often whoever runs the turn is told that somebody reads.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// How long the last events of a turn may take to be written down after its end: it is settled first.
const LAST_EVENTS_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the database may be away under a reader.
const AWAY_MAX: Duration = Duration::from_mins(1);

/// Readers of one person in this process. Each looks into the database by itself.
const READERS_MAX: usize = 20;

/// How long a stop waits for the turn's end, so that the next message finds its session free.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it looks.
const STOP_EVERY: Duration = Duration::from_millis(50);

/// Who reads a turn again.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers {
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

impl Readers {
    /// Adds a reader of this person until what is returned is dropped; `None` when there are too many.
    fn enter(&self, user_id: &str) -> Option<Reader> {
        let mut counts = self.lock();
        let count = counts.entry(user_id.to_owned()).or_default();
        if *count >= READERS_MAX {
            return None;
        }
        *count += 1;
        Some(Reader {
            readers: self.clone(),
            user_id: user_id.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    readers: Readers,
    user_id: String,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut counts = self.readers.lock();
        if let Some(count) = counts.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user_id);
            }
        }
    }
}

/// The rest of a turn.
#[derive(Debug)]
pub(crate) enum Rest {
    /// There is none: the reader has seen its end.
    Nothing,
    /// It is on its way.
    Streaming(relay::Receiver),
}

impl Turns {
    /// The person's running turns, oldest first.
    pub(crate) async fn list_running(&self, user: &CurrentUser) -> Result<Vec<OwnTurn>> {
        Ok(self.shared.turns.list_running(&user.id).await?)
    }

    /// One of the person's turns.
    pub(crate) async fn find_own(&self, user: &CurrentUser, turn_id: &str) -> Result<OwnTurn> {
        let turn = self.shared.turns.find_own(&user.id, turn_id).await?;
        turn.ok_or(Error::TurnNotFound)
    }

    /// Ends one of the person's turns; what was said is kept and paid for. Gives the turn as it is then: it has nearly
    /// always ended. A turn that had ended already is left as it is.
    pub(crate) async fn stop_turn(&self, user: &CurrentUser, turn_id: &str) -> Result<OwnTurn> {
        self.stop_turn_of(&user.id, turn_id).await
    }

    /// The same for whoever talks, an embed's visitor, too.
    pub(crate) async fn stop_turn_of(&self, talker_id: &str, turn_id: &str) -> Result<OwnTurn> {
        let find = async || {
            let turn = self.shared.turns.find_own(talker_id, turn_id).await?;
            turn.ok_or(Error::TurnNotFound)
        };
        let mut turn = find().await?;
        if turn.stage != Stage::Running {
            return Ok(turn);
        }
        match self.shared.running.find(turn_id) {
            Some(live) => live.stop.cancel(),
            None => drop(self.shared.turns.ask_to_stop(turn_id).await?),
        }
        let since = Instant::now();
        while turn.stage == Stage::Running && since.elapsed() < STOP_TIMEOUT {
            sleep(STOP_EVERY).await;
            turn = find().await?;
        }
        Ok(turn)
    }

    /// Answers a chat request that names the last event its client has seen: it begins nothing, it gives the rest of that
    /// turn. It has to be about the same conversation.
    pub(crate) async fn go_on(
        &self,
        user: &CurrentUser,
        request: &ChatRequest,
        from: &EventId,
        framing: Framing,
    ) -> Result<Rest> {
        let turn = self.find_own(user, &from.turn).await?;
        let same = |id: &str, own: &str| Uuid::parse_str(id).is_ok_and(|id| id.to_string() == own);
        let session = request.session_id.as_deref().unwrap_or_default();
        if !same(&request.chatflow_id, &turn.chatflow_id)
            || !(session.is_empty() || same(session, &turn.session_id))
        {
            return Err(Error::TurnNotFound);
        }
        self.follow(user, from, framing).await
    }

    /// Gives what one of the person's turns says after an event, also when another replica runs it or when it has ended.
    pub(crate) async fn follow(&self, user: &CurrentUser, from: &EventId, framing: Framing) -> Result<Rest> {
        let shared = &self.shared;
        let turn = self.find_own(user, &from.turn).await?;
        let pieces = shared.events.list_after(&turn.id, from.number).await?;
        let has_gap = pieces.first().is_some_and(|piece| piece.first > from.number + 1);
        if has_gap || (pieces.is_empty() && shared.is_long_over(&turn)) {
            let last = shared.events.find_last(&turn.id).await?;
            return match last {
                Some(last) if last.ends && last.last <= from.number => Ok(Rest::Nothing),
                _ => Err(Error::TurnEventsGone),
            };
        }
        if pieces.is_empty()
            && let Some(last) = shared.events.find_last(&turn.id).await?
            && last.ends
        {
            return Ok(Rest::Nothing);
        }
        let max = READERS_MAX;
        let reader = shared.readers.enter(&user.id);
        let reader = reader.ok_or(Error::TooManyReaders { max })?;
        let (sender, receiver) = relay::channel(framing.heartbeat(), shared.heartbeat);
        let reading = Reading {
            shared: shared.clone(),
            turn_id: turn.id.clone(),
            seen: from.number,
            writer: EventWriter::after(framing, &turn.id, from.number),
            framing,
            sender,
            _reader: reader,
        };
        shared.tasks.spawn_on(reading.run(pieces), &shared.runtime);
        Ok(Rest::Streaming(receiver))
    }
}

impl Shared {
    /// Whether the last events of the turn would have been written down by now.
    fn is_long_over(&self, turn: &OwnTurn) -> bool {
        let timeout = TimeDelta::from_std(LAST_EVENTS_TIMEOUT).unwrap_or_default();
        let over = turn
            .ended_at
            .is_some_and(|ended_at| self.clock.now() > ended_at + timeout);
        over || turn.delivery.as_deref() == Some(super::Delivery::Whole.name())
    }
}

/// Somebody reads a turn again.
struct Reading {
    shared: Arc<Shared>,
    turn_id: String,
    /// The last event that was sent.
    seen: u64,
    writer: EventWriter,
    framing: Framing,
    sender: relay::Sender,
    _reader: Reader,
}

/// Why nothing more is sent.
enum Over {
    /// Everything was sent, or the reader has gone, or this process stops: the reader comes back elsewhere.
    Done,
    /// What follows cannot be had.
    Lost,
}

impl Reading {
    async fn run(mut self, pieces: Vec<Piece>) {
        let stop = self.shared.stop.clone();
        let over = tokio::select! {
            over = self.send_all(pieces) => over,
            () = stop.cancelled() => Over::Done,
        };
        if matches!(over, Over::Lost) {
            self.say_lost().await;
        }
    }

    async fn send_all(&mut self, mut pieces: Vec<Piece>) -> Over {
        let mut told_at: Option<Instant> = None;
        let mut ended_at: Option<Instant> = None;
        let mut away_since: Option<Instant> = None;
        loop {
            let before = self.seen;
            for piece in std::mem::take(&mut pieces) {
                if piece.first > self.seen + 1 {
                    // The one before may still be on its way.
                    break;
                }
                if self.send(&piece).await.is_err() || piece.ends {
                    return Over::Done;
                }
            }
            if self.seen == before {
                if ended_at.is_some_and(|at| at.elapsed() > LAST_EVENTS_TIMEOUT) {
                    return Over::Lost;
                }
                tokio::select! {
                    () = sleep(EVERY) => {}
                    () = self.sender.closed() => return Over::Done,
                }
            }
            if ended_at.is_none() && told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
                told_at = Some(Instant::now());
                // When that fails it is tried again; meanwhile the turn counts as running.
                if matches!(self.tell().await, Ok(false)) {
                    ended_at = Some(Instant::now());
                }
            }
            match self.shared.events.list_after(&self.turn_id, self.seen).await {
                Ok(found) => {
                    away_since = None;
                    pieces = found;
                }
                Err(error) => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > AWAY_MAX {
                        tracing::warn!(%error, turn_id = self.turn_id, "the events of a turn could not be read");
                        return Over::Lost;
                    }
                }
            }
        }
    }

    /// Tells whoever runs the turn that somebody reads; `false` when nobody runs it any more.
    async fn tell(&self) -> mongodb::error::Result<bool> {
        match self.shared.running.find(&self.turn_id) {
            Some(live) => {
                live.watch();
                Ok(true)
            }
            None => self.shared.turns.ask_to_show(&self.turn_id).await,
        }
    }

    /// Sends those events of a piece that were not seen.
    async fn send(&mut self, piece: &Piece) -> std::result::Result<(), relay::Gone> {
        // Counted from the last: the farewell of a process that died leaves numbers out.
        let last_first = piece.lines.lines().rev().zip((0..=piece.last).rev());
        let unseen = last_first.take_while(|(_, number)| *number > self.seen);
        let unseen: Vec<(&str, u64)> = unseen.collect();
        for (line, number) in unseen.into_iter().rev() {
            let event = UpstreamEvent::parse(line.as_bytes());
            let name = event.as_ref().map_or("message", |event| &event.name);
            self.writer.go_on_after(number - 1);
            self.writer.write_raw(name, line);
        }
        self.seen = self.seen.max(piece.last);
        let written = self.writer.take();
        self.sender.send(written.framed).await
    }

    /// The end of a stream whose rest is lost.
    async fn say_lost(self) {
        let mut writer = EventWriter::unnumbered(self.framing);
        let sentence = "The rest of this answer cannot be shown again. Please look into the history.";
        let error = json!({ "event": "error", "data": sentence, "code": "turn_events_lost" });
        writer.write("error", &error);
        writer.write(
            "token",
            &json!({ "event": "token", "data": format!("\n\n{sentence}") }),
        );
        writer.write("end", &json!({ "event": "end", "data": "[DONE]" }));
        // Whoever has gone is not told.
        let _ = self.sender.send(writer.take().framed).await;
    }
}
