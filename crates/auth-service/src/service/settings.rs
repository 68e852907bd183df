//! The settings as they are now, on this replica; and changing them.
//!
//! Every replica looks every two seconds, so a change holds everywhere within five. Where the database is away the last
//! known ones go on to hold.

use std::sync::{Arc, PoisonError, RwLock};

use common_http::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        password::NewPassword,
        settings::{LOOK_EVERY, Settings},
        user::{SignInRule, User, UserId},
    },
    error::{Error, RegistrationError, Result, field_error},
    store::{
        audit::{AuditEvent, AuditStore},
        settings::{SettingsStore, SettingsVersion},
    },
};

/// Versions that are listed.
const LISTED_MAX: i64 = 100;

/// The settings.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeSettings {
    store: SettingsStore,
    audit: AuditStore,
    current: Arc<RwLock<Arc<Current>>>,
    initial: Arc<Settings>,
    clock: Clock,
}

/// The settings that count, and their number; 0 before anybody changed anything.
#[derive(Debug)]
pub(crate) struct Current {
    /// Their number.
    pub(crate) version: i64,
    /// What they say.
    pub(crate) settings: Settings,
}

impl RuntimeSettings {
    /// Reads what counts.
    pub(crate) async fn open(config: &Config, store: SettingsStore, audit: AuditStore) -> Result<Self> {
        let initial = Settings::initial(config.sign_in_rule);
        let settings = Self {
            store,
            audit,
            current: Arc::new(RwLock::new(Arc::new(Current {
                version: 0,
                settings: initial.clone(),
            }))),
            initial: Arc::new(initial),
            clock: config.clock.clone(),
        };
        settings.look().await?;
        Ok(settings)
    }

    /// What holds now.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who may sign in, as far as addresses are concerned.
    pub(crate) fn sign_in_rule(&self) -> SignInRule {
        self.current().settings.sign_in_rule()
    }

    /// Refuses whoever may not sign in at the moment.
    pub(crate) fn admit(&self, user: &User) -> Result<()> {
        if self.current().settings.user_sign_in || user.is_active_admin() {
            return Ok(());
        }
        Err(RegistrationError::SignInClosed.into())
    }

    /// Refuses whoever may not sign in with a password.
    pub(crate) fn admit_password_of(&self, user: &User) -> Result<()> {
        if user.is_active_admin() {
            return Ok(());
        }
        self.admit_passwords()
    }

    /// Refuses everybody's passwords but those of admins, where only providers sign people in.
    pub(crate) fn admit_passwords(&self) -> Result<()> {
        if self.current().settings.password_sign_in {
            return Ok(());
        }
        Err(RegistrationError::PasswordSignInClosed.into())
    }

    /// Refuses a password that is shorter than passwords have to be here.
    pub(crate) fn check_password(&self, field: &str, password: &NewPassword) -> Result<()> {
        self.accept_password(password)
            .map_err(|message| Error::invalid(field, &message))
    }

    /// What is wrong with a password that is shorter than passwords have to be here.
    pub(crate) fn accept_password(&self, password: &NewPassword) -> Result<(), String> {
        let least = self.current().settings.password_min_length;
        if password.bytes() >= least {
            return Ok(());
        }
        Err(format!("must have at least {least} characters"))
    }

    /// Makes another version out of the one that the caller looked at, unless there is a later one.
    pub(crate) async fn change(
        &self,
        seen: i64,
        edit: impl FnOnce(Settings) -> Settings,
        actor: UserId,
        origin: &Origin,
    ) -> Result<Arc<Current>> {
        // The database's, not ours: another replica may be further.
        let latest = self.store.latest().await?;
        let (number, settings) = latest.map_or_else(
            || (0, Settings::clone(&self.initial)),
            |latest| (latest.version, latest.settings),
        );
        if seen != number {
            return Err(Error::SettingsChanged);
        }
        let settings = edit(settings);
        let mistakes = settings.mistakes();
        if !mistakes.is_empty() {
            let errors = mistakes
                .into_iter()
                .map(|(field, message)| field_error(field, message));
            return Err(Error::Invalid(errors.collect()));
        }
        let version = SettingsVersion {
            version: number + 1,
            settings,
            at: self.clock.now(),
            by: actor,
        };
        if !self.store.insert(&version).await? {
            return Err(Error::SettingsChanged);
        }
        let number = version.version.to_string();
        let event = AuditEvent {
            action: "settings_changed",
            outcome: "ok",
            actor: Some(actor),
            subject: None,
            session_id: None,
            origin: Some(origin),
        };
        self.audit
            .record_with(event, &[("version", &number)], self.clock.now())
            .await;
        self.take_over(version);
        Ok(self.current())
    }

    /// Makes an earlier version count again, as a new one. 0 is what held before anybody changed anything.
    pub(crate) async fn restore(
        &self,
        version: i64,
        seen: i64,
        actor: UserId,
        origin: &Origin,
    ) -> Result<Arc<Current>> {
        let settings = if version == 0 {
            Settings::clone(&self.initial)
        } else {
            let found = self.store.find(version).await?;
            found.ok_or(Error::SettingsNotFound)?.settings
        };
        self.change(seen, |_| settings, actor, origin).await
    }

    /// The latest versions, the newest first.
    pub(crate) async fn list(&self) -> Result<Vec<SettingsVersion>> {
        self.store.list(LISTED_MAX).await
    }

    /// Follows what other replicas change, until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(?error, "the settings cannot be read; the known ones hold");
            }
        }
    }

    async fn look(&self) -> Result<()> {
        if let Some(latest) = self.store.latest().await? {
            self.take_over(latest);
        }
        Ok(())
    }

    /// Never goes back: a look may have begun before a change.
    fn take_over(&self, version: SettingsVersion) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if version.version > current.version {
            *current = Arc::new(Current {
                version: version.version,
                settings: version.settings,
            });
        }
    }
}
