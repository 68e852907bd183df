//! Which providers there are: what administrators add, change and delete.

use common_http::{Clock, FieldError};
use common_jwt::Role;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};
use uuid::Uuid;

use crate::{
    domain::{
        origin::Origin,
        provider::{Preset, Provider, ProviderKind, is_color, own_issuer, parse_name},
        user::{UserId, parse_role},
    },
    error::{Error, FederationError, Result, field_error},
    sealing::Sealing,
    service::{federation::secret_context, outbound::Outbound},
    store::{
        audit::{AuditEvent, AuditStore},
        providers::ProviderStore,
        users::UserStore,
    },
};

/// What a client secret is shown as. Sent back, it leaves the secret as it is.
pub(crate) const HIDDEN_SECRET: &str = "***";

/// Providers there may be.
const PROVIDERS_MAX: u64 = 50;

/// Bytes of a text that an administrator types.
const TEXT_BYTES_MAX: usize = 500;

/// Clients that receive answers themselves, of one provider.
const REDIRECT_URIS_MAX: usize = 10;

/// How often a deletion looks again after somebody linked meanwhile.
const LOOKS_MAX: usize = 8;

/// The providers.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    store: ProviderStore,
    users: UserStore,
    outbound: Outbound,
    sealing: Sealing,
    audit: AuditStore,
    clock: Clock,
}

/// What an administrator says about a provider; `None` leaves a member as it is, or as a preset has it.
#[derive(Debug, Default)]
pub(crate) struct ProviderEdit {
    /// `google`, `github`.
    pub(crate) preset: Option<String>,
    /// The word in its routes.
    pub(crate) name: Option<String>,
    /// What its button says.
    pub(crate) display_name: Option<String>,
    /// The icon on its button.
    pub(crate) icon: Option<String>,
    /// The colour of its button.
    pub(crate) color: Option<String>,
    /// `oidc`, `oauth2` or `github`.
    pub(crate) kind: Option<String>,
    /// Of OpenID Connect.
    pub(crate) issuer: Option<String>,
    /// What we are called there.
    pub(crate) client_id: Option<String>,
    /// What we prove that with.
    pub(crate) client_secret: Option<SecretString>,
    /// Where people are sent.
    pub(crate) authorize_url: Option<String>,
    /// Where codes are exchanged.
    pub(crate) token_url: Option<String>,
    /// Where it is asked who somebody is.
    pub(crate) userinfo_url: Option<String>,
    /// What we ask for.
    pub(crate) scope: Option<String>,
    /// Whether anybody can sign in with it.
    pub(crate) is_active: Option<bool>,
    /// Whether people whom we do not know get an account.
    pub(crate) auto_provision: Option<bool>,
    /// The role that they get.
    pub(crate) default_role: Option<String>,
    /// Whether its addresses count as proven although it does not say so.
    pub(crate) trust_email: Option<bool>,
    /// Clients that receive its answers themselves.
    pub(crate) redirect_uris: Option<Vec<String>>,
}

