//! Exchanges a provider's code for who somebody is.

use common_http::Clock;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::metadata::{Endpoints, Metadata};
use crate::{
    domain::{
        email::EmailAddress,
        id_token::{Expected, IdToken, Refused, verify},
        identity::{SUBJECT_BYTES_MAX, VerifiedIdentity},
        provider::{Provider, ProviderKind},
        sign_in_flow::Flow,
    },
    error::{Error, FederationError, Result},
    sealing::Sealing,
    service::outbound::{Outbound, Unanswered},
};

/// Names that providers may give at most.
const NAMES_MAX: usize = 5;
const NAME_CHARS_MAX: usize = 100;

/// Asks providers who somebody is.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    metadata: Metadata,
    outbound: Outbound,
    sealing: Sealing,
    clock: Clock,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: Option<SecretString>,
    id_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct ListedEmail {
    email: String,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    verified: bool,
}

/// What a provider sends for a client's secret, by the provider it belongs to.
pub(crate) fn secret_context(provider_id: &str) -> String {
    format!("provider:{provider_id}")
}

impl Exchange {
    /// Asks by these means.
    pub(super) fn new(metadata: Metadata, outbound: Outbound, sealing: Sealing, clock: Clock) -> Self {
        Self {
            metadata,
            outbound,
            sealing,
            clock,
        }
    }

    /// Who the holder of this code is.
    pub(super) async fn identify(
        &self,
        provider: &Provider,
        flow: &Flow,
        code: &str,
        verifier: &str,
    ) -> Result<VerifiedIdentity> {
        let endpoints = self.metadata.endpoints(provider).await?;
        let tokens = self.redeem(provider, &endpoints, flow, code, verifier).await?;
        match provider.kind {
            ProviderKind::Oidc => self.by_id_token(provider, &endpoints, flow, &tokens).await,
            ProviderKind::OAuth2 => {
                let person = self.ask_who(&endpoints, &tokens).await?;
                Ok(identity(provider, subject_of(&person)?, &person))
            }
            ProviderKind::GitHub => self.by_github(provider, &endpoints, &tokens).await,
        }
    }

    async fn redeem(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        flow: &Flow,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens> {
        let secret = self
            .sealing
            .open(&secret_context(&provider.id), &provider.sealed_secret)?;
        let secret = SecretString::from(String::from_utf8_lossy(secret.expose_secret()).into_owned());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", flow.redirect_uri.as_str()),
            ("client_id", provider.client_id.as_str()),
            ("code_verifier", verifier),
        ];
        if endpoints.takes_secret_in_form {
            form.push(("client_secret", secret.expose_secret()));
        }
        let basic = (!endpoints.takes_secret_in_form).then_some((provider.client_id.as_str(), &secret));
        let answer = self.outbound.post_form(&endpoints.token, &form, basic).await;
        let answer = answer.map_err(|error| unanswered(provider, error))?;
        // GitHub says 200 and `error`.
        if answer.get("error").is_some() {
            return Err(FederationError::ProviderRefused.into());
        }
        serde_json::from_value(answer).or(Err(FederationError::ProviderUnreachable.into()))
    }

    async fn by_id_token(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        flow: &Flow,
        tokens: &Tokens,
    ) -> Result<VerifiedIdentity> {
        let token = tokens
            .id_token
            .as_ref()
            .ok_or(FederationError::IdentityRefused(Refused::Malformed))?;
        let IdToken { subject, mut claims } = self.verified(provider, flow, token).await?;
        if !claims.contains_key("email") && endpoints.userinfo.is_some() {
            let person = self.ask_who(endpoints, tokens).await?;
            // An answer about somebody else: the access token was exchanged on the way.
            if person.get("sub").and_then(Value::as_str) != Some(&subject) {
                return Err(FederationError::IdentityUnclear.into());
            }
            // Whether an address is proven is said by whoever says the address.
            claims.remove("email_verified");
            claims.extend(person);
        }
        Ok(identity(provider, subject, &claims))
    }

