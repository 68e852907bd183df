//! `sign_in_flows`, `sign_in_arrivals` and `pending_links`: sign-ins that are under way at a provider, those that came
//! back and wait for their client, and identities that wait for a proof. Each is taken once; MongoDB removes the rest.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        email::EmailAddress,
        identity::VerifiedIdentity,
        one_time::OneTime,
        sign_in_flow::{Binding, Flow, Purpose},
        user::UserId,
    },
    error::Result,
};

/// Mails that may be asked for one link.
const MAILS_MAX: i32 = 3;

/// Proofs that may be tried with one link.
const TRIES_MAX: i32 = 5;

/// Sign-ins by way of providers.
#[derive(Clone, Debug)]
pub(crate) struct SignInFlowStore {
    flows: Collection<FlowRow>,
    arrivals: Collection<ArrivalRow>,
    links: Collection<LinkRow>,
}

/// Somebody who came back from a provider, and waits for the client that sent them.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// From which.
    pub(crate) provider_id: String,
    /// As whom.
    pub(crate) identity: VerifiedIdentity,
    /// Who may take it.
    pub(crate) binding: Binding,
    /// What for.
    pub(crate) purpose: Purpose,
}

/// An identity that waits for its owner to prove that an account is theirs too.
#[derive(Clone, Debug)]
pub(crate) struct PendingLink {
    /// At which provider.
    pub(crate) provider_id: String,
    /// Which.
    pub(crate) identity: VerifiedIdentity,
    /// Whose account.
    pub(crate) user_id: UserId,
    /// The hash of the code that was mailed last.
    pub(crate) mail_code_hash: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlowRow {
    #[serde(rename = "_id")]
    state_hash: String,
    provider_id: String,
    redirect_uri: String,
    nonce_hash: String,
    sealed_verifier: String,
    next: Option<String>,
    terms: Terms,
    expires: BsonDateTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArrivalRow {
    #[serde(rename = "_id")]
    code_hash: String,
    provider_id: String,
    identity: IdentityRow,
    terms: Terms,
    expires: BsonDateTime,
}

/// Who may finish it, and what for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terms {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invitation: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityRow {
    issuer: String,
    subject: String,
    verified_email: Option<String>,
    email: Option<String>,
    names: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkRow {
    #[serde(rename = "_id")]
    token_hash: String,
    provider_id: String,
    identity: IdentityRow,
    user_id: ObjectId,
    mail_code_hash: Option<String>,
    mails: i32,
    tries: i32,
    expires: BsonDateTime,
}

impl SignInFlowStore {
    /// Opens the collections and sees to their indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let expiring = || super::expiring(doc! { "expires": 1 }, Duration::ZERO);
        let flows = database.collection("sign_in_flows");
        flows.create_index(expiring()).await?;
        let arrivals = database.collection("sign_in_arrivals");
        arrivals.create_index(expiring()).await?;
        let links = database.collection("pending_links");
        links.create_index(expiring()).await?;
        Ok(Self {
            flows,
            arrivals,
            links,
        })
    }

    /// Remembers a sign-in by its state.
    pub(crate) async fn insert_flow(
        &self,
        state: &OneTime,
        flow: &Flow,
        expires: DateTime<Utc>,
    ) -> Result<()> {
        let row = FlowRow {
            state_hash: state.hash(),
            provider_id: flow.provider_id.clone(),
            redirect_uri: flow.redirect_uri.clone(),
            nonce_hash: flow.nonce_hash.clone(),
            sealed_verifier: flow.sealed_verifier.clone(),
            next: flow.next.clone(),
            terms: Terms::new(&flow.binding, &flow.purpose),
            expires: BsonDateTime::from_chrono(expires),
        };
        self.flows.insert_one(row).await?;
        Ok(())
    }

    /// The sign-in of this state; it stays.
    pub(crate) async fn find_flow(&self, state: &OneTime, now: DateTime<Utc>) -> Result<Option<Flow>> {
        let row = self.flows.find_one(live(&state.hash(), now)).await?;
        Ok(row.and_then(FlowRow::read))
    }

    /// Uses a state up. Of any number of callers exactly one gets `true`.
    pub(crate) async fn take_flow(&self, state: &OneTime, now: DateTime<Utc>) -> Result<bool> {
        let taken = self.flows.delete_one(live(&state.hash(), now));
        Ok(taken.await?.deleted_count == 1)
    }

    /// Keeps somebody who came back for their client.
    pub(crate) async fn insert_arrival(
        &self,
        code: &OneTime,
        arrival: &Arrival,
        expires: DateTime<Utc>,
    ) -> Result<()> {
        let row = ArrivalRow {
            code_hash: code.hash(),
            provider_id: arrival.provider_id.clone(),
            identity: IdentityRow::from(&arrival.identity),
            terms: Terms::new(&arrival.binding, &arrival.purpose),
            expires: BsonDateTime::from_chrono(expires),
        };
        self.arrivals.insert_one(row).await?;
        Ok(())
    }

    /// Takes whoever waits under this code, good or not: a code is presented once.
    pub(crate) async fn take_arrival(&self, code: &OneTime, now: DateTime<Utc>) -> Result<Option<Arrival>> {
        let row = self.arrivals.find_one_and_delete(live(&code.hash(), now)).await?;
        Ok(row.and_then(ArrivalRow::read))
    }

    /// Remembers an identity that waits for a proof.
    pub(crate) async fn insert_link(
        &self,
        token: &OneTime,
        link: &PendingLink,
        expires: DateTime<Utc>,
    ) -> Result<()> {
        let row = LinkRow {
            token_hash: token.hash(),
            provider_id: link.provider_id.clone(),
            identity: IdentityRow::from(&link.identity),
            user_id: link.user_id.0,
            mail_code_hash: link.mail_code_hash.clone(),
            mails: 0,
            tries: 0,
            expires: BsonDateTime::from_chrono(expires),
        };
        self.links.insert_one(row).await?;
        Ok(())
    }

    /// The identity that waits under this token; counts a proof before its outcome is known. `None` also when none may be
    /// tried any more.
    pub(crate) async fn try_link(&self, token: &OneTime, now: DateTime<Utc>) -> Result<Option<PendingLink>> {
        let mut filter = live(&token.hash(), now);
        filter.insert("tries", doc! { "$lt": TRIES_MAX });
        let row = self
            .links
            .find_one_and_update(filter, doc! { "$inc": { "tries": 1 } })
            .await?;
        Ok(row.and_then(LinkRow::read))
    }

    /// Notes the hash of a code that is about to be mailed, in place of an earlier one. Says whose it is to be; `None`
    /// when enough were mailed.
    pub(crate) async fn note_mail(
        &self,
        token: &OneTime,
        code_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<PendingLink>> {
        let mut filter = live(&token.hash(), now);
        filter.insert("mails", doc! { "$lt": MAILS_MAX });
        let update = doc! { "$set": { "mailCodeHash": code_hash }, "$inc": { "mails": 1 } };
        let noted = self
            .links
            .find_one_and_update(filter, update)
            .return_document(ReturnDocument::After);
        Ok(noted.await?.and_then(LinkRow::read))
    }

    /// Uses a link up. Of any number of callers exactly one gets `true`.
    pub(crate) async fn take_link(&self, token: &OneTime) -> Result<bool> {
        let deletion = self.links.delete_one(doc! { "_id": token.hash() });
        Ok(deletion.await?.deleted_count == 1)
    }
}

fn live(id: &str, now: DateTime<Utc>) -> Document {
    doc! { "_id": id, "expires": { "$gt": BsonDateTime::from_chrono(now) } }
}

impl Terms {
    fn new(binding: &Binding, purpose: &Purpose) -> Self {
        let (browser, challenge) = match binding {
            Binding::Browser(hash) => (Some(hash.clone()), None),
            Binding::Client(challenge) => (None, Some(challenge.clone())),
        };
        let (user_id, session_id, invitation) = match purpose {
            Purpose::SignIn { invitation } => (None, None, invitation.clone()),
            Purpose::Link { user_id, session_id } => (Some(user_id.0), Some(session_id.clone()), None),
        };
        Self {
            browser,
            challenge,
            user_id,
            session_id,
            invitation,
        }
    }

    /// `None` for what could be finished by anybody: we write no such thing.
    fn read(self) -> Option<(Binding, Purpose)> {
        let binding = match (self.browser, self.challenge) {
            (Some(hash), None) => Binding::Browser(hash),
            (None, Some(challenge)) => Binding::Client(challenge),
            _ => return None,
        };
        let purpose = match (self.user_id, self.session_id) {
            (Some(id), Some(session_id)) => Purpose::Link {
                user_id: UserId(id),
                session_id,
            },
            (None, None) => Purpose::SignIn {
                invitation: self.invitation,
            },
            _ => return None,
        };
        Some((binding, purpose))
    }
}

impl FlowRow {
    fn read(self) -> Option<Flow> {
        let (binding, purpose) = self.terms.read()?;
        Some(Flow {
            provider_id: self.provider_id,
            redirect_uri: self.redirect_uri,
            nonce_hash: self.nonce_hash,
            sealed_verifier: self.sealed_verifier,
            binding,
            purpose,
            next: self.next,
        })
    }
}

impl ArrivalRow {
    fn read(self) -> Option<Arrival> {
        let (binding, purpose) = self.terms.read()?;
        Some(Arrival {
            provider_id: self.provider_id,
            identity: self.identity.read()?,
            binding,
            purpose,
        })
    }
}

impl LinkRow {
    fn read(self) -> Option<PendingLink> {
        Some(PendingLink {
            provider_id: self.provider_id,
            identity: self.identity.read()?,
            user_id: UserId(self.user_id),
            mail_code_hash: self.mail_code_hash,
        })
    }
}

impl IdentityRow {
    fn read(self) -> Option<VerifiedIdentity> {
        let verified_email = self.verified_email.as_deref().map(EmailAddress::parse);
        Some(VerifiedIdentity {
            issuer: self.issuer,
            subject: self.subject,
            verified_email: verified_email.transpose().ok()?,
            email: self.email,
            names: self.names,
        })
    }
}

impl From<&VerifiedIdentity> for IdentityRow {
    fn from(identity: &VerifiedIdentity) -> Self {
        Self {
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            verified_email: identity
                .verified_email
                .as_ref()
                .map(|email| email.as_str().to_owned()),
            email: identity.email.clone(),
            names: identity.names.clone(),
        }
    }
}
