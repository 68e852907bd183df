//! Attends to the turns that run here: what they said is written down, and what is asked of them is done.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Shared, running::Live};
use crate::store::{messages::Place, turn_events::Piece};

/// How often it is looked. Readers who lost their connection see events about this much later.
const EVERY: Duration = Duration::from_millis(150);

/// Looks after the running turns until the service stops and every one of them is over.
pub(super) async fn attend(shared: Arc<Shared>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = HashMap::new();
    loop {
        ticks.tick().await;
        let running = shared.running.all();
        if running.is_empty() {
            if shared.stop.is_cancelled() {
                return;
            }
            heard.clear();
            continue;
        }
        shared.hear(&mut heard).await;
        let now = Instant::now();
        for live in running {
            if let Some(piece) = live.journal.take(live.watched_until().is_some(), now) {
                let shared = shared.clone();
                shared
                    .tasks
                    .clone()
                    .spawn(async move { shared.write_down_events(&live, &piece).await });
            }
        }
    }
}

impl Shared {
    /// Finds out what has been asked elsewhere. `heard` says how much of it is known already.
    async fn hear(&self, heard: &mut HashMap<String, i64>) {
        let asked = match self.turns.list_asked().await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "what is asked of running turns could not be read");
                return;
            }
        };
        let before = std::mem::take(heard);
        for asked in asked {
            let Some(live) = self.running.find(&asked.id) else {
                continue;
            };
            if asked.must_stop {
                live.stop.cancel();
            }
            if before.get(&asked.id).copied().unwrap_or_default() < asked.asks {
                live.watch();
            }
            heard.insert(asked.id, asked.asks);
        }
    }

    /// Writes down the last events of a turn that is over.
    pub(super) async fn close_journal(&self, live: &Live) {
        if let Some(piece) = live.journal.close() {
            self.write_down_events(live, &piece).await;
        }
    }

    async fn write_down_events(&self, live: &Live, piece: &Piece) {
        let place = Place {
            turn: &live.turn_id,
            user: &live.user_id,
            chatflow: "",
            session: &live.session_id,
        };
        if let Err(error) = self.events.insert(place, piece, self.clock.now()).await {
            live.journal.give_up();
            tracing::warn!(%error, turn_id = live.turn_id, "events of a turn were lost to those who lost them before");
        }
    }
}
