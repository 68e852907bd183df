//! The form of an embed: what it shows, and what is asked of proxy-service when it is sent.

use std::collections::BTreeMap;

use common_http::CurrentUser;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chatflow::{listed, number, shown};
use crate::{
    error::{Error, Result},
    pages::{
        chatflows::paged,
        forms::Form,
        neighbours::{Neighbour, Neighbours},
    },
    store::users::UserStore,
};

/// Chatflows that are offered to choose from; another one is named by its id.
const OFFERED: usize = 50;

/// Names and values.
type Entries = BTreeMap<String, String>;

/// An embed, as proxy-service shows it.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "what the API says, each by itself")]
pub(super) struct Embed {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) owner_id: String,
    pub(super) allowed_origins: Vec<String>,
    pub(super) backend: Backend,
    pub(super) price: u64,
    limits: Limits,
    budget: Budget,
    theme: Entries,
    texts: BTreeMap<String, Entries>,
    languages: Vec<String>,
    requires_ticket: bool,
    pub(super) is_active: bool,
    pub(super) is_configured: bool,
    pub(super) has_app_key: bool,
    pub(super) previous_app_key_until: Option<String>,
    pub(super) active_sessions: Option<u64>,
    pub(super) updated_at: String,
}

/// What answers.
#[derive(Deserialize)]
pub(super) struct Backend {
    #[serde(rename = "type")]
    pub(super) kind: String,
    webhook_url: Option<String>,
    #[serde(default)]
    shown_nodes: Vec<String>,
    #[serde(default)]
    has_api_key: bool,
    chatflow_id: Option<String>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "as the API calls them")]
struct Limits {
    per_minute: Option<u64>,
    per_hour: Option<u64>,
    per_day: Option<u64>,
}

#[derive(Deserialize)]
struct Budget {
    credits_per_day: Option<u64>,
    credits_per_month: Option<u64>,
}

/// A chatflow that could answer.
#[derive(Deserialize)]
pub(super) struct Offered {
    pub(super) flowise_id: String,
    pub(super) name: String,
}

/// What stands in the fields.
pub(super) struct Typed {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) origins: String,
    pub(super) kind: String,
    pub(super) webhook_url: String,
    pub(super) shown_nodes: String,
    pub(super) has_api_key: bool,
    pub(super) chatflow_id: String,
    pub(super) price: String,
    pub(super) per_minute: String,
    pub(super) per_hour: String,
    pub(super) per_day: String,
    pub(super) credits_per_day: String,
    pub(super) credits_per_month: String,
    pub(super) languages: String,
    pub(super) theme: String,
    pub(super) texts: String,
    pub(super) requires_ticket: bool,
    pub(super) is_active: bool,
}

impl Typed {
    /// Of an embed that is not there yet: what proxy-service would take where nothing is said.
    pub(super) fn blank() -> Self {
        Self {
            name: String::new(),
            owner: String::new(),
            origins: String::new(),
            kind: "n8n".to_owned(),
            webhook_url: String::new(),
            shown_nodes: String::new(),
            has_api_key: false,
            chatflow_id: String::new(),
            price: "1".to_owned(),
            per_minute: "1000".to_owned(),
            per_hour: String::new(),
            per_day: String::new(),
            credits_per_day: String::new(),
            credits_per_month: String::new(),
            languages: "en".to_owned(),
            theme: String::new(),
            texts: String::new(),
            requires_ticket: true,
            is_active: true,
        }
    }

    /// Of one that is.
    pub(super) fn of(embed: &Embed, owner: String) -> Self {
        let texts = embed.texts.iter().flat_map(|(language, texts)| {
            texts
                .iter()
                .map(move |(name, text)| (format!("{language}.{name}"), text.clone()))
        });
        Self {
            name: embed.name.clone(),
            owner,
            origins: embed.allowed_origins.join("\n"),
            kind: embed.backend.kind.clone(),
            webhook_url: embed.backend.webhook_url.clone().unwrap_or_default(),
            shown_nodes: embed.backend.shown_nodes.join("\n"),
            has_api_key: embed.backend.has_api_key,
            chatflow_id: embed.backend.chatflow_id.clone().unwrap_or_default(),
            price: embed.price.to_string(),
            per_minute: shown(embed.limits.per_minute),
            per_hour: shown(embed.limits.per_hour),
            per_day: shown(embed.limits.per_day),
            credits_per_day: shown(embed.budget.credits_per_day),
            credits_per_month: shown(embed.budget.credits_per_month),
            languages: embed.languages.join(", "),
            theme: lines_of(&embed.theme),
            texts: lines_of(&texts.collect()),
            requires_ticket: embed.requires_ticket,
            is_active: embed.is_active,
        }
    }
}

