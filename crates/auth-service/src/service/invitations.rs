//! Who may make an account for themselves: as the settings say, or by an invitation.

use chrono::Duration;
use common_http::Clock;
use common_jwt::Role;
use rand::RngExt as _;
use url::Url;
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{
        email::EmailAddress,
        invitation::{DAYS_MAX, Invitation, InvitationCode, NOTE_CHARS_MAX, USES_MAX},
        keyset::{Cursor, Page},
        origin::Origin,
        settings::Admission,
        user::{User, UserId, parse_role},
    },
    error::{Error, RegistrationError, Result, field_error},
    mailer::{Mail, Mailer, invitation_link},
    service::{settings::RuntimeSettings, tokens::seconds},
    store::{
        audit::{AuditEvent, AuditStore, Details},
        invitations::InvitationStore,
        users::UserStore,
    },
};

/// Invitations.
#[derive(Clone, Debug)]
pub(crate) struct Invitations {
    store: InvitationStore,
    users: UserStore,
    settings: RuntimeSettings,
    audit: AuditStore,
    mailer: Mailer,
    life: Duration,
    public_url: Url,
    clock: Clock,
}

/// What an administrator says about an invitation.
#[derive(Debug, Default)]
pub(crate) struct NewInvitation {
    /// The address it is mailed to.
    pub(crate) email: Option<String>,
    /// Accounts it is good for.
    pub(crate) uses: Option<u32>,
    /// Days it is good.
    pub(crate) expires_in_days: Option<u32>,
    /// The role of those who use it.
    pub(crate) role: Option<String>,
    /// What the administrator wants to know it by.
    pub(crate) note: Option<String>,
}

/// The hash of the code that somebody typed, if they did.
pub(crate) fn hash_of_invitation(typed: Option<&str>) -> Result<Option<String>> {
    let Some(typed) = typed.map(str::trim).filter(|typed| !typed.is_empty()) else {
        return Ok(None);
    };
    let code = InvitationCode::parse(typed).ok_or(RegistrationError::InvalidInvitation)?;
    Ok(Some(code.hash()))
}

/// How somebody may begin who makes an account for themselves.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whether an administrator has to approve them first.
    pub(crate) awaits_approval: bool,
    /// What they were invited by; one use of it is taken.
    invitation: Option<Invitation>,
}

impl Admitted {
    /// The role of an invitation.
    pub(crate) fn role(&self) -> Option<Role> {
        self.invitation.as_ref().map(|invitation| invitation.role)
    }

    /// Whether they have shown that they read the mail of their address: only its owner was told the code.
    pub(crate) fn proves_address(&self) -> bool {
        self.invitation
            .as_ref()
            .is_some_and(|invitation| invitation.email.is_some())
    }
}

impl Invitations {
    /// Invitations as the configuration wants them.
    pub(crate) fn new(
        config: &Config,
        store: InvitationStore,
        users: UserStore,
        settings: RuntimeSettings,
        audit: AuditStore,
        mailer: Mailer,
    ) -> Self {
        Self {
            store,
            users,
            settings,
            audit,
            mailer,
            life: seconds(config.invitation_life),
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Makes an invitation. Its code is returned, or mailed where there is an address: then it proves that address, so
    /// nobody else is told.
    pub(crate) async fn create(
        &self,
        wish: NewInvitation,
        actor: UserId,
        origin: &Origin,
    ) -> Result<(Invitation, Option<InvitationCode>)> {
        let invitation = self.read(wish, actor)?;
        if let Some(email) = &invitation.email
            && self.users.find_by_email(email.as_str()).await?.is_some()
        {
            return Err(Error::EmailTaken);
        }
        let code = InvitationCode::new(|| rand::rng().random());
        self.store.insert(&invitation, code.hash()).await?;
        let uses = invitation.uses.to_string();
        let details = [
            ("invitation", invitation.id.as_str()),
            ("role", invitation.role.as_str()),
            ("uses", &uses),
        ];
        self.record("invitation_created", &details, Some(actor), None, origin)
            .await;
        let Some(email) = &invitation.email else {
            return Ok((invitation, Some(code)));
        };
        let site = self.settings.current().settings.site_name.clone();
        let mail = Mail::registration_invitation(
            email,
            &site,
            &code,
            invitation.expires_at - invitation.created_at,
            &self.public_url,
        );
        self.mailer.send(mail);
        Ok((invitation, None))
    }

    fn read(&self, wish: NewInvitation, actor: UserId) -> Result<Invitation> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: &str| errors.push(field_error(field, message));
        let email = match wish
            .email
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            None => None,
            Some(text) => EmailAddress::parse(text)
                .map_err(|message| wrong("email", message))
                .ok(),
        };
        let uses = wish.uses.unwrap_or(1);
        if !(1..=USES_MAX).contains(&uses) {
            wrong("uses", "must be from 1 to 10,000");
        } else if email.is_some() && uses != 1 {
            wrong("uses", "must be 1 for an invitation that is mailed");
        }
        let days = wish.expires_in_days;
        if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            wrong("expires_in_days", "must be from 1 to 365");
        }
        let role = match wish.role.as_deref().filter(|text| !text.is_empty()) {
            None => Role::EndUser,
            Some(text) => parse_role(text)
                .filter(|role| *role != Role::Admin)
                .unwrap_or_else(|| {
                    wrong("role", "must be enduser or supervisor");
                    Role::EndUser
                }),
        };
        let note = wish
            .note
            .map(|note| note.trim().to_owned())
            .filter(|note| !note.is_empty());
        let is_note =
            |note: &String| note.chars().count() <= NOTE_CHARS_MAX && !note.chars().any(char::is_control);
        if !note.as_ref().is_none_or(is_note) {
            wrong("note", "must have at most 200 characters, all visible");
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let now = self.clock.now();
        Ok(Invitation {
            id: Uuid::now_v7().to_string(),
            email,
            role,
            note,
            uses,
            uses_left: uses,
            expires_at: now + days.map_or(self.life, |days| Duration::days(days.into())),
            created_at: now,
            created_by: actor,
        })
    }

