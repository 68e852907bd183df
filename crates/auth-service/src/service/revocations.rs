//! The feed of ended sessions (decision D4): every replica of this service knows all of them within half a second,
//! and tells whoever asks, by long poll.
//!
//! Replicas share the database's clock: each revocation carries the time at which the database took it. A cursor is
//! such a time and a digest of the revocations shortly before it. Writes become visible slightly out of order, so a
//! late one changes the digest, and whoever presents the old cursor is told again about that short stretch. So any
//! replica can answer any cursor, nothing is missed, and nobody is told twice without need.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::{DateTime, Duration, Utc};
use common_http::{Clock, RevocationBody, RevocationSet, RevocationsBody};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::Result,
    service::tokens::seconds,
    store::revocations::{Revocation, RevocationStore},
};

/// How often a replica looks for what others revoked.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// How far back a late write may lie, and how far the clocks of two primaries may be apart.
const OVERLAP: Duration = Duration::seconds(10);

/// The longest a poll is held open.
pub(crate) const WAIT_SECS_MAX: u64 = 25;

/// Ended sessions, and the news of them.
#[derive(Clone, Debug)]
pub(crate) struct Revocations {
    store: RevocationStore,
    /// For this service's own checks.
    set: RevocationSet,
    view: Arc<RwLock<View>>,
    /// Counts the looks, so that pollers notice each.
    looks: Arc<watch::Sender<u64>>,
    wake: Arc<Notify>,
    clock: Clock,
    access_life: Duration,
}

/// All revocations that still matter, in the order of the database's clock.
#[derive(Debug, Default)]
struct View {
    entries: BTreeMap<(DateTime<Utc>, String), DateTime<Utc>>,
}

/// Up to where a client knows everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    at: DateTime<Utc>,
    digest: u64,
}

impl Revocations {
    /// Reads what is in force.
    pub(crate) async fn open(config: &Config, store: RevocationStore) -> Result<Self> {
        let revocations = Self {
            store,
            set: RevocationSet::default(),
            view: Arc::default(),
            looks: Arc::new(watch::Sender::new(0)),
            wake: Arc::default(),
            clock: config.clock.clone(),
            access_life: seconds(config.access_life),
        };
        revocations.look().await?;
        Ok(revocations)
    }

    /// The same, for whoever checks tokens in this process.
    pub(crate) fn set(&self) -> RevocationSet {
        self.set.clone()
    }

    /// Whether the session has ended.
    pub(crate) fn contains(&self, session_id: &str) -> bool {
        self.set.contains(session_id)
    }

    /// Ends the access tokens of these sessions everywhere.
    pub(crate) async fn revoke(&self, session_ids: &[String]) -> Result<()> {
        let expires_at = self.clock.now() + self.access_life;
        self.store.insert_all(session_ids, expires_at).await?;
        let bodies = session_ids.iter().map(|session_id| RevocationBody {
            sid: session_id.clone(),
            expires_at: expires_at.timestamp(),
        });
        self.set.extend(bodies, self.clock.now().timestamp());
        self.wake.notify_one();
        Ok(())
    }

    /// Keeps up with the database until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut is_up = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.look().await {
                Ok(()) => is_up = true,
                Err(error) => {
                    if is_up {
                        tracing::error!(?error, "revocations cannot be read; trying on");
                    }
                    is_up = false;
                }
            }
        }
    }

    async fn look(&self) -> Result<()> {
        let since = self.read_view(View::latest).map(|latest| latest - OVERLAP);
        let found = self.store.list_since(since).await?;
        let now = self.clock.now();
        let bodies = found.iter().map(|revocation| RevocationBody {
            sid: revocation.session_id.clone(),
            expires_at: revocation.expires_at.timestamp(),
        });
        self.set.extend(bodies.collect::<Vec<_>>(), now.timestamp());
        self.view
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take_in(found, now);
        self.looks.send_modify(|looks| *looks += 1);
        Ok(())
    }

    /// What was revoked since `cursor`; waits up to `wait` for something, or until `stop`.
    pub(crate) async fn since(
        &self,
        cursor: &str,
        wait: std::time::Duration,
        stop: &CancellationToken,
    ) -> RevocationsBody {
        let Some(cursor) = Cursor::parse(cursor) else {
            return self.read_view(|view| view.body(None));
        };
        let mut looks = self.looks.subscribe();
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let mut has_looked = false;
        loop {
            let news = self.read_view(|view| view.news(cursor));
            // Another digest may only mean that this replica is behind the one that gave the cursor; it is not after
            // its next look.
            if news == News::Later || (news == News::Earlier && has_looked) {
                break;
            }
            tokio::select! {
                changed = looks.changed() => has_looked = changed.is_ok(),
                () = &mut deadline => break,
                () = stop.cancelled() => break,
            }
        }
        self.read_view(|view| view.body(Some(cursor)))
    }

    fn read_view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        read(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a view knows that the holder of a cursor does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Nothing,
    /// Something before the cursor that became visible late.
    Earlier,
    /// Something after the cursor.
    Later,
}

impl View {
    fn latest(&self) -> Option<DateTime<Utc>> {
        self.entries.keys().next_back().map(|(at, _)| *at)
    }

