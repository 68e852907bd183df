//! The chat widget: what signs for its visitors, how long they stay, and the embed that the environment describes.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta};
use common_config::{Env, Invalid, SIGNING_SECRET_BYTES_MIN};
use secrecy::SecretString;
use url::Url;

use super::ProtectionConfig;
use crate::domain::{
    embed::{
        Backend, Budget, DEFAULT_ID, Embed, LANGUAGE_DEFAULT, MessageLimits, RotatedKey, Texts, Webhook,
    },
    origin::{Origin, OriginPattern},
    person::user_id,
};

/// The documented name of the cookie.
const COOKIE_NAME: &str = "chat_session_id";

/// Everything about the widget.
#[derive(Clone, Debug)]
pub struct WidgetConfig {
    /// Signs the tokens that apps get; derived from the services' secret where there is none.
    pub token_secret: Option<SecretString>,
    /// Seals keys in the database; derived from the services' secret where there is none.
    pub data_encryption_key: Option<SecretString>,
    /// How long a session lasts after its last sign of life.
    pub session_life: Duration,
    /// How long a token of an app is good for.
    pub token_life: Duration,
    /// How long a page ticket is good for.
    pub ticket_life: Duration,
    /// How long a key that was replaced still works.
    pub key_overlap: Duration,
    /// The cookie of sessions.
    pub cookie_name: String,
    /// Where n8n may be asked.
    pub n8n_origins: Vec<Origin>,
    /// The embed that the environment describes.
    pub default_embed: Option<Embed>,
    /// How fast visitors may ask.
    pub protection: ProtectionConfig,
}

impl Default for WidgetConfig {
    fn default() -> Self {
        Self {
            token_secret: None,
            data_encryption_key: None,
            session_life: Duration::from_hours(24),
            token_life: Duration::from_hours(24),
            ticket_life: Duration::from_mins(1),
            key_overlap: Duration::from_hours(24),
            cookie_name: COOKIE_NAME.to_owned(),
            n8n_origins: Vec::new(),
            default_embed: None,
            protection: ProtectionConfig::default(),
        }
    }
}

impl WidgetConfig {
    /// Reads every variable before failing.
    pub(super) fn from_env(env: &Env) -> Result<Self, Invalid> {
        let usual = Self::default();
        let token_secret = env
            .var("JWT_SECRET_KEY")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let data_encryption_key = env
            .var("DATA_ENCRYPTION_KEY")
            .optional_secret(SIGNING_SECRET_BYTES_MIN);
        let session_secs = env
            .var("SESSION_COOKIE_MAX_AGE")
            .within(300..=30 * 86_400, usual.session_life.as_secs());
        let token_hours = env.var("JWT_EXPIRATION_HOURS").within(1..=24 * 30, 24_u64);
        let ticket_secs = env
            .var("WIDGET_TICKET_SECS")
            .within(10..=600, usual.ticket_life.as_secs());
        let overlap_hours = env.var("WIDGET_KEY_OVERLAP_HOURS").within(0..=24 * 7, 24_u64);
        let cookie_name = cookie_name(env);
        let hosts = env.var("N8N_ALLOWED_HOSTS").list::<N8nHost>();
        let embed = default_embed(env);
        let protection = ProtectionConfig::from_env(env);

        let (token_secret, embed) = (token_secret?, embed?);
        let mut n8n_origins: Vec<_> = hosts?.into_iter().map(|host| host.0).collect();
        if let Some(Backend::N8n(webhook)) = embed.as_ref().map(|embed| &embed.backend)
            && let Ok(origin) = Origin::of(&webhook.url)
        {
            n8n_origins.push(origin);
        }
        Ok(Self {
            token_secret,
            data_encryption_key: data_encryption_key?,
            session_life: Duration::from_secs(session_secs?),
            token_life: Duration::from_secs(token_hours? * 3_600),
            ticket_life: Duration::from_secs(ticket_secs?),
            key_overlap: Duration::from_secs(overlap_hours? * 3_600),
            cookie_name: cookie_name?,
            n8n_origins,
            default_embed: embed,
            protection: protection?,
        })
    }
}

/// A server of n8n's: `n8n.school.example` for HTTPS, or with its scheme and port.
struct N8nHost(Origin);

impl std::str::FromStr for N8nHost {
    type Err = crate::domain::origin::NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_end_matches('/');
        if text.contains("://") {
            Origin::parse(text).map(Self)
        } else {
            Origin::parse(&format!("https://{text}")).map(Self)
        }
    }
}

fn cookie_name(env: &Env) -> Result<String, Invalid> {
    let name: String = env.var("SESSION_COOKIE_NAME").or(COOKIE_NAME.to_owned())?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.len() <= 64 && name.bytes().all(is_token) {
        Ok(name)
    } else {
        Err(env.mistake("SESSION_COOKIE_NAME must be letters, digits, _, - and ."))
    }
}

