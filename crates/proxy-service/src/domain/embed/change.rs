//! What administrators set on an embed, checked.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Backend, Budget, Embed, MessageLimits, Texts, Webhook};
use crate::domain::{chatflow::PRICE_MAX, origin::Origin, person::user_id};

const NAME_CHARS_MAX: usize = 100;
/// Sites one embed may be on; each stands in a header of every page.
const ORIGINS_MAX: usize = 50;
const API_KEY_BYTES_MAX: usize = 4_096;
const URL_BYTES_MAX: usize = 2_000;
const NODES_MAX: usize = 20;
const LANGUAGES_MAX: usize = 20;
/// Texts and values of a theme each.
const ENTRIES_MAX: usize = 200;
const KEY_BYTES_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 2_000;
const VALUE_CHARS_MAX: usize = 200;
const MESSAGES_MAX: u32 = 1_000_000;
const BUDGET_MAX: i64 = 1_000_000_000;

/// What is to change; `None` leaves a member as it is.
#[derive(Debug, Default)]
pub struct EmbedChange {
    /// For administrators.
    pub name: Option<String>,
    /// Who pays.
    pub owner_id: Option<String>,
    /// The pages that may show it.
    pub allowed_origins: Option<Vec<String>>,
    /// What answers.
    pub backend: Option<BackendChange>,
    /// Credits an answer costs.
    pub price: Option<i64>,
    /// Messages of all visitors.
    pub limits: Option<LimitsChange>,
    /// Credits of the owner.
    pub budget: Option<BudgetChange>,
    /// How it looks.
    pub theme: Option<BTreeMap<String, String>>,
    /// What it says.
    pub texts: Option<BTreeMap<String, Texts>>,
    /// The languages it speaks.
    pub languages: Option<Vec<String>>,
    /// Whether a session needs a page ticket.
    pub requires_ticket: Option<bool>,
    /// Whether it answers.
    pub is_active: Option<bool>,
}

/// Another thing to answer, or another key for the same.
#[derive(Debug)]
pub enum BackendChange {
    /// A workflow of n8n.
    N8n {
        /// Its webhook; `None` leaves it where it is.
        webhook_url: Option<String>,
        /// Its key; an empty one takes it away, `None` leaves it.
        api_key: Option<SecretString>,
        /// Nodes whose text is shown.
        shown_nodes: Option<Vec<String>>,
    },
    /// A chatflow of Flowise.
    Flowise {
        /// By Flowise's id.
        chatflow_id: String,
    },
}

/// Outer `None`: unchanged; inner `None`: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitsChange {
    /// In a minute.
    pub per_minute: Option<Option<u32>>,
    /// In an hour.
    pub per_hour: Option<Option<u32>>,
    /// In a day.
    pub per_day: Option<Option<u32>>,
}

/// Outer `None`: unchanged; inner `None`: no cap.
#[derive(Clone, Copy, Debug, Default)]
pub struct BudgetChange {
    /// In a day.
    pub per_day: Option<Option<i64>>,
    /// In a month.
    pub per_month: Option<Option<i64>>,
}

/// A member that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEmbed {
    /// Which.
    pub field: String,
    /// How it must be.
    pub message: String,
}

fn invalid<T>(field: &str, message: impl Into<String>) -> Result<T, InvalidEmbed> {
    Err(InvalidEmbed {
        field: field.to_owned(),
        message: message.into(),
    })
}

/// What the change needs to know beside the embed.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Where n8n may be asked: origins that the operator named.
    pub n8n_origins: &'a [Origin],
    /// How long a replaced key of n8n is still tried.
    pub key_overlap: TimeDelta,
    /// The time.
    pub now: DateTime<Utc>,
}

impl EmbedChange {
    /// Makes the change, all of it or nothing.
    pub fn apply(self, embed: &Embed, around: Circumstances<'_>) -> Result<Embed, InvalidEmbed> {
        let mut embed = embed.clone();
        if let Some(name) = self.name {
            embed.name = named(&name)?;
        }
        if let Some(owner_id) = self.owner_id {
            let Some(id) = user_id(&owner_id) else {
                return invalid("owner_id", "must be a user id: 24 hex digits");
            };
            embed.owner_id = id;
        }
        if let Some(origins) = self.allowed_origins {
            embed.allowed_origins = allowed_origins(&origins)?;
        }
        if let Some(backend) = self.backend {
            embed.backend = backend.apply(&embed.backend, around)?;
        }
        if let Some(price) = self.price {
            if !(0..=PRICE_MAX).contains(&price) {
                return invalid("price", format!("must be from 0 to {PRICE_MAX}"));
            }
            embed.price = price;
        }
        if let Some(limits) = self.limits {
            embed.limits = limits.apply(embed.limits)?;
        }
        if let Some(budget) = self.budget {
            embed.budget = budget.apply(embed.budget)?;
        }
        if let Some(theme) = self.theme {
            check_theme(&theme)?;
            embed.theme = theme;
        }
        if let Some(texts) = self.texts {
            check_texts(&texts)?;
            embed.texts = texts;
        }
        if let Some(languages) = self.languages {
            check_languages(&languages)?;
            embed.languages = languages;
        }
        embed.requires_ticket = self.requires_ticket.unwrap_or(embed.requires_ticket);
        embed.is_active = self.is_active.unwrap_or(embed.is_active);
        embed.updated_at = around.now;
        Ok(embed)
    }
}

