//! Tells people of sign-ins from a device or network they were not seen with before.
//!
//! All of it happens after the sign-in was answered: it can neither slow nor fail one.

use std::{sync::Arc, time::Duration};

use common_http::{Clock, RequestContext};
use rand::RngExt as _;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::{
    config::Config,
    domain::{
        known_devices::{KnownDevices, Novelty},
        network::neighbourhood,
        origin::Origin,
        user::User,
    },
    error::Result,
    mailer::{Mail, Mailer},
    metrics::AuthMetrics,
    service::keyed_hash::KeyedHash,
    store::{
        audit::{AuditEvent, AuditStore},
        known_devices::KnownDeviceStore,
    },
};

/// Sign-ins that are looked at together; more are not looked at, and counted.
const AT_ONCE_MAX: usize = 256;

/// How often a record is read again after somebody else wrote it in between, and how long to wait before that at most: who
/// waits differently long does not meet again.
const TRIES_MAX: usize = 100;
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Watches where people sign in from.
#[derive(Clone, Debug)]
pub(crate) struct NewDevices {
    store: KnownDeviceStore,
    hash: KeyedHash,
    mailer: Mailer,
    audit: AuditStore,
    metrics: AuthMetrics,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    public_url: Url,
    clock: Clock,
}

impl NewDevices {
    /// A watch that mails through `mailer`; `tasks` waits for it when the service stops.
    pub(crate) fn new(
        config: &Config,
        store: KnownDeviceStore,
        mailer: Mailer,
        audit: AuditStore,
        metrics: AuthMetrics,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            store,
            hash: KeyedHash::new(config, "known devices"),
            mailer,
            audit,
            metrics,
            places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            tasks,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// `user` has just signed in from there.
    pub(crate) fn note(&self, user: &User, session_id: &str, origin: &Origin) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.count("dropped");
            return;
        };
        let (this, user, session_id, origin) =
            (self.clone(), user.clone(), session_id.to_owned(), origin.clone());
        let work = async move {
            if let Err(error) = this.look(&user, &session_id, &origin).await {
                tracing::warn!(?error, user.id = %user.id, "it is not known whether a device is new");
                this.count("failed");
            }
            drop(place);
        };
        self.tasks.spawn(RequestContext::current().scope(work));
    }

    async fn look(&self, user: &User, session_id: &str, origin: &Origin) -> Result<()> {
        let Some(novelty) = self.remember(user, origin).await? else {
            return Ok(());
        };
        let outcome = match (novelty.device, novelty.network) {
            (true, true) => "device_and_network",
            (true, false) => "device",
            (false, _) => "network",
        };
        let event = AuditEvent {
            action: "new_device",
            outcome,
            actor: Some(user.id),
            subject: Some(user.id),
            session_id: Some(session_id),
            origin: Some(origin),
        };
        let now = self.clock.now();
        let mail = if novelty.may_mail { "sent" } else { "too_many" };
        self.audit.record_with(event, &[("mail", mail)], now).await;
        self.count(if novelty.may_mail { "mailed" } else { "not_mailed" });
        if novelty.may_mail {
            self.mailer
                .send(Mail::new_device(user, origin, now, &self.public_url));
        }
        Ok(())
    }

    /// What is new about a sign-in. About the first of all nothing is: there is nothing to compare it with.
    async fn remember(&self, user: &User, origin: &Origin) -> Result<Option<Novelty>> {
        let id = user.id.to_string();
        let device = self.hash.name(&[&id, "device", &origin.device().family()]);
        let network = neighbourhood(origin.address).to_string();
        let network = self.hash.name(&[&id, "network", &network]);
        let now = self.clock.now();
        for _ in 0..TRIES_MAX {
            let found = self.store.find(user.id).await?;
            let is_first = found.is_none();
            let (mut known, version) = match found {
                Some((known, version)) => (known, Some(version)),
                None => (KnownDevices::default(), None),
            };
            let novelty = known.note(&device, &network, now);
            if is_first {
                (known.mails_since, known.mails) = (now, 0);
            }
            if self.store.put(user.id, &known, version, now).await? {
                return Ok(novelty.filter(|_| !is_first));
            }
            let pause = rand::rng().random_range(Duration::ZERO..PAUSE_MAX);
            sleep(pause).await;
        }
        self.count("dropped");
        Ok(None)
    }

    fn count(&self, outcome: &str) {
        self.metrics
            .protection
            .new_devices
            .with_label_values(&[outcome])
            .inc();
    }
}
