//! Everything that is kept about somebody, here and by the other two services, as one JSON document for that person. It
//! is written as it is read; when another service is away the document says so in its place.

use std::{sync::Arc, time::Duration};

use actix_web::Error as WebError;
use bytes::Bytes;
use common_http::{Clock, RequestContext, ServiceTokens, Timestamp, json_array, json_text};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future::join, stream::LocalBoxStream};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    NAME,
    config::Config,
    domain::{
        identity::Identity,
        origin::Origin,
        user::{User, UserId},
    },
    error::{Error, Result},
    store::{
        audit::{AuditEvent, AuditStore},
        personal::PersonalStore,
        users::UserStore,
    },
};

/// Documents written at once; each may read for minutes.
const AT_ONCE_MAX: usize = 8;

/// How long another service may take to begin, and then between two pieces.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Gathers what is kept about people.
#[derive(Clone, Debug)]
pub(crate) struct PersonalData {
    users: UserStore,
    personal: PersonalStore,
    audit: AuditStore,
    proxy: Option<Url>,
    accounting: Option<Url>,
    tokens: ServiceTokens,
    http: reqwest::Client,
    places: Arc<Semaphore>,
    clock: Clock,
}

/// A document as it is written.
pub(crate) type Document = LocalBoxStream<'static, std::result::Result<Bytes, WebError>>;

impl PersonalData {
    /// Gathers from these stores and from the services that the configuration names.
    pub(crate) fn new(
        config: &Config,
        users: UserStore,
        personal: PersonalStore,
        audit: AuditStore,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            users,
            personal,
            audit,
            proxy: config.proxy_url.clone(),
            accounting: config.accounting_url.clone(),
            tokens: ServiceTokens::new(NAME, &config.service_jwt_secret),
            http,
            places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            clock: config.clock.clone(),
        })
    }

    /// The document of this person, with the account as `show_account` writes it.
    pub(crate) async fn export(
        &self,
        id: UserId,
        origin: &Origin,
        show_account: impl FnOnce(User) -> Value,
    ) -> Result<Document> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .or(Err(Error::TooManyExports))?;
        let user = self.users.find(id).await?.ok_or(Error::UserNotFound)?;
        let (conversations, credits) = join(
            self.ask("proxy-service", self.proxy.as_ref(), id),
            self.ask("accounting-service", self.accounting.as_ref(), id),
        )
        .await;
        let identities: Vec<_> = user.identities.iter().map(shown).collect();
        let own = self.own(id, &show_account(user), &identities).await?;
        self.record(id, origin).await;
        let whole = own
            .chain(json_text(r#","conversations":"#))
            .chain(section(conversations))
            .chain(json_text(r#","credits":"#))
            .chain(section(credits))
            .chain(json_text("}"));
        Ok(kept_until_written(place, whole))
    }

    /// What this service keeps, up to the place where the others follow.
    async fn own(
        &self,
        id: UserId,
        account: &Value,
        identities: &[Value],
    ) -> Result<impl Stream<Item = std::result::Result<Bytes, WebError>> + use<>> {
        let head = json!({
            "exportedAt": Timestamp(self.clock.now()), "account": account, "identities": identities,
        });
        let mut head = head.to_string();
        // The object goes on.
        head.pop();
        let sessions = self.personal.sessions(id).await?;
        let keys = self.personal.api_keys(id).await?;
        let verifications = self.personal.verifications(id).await?;
        let events = self.personal.audit_events(id).await?;
        Ok(json_text(head)
            .chain(json_text(r#","sessions":"#))
            .chain(json_array(sessions))
            .chain(json_text(r#","apiKeys":"#))
            .chain(json_array(keys))
            .chain(json_text(r#","verifications":"#))
            .chain(json_array(verifications))
            .chain(json_text(r#","auditEvents":"#))
            .chain(json_array(events)))
    }

    /// What another service keeps; `None` when it cannot be asked now.
    async fn ask(&self, service: &'static str, base: Option<&Url>, id: UserId) -> Option<Response> {
        let asked = self.try_ask(service, base?, id).await;
        asked
            .inspect_err(|error| {
                tracing::warn!(
                    error = format!("{error:#}"),
                    service,
                    "what another service keeps about somebody could not be had"
                );
            })
            .ok()
    }

    async fn try_ask(&self, service: &'static str, base: &Url, id: UserId) -> anyhow::Result<Response> {
        let url = base.join(&format!("/internal/people/{id}/data"))?;
        let token = self.tokens.token(service, self.clock.now())?;
        let request = RequestContext::current().propagate(self.http.get(url).bearer_auth(token));
        let response = tokio::time::timeout(HEAD_TIMEOUT, request.send()).await?;
        let response = response.map_err(reqwest::Error::without_url)?;
        // A redirect is no error to the client, and its body is no data.
        let status = response.status();
        anyhow::ensure!(status.as_u16() == 200, "it answered {status}");
        Ok(response)
    }

    async fn record(&self, id: UserId, origin: &Origin) {
        let event = AuditEvent {
            action: "data_exported",
            outcome: "ok",
            actor: Some(id),
            subject: Some(id),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record(event, self.clock.now()).await;
    }
}

/// A linked identity as its owner may read it: whole.
fn shown(identity: &Identity) -> Value {
    json!({
        "issuer": identity.issuer, "subject": identity.subject, "email": identity.email,
        "connectedAt": Timestamp(identity.connected_at),
    })
}

/// Another service's part, or that it is missing. When the service fails half way the whole document breaks off.
fn section(response: Option<Response>) -> Document {
    let Some(response) = response else {
        return json_text(r#"{"available":false}"#).boxed_local();
    };
    let data = response
        .bytes_stream()
        .map_err(|error| WebError::from(std::io::Error::other(error.without_url())));
    json_text(r#"{"available":true,"data":"#)
        .chain(data)
        .chain(json_text("}"))
        .boxed_local()
}

/// Gives the place back when the document is written, or nobody wants it any more.
fn kept_until_written(
    place: OwnedSemaphorePermit,
    document: impl Stream<Item = std::result::Result<Bytes, WebError>> + 'static,
) -> Document {
    document
        .inspect(move |_| {
            let _ = &place;
        })
        .boxed_local()
}