/// The first chatflows; a form does without them where proxy-service is away.
pub(super) async fn offered(neighbours: &Neighbours, admin: &CurrentUser) -> Vec<Offered> {
    let path = paged(super::chatflows::CATALOG, OFFERED, None);
    let listed = neighbours.list(Neighbour::Proxy, &path, admin).await;
    listed.map_or_else(|_| Vec::new(), |listed| listed.rows)
}

/// What the form asks for. Whoever pays is named by user name or address.
pub(super) async fn wish_of(form: &Form, users: &UserStore) -> Result<Value> {
    let name = form.required("name")?;
    let owner = users.find_by_login(form.required("owner_id")?).await?;
    let owner = owner.ok_or_else(|| Error::invalid("owner_id", "nobody_of_this_name"))?;
    form.required("price")?;
    let mut texts: BTreeMap<&str, BTreeMap<&str, &String>> = BTreeMap::new();
    let typed = entries_of(form, "texts")?;
    for (name, text) in &typed {
        let (language, name) = name
            .split_once('.')
            .ok_or_else(|| Error::invalid("texts", "needs_languages"))?;
        texts.entry(language).or_default().insert(name, text);
    }
    Ok(json!({
        "name": name,
        "owner_id": owner.id.to_string(),
        "allowed_origins": listed(form.text("allowed_origins")),
        "backend": backend_of(form)?,
        "price": number(form, "price")?,
        "limits": {
            "per_minute": number(form, "limits.per_minute")?,
            "per_hour": number(form, "limits.per_hour")?,
            "per_day": number(form, "limits.per_day")?,
        },
        "budget": {
            "credits_per_day": number(form, "budget.credits_per_day")?,
            "credits_per_month": number(form, "budget.credits_per_month")?,
        },
        "theme": entries_of(form, "theme")?,
        "texts": texts,
        "languages": listed(form.text("languages")),
        "requires_ticket": form.is_on("requires_ticket"),
        "is_active": form.is_on("is_active"),
    }))
}

/// A key that is not typed stays as it is.
fn backend_of(form: &Form) -> Result<Value> {
    match form.text("backend.type") {
        "flowise" => Ok(json!({
            "type": "flowise",
            "chatflow_id": form.required("backend.chatflow_id")?,
        })),
        "n8n" => {
            let nodes = form.text("backend.shown_nodes").lines().map(str::trim);
            let nodes: Vec<_> = nodes.filter(|node| !node.is_empty()).collect();
            let mut backend = json!({
                "type": "n8n",
                "webhook_url": form.required("backend.webhook_url")?,
                "shown_nodes": nodes,
            });
            if form.is_on("without_key") {
                backend["api_key"] = "".into();
            } else if let Some(key) = form.given("backend.api_key") {
                backend["api_key"] = key.into();
            }
            Ok(backend)
        }
        _ => Err(Error::invalid("backend.type", "is required")),
    }
}

/// A line for each: `name = value`, in which `\n` begins another line of the value.
fn lines_of(entries: &Entries) -> String {
    let lines = entries.iter().map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('\n', "\\n");
        format!("{name} = {value}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn entries_of(form: &Form, field: &str) -> Result<Entries> {
    read_lines(form.text(field)).ok_or_else(|| Error::invalid(field, "needs_names"))
}

fn read_lines(text: &str) -> Option<Entries> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let entry = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), unescaped(value.trim())))
    };
    lines.map(entry).collect()
}

fn unescaped(value: &str) -> String {
    let (mut text, mut characters) = (String::new(), value.chars());
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            (character, false) => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_same_after_a_look_at_them() {
        let entries = [
            ("en.header.title", "Ask us = now"),
            ("en.messages.welcomeMessage", "Hello!\nC:\\new"),
            ("pt-BR.suggestions.1", "Olá"),
            ("x", ""),
        ];
        let entries: Entries = entries
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(read_lines(&lines_of(&entries)), Some(entries.clone()));
        let as_browsers_send = lines_of(&entries).replace('\n', "\r\n\r\n");
        assert_eq!(read_lines(&as_browsers_send), Some(entries));
        assert_eq!(read_lines(" \n"), Some(Entries::new()));
        assert_eq!(read_lines("primaryColor #123"), None);
    }
}
