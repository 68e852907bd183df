//! The memory that large requests may have together. A chat request carries its files in itself, and they stay until
//! Flowise has begun to answer, which may be long: without a limit on all of them, a hundred people with pictures could
//! end the process.
//!
//! Room is taken before there is anything to put into it, and given back by dropping the [`Share`], whichever way the
//! request ends. Nobody waits for room: who finds none is told to come back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use common_http::{BODY_BYTES_MAX, Metrics};
use prometheus::{IntCounter, IntGauge};

use crate::error::{Error, Result};

/// The largest chat request.
pub(crate) const CHAT_BYTES_MAX: usize = 30 << 20;

/// What a request has in memory at its worst, as a multiple of its body: the body and what was read from it, then the
/// files and what they were encoded as, then those and the request to Flowise.
const COPIES: u64 = 2;

/// One person gets at most this part of everything, so that nobody shuts out all others; but always the largest request.
const PERSON_PART: u64 = 4;

/// Room for large requests.
#[derive(Clone, Debug)]
pub(crate) struct UploadMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: u64,
    person_max: u64,
    taken: Mutex<Taken>,
    bytes: IntGauge,
    refused: IntCounter,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    by_person: HashMap<String, u64>,
}

impl UploadMemory {
    /// Room of `max` bytes.
    pub(crate) fn new(max: u64, metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let largest = COPIES * as_u64(CHAT_BYTES_MAX);
        let inner = Inner {
            max,
            person_max: (max / PERSON_PART).max(largest),
            taken: Mutex::default(),
            bytes: IntGauge::new(
                "upload_memory_bytes",
                "Memory set aside for large requests and their files.",
            )?,
            refused: IntCounter::new(
                "upload_memory_refused_total",
                "Requests refused because there was no memory for them.",
            )?,
        };
        metrics.register(inner.bytes.clone())?;
        metrics.register(inner.refused.clone())?;
        Ok(Self(Arc::new(inner)))
    }

    /// A share of this person's that is empty yet.
    pub(crate) fn share(&self, user_id: &str) -> Share {
        Share {
            memory: self.clone(),
            user_id: user_id.to_owned(),
            carried: 0,
            taken: 0,
        }
    }

    fn take(&self, user_id: &str, bytes: u64) -> Result<()> {
        let mut taken = self.lock();
        let of_person = taken.by_person.get(user_id).copied().unwrap_or_default();
        let (all, of_person) = (taken.bytes.saturating_add(bytes), of_person.saturating_add(bytes));
        if all > self.0.max || of_person > self.0.person_max {
            self.0.refused.inc();
            return Err(Error::Overloaded);
        }
        taken.bytes = all;
        taken.by_person.insert(user_id.to_owned(), of_person);
        self.show(&taken);
        Ok(())
    }

    fn give_back(&self, user_id: &str, bytes: u64) {
        let mut taken = self.lock();
        taken.bytes = taken.bytes.saturating_sub(bytes);
        if let Some(of_person) = taken.by_person.get_mut(user_id) {
            *of_person = of_person.saturating_sub(bytes);
            if *of_person == 0 {
                taken.by_person.remove(user_id);
            }
        }
        self.show(&taken);
    }

    /// Still under the lock: two that change it at once must not leave the older number.
    fn show(&self, taken: &Taken) {
        self.0.bytes.set(i64::try_from(taken.bytes).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request has of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: UploadMemory,
    user_id: String,
    /// Bytes the request carries, in itself or by naming files.
    carried: u64,
    taken: u64,
}

impl Share {
    /// Makes room for a request that carries so many bytes in all. What is as small as any other request needs none.
    pub(crate) fn reach(&mut self, bytes: u64) -> Result<()> {
        if bytes <= self.carried {
            return Ok(());
        }
        if bytes > as_u64(BODY_BYTES_MAX) {
            let needed = bytes.saturating_mul(COPIES);
            self.memory
                .take(&self.user_id, needed.saturating_sub(self.taken))?;
            self.taken = needed;
        }
        self.carried = bytes;
        Ok(())
    }

    /// Makes room for so many bytes more.
    pub(crate) fn add(&mut self, bytes: u64) -> Result<()> {
        self.reach(self.carried.saturating_add(bytes))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.memory.give_back(&self.user_id, self.taken);
        }
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn memory(max: u64) -> UploadMemory {
        UploadMemory::new(max, &Metrics::new("proxy-service").unwrap()).unwrap()
    }

    #[test]
    fn small_requests_take_nothing_and_large_ones_grow() {
        let memory = memory(256 * MIB);
        let mut share = memory.share("a");
        share.reach(as_u64(BODY_BYTES_MAX)).unwrap();
        assert_eq!(memory.lock().bytes, 0);
        share.add(MIB).unwrap();
        let first = memory.lock().bytes;
        assert_eq!(first, COPIES * (as_u64(BODY_BYTES_MAX) + MIB));
        share.reach(MIB).unwrap();
        assert_eq!(memory.lock().bytes, first, "what is less is there already");
        drop(share);
        assert_eq!(memory.lock().bytes, 0);
        assert!(memory.lock().by_person.is_empty());
    }

    #[test]
    fn who_finds_no_room_keeps_what_they_had_and_takes_nothing() {
        let memory = memory(64 * MIB);
        let (mut one, mut other) = (memory.share("a"), memory.share("b"));
        one.reach(20 * MIB).unwrap();
        other.reach(10 * MIB).unwrap();
        assert!(matches!(other.reach(13 * MIB), Err(Error::Overloaded)));
        assert_eq!(memory.lock().bytes, 60 * MIB);
        drop(one);
        other.reach(13 * MIB).unwrap();
        drop(other);
        assert_eq!(memory.lock().bytes, 0);
    }

    #[test]
    fn one_person_gets_the_largest_request_and_a_part_of_all_and_no_more() {
        let memory = memory(400 * MIB);
        let mut shares = Vec::new();
        for _ in 0..5 {
            let mut share = memory.share("a");
            share.reach(10 * MIB).unwrap();
            shares.push(share);
        }
        assert!(matches!(memory.share("a").reach(MIB), Err(Error::Overloaded)));
        memory.share("b").reach(as_u64(CHAT_BYTES_MAX)).unwrap();

        let small = self::memory(64 * MIB);
        small.share("a").reach(as_u64(CHAT_BYTES_MAX)).unwrap();
    }
}
