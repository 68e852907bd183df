//! Hashing, kept away from everything else: few threads, a bounded queue, and a refusal when it is full (D12).

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::{Notify, Semaphore},
    task::spawn_blocking,
};

use crate::{
    domain::password::{NewPassword, is_checkable},
    error::{Error, Result},
    metrics::AuthMetrics,
};

/// bcrypt knows no lower cost.
const COST_MIN: u32 = 4;

/// A costlier hash is nobody's: checking one would keep a thread busy for minutes.
const COST_MAX: u32 = 16;

/// What bcrypt reads of a password.
const BYTES_READ: usize = 72;
/// How long a password that nobody waits for stands back, before it takes its turn like the others.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(1);

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    threads: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Told when nobody waits any more.
    lull: Arc<Notify>,
    /// One password at a time is hashed for nobody who waits.
    background: Arc<Semaphore>,
    queue_max: usize,
    cost: u32,
    /// What every check costs, whoever is asked for: today's cost, or that of the costliest hash seen so far.
    floor: Arc<AtomicU32>,
    metrics: AuthMetrics,
}

/// A place in the queue, given back when dropped: also when the client leaves before its turn.
struct Place<'p>(&'p Passwords);

impl Passwords {
    /// At most `threads` hashes at once and `queue_max` waiting.
    pub(crate) fn new(cost: u32, threads: usize, queue_max: usize, metrics: AuthMetrics) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            waiting: Arc::default(),
            lull: Arc::default(),
            background: Arc::new(Semaphore::new(1)),
            queue_max,
            cost,
            floor: Arc::new(AtomicU32::new(cost)),
            metrics,
        }
    }

    /// The hash to store.
    pub(crate) async fn hash(&self, password: &NewPassword) -> Result<String> {
        self.hash_unchecked(password.secret()).await
    }

    /// The hash to store, for work that nobody waits for: one at a time, and those who sign in go first.
    pub(crate) async fn hash_in_background(&self, password: &NewPassword) -> Result<String> {
        let _only_one = self.background.acquire().await.or(Err(Error::HashQueueFull))?;
        loop {
            self.wait_for_a_lull().await;
            match self.hash(password).await {
                Err(Error::HashQueueFull) => {}
                hashed => return hashed,
            }
        }
    }

    async fn wait_for_a_lull(&self) {
        let patience = tokio::time::sleep(BACKGROUND_PATIENCE);
        tokio::pin!(patience);
        loop {
            let lull = self.lull.notified();
            if self.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            tokio::select! {
                () = lull => {}
                () = &mut patience => return,
            }
        }
    }

    /// Whether `password` has this hash. Without a hash, with one that is none or of another cost than today's, and for
    /// a password that cannot be anybody's, the work is the same: time tells nothing.
    pub(crate) async fn matches(&self, password: &SecretString, hash: Option<&str>) -> Result<bool> {
        let known = hash.and_then(|hash| Some((hash.to_owned(), cost_of(hash)?)));
        let known = known.filter(|(_, cost)| (COST_MIN..=COST_MAX).contains(cost));
        let own_cost = known.as_ref().map_or(0, |(_, cost)| *cost);
        let floor = self.floor.fetch_max(own_cost, Ordering::AcqRel).max(own_cost);
        let known = known.filter(|_| is_checkable(password));
        let password = password.clone();
        let rounds = self.metrics.protection.hash_rounds.clone();
        let matches = self.run(move || {
            let Some((hash, cost)) = known else {
                spend(floor, &password, &rounds);
                return Ok(false);
            };
            rounds.inc_by(1 << cost);
            let matches = bcrypt::verify(password.expose_secret(), &hash);
            // Each step of the cost doubles the work: 2^c + 2^c + 2^(c+1) + ... + 2^(floor-1) = 2^floor.
            (cost..floor).for_each(|cost| spend(cost, &password, &rounds));
            matches
        });
        Ok(matches.await??)
    }

    /// A hash of today's cost for a password that was just found right, if the stored one is cheaper.
    pub(crate) async fn renewed(&self, password: &SecretString, hash: &str) -> Result<Option<String>> {
        if cost_of(hash).is_none_or(|cost| cost >= self.cost) {
            return Ok(None);
        }
        self.hash_unchecked(password).await.map(Some)
    }

    async fn hash_unchecked(&self, password: &SecretString) -> Result<String> {
        let (password, cost) = (password.clone(), self.cost);
        Ok(self
            .run(move || bcrypt::hash(password.expose_secret(), cost))
            .await??)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = Place::take(self)?;
        let queued_at = Instant::now();
        let permit = Arc::clone(&self.threads)
            .acquire_owned()
            .await
            .or(Err(Error::HashQueueFull))?;
        drop(place);
        self.metrics.hash_wait.observe(queued_at.elapsed().as_secs_f64());
        // The permit goes along: when the client leaves, the thread is still busy.
        let work = move || {
            let result = work();
            drop(permit);
            result
        };
        Ok(spawn_blocking(work).await?)
    }
}