impl BackendChange {
    fn apply(self, before: &Backend, around: Circumstances<'_>) -> Result<Backend, InvalidEmbed> {
        match self {
            Self::Flowise { chatflow_id } => {
                let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if chatflow_id.is_empty()
                    || chatflow_id.len() > KEY_BYTES_MAX
                    || !chatflow_id.bytes().all(is_id)
                {
                    return invalid("backend.chatflow_id", "must be the id of a chatflow of Flowise");
                }
                Ok(Backend::Flowise { chatflow_id })
            }
            Self::N8n {
                webhook_url,
                api_key,
                shown_nodes,
            } => {
                let before = match before {
                    Backend::N8n(webhook) => Some(webhook),
                    Backend::Flowise { .. } => None,
                };
                let mut webhook = webhook_of(webhook_url.as_deref(), api_key, before, around)?;
                if let Some(nodes) = shown_nodes {
                    check_nodes(&nodes)?;
                    webhook.shown_nodes = nodes;
                }
                Ok(Backend::N8n(webhook))
            }
        }
    }
}

fn webhook_of(
    url: Option<&str>,
    api_key: Option<SecretString>,
    before: Option<&Webhook>,
    around: Circumstances<'_>,
) -> Result<Webhook, InvalidEmbed> {
    let url = match (url, before) {
        (Some(url), _) => webhook_url(url, around.n8n_origins)?,
        (None, Some(before)) => before.url.clone(),
        (None, None) => return invalid("backend.webhook_url", "is required"),
    };
    let shown_nodes = before
        .map(|before| before.shown_nodes.clone())
        .unwrap_or_default();
    let has_moved = before.is_some_and(|before| before.url.origin() != url.origin());
    match api_key {
        Some(key) if key.expose_secret().is_empty() => Ok(Webhook {
            url,
            shown_nodes,
            api_key: None,
            previous_api_key: None,
        }),
        Some(key) => {
            check_api_key(&key)?;
            let previous = before
                .filter(|_| !has_moved)
                .and_then(|before| before.api_key.clone());
            Ok(Webhook {
                url,
                shown_nodes,
                api_key: Some(key),
                previous_api_key: previous.map(|key| (key, around.now + around.key_overlap)),
            })
        }
        // A key is for the server that it was given for.
        None if has_moved && before.is_some_and(|before| before.api_key.is_some()) => invalid(
            "backend.api_key",
            "is required again where the webhook moves to another server",
        ),
        None => Ok(Webhook {
            url,
            shown_nodes,
            api_key: before.and_then(|before| before.api_key.clone()),
            previous_api_key: before.and_then(|before| before.previous_api_key.clone()),
        }),
    }
}

/// A webhook's address, if it is on a server that the operator named.
fn webhook_url(text: &str, n8n_origins: &[Origin]) -> Result<Url, InvalidEmbed> {
    const FIELD: &str = "backend.webhook_url";
    let url: Url = match text.parse() {
        Ok(url) if text.len() <= URL_BYTES_MAX => url,
        Ok(_) | Err(_) => return invalid(FIELD, "must be an address"),
    };
    let Ok(origin) = Origin::of(&url) else {
        return invalid(FIELD, "must begin with http:// or https://");
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return invalid(FIELD, "must have neither a password nor a fragment");
    }
    if !n8n_origins.contains(&origin) {
        return invalid(
            FIELD,
            "is not on a server that the operator allows (N8N_ALLOWED_HOSTS)",
        );
    }
    Ok(url)
}

fn check_nodes(nodes: &[String]) -> Result<(), InvalidEmbed> {
    let is_name = |node: &String| (1..=NAME_CHARS_MAX).contains(&node.chars().count());
    if nodes.len() > NODES_MAX || !nodes.iter().all(is_name) {
        return invalid(
            "backend.shown_nodes",
            format!("must be at most {NODES_MAX} names of nodes"),
        );
    }
    Ok(())
}

fn check_api_key(key: &SecretString) -> Result<(), InvalidEmbed> {
    let key = key.expose_secret();
    if key.len() > API_KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid(
            "backend.api_key",
            "must be visible ASCII characters without spaces",
        );
    }
    Ok(())
}