    /// The claims of the token; looks once for new keys when its key is not known.
    async fn verified(&self, provider: &Provider, flow: &Flow, token: &SecretString) -> Result<IdToken> {
        let expected = Expected {
            issuer: &provider.issuer,
            client_id: &provider.client_id,
            nonce_hash: &flow.nonce_hash,
        };
        let keys = self.metadata.keys(provider, false).await?;
        let mut result = verify(token.expose_secret(), &keys, &expected, self.clock.now());
        if let Err(Refused::UnknownKey) = result {
            let keys = self.metadata.keys(provider, true).await?;
            result = verify(token.expose_secret(), &keys, &expected, self.clock.now());
        }
        result.map_err(|refused| {
            tracing::warn!(reason = %refused, provider = provider.name, "an ID token was refused");
            FederationError::IdentityRefused(refused).into()
        })
    }

    async fn by_github(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        tokens: &Tokens,
    ) -> Result<VerifiedIdentity> {
        let mut person = self.ask_who(endpoints, tokens).await?;
        let subject = subject_of(&person)?;
        let userinfo = endpoints
            .userinfo
            .as_ref()
            .ok_or(FederationError::ProviderUnreachable)?;
        let emails = format!("{}/emails", userinfo.as_str().trim_end_matches('/'));
        let emails = Url::parse(&emails).or(Err(FederationError::ProviderUnreachable))?;
        let listed = self.outbound.get(&emails, tokens.access_token.as_ref()).await;
        let listed = listed.map_err(|error| unanswered(provider, error))?;
        let listed: Vec<ListedEmail> =
            serde_json::from_value(listed).or(Err(FederationError::ProviderUnreachable))?;
        // What the profile shows is whatever the person typed there.
        person.remove("email");
        let mut verified = listed.into_iter().filter(|one| one.verified).collect::<Vec<_>>();
        verified.sort_by_key(|one| !one.primary);
        if let Some(best) = verified.into_iter().next() {
            person.insert("email".to_owned(), best.email.into());
            person.insert("email_verified".to_owned(), true.into());
        }
        Ok(identity(provider, subject, &person))
    }

    async fn ask_who(&self, endpoints: &Endpoints, tokens: &Tokens) -> Result<Map<String, Value>> {
        let (Some(url), Some(token)) = (&endpoints.userinfo, &tokens.access_token) else {
            return Err(FederationError::IdentityUnclear.into());
        };
        let answer = self.outbound.get(url, Some(token)).await.map_err(|error| {
            tracing::warn!(error = ?error, "a provider did not say who somebody is");
            FederationError::ProviderUnreachable
        })?;
        let Value::Object(person) = answer else {
            return Err(FederationError::IdentityUnclear.into());
        };
        Ok(person)
    }
}

/// Who somebody is without an ID token: text or a number, never an address.
fn subject_of(person: &Map<String, Value>) -> Result<String> {
    let given = person.get("sub").or_else(|| person.get("id"));
    let number = || given.and_then(Value::as_u64).map(|number| number.to_string());
    let subject = given.and_then(Value::as_str).map(str::to_owned).or_else(number);
    let subject = subject.filter(|subject| (1..=SUBJECT_BYTES_MAX).contains(&subject.len()));
    Ok(subject.ok_or(FederationError::IdentityUnclear)?)
}

fn identity(provider: &Provider, subject: String, claims: &Map<String, Value>) -> VerifiedIdentity {
    let email = claims.get("email").and_then(Value::as_str);
    let parsed = email.and_then(|text| EmailAddress::parse(text).ok());
    let says_verified = ["email_verified", "verified_email"]
        .into_iter()
        .find_map(|name| claims.get(name))
        .map(|value| *value == Value::Bool(true) || value.as_str() == Some("true"));
    let is_verified = says_verified.unwrap_or(provider.trust_email);
    let names = ["preferred_username", "login", "nickname", "username", "name"]
        .into_iter()
        .filter_map(|name| claims.get(name)?.as_str());
    VerifiedIdentity {
        issuer: provider.issuer.clone(),
        subject,
        email: parsed.as_ref().map(|email| email.as_str().to_owned()),
        verified_email: parsed.filter(|_| is_verified),
        names: names
            .map(|name| name.chars().take(NAME_CHARS_MAX).collect())
            .take(NAMES_MAX)
            .collect(),
    }
}

/// A refusal of the code is the person's to repair; everything else is the provider's.
fn unanswered(provider: &Provider, error: Unanswered) -> Error {
    tracing::warn!(error = ?error, provider = provider.name, "a provider did not answer as it should");
    if let Unanswered::Status { status, body } = error
        && status.as_u16() == 400
        && body.get("error").is_some()
    {
        return FederationError::ProviderRefused.into();
    }
    FederationError::ProviderUnreachable.into()
}