    /// Where somebody goes who was handed this code.
    pub(crate) fn link(&self, code: &InvitationCode) -> String {
        invitation_link(&self.public_url, code)
    }

    /// A page of the invitations, newest first.
    pub(crate) async fn list_page(&self, after: Option<&Cursor>, limit: u32) -> Result<Page<Invitation>> {
        self.store.list_page(after, limit).await
    }

    /// Makes an invitation good for nothing. Accounts that came of it stay.
    pub(crate) async fn revoke(&self, id: &str, actor: UserId, origin: &Origin) -> Result<()> {
        if !self.store.delete(id).await? {
            return Err(RegistrationError::InvitationNotFound.into());
        }
        self.record(
            "invitation_revoked",
            &[("invitation", id)],
            Some(actor),
            None,
            origin,
        )
        .await;
        Ok(())
    }

    /// Whether and how somebody with this address may make an account; takes one use of the invitation whose code has
    /// this hash.
    pub(crate) async fn admit(&self, email: &EmailAddress, code_hash: Option<&str>) -> Result<Admitted> {
        let current = self.settings.current();
        let admission = current.settings.admission(email.as_str());
        if let Some(hash) = code_hash {
            if !current.settings.admits_invited() {
                return Err(RegistrationError::Closed.into());
            }
            let taken = self.store.take(hash, email, self.clock.now()).await?;
            let invitation = taken.ok_or(RegistrationError::InvalidInvitation)?;
            return Ok(Admitted {
                awaits_approval: false,
                invitation: Some(invitation),
            });
        }
        let awaits_approval = match admission {
            Admission::Welcome => false,
            Admission::AwaitsApproval => true,
            Admission::InvitationNeeded => return Err(RegistrationError::InvitationNeeded.into()),
            Admission::Refused => return Err(RegistrationError::Closed.into()),
        };
        Ok(Admitted {
            awaits_approval,
            invitation: None,
        })
    }

    /// Nothing came of it: somebody else may use the invitation.
    pub(crate) async fn give_back(&self, admitted: &Admitted) {
        let Some(invitation) = &admitted.invitation else {
            return;
        };
        if let Err(error) = self.store.give_back(invitation).await {
            tracing::error!(?error, invitation.id, "a use of an invitation was not given back");
        }
    }

    /// An account came of it.
    pub(crate) async fn used(&self, admitted: &Admitted, user: &User, origin: &Origin) {
        let Some(invitation) = &admitted.invitation else {
            return;
        };
        if let Err(error) = self.store.note_use(invitation, user.id).await {
            tracing::warn!(
                ?error,
                invitation.id,
                "whose account came of an invitation was not noted"
            );
        }
        let details = [("invitation", invitation.id.as_str())];
        self.record("invitation_used", &details, Some(user.id), Some(user.id), origin)
            .await;
    }

    async fn record(
        &self,
        action: &'static str,
        details: Details<'_>,
        actor: Option<UserId>,
        subject: Option<UserId>,
        origin: &Origin,
    ) {
        let event = AuditEvent {
            action,
            outcome: "ok",
            actor,
            subject,
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record_with(event, details, self.clock.now()).await;
    }
}
