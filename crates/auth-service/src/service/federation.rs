//! Signing in by way of a provider: sends people there, and finds out from the answer who they are.
//!
//! What is remembered meanwhile is found by `state`, which is good once, for one provider, and for whoever began: the
//! browser that holds a cookie, or the client that knows the verifier of a PKCE challenge. The provider in turn gives
//! its answer only to whoever knows the verifier of ours (S256), and an ID token only counts with our nonce in it.

mod exchange;
mod metadata;

use chrono::Duration;
use common_http::Clock;
use rand::RngExt as _;
use secrecy::ExposeSecret as _;
use url::Url;

pub(crate) use self::exchange::secret_context;
use self::{exchange::Exchange, metadata::Metadata};
use crate::{
    config::Config,
    domain::{
        id_token::hash_of,
        identity::VerifiedIdentity,
        one_time::{OneTime, challenge_of, is_challenge, is_verifier},
        provider::{Provider, ProviderKind},
        sign_in_flow::{Binding, CODE_LIFE, FLOW_LIFE, Flow, Purpose, parse_next},
        user::UserId,
    },
    error::{Error, FederationError, Result},
    sealing::Sealing,
    service::outbound::Outbound,
    store::{
        providers::ProviderStore,
        sign_in_flows::{Arrival, SignInFlowStore},
    },
};

/// What providers send as a code; more is refused unread.
const CODE_BYTES_MAX: usize = 4_096;

/// Sign-ins by way of providers.
#[derive(Clone, Debug)]
pub(crate) struct Federation {
    providers: ProviderStore,
    flows: SignInFlowStore,
    metadata: Metadata,
    exchange: Exchange,
    sealing: Sealing,
    public_url: Url,
    origins: Vec<String>,
    clock: Clock,
}

/// How somebody wants to be sent to a provider and back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// The client that receives the provider's answer itself; our callback where there is none.
    pub(crate) redirect_uri: Option<String>,
    /// Where the browser goes after our callback, with a code.
    pub(crate) next: Option<String>,
    /// Binds the sign-in to a client without cookies.
    pub(crate) code_challenge: Option<String>,
    /// `S256`, if anything.
    pub(crate) code_challenge_method: Option<String>,
}

/// A sign-in that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where the browser goes now.
    pub(crate) authorization_url: Url,
    /// What the browser has to keep.
    pub(crate) browser: Option<OneTime>,
}

/// What a provider sent back with somebody.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProviderAnswer {
    /// Finds the sign-in.
    pub(crate) state: Option<String>,
    /// To be exchanged.
    pub(crate) code: Option<String>,
    /// Whose answer it is (RFC 9207).
    pub(crate) iss: Option<String>,
    /// Why there is no code.
    pub(crate) error: Option<String>,
}

/// By what somebody shows that a sign-in is theirs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holder {
    /// The cookie of their browser.
    pub(crate) browser: Option<OneTime>,
    /// The verifier of their client.
    pub(crate) verifier: Option<String>,
    /// Who they are signed in as, in which session.
    pub(crate) session: Option<(UserId, String)>,
}

/// A sign-in whose state was good, and is used up.
#[derive(Debug)]
pub(crate) struct Returned {
    provider: Provider,
    flow: Flow,
}

impl Returned {
    /// Where the browser goes now.
    pub(crate) fn next(&self) -> Option<&str> {
        self.flow.next.as_deref()
    }

    /// The sign-in with what is known now.
    pub(crate) fn into_arrival(self, identity: VerifiedIdentity) -> Arrival {
        Arrival {
            provider_id: self.provider.id,
            identity,
            binding: self.flow.binding,
            purpose: self.flow.purpose,
        }
    }
}

impl Federation {
    /// Sign-ins by way of these providers.
    pub(crate) fn new(
        config: &Config,
        providers: ProviderStore,
        flows: SignInFlowStore,
        sealing: Sealing,
        outbound: Outbound,
    ) -> Self {
        let metadata = Metadata::new(outbound.clone(), config.clock.clone());
        let public = config.public_url.origin().ascii_serialization();
        let known = config
            .cors_origins
            .iter()
            .filter(|origin| *origin != "*")
            .cloned();
        Self {
            exchange: Exchange::new(metadata.clone(), outbound, sealing.clone(), config.clock.clone()),
            providers,
            flows,
            metadata,
            sealing,
            public_url: config.public_url.clone(),
            origins: known.chain([public]).collect(),
            clock: config.clock.clone(),
        }
    }