impl<'p> Place<'p> {
    fn take(passwords: &'p Passwords) -> Result<Self> {
        if passwords.waiting.fetch_add(1, Ordering::AcqRel) >= passwords.queue_max {
            passwords.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(Error::HashQueueFull);
        }
        passwords.metrics.hash_queue.inc();
        Ok(Self(passwords))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.lull.notify_waiters();
        }
        self.0.metrics.hash_queue.dec();
    }
}

/// Does the work of checking a password and nothing else.
fn spend(cost: u32, password: &SecretString, rounds: &IntCounter) {
    let password = password.expose_secret().as_bytes();
    let password = password.get(..BYTES_READ).unwrap_or(password);
    // An empty one is read as the byte that ends it.
    let password = if password.is_empty() { b"\0" } else { password };
    rounds.inc_by(1 << cost);
    black_box(bcrypt::bcrypt(cost, [0; 16], password));
}

/// The cost of a hash of any of bcrypt's prefixes; `None` when it is no such hash.
fn cost_of(hash: &str) -> Option<u32> {
    hash.parse::<bcrypt::HashParts>()
        .ok()
        .map(|parts| parts.get_cost())
}

#[cfg(test)]
mod tests {
    use common_http::Metrics;

    use super::*;

    fn passwords(threads: usize, queue_max: usize) -> Passwords {
        let metrics = AuthMetrics::new(&Metrics::new("test").unwrap()).unwrap();
        Passwords::new(4, threads, queue_max, metrics)
    }

    #[tokio::test]
    async fn hashes_of_both_prefixes_are_checked() {
        let passwords = passwords(1, 8);
        let secret = SecretString::from("correct horse");
        let hash = bcrypt::hash("correct horse", 4).unwrap();
        assert!(hash.starts_with("$2b$"));

        assert!(passwords.matches(&secret, Some(&hash)).await.unwrap());
        let older = hash.replacen("$2b$", "$2a$", 1);
        assert!(passwords.matches(&secret, Some(&older)).await.unwrap());
        for none in [None, Some(""), Some("plain"), Some("$2b$04$short")] {
            assert!(!passwords.matches(&secret, none).await.unwrap(), "{none:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_cut_to_fit() {
        let passwords = passwords(1, 8);
        let stored = bcrypt::hash("a".repeat(72), 4).unwrap();
        let longer = SecretString::from(format!("{}X", "a".repeat(72)));
        assert!(!passwords.matches(&longer, Some(&stored)).await.unwrap());

        let stored = bcrypt::hash("short", 4).unwrap();
        let nul = SecretString::from("short\0tail");
        assert!(!passwords.matches(&nul, Some(&stored)).await.unwrap());
    }

    #[tokio::test]
    async fn only_cheaper_hashes_are_renewed() {
        let metrics = AuthMetrics::new(&Metrics::new("test").unwrap()).unwrap();
        let passwords = Passwords::new(5, 1, 8, metrics);
        let secret = SecretString::from("correct horse");
        let (cheap, equal) = (
            bcrypt::hash("correct horse", 4).unwrap(),
            bcrypt::hash("correct horse", 5).unwrap(),
        );

        let renewed = passwords.renewed(&secret, &cheap).await.unwrap().unwrap();
        assert_eq!(cost_of(&renewed), Some(5));
        assert!(passwords.matches(&secret, Some(&renewed)).await.unwrap());
        assert_eq!(passwords.renewed(&secret, &equal).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_recovers() {
        let passwords = passwords(1, 1);
        let secret = SecretString::from("correct horse");
        let busy = Arc::clone(&passwords.threads).acquire_owned().await.unwrap();

        let mut first = Box::pin(passwords.matches(&secret, None));
        assert!(
            futures_util::poll!(&mut first).is_pending(),
            "it waits for the busy thread"
        );
        assert!(matches!(
            passwords.matches(&secret, None).await,
            Err(Error::HashQueueFull)
        ));
        drop(first);
        drop(busy);
        assert!(
            !passwords.matches(&secret, None).await.unwrap(),
            "a place that was left is free again"
        );
        assert_eq!(passwords.waiting.load(Ordering::Acquire), 0);
    }
}
