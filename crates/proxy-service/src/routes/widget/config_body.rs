//! `widget-config.json`: the keys that the old widget's page reads, and beside them what ours needs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    options::Options,
    texts::{self, Strings},
};
use crate::{domain::embed::Embed, routes::languages};

/// Characters of a message; the old page knows no limit, but its file names one.
const MESSAGE_CHARS_MAX: usize = 10_000;

const SCHEMES: [&str; 3] = ["light", "dark", "auto"];
const POSITIONS: [&str; 4] = ["bottom-right", "bottom-left", "top-right", "top-left"];

/// How many questions a conversation may suggest to begin with.
const SUGGESTIONS_MAX: usize = 8;

/// What an embed looks like and says, for one visitor.
pub(super) struct Dressed<'a> {
    embed: &'a Embed,
    options: &'a Options,
    language: String,
    strings: Strings,
}

impl<'a> Dressed<'a> {
    /// In the language that the tag names, else the one the visitor's browser prefers, else the embed's first.
    pub(super) fn new(embed: &'a Embed, options: &'a Options, accept_language: &str) -> Self {
        let language = language_of(embed, options, accept_language);
        let mut strings = texts::strings(&language).clone();
        if let Some(own) = embed.texts_in(&language) {
            strings.extend(own.iter().map(|(name, text)| (name.clone(), text.clone())));
        }
        let asked = [
            ("header.title", &options.title),
            ("input.placeholder", &options.placeholder),
            ("messages.welcomeMessage", &options.welcome_message),
        ];
        for (name, text) in asked {
            if let Some(text) = text {
                strings.insert(name.to_owned(), text.clone());
            }
        }
        Self {
            embed,
            options,
            language,
            strings,
        }
    }

    /// What the launcher has to know before the page behind it is loaded. Only what the owner set: a tag's own options
    /// are known where the tag is.
    pub(super) fn launcher_settings(embed: &Embed) -> Value {
        let names = [
            "primaryColor",
            "position",
            "width",
            "height",
            "buttonSize",
            "bottomOffset",
            "rightOffset",
            "autoOpen",
            "autoOpenDelay",
        ];
        let settings = names.into_iter().filter_map(|name| {
            let value = embed.theme.get(name)?;
            let value = match value.as_str() {
                "true" => json!(true),
                "false" => json!(false),
                text => text
                    .parse::<f64>()
                    .map_or_else(|_| json!(text), |number| json!(number)),
            };
            Some((name.to_owned(), value))
        });
        Value::Object(settings.collect())
    }

    /// The labels of the launcher in every language: it does not know yet in which it will be shown.
    pub(super) fn launcher_texts(embed: Option<&Embed>) -> Value {
        let own = embed.into_iter().flat_map(|embed| embed.texts.keys());
        let ours = texts::languages().map(str::to_owned);
        let all = ours.chain(own.cloned()).map(|language| {
            let own = embed.and_then(|embed| embed.texts.get(&language));
            let text = |name: &str| {
                let own = own.and_then(|texts| texts.get(name));
                own.unwrap_or_else(|| &texts::strings(&language)[name]).clone()
            };
            let labels = json!({
                "open": text("launcher.open"), "close": text("launcher.close"), "unread": text("launcher.unread"),
            });
            (languages::base_of(&language), labels)
        });
        Value::Object(all.collect())
    }

    /// The whole of it. `base_url` is where the visitor sees us; the ticket lets the page begin a session.
    pub(super) fn body(&self, base_url: &str, ticket: Option<&str>) -> Value {
        json!({
            "embed": self.embed.id,
            "language": self.language,
            "dir": self.options.dir.as_deref().filter(|dir| ["ltr", "rtl"].contains(dir)),
            "ticket": ticket,
            "strings": self.strings,
            "api": {
                "baseUrl": base_url,
                "endpoints": { "session": "/api/v1/session/create", "chat": "/api/v1/chat/stream" },
            },
            "appearance": self.appearance(),
            "texts": self.texts(),
            "behavior": {
                "autoOpen": self.theme("autoOpen") == Some("true"),
                "autoOpenDelay": self.theme("autoOpenDelay").and_then(|text| text.parse::<u32>().ok()).unwrap_or(0),
                "maxMessageLength": MESSAGE_CHARS_MAX,
                "backgroundActivity": {
                    "enabled": true,
                    "checkInterval": 5_000,
                    "connectionTimeout": 300_000,
                    "enableNotifications": true,
                    "enableVisualIndicators": true,
                },
            },
        })
    }

    fn theme(&self, name: &str) -> Option<&str> {
        self.embed.theme.get(name).map(String::as_str)
    }