    /// Where a provider sends people back, unless a client receives them itself.
    pub(crate) fn callback(&self, provider: &str) -> String {
        let base = self.public_url.as_str().trim_end_matches('/');
        format!("{base}/api/v1/auth/oauth/{provider}/callback")
    }

    /// Sends somebody to the provider. `browser` is what their browser keeps from an earlier time: it goes on to count,
    /// so that several tabs can sign in at once.
    pub(crate) async fn begin(
        &self,
        provider: &str,
        wish: Wish,
        purpose: Purpose,
        browser: Option<OneTime>,
    ) -> Result<Begun> {
        let provider = self.active(provider).await?;
        let redirect_uri = self.redirect_uri(&provider, &wish)?;
        let next = self.next(&wish)?;
        let challenge = challenge(&wish)?;
        if challenge.is_some() && next.is_none() && wish.redirect_uri.is_none() {
            return Err(Error::invalid(
                "next",
                "is required: the client has to receive the code",
            ));
        }
        let endpoints = self.metadata.endpoints(&provider).await?;
        let (state, nonce, verifier) = (random(), random(), random());
        let browser = challenge.is_none().then(|| browser.unwrap_or_else(random));
        let binding = match (challenge, &browser) {
            (Some(challenge), _) => Binding::Client(challenge),
            (None, Some(browser)) => Binding::Browser(browser.hash()),
            (None, None) => return Err(FederationError::InvalidState.into()),
        };
        let sealed = self
            .sealing
            .seal(&verifier_context(&state), verifier.text().as_bytes())?;
        let flow = Flow {
            provider_id: provider.id.clone(),
            redirect_uri: redirect_uri.clone(),
            nonce_hash: hash_of(nonce.text()),
            sealed_verifier: sealed,
            binding,
            purpose,
            next,
        };
        self.flows
            .insert_flow(&state, &flow, self.clock.now() + FLOW_LIFE)
            .await?;
        let mut url = endpoints.authorize.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", &redirect_uri)
            .append_pair("scope", &provider.scope)
            .append_pair("state", state.text())
            .append_pair("code_challenge", &challenge_of(verifier.text()))
            .append_pair("code_challenge_method", "S256");
        if provider.kind == ProviderKind::Oidc {
            query.append_pair("nonce", nonce.text());
        }
        drop(query);
        Ok(Begun {
            authorization_url: url,
            browser,
        })
    }

    /// Uses up the state of an answer, if it is one of this provider's and of whoever brings it.
    pub(crate) async fn take(
        &self,
        provider: &str,
        answer: &ProviderAnswer,
        holder: &Holder,
    ) -> Result<(OneTime, Returned)> {
        let state = answer.state.as_deref().and_then(OneTime::parse);
        let state = state.ok_or(FederationError::InvalidState)?;
        let now = self.clock.now();
        let flow = self.flows.find_flow(&state, now).await?;
        let flow = flow.ok_or(FederationError::InvalidState)?;
        let found = self.providers.find(&flow.provider_id).await?;
        let provider = found
            .filter(|found| found.is_active && found.name == provider)
            .ok_or(FederationError::InvalidState)?;
        let is_bound = holder.began(&flow.binding, &flow.purpose);
        // Whoever was sent by a client without cookies only carries a code to that client.
        let is_messenger =
            matches!(flow.binding, Binding::Client(_)) && holder.verifier.is_none() && flow.next.is_some();
        if !is_bound && !is_messenger {
            return Err(FederationError::InvalidState.into());
        }
        if !self.flows.take_flow(&state, now).await? {
            return Err(FederationError::InvalidState.into());
        }
        Ok((state, Returned { provider, flow }))
    }

