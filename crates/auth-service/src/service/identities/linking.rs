//! Proving that an account is one's own before an identity with the same address is linked to it.

use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Identities, Settled};
use crate::{
    domain::{
        email::EmailAddress,
        identity::VerifiedIdentity,
        one_time::OneTime,
        origin::Origin,
        provider::Provider,
        readable,
        second_factor::Proof,
        sign_in_flow::LINK_LIFE,
        user::{User, UserId},
    },
    error::{Error, FederationError, Result},
    mailer::Mail,
    service::{federation::random, logins::SignIn, sessions::EndReason},
    store::sign_in_flows::PendingLink,
};

/// Symbols of a mailed code: 60 bits, of which five may be tried.
const CODE_SYMBOLS: usize = 12;

/// How somebody proves that an account is theirs.
pub(crate) enum LinkProof {
    /// They know its password, and have its second factor.
    Password(SecretString, Option<Proof>),
    /// They are signed in to it.
    Session(UserId),
    /// They read its mail.
    MailedCode(SecretString),
}

impl Identities {
    /// Notes an identity whose address is that of an account, and says what proof is needed. An account whose address
    /// nobody has proven may be somebody's trap: there only the mailbox counts.
    pub(super) async fn ask_for_proof(
        &self,
        user: &User,
        provider: &Provider,
        identity: &VerifiedIdentity,
        origin: &Origin,
    ) -> Result<FederationError> {
        if user.is_disabled || user.is_service_account {
            return Err(Error::InvalidCredentials);
        }
        if !self.settings.current().settings.auto_link_accounts {
            return Ok(FederationError::AccountExists);
        }
        let takes_password = user.has_password() && self.settings.admit_password_of(user).is_ok();
        let proofs: &'static [&'static str] = match (user.is_verified, takes_password) {
            (false, _) => &["mail"],
            (true, false) => &["session", "mail"],
            (true, true) => &["password", "session", "mail"],
        };
        let token = random();
        let link = PendingLink {
            provider_id: provider.id.clone(),
            identity: identity.clone(),
            user_id: user.id,
            mail_code_hash: None,
        };
        self.flows
            .insert_link(&token, &link, self.clock.now() + LINK_LIFE)
            .await?;
        let details = [("provider", provider.name.as_str())];
        self.record("identity_linked", "proof_needed", None, user.id, &details, origin)
            .await;
        Ok(FederationError::LinkNeeded {
            token: token.text().into(),
            expires_in_secs: LINK_LIFE.num_seconds(),
            proofs,
        })
    }

    /// Mails a code to the account that an identity may be linked to. Only with the token of the link is it good for
    /// anything: whoever reads the mail and did not begin this has nothing to click.
    pub(crate) async fn mail_code(&self, token: &str, origin: &Origin) -> Result<()> {
        let token = OneTime::parse(token).ok_or(FederationError::InvalidLinkToken)?;
        let now = self.clock.now();
        let code = readable::text(|| rand::rng().random(), CODE_SYMBOLS);
        let hash = self.hash_of_code(&token, &code);
        let link = self.flows.note_mail(&token, &hash, now).await?;
        let link = link.ok_or(FederationError::InvalidLinkToken)?;
        let user = self.user_of(&link).await?;
        let provider = self.provider_of(&link).await?;
        let mail = Mail::confirm_link(
            &user,
            &provider.display_name,
            &code,
            LINK_LIFE,
            origin,
            &self.public_url,
        );
        self.mailer.send(mail);
        Ok(())
    }

    /// Links an identity to the account that was proven to be its owner's, and signs them in.
    pub(crate) async fn confirm(&self, token: &str, proof: LinkProof, origin: &Origin) -> Result<Settled> {
        let token = OneTime::parse(token).ok_or(FederationError::InvalidLinkToken)?;
        let link = self.flows.try_link(&token, self.clock.now()).await?;
        let link = link.ok_or(FederationError::InvalidLinkToken)?;
        let (user, provider) = (self.user_of(&link).await?, self.provider_of(&link).await?);
        match proof {
            LinkProof::Password(password, second) => {
                // A password that was set by whoever made a trap proves nothing.
                if !user.is_verified {
                    return Err(FederationError::WrongProof.into());
                }
                let signed_in = self
                    .logins
                    .log_in(&user.email, &password, second.as_ref(), origin)
                    .await?;
                let SignIn::Done(pair) = signed_in else {
                    return Ok(signed_in.into());
                };
                if pair.user.id != user.id {
                    return Err(FederationError::WrongProof.into());
                }
                self.finish(&token, &user, &provider, &link.identity, "password", origin)
                    .await?;
                Ok(Settled::SignedIn(pair))
            }
            LinkProof::Session(user_id) => {
                if user_id != user.id {
                    return Err(FederationError::WrongProof.into());
                }
                let linked = self.finish(&token, &user, &provider, &link.identity, "session", origin);
                Ok(Settled::Linked(Box::new(linked.await?)))
            }
            LinkProof::MailedCode(code) => {
                let code = readable::normalised(code.expose_secret(), CODE_SYMBOLS);
                let hash = code.map(|code| self.hash_of_code(&token, &code));
                if hash.is_none() || hash != link.mail_code_hash {
                    return Err(FederationError::WrongProof.into());
                }
                if !user.is_verified {
                    self.claim(&user, &provider, origin).await?;
                }
                let linked = self
                    .finish(&token, &user, &provider, &link.identity, "mail", origin)
                    .await?;
                self.open(&linked, &provider, &link.identity, origin).await
            }
        }
    }

    async fn finish(
        &self,
        token: &OneTime,
        user: &User,
        provider: &Provider,
        identity: &VerifiedIdentity,
        proof: &'static str,
        origin: &Origin,
    ) -> Result<User> {
        if !self.flows.take_link(token).await? {
            return Err(FederationError::InvalidLinkToken.into());
        }
        self.link(user.id, provider, identity, proof, origin).await
    }

    /// Hands an account over whose address nobody had proven to the one who reads that mail. Nothing of whoever made it
    /// stays good: no password, session, token, link, code, second factor or identity.
    async fn claim(&self, user: &User, provider: &Provider, origin: &Origin) -> Result<()> {
        if !self.users.claim(user.id, &user.email, self.clock.now()).await? {
            return Err(FederationError::InvalidLinkToken.into());
        }
        self.credentials
            .end_what_rests_on_the_old(user.id, EndReason::PasswordReset, Some(origin))
            .await?;
        self.second_factors.delete(user.id).await?;
        let details = [("provider", provider.name.as_str())];
        self.record(
            "email_verified",
            "claimed",
            Some(user.id),
            user.id,
            &details,
            origin,
        )
        .await;
        Ok(())
    }

    /// The account, if it still has the address that was compared.
    async fn user_of(&self, link: &PendingLink) -> Result<User> {
        let user = self.users.find(link.user_id).await?;
        let email = link.identity.verified_email.as_ref().map(EmailAddress::as_str);
        let is_same = |user: &User| !user.is_disabled && email == Some(user.email.as_str());
        Ok(user.filter(is_same).ok_or(FederationError::InvalidLinkToken)?)
    }

    async fn provider_of(&self, link: &PendingLink) -> Result<Provider> {
        let found = self.providers.find(&link.provider_id).await?;
        let provider = found.filter(|provider| provider.is_active);
        Ok(provider.ok_or(FederationError::ProviderNotFound)?)
    }

    fn hash_of_code(&self, token: &OneTime, code: &str) -> String {
        let code = readable::normalised(code, CODE_SYMBOLS).unwrap_or_default();
        self.sealing.hash(&format!("link:{}", token.hash()), &code)
    }
}