impl Providers {
    /// The providers in this store.
    pub(crate) fn new(
        store: ProviderStore,
        users: UserStore,
        outbound: Outbound,
        sealing: Sealing,
        audit: AuditStore,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            users,
            outbound,
            sealing,
            audit,
            clock,
        }
    }

    /// All of them, with the number of connected accounts of each.
    pub(crate) async fn list(&self) -> Result<Vec<(Provider, u64)>> {
        let mut listed = Vec::new();
        for provider in self.store.list().await? {
            let connected = self.users.count_connected(&provider.id).await?;
            listed.push((provider, connected));
        }
        Ok(listed)
    }

    /// Those that can be signed in with.
    pub(crate) async fn list_active(&self) -> Result<Vec<Provider>> {
        let mut all = self.store.list().await?;
        all.retain(|provider| provider.is_active);
        Ok(all)
    }

    /// Adds a provider.
    pub(crate) async fn create(
        &self,
        edit: ProviderEdit,
        actor: UserId,
        origin: &Origin,
    ) -> Result<Provider> {
        if self.store.count().await? >= PROVIDERS_MAX {
            return Err(FederationError::TooManyProviders.into());
        }
        let preset = preset_of(&edit)?;
        let now = self.clock.now();
        let id = Uuid::now_v7().to_string();
        let url = |text: Option<&str>| text.and_then(|text| Url::parse(text).ok());
        let blank = Provider {
            name: preset.map(|preset| preset.name).unwrap_or_default().to_owned(),
            display_name: preset
                .map(|preset| preset.display_name)
                .unwrap_or_default()
                .to_owned(),
            icon: preset.map_or("key", |preset| preset.name).to_owned(),
            color: preset.map_or("#4b5563", |preset| preset.color).to_owned(),
            kind: preset.map_or(ProviderKind::OAuth2, |preset| preset.kind),
            issuer: preset.map_or_else(|| own_issuer(&id), |preset| preset.issuer.to_owned()),
            client_id: String::new(),
            sealed_secret: String::new(),
            authorize_url: url(preset.and_then(|preset| preset.authorize_url)),
            token_url: url(preset.and_then(|preset| preset.token_url)),
            userinfo_url: url(preset.and_then(|preset| preset.userinfo_url)),
            scope: preset
                .map_or("openid email profile", |preset| preset.scope)
                .to_owned(),
            is_active: true,
            auto_provision: true,
            default_role: Role::EndUser,
            trust_email: false,
            redirect_uris: Vec::new(),
            created_at: now,
            updated_at: now,
            id,
        };
        let provider = self.edited(blank, edit).await?;
        self.store.insert(&provider).await?;
        self.record("provider_created", &provider, actor, origin).await;
        Ok(provider)
    }

    /// Changes a provider. What says who people are there stays as it is while anybody is connected: the same subject
    /// elsewhere is somebody else.
    pub(crate) async fn change(
        &self,
        id: &str,
        edit: ProviderEdit,
        actor: UserId,
        origin: &Origin,
    ) -> Result<Provider> {
        let links = self
            .store
            .links(id)
            .await?
            .ok_or(FederationError::ProviderNotFound)?;
        let before = self
            .store
            .find(id)
            .await?
            .ok_or(FederationError::ProviderNotFound)?;
        let mut after = self.edited(before.clone(), edit).await?;
        after.updated_at = self
            .clock
            .now()
            .max(before.updated_at + chrono::Duration::milliseconds(1));
        let is_elsewhere = tells_who(&before) != tells_who(&after);
        if is_elsewhere && self.users.is_connected(id).await? {
            return Err(FederationError::ProviderInUse.into());
        }
        let unlinked_since = is_elsewhere.then_some(links);
        if !self
            .store
            .replace(&after, before.updated_at, unlinked_since)
            .await?
        {
            return Err(FederationError::ProviderChanged.into());
        }
        self.record("provider_changed", &after, actor, origin).await;
        Ok(after)
    }

    /// Deletes a provider that nobody is connected with. An account that is linked at this moment either is seen here,
    /// or finds the provider gone.
    pub(crate) async fn delete(&self, id: &str, actor: UserId, origin: &Origin) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let links = self
                .store
                .links(id)
                .await?
                .ok_or(FederationError::ProviderNotFound)?;
            let found = self.store.find(id).await?;
            if self.users.is_connected(id).await? {
                return Err(FederationError::ProviderInUse.into());
            }
            if self.store.delete(id, links).await? {
                if let Some(provider) = found {
                    self.record("provider_deleted", &provider, actor, origin).await;
                }
                return Ok(());
            }
        }
        Err(FederationError::ProviderInUse.into())
    }

    /// The provider with these changes; everything wrong with them at once.
    async fn edited(&self, mut provider: Provider, edit: ProviderEdit) -> Result<Provider> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: &str| errors.push(field_error(field, message));
        if let Some(name) = given(edit.name.as_deref()) {
            match parse_name(name) {
                Ok(name) => provider.name = name,
                Err(message) => wrong("name", message),
            }
        }
        if let Some(kind) = given(edit.kind.as_deref()) {
            match ProviderKind::parse(kind) {
                Some(kind) => provider.kind = kind,
                None => wrong("kind", "must be oidc, oauth2 or github"),
            }
        } else if given(edit.issuer.as_deref()).is_some() {
            provider.kind = ProviderKind::Oidc;
        }
        if let Some(role) = given(edit.default_role.as_deref()) {
            match parse_role(role).filter(|role| *role != Role::Admin) {
                Some(role) => provider.default_role = role,
                None => wrong("default_role", "must be enduser or supervisor"),
            }
        }
        if let Some(color) = given(edit.color.as_deref()) {
            if is_color(color) {
                color.clone_into(&mut provider.color);
            } else {
                wrong("color", "must be # and six hex digits");
            }
        }
        for (field, text, place) in [
            ("display_name", edit.display_name, &mut provider.display_name),
            ("icon", edit.icon, &mut provider.icon),
            ("client_id", edit.client_id, &mut provider.client_id),
            ("scope", edit.scope, &mut provider.scope),
        ] {
            let Some(text) = text
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
            else {
                continue;
            };
            if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
                wrong(field, "must have at most 500 characters, all visible");
            } else {
                *place = text;
            }
        }
        provider.is_active = edit.is_active.unwrap_or(provider.is_active);
        provider.auto_provision = edit.auto_provision.unwrap_or(provider.auto_provision);
        provider.trust_email = edit.trust_email.unwrap_or(provider.trust_email);
        if let Some(secret) = edit
            .client_secret
            .filter(|secret| !["", HIDDEN_SECRET].contains(&secret.expose_secret()))
        {
            if secret.expose_secret().len() > 4 * TEXT_BYTES_MAX {
                wrong("client_secret", "is too long");
            }
            let context = secret_context(&provider.id);
            provider.sealed_secret = self.sealing.seal(&context, secret.expose_secret().as_bytes())?;
        }
        if let Some(uris) = edit.redirect_uris {
            if uris.len() > REDIRECT_URIS_MAX || !uris.iter().all(|uri| is_redirect_uri(uri)) {
                wrong(
                    "redirect_uris",
                    "must be at most 10 addresses that begin with https://, or http:// on this machine",
                );
            } else {
                provider.redirect_uris = uris;
            }
        }
        let addresses = Addresses {
            issuer: edit.issuer,
            authorize: edit.authorize_url,
            token: edit.token_url,
            userinfo: edit.userinfo_url,
        };
        self.locate(&mut provider, addresses, &mut errors).await;
        require(&provider, &mut errors);
        if provider.display_name.is_empty() {
            provider.display_name.clone_from(&provider.name);
        }
        if errors.is_empty() {
            return Ok(provider);
        }
        Err(Error::Invalid(errors))
    }

    /// Where the provider is, by its kind: an issuer, at which the rest is discovered, or three addresses.
    async fn locate(
        &self,
        provider: &mut Provider,
        given_addresses: Addresses,
        errors: &mut Vec<FieldError>,
    ) {
        if provider.kind == ProviderKind::Oidc {
            (provider.authorize_url, provider.token_url, provider.userinfo_url) = (None, None, None);
            if !provider.scope.split(' ').any(|word| word == "openid") {
                provider.scope = format!("openid {}", provider.scope);
            }
            let issuer = given(given_addresses.issuer.as_deref())
                .unwrap_or(&provider.issuer)
                .to_owned();
            let parsed = Url::parse(&issuer).ok().filter(|url| url.query().is_none());
            match parsed {
                None => errors.push(field_error("issuer", "must be the address of an issuer")),
                Some(url) => match self.outbound.check_and_resolve(&url).await {
                    Ok(()) => provider.issuer = issuer,
                    Err(message) => errors.push(field_error("issuer", message)),
                },
            }
            return;
        }
        if provider.kind == ProviderKind::OAuth2 {
            provider.issuer = own_issuer(&provider.id);
        }
        for (field, text, place) in [
            (
                "authorize_url",
                given_addresses.authorize,
                &mut provider.authorize_url,
            ),
            ("token_url", given_addresses.token, &mut provider.token_url),
            (
                "userinfo_url",
                given_addresses.userinfo,
                &mut provider.userinfo_url,
            ),
        ] {
            if let Some(text) = given(text.as_deref()) {
                *place = Url::parse(text).ok();
            }
            match place {
                None => errors.push(field_error(field, "is required, as an address")),
                Some(url) => {
                    if let Err(message) = self.outbound.check_and_resolve(url).await {
                        errors.push(field_error(field, message));
                    }
                }
            }
        }
        if provider.kind == ProviderKind::GitHub {
            provider.issuer = issuer_of_github(provider);
        }
    }

    async fn record(&self, action: &'static str, provider: &Provider, actor: UserId, origin: &Origin) {
        let event = AuditEvent {
            action,
            outcome: "ok",
            actor: Some(actor),
            subject: None,
            session_id: None,
            origin: Some(origin),
        };
        let state = if provider.is_active { "active" } else { "inactive" };
        let details = [("provider", provider.name.as_str()), ("state", state)];
        self.audit.record_with(event, &details, self.clock.now()).await;
    }
}