    /// Who the provider says that somebody is.
    pub(crate) async fn identify(
        &self,
        state: &OneTime,
        returned: &Returned,
        answer: &ProviderAnswer,
    ) -> Result<VerifiedIdentity> {
        let provider = &returned.provider;
        if provider.kind == ProviderKind::Oidc {
            let endpoints = self.metadata.endpoints(provider).await?;
            let is_the_asked = match &answer.iss {
                Some(iss) => *iss == provider.issuer,
                None => !endpoints.names_itself,
            };
            if !is_the_asked {
                return Err(FederationError::IssuerMismatch.into());
            }
        }
        let code = answer
            .code
            .as_deref()
            .filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX);
        let Some(code) = code.filter(|_| answer.error.is_none()) else {
            return Err(FederationError::ProviderRefused.into());
        };
        let verifier = self
            .sealing
            .open(&verifier_context(state), &returned.flow.sealed_verifier)?;
        let verifier = String::from_utf8_lossy(verifier.expose_secret());
        self.exchange
            .identify(provider, &returned.flow, code, &verifier)
            .await
    }

    /// Keeps somebody for the client that sent them; returns the code that the client gets.
    pub(crate) async fn keep(&self, arrival: &Arrival) -> Result<OneTime> {
        let code = random();
        let expires = self.clock.now() + CODE_LIFE;
        self.flows.insert_arrival(&code, arrival, expires).await?;
        Ok(code)
    }

    /// Gives whoever began a sign-in what waits under its code, once.
    pub(crate) async fn collect(&self, code: &str, holder: &Holder) -> Result<Arrival> {
        let code = OneTime::parse(code).ok_or(FederationError::InvalidSignInCode)?;
        let arrival = self.flows.take_arrival(&code, self.clock.now()).await?;
        let arrival = arrival.filter(|arrival| holder.began(&arrival.binding, &arrival.purpose));
        Ok(arrival.ok_or(FederationError::InvalidSignInCode)?)
    }

    async fn active(&self, name: &str) -> Result<Provider> {
        let found = self.providers.find_by_name(name).await?;
        let provider = found.filter(|provider| provider.is_active);
        Ok(provider.ok_or(FederationError::ProviderNotFound)?)
    }

    fn redirect_uri(&self, provider: &Provider, wish: &Wish) -> Result<String> {
        let own = self.callback(&provider.name);
        let Some(wanted) = &wish.redirect_uri else {
            return Ok(own);
        };
        if *wanted != own && !provider.redirect_uris.contains(wanted) {
            return Err(Error::invalid(
                "redirect_uri",
                "is none of those that an administrator listed",
            ));
        }
        Ok(wanted.clone())
    }

    fn next(&self, wish: &Wish) -> Result<Option<String>> {
        let Some(next) = &wish.next else { return Ok(None) };
        if wish.redirect_uri.is_some() {
            return Err(Error::invalid("next", "cannot go with redirect_uri"));
        }
        let next = parse_next(next, &self.origins);
        next.map(Some).ok_or_else(|| {
            Error::invalid(
                "next",
                "must be a path, or an address at one of the origins we know",
            )
        })
    }
}

impl Holder {
    /// Whether they began the sign-in that is bound like this. Somebody who links and is signed in as the one who wanted
    /// to, in that session, needs nothing else.
    fn began(&self, binding: &Binding, purpose: &Purpose) -> bool {
        if let (Some((holder, session)), Purpose::Link { user_id, session_id }) = (&self.session, purpose) {
            return holder == user_id && session == session_id;
        }
        match binding {
            Binding::Browser(hash) => self
                .browser
                .as_ref()
                .is_some_and(|browser| browser.hash() == *hash),
            Binding::Client(challenge) => {
                let verifier = self.verifier.as_deref().filter(|verifier| is_verifier(verifier));
                verifier.is_some_and(|verifier| challenge_of(verifier) == *challenge)
            }
        }
    }
}

fn challenge(wish: &Wish) -> Result<Option<String>> {
    let Some(challenge) = &wish.code_challenge else {
        return Ok(None);
    };
    if wish
        .code_challenge_method
        .as_deref()
        .is_some_and(|method| method != "S256")
    {
        return Err(Error::invalid("code_challenge_method", "must be S256"));
    }
    if !is_challenge(challenge) {
        return Err(Error::invalid(
            "code_challenge",
            "must be a SHA-256 hash in base64url",
        ));
    }
    Ok(Some(challenge.clone()))
}

/// A secret that nobody can guess.
pub(crate) fn random() -> OneTime {
    OneTime::new(rand::rng().random())
}

/// How long the cookie is kept that binds a sign-in to a browser.
pub(crate) const BROWSER_LIFE: Duration = FLOW_LIFE;

fn verifier_context(state: &OneTime) -> String {
    format!("pkce:{}", state.hash())
}