    fn appearance(&self) -> Value {
        let one_of = |asked: &Option<String>, name: &str, known: &[&'static str]| {
            let asked = asked.as_deref().or_else(|| self.theme(name));
            let found = known.iter().find(|known| Some(**known) == asked);
            found.copied()
        };
        let primary = self.theme("primaryColor").unwrap_or("#3b5bdb");
        let secondary = self.theme("secondaryColor").unwrap_or(primary);
        let gradient = format!("linear-gradient(135deg, {primary} 0%, {secondary} 100%)");
        let theme = [
            ("primaryColor", primary),
            ("secondaryColor", secondary),
            (
                "primaryGradient",
                self.theme("primaryGradient").unwrap_or(&gradient),
            ),
            ("bgDark", self.theme("bgDark").unwrap_or("rgba(24, 27, 33, 0.97)")),
            (
                "bgGlass",
                self.theme("bgGlass").unwrap_or("rgba(255, 255, 255, 0.1)"),
            ),
            ("textLight", self.theme("textLight").unwrap_or("#ffffff")),
            ("textDark", self.theme("textDark").unwrap_or("#1a1f26")),
            ("borderRadius", self.theme("borderRadius").unwrap_or("16px")),
        ];
        let pixels = |name: &str, usual: u32| {
            let set = self
                .theme(name)
                .and_then(|text| text.trim_end_matches("px").parse().ok());
            format!("{}px", set.unwrap_or(usual))
        };
        json!({
            "scheme": one_of(&self.options.theme, "mode", &SCHEMES).unwrap_or("auto"),
            "position": one_of(&self.options.position, "position", &POSITIONS).unwrap_or("bottom-right"),
            "theme": BTreeMap::from(theme),
            "dimensions": {
                "width": pixels("width", 400),
                "height": pixels("height", 640),
                "buttonSize": pixels("buttonSize", 60),
                "bottomOffset": pixels("bottomOffset", 20),
                "rightOffset": pixels("rightOffset", 20),
            },
        })
    }

    fn text(&self, name: &str) -> &str {
        self.strings.get(name).map_or("", String::as_str)
    }

    /// The names under which the old page looks for its texts.
    fn texts(&self) -> Value {
        let busy = self.text("messages.writing");
        json!({
            "header": { "title": self.text("header.title"), "subtitle": self.text("header.subtitle") },
            "button": { "openIcon": "💬", "closeIcon": "✕", "sendIcon": "➤" },
            "input": { "placeholder": self.text("input.placeholder"), "hint": self.text("input.hint") },
            "messages": {
                "welcomeMessage": self.text("messages.welcomeMessage"),
                "errorMessage": self.text("messages.busy"),
                "connectionError": format!("{} ", self.text("messages.connectionError")),
                "footer": {
                    "enabled": true,
                    "botName": self.text("messages.assistant"),
                    "userName": self.text("messages.you"),
                    "showTimestamp": true,
                    "showDate": true,
                },
                // The rest of what is under this name the old page only writes to the console.
                "backgroundActivity": { "responseInProgress": busy },
            },
            "suggestions": self.suggestions(),
            "notifications": {
                "badge": { "enabled": true, "text": "!", "ariaLabel": self.text("launcher.unread").replace("{count}", "1") },
                "indicators": {
                    "backgroundActivity": { "enabled": true, "icon": "⏳", "tooltip": busy, "ariaLabel": busy },
                },
            },
        })
    }

    /// `suggestions.1` is what the first one shows, `suggestions.1.value` what it sends, where that is something else.
    fn suggestions(&self) -> Vec<Value> {
        let numbers = 1..=SUGGESTIONS_MAX;
        let suggestions = numbers.filter_map(|number| {
            let text = self.strings.get(&format!("suggestions.{number}"))?;
            let value = self
                .strings
                .get(&format!("suggestions.{number}.value"))
                .unwrap_or(text);
            Some(json!({ "text": text, "value": value }))
        });
        suggestions.collect()
    }
}

fn language_of(embed: &Embed, options: &Options, accept_language: &str) -> String {
    let own: Vec<_> = embed.languages.iter().map(String::as_str).collect();
    let known = if own.is_empty() {
        texts::languages().collect()
    } else {
        own
    };
    let asked = options.language.iter().cloned();
    let wanted: Vec<_> = asked.chain(languages::accepted(accept_language)).collect();
    let chosen = languages::choose(&wanted, &known).or_else(|| embed.languages.first().map(String::as_str));
    chosen.unwrap_or(texts::FALLBACK).to_owned()
}