    fn take_in(&mut self, found: Vec<Revocation>, now: DateTime<Utc>) {
        for revocation in found {
            self.entries
                .insert((revocation.at, revocation.session_id), revocation.expires_at);
        }
        let leeway = Duration::seconds(common_jwt::LEEWAY_SECS);
        self.entries.retain(|_, expires_at| *expires_at + leeway >= now);
    }

    fn news(&self, cursor: Cursor) -> News {
        if self.latest().is_some_and(|latest| latest > cursor.at) {
            News::Later
        } else if self.digest_before(cursor.at) == cursor.digest {
            News::Nothing
        } else {
            News::Earlier
        }
    }

    /// An answer to the holder of `cursor`; without one, everything.
    fn body(&self, cursor: Option<Cursor>) -> RevocationsBody {
        let known_at = cursor.map_or(DateTime::UNIX_EPOCH, |cursor| cursor.at);
        let nothing_new = cursor.is_some_and(|cursor| self.news(cursor) == News::Nothing);
        let after = known_at - OVERLAP;
        let revocations = self
            .entries
            .iter()
            .filter(|((at, _), _)| !nothing_new && *at > after)
            .map(|((_, session_id), expires_at)| RevocationBody {
                sid: session_id.clone(),
                expires_at: expires_at.timestamp(),
            })
            .collect();
        // Never back: a replica that is behind must not make the client ask for what it has.
        let at = self.latest().map_or(known_at, |latest| latest.max(known_at));
        let cursor = Cursor {
            at,
            digest: self.digest_before(at),
        };
        RevocationsBody {
            cursor: cursor.to_text(),
            revocations,
        }
    }

    /// Tells sets of revocations in the stretch up to `at` apart, in whatever order they were learned.
    fn digest_before(&self, at: DateTime<Utc>) -> u64 {
        self.entries
            .keys()
            .filter(|(one, _)| *one > at - OVERLAP && *one <= at)
            .fold(0, |digest, (_, session_id)| digest ^ fnv1a(session_id))
    }
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (millis, digest) = text.split_once('.')?;
        let at = DateTime::from_timestamp_millis(millis.parse().ok()?)?;
        // A time no database has told us: the subtraction of the overlap must stay within the calendar.
        (at >= DateTime::UNIX_EPOCH).then_some(())?;
        let digest = u64::from_str_radix(digest, 16).ok()?;
        Some(Self { at, digest })
    }

    fn to_text(self) -> String {
        format!("{}.{:016x}", self.at.timestamp_millis(), self.digest)
    }
}

/// FNV-1a: the same in every version of this program, which the standard library's hasher does not promise.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + secs, 0).unwrap()
    }

    fn view(entries: &[(i64, &str)]) -> View {
        let mut view = View::default();
        let found = entries.iter().map(|(at, session_id)| Revocation {
            session_id: (*session_id).to_owned(),
            at: time(*at),
            expires_at: time(at + 900),
        });
        view.take_in(found.collect(), time(0));
        view
    }

    fn sids(body: &RevocationsBody) -> Vec<&str> {
        body.revocations.iter().map(|one| one.sid.as_str()).collect()
    }

    #[test]
    fn a_cursor_is_told_only_what_is_new() {
        let first = view(&[(0, "a"), (20, "b")]).body(None);
        assert_eq!(sids(&first), ["a", "b"]);
        let cursor = Cursor::parse(&first.cursor).unwrap();

        assert_eq!(view(&[(0, "a"), (20, "b")]).news(cursor), News::Nothing);
        let later = view(&[(0, "a"), (20, "b"), (40, "c")]);
        assert_eq!(later.news(cursor), News::Later);
        assert_eq!(
            sids(&later.body(Some(cursor))),
            ["b", "c"],
            "b lies in the overlap"
        );
    }

    #[test]
    fn a_write_that_shows_late_is_told_although_it_lies_before_the_cursor() {
        let cursor = Cursor::parse(&view(&[(20, "b")]).body(None).cursor).unwrap();
        let late = view(&[(15, "a"), (20, "b")]);

        assert_eq!(late.news(cursor), News::Earlier);
        let body = late.body(Some(cursor));
        assert_eq!(sids(&body), ["a", "b"]);
        assert_eq!(late.news(Cursor::parse(&body.cursor).unwrap()), News::Nothing);
    }

    #[test]
    fn a_replica_that_is_behind_does_not_turn_the_cursor_back() {
        let cursor = Cursor::parse(&view(&[(0, "a"), (20, "b")]).body(None).cursor).unwrap();
        let behind = view(&[(0, "a")]).body(Some(cursor));
        assert_eq!(Cursor::parse(&behind.cursor).unwrap().at, cursor.at);
    }

    #[test]
    fn what_no_token_can_need_is_forgotten() {
        let mut view = view(&[(0, "a"), (20, "b")]);
        view.take_in(Vec::new(), time(900 + common_jwt::LEEWAY_SECS + 1));
        assert_eq!(sids(&view.body(None)), ["b"]);
    }

    #[test]
    fn foreign_cursors_are_read_as_none() {
        for text in [
            "",
            "x",
            "1",
            "1.zz",
            "-5.0",
            "99999999999999999999.0",
            "9223372036854775807.0",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