/// The addresses as they were typed.
struct Addresses {
    issuer: Option<String>,
    authorize: Option<String>,
    token: Option<String>,
    userinfo: Option<String>,
}

/// In whose name a GitHub's numbers are people: that of github.com only where it is github.com that says them. An
/// Enterprise Server begins to count at one, too.
fn issuer_of_github(provider: &Provider) -> String {
    let of = |text: &str| Preset::named(text).and_then(|preset| preset.userinfo_url);
    let is_the_one = provider.userinfo_url.as_ref().map(Url::as_str) == of("github");
    if is_the_one {
        return "https://github.com".to_owned();
    }
    own_issuer(&provider.id)
}

/// Everything that says who somebody is at a provider.
fn tells_who(provider: &Provider) -> (ProviderKind, &str, [Option<&Url>; 3]) {
    let urls = [
        &provider.authorize_url,
        &provider.token_url,
        &provider.userinfo_url,
    ];
    (provider.kind, &provider.issuer, urls.map(Option::as_ref))
}

fn preset_of(edit: &ProviderEdit) -> Result<Option<&'static Preset>> {
    if let Some(name) = given(edit.preset.as_deref()) {
        let preset = Preset::named(name);
        return preset
            .map(Some)
            .ok_or_else(|| Error::invalid("preset", "must be google or github"));
    }
    if edit.kind.is_some() || edit.issuer.is_some() {
        return Ok(None);
    }
    let address = given(edit.authorize_url.as_deref()).and_then(|text| Url::parse(text).ok());
    Ok(address.as_ref().and_then(Preset::of_address))
}

fn require(provider: &Provider, errors: &mut Vec<FieldError>) {
    for (field, is_missing) in [
        ("name", provider.name.is_empty()),
        ("client_id", provider.client_id.is_empty()),
        ("client_secret", provider.sealed_secret.is_empty()),
    ] {
        if is_missing && !errors.iter().any(|error| error.field == field) {
            errors.push(field_error(field, "is required"));
        }
    }
}

/// What was typed, if anything was.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// TLS, or a program on the person's own machine (RFC 8252 section 7.3). Compared to the letter later.
fn is_redirect_uri(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    text.len() <= TEXT_BYTES_MAX && is_safe && url.fragment().is_none() && url.username().is_empty()
}