/// The embed `default`, where there is something that answers in it.
fn default_embed(env: &Env) -> Result<Option<Embed>, Invalid> {
    let webhook_url = env.var("N8N_WEBHOOK_URL").optional::<Url>();
    let api_key = env.var("N8N_API_KEY").optional_secret(0);
    let previous = env.var("N8N_API_KEY_PREVIOUS").optional_secret(0);
    let shown_nodes = env.var("N8N_SHOWN_NODES").list::<String>();
    let chatflow_id = env.var("WIDGET_CHATFLOW_ID").optional::<String>();
    let owner_id = env.var("WIDGET_OWNER_ID").optional::<String>();
    let origins = env.var("ALLOWED_ORIGINS").list::<OriginPattern>();
    let price = env.var("WIDGET_PRICE").within(0..=1_000_000, 1);
    let requires_ticket = env.var("WIDGET_REQUIRE_TICKET").flag(false);
    let per_minute = env.var("WIDGET_MESSAGES_PER_MINUTE").within(1..=1_000_000, 1_000);
    let per_hour = env.var("WIDGET_MESSAGES_PER_HOUR").optional::<u32>();
    let per_day = env.var("WIDGET_MESSAGES_PER_DAY").optional::<u32>();
    let credits_per_day = env.var("WIDGET_CREDITS_PER_DAY").optional::<i64>();
    let credits_per_month = env.var("WIDGET_CREDITS_PER_MONTH").optional::<i64>();
    let (languages, theme, texts) = (
        env.var("WIDGET_LANGUAGES").list::<String>(),
        theme(env),
        texts(env),
    );

    let (owner_id, previous) = (owner_id?, previous?);
    let (languages, theme, texts) = (languages?, theme?, texts?);
    let backend = match (webhook_url?, chatflow_id?) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(env.mistake("N8N_WEBHOOK_URL and WIDGET_CHATFLOW_ID are both set; keep one"));
        }
        (Some(url), None) if Origin::of(&url).is_err() => {
            return Err(env.mistake("N8N_WEBHOOK_URL must begin with http:// or https://"));
        }
        (Some(url), None) => Backend::N8n(Webhook {
            url,
            api_key: api_key?,
            shown_nodes: shown_nodes?,
            // As long as the variable is there.
            previous_api_key: previous
                .map(|key| (key, DateTime::<chrono::Utc>::MAX_UTC - TimeDelta::days(1))),
        }),
        (None, Some(chatflow_id)) => Backend::Flowise { chatflow_id },
    };
    let Some(owner_id) = owner_id.as_deref().and_then(user_id) else {
        return Err(env.mistake("WIDGET_OWNER_ID must be the user id of who pays for the widget's visitors"));
    };
    let languages = if languages.is_empty() {
        vec![LANGUAGE_DEFAULT.to_owned()]
    } else {
        languages
    };
    let first = languages.first().cloned().unwrap_or_default();
    Ok(Some(Embed {
        id: DEFAULT_ID.to_owned(),
        name: "Default".to_owned(),
        owner_id,
        allowed_origins: origins?,
        backend,
        price: price?,
        limits: MessageLimits {
            per_minute: Some(per_minute?),
            per_hour: per_hour?,
            per_day: per_day?,
        },
        budget: Budget {
            per_day: credits_per_day?,
            per_month: credits_per_month?,
        },
        theme,
        texts: [(first, texts)]
            .into_iter()
            .filter(|(_, texts)| !texts.is_empty())
            .collect(),
        languages,
        requires_ticket: requires_ticket?,
        is_active: true,
        app_key: RotatedKey::default(),
        is_configured: true,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }))
}

fn theme(env: &Env) -> Result<BTreeMap<String, String>, Invalid> {
    named(env, &[("mode", "WIDGET_THEME"), ("position", "WIDGET_POSITION")])
}

fn texts(env: &Env) -> Result<Texts, Invalid> {
    named(
        env,
        &[
            ("header.title", "WIDGET_TITLE"),
            ("input.placeholder", "WIDGET_PLACEHOLDER"),
            ("messages.welcomeMessage", "WIDGET_WELCOME_MESSAGE"),
        ],
    )
}

fn named(env: &Env, variables: &[(&str, &'static str)]) -> Result<BTreeMap<String, String>, Invalid> {
    let mut values = BTreeMap::new();
    for (name, variable) in variables {
        if let Some(value) = env.var(variable).optional::<String>()? {
            values.insert((*name).to_owned(), value);
        }
    }
    Ok(values)
}