impl LimitsChange {
    fn apply(self, before: MessageLimits) -> Result<MessageLimits, InvalidEmbed> {
        let limit = |name: &str, change: Option<Option<u32>>, before| match change {
            Some(Some(0)) => invalid(&format!("limits.{name}"), "must be at least 1, or null for none"),
            Some(Some(limit)) if limit > MESSAGES_MAX => invalid(
                &format!("limits.{name}"),
                format!("must be at most {MESSAGES_MAX}"),
            ),
            Some(limit) => Ok(limit),
            None => Ok(before),
        };
        Ok(MessageLimits {
            per_minute: limit("per_minute", self.per_minute, before.per_minute)?,
            per_hour: limit("per_hour", self.per_hour, before.per_hour)?,
            per_day: limit("per_day", self.per_day, before.per_day)?,
        })
    }
}

impl BudgetChange {
    fn apply(self, before: Budget) -> Result<Budget, InvalidEmbed> {
        let cap = |name: &str, change: Option<Option<i64>>, before| match change {
            Some(Some(credits)) if !(0..=BUDGET_MAX).contains(&credits) => invalid(
                &format!("budget.{name}"),
                format!("must be from 0 to {BUDGET_MAX}, or null for none"),
            ),
            Some(cap) => Ok(cap),
            None => Ok(before),
        };
        Ok(Budget {
            per_day: cap("credits_per_day", self.per_day, before.per_day)?,
            per_month: cap("credits_per_month", self.per_month, before.per_month)?,
        })
    }
}

/// An embed's id: it stands in addresses and in what turns are called.
pub fn embed_id(text: &str) -> Result<String, InvalidEmbed> {
    let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_id = (1..=50).contains(&text.len())
        && text.bytes().all(is_inside)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_id {
        Ok(text.to_owned())
    } else {
        invalid("id", "must have 1 to 50 small letters, digits and hyphens")
    }
}

fn named(name: &str) -> Result<String, InvalidEmbed> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return invalid("name", format!("must have 1 to {NAME_CHARS_MAX} characters"));
    }
    Ok(name.to_owned())
}

fn allowed_origins(origins: &[String]) -> Result<Vec<super::OriginPattern>, InvalidEmbed> {
    if origins.len() > ORIGINS_MAX {
        return invalid("allowed_origins", format!("may have at most {ORIGINS_MAX}"));
    }
    let parsed = origins.iter().enumerate().map(|(number, origin)| {
        let parsed = origin.parse();
        parsed.or_else(|error: super::super::origin::NotAnOrigin| {
            invalid(&format!("allowed_origins.{number}"), error.to_string())
        })
    });
    parsed.collect()
}

/// Values go into style sheets: nothing in them may end a declaration or load something.
fn check_theme(theme: &BTreeMap<String, String>) -> Result<(), InvalidEmbed> {
    check_entries("theme", theme, VALUE_CHARS_MAX)?;
    for (name, value) in theme {
        let lower = value.to_ascii_lowercase();
        let is_harmful = value.contains(['<', '>', '{', '}', ';', '\\', '"', '\'', '@'])
            || ["url(", "image(", "image-set(", "expression(", "/*", "javascript:"]
                .iter()
                .any(|word| lower.contains(word));
        if is_harmful {
            return invalid(
                &format!("theme.{name}"),
                "must be a plain value: a colour, a length, a word",
            );
        }
    }
    Ok(())
}

fn check_texts(texts: &BTreeMap<String, Texts>) -> Result<(), InvalidEmbed> {
    if texts.len() > LANGUAGES_MAX {
        return invalid("texts", format!("may have at most {LANGUAGES_MAX} languages"));
    }
    for (language, texts) in texts {
        if !is_language(language) {
            return invalid(
                &format!("texts.{language}"),
                "is not a language such as en or pt-BR",
            );
        }
        check_entries(&format!("texts.{language}"), texts, TEXT_CHARS_MAX)?;
    }
    Ok(())
}

fn check_languages(languages: &[String]) -> Result<(), InvalidEmbed> {
    if languages.is_empty() || languages.len() > LANGUAGES_MAX {
        return invalid("languages", format!("must have 1 to {LANGUAGES_MAX}"));
    }
    for (number, language) in languages.iter().enumerate() {
        if !is_language(language) {
            return invalid(
                &format!("languages.{number}"),
                "is not a language such as en or pt-BR",
            );
        }
    }
    Ok(())
}

fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let base = parts.next().unwrap_or_default();
    let is_base = (2..=3).contains(&base.len()) && base.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_part =
        |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_base && parts.all(is_part)
}

fn check_entries(field: &str, entries: &Texts, chars_max: usize) -> Result<(), InvalidEmbed> {
    if entries.len() > ENTRIES_MAX {
        return invalid(field, format!("may have at most {ENTRIES_MAX} entries"));
    }
    for (name, text) in entries {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > KEY_BYTES_MAX || !name.bytes().all(is_name) {
            return invalid(field, "has a name that is not letters, digits and dots");
        }
        let is_control = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
        if text.chars().count() > chars_max || text.chars().any(is_control) {
            return invalid(
                &format!("{field}.{name}"),
                format!("must have at most {chars_max} characters"),
            );
        }
    }
    Ok(())
}
