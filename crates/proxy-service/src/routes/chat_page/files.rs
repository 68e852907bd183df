//! The chat page and what it loads. What it has in common with the widget's page are the widget's own files.

use std::collections::BTreeMap;

use crate::routes::{
    languages::{accepted, choose},
    page_file::{File, escaped, kept_under, version_of},
};

/// What the page loads, by name.
const PARTS: [(&str, &str); 26] = [
    ("main.js", include_str!("../../../chat/main.js")),
    ("api.js", include_str!("../../../chat/api.js")),
    ("attachments.js", include_str!("../../../chat/attachments.js")),
    ("composer.js", include_str!("../../../chat/composer.js")),
    ("conversation.js", include_str!("../../../chat/conversation.js")),
    ("dialogs.js", include_str!("../../../chat/dialogs.js")),
    ("drafts.js", include_str!("../../../chat/drafts.js")),
    ("files.js", include_str!("../../../chat/files.js")),
    ("greeting.js", include_str!("../../../chat/greeting.js")),
    ("icons.js", include_str!("../../../chat/icons.js")),
    ("menu.js", include_str!("../../../chat/menu.js")),
    ("session.js", include_str!("../../../chat/session.js")),
    ("sidebar.js", include_str!("../../../chat/sidebar.js")),
    ("talks.js", include_str!("../../../chat/talks.js")),
    ("texts.js", include_str!("../../../chat/texts.js")),
    ("thread.js", include_str!("../../../chat/thread.js")),
    ("turn.js", include_str!("../../../chat/turn.js")),
    ("chat.css", include_str!("../../../chat/chat.css")),
    ("de.json", include_str!("../../../chat/texts/de.json")),
    ("en.json", include_str!("../../../chat/texts/en.json")),
    ("dom.js", include_str!("../../../widget/chat/dom.js")),
    ("events.js", include_str!("../../../widget/chat/events.js")),
    ("inline.js", include_str!("../../../widget/chat/inline.js")),
    ("markdown.js", include_str!("../../../widget/chat/markdown.js")),
    ("icon.svg", include_str!("../../../widget/icon.svg")),
    ("look.css", include_str!("../../../widget/look.css")),
];

const PAGE: &str = include_str!("../../../chat/page.html");

/// Languages whose text runs from right to left.
const RIGHT_TO_LEFT: [&str; 11] = ["ar", "arc", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"];

/// The language of whoever wants none that there is.
const FALLBACK: &str = "en";

/// The text of the page where no script runs.
const WITHOUT_SCRIPT: &str = "page.noScript";

/// The page in each language, and its files, made once.
#[derive(Clone, Debug)]
pub(crate) struct ChatPage {
    version: String,
    parts: BTreeMap<&'static str, File>,
    pages: BTreeMap<&'static str, File>,
}

impl ChatPage {
    /// Reads and compresses what is compiled in. The page tells people when a question gets too long.
    pub(crate) fn new(prompt_chars_max: usize) -> Self {
        let version = version_of(&PARTS);
        let parts = PARTS.map(|(name, text)| (name, File::new(name, text)));
        let pages = languages().map(|(language, texts)| {
            let page = page_in(language, texts, &version, prompt_chars_max);
            (language, File::new("page.html", page))
        });
        Self {
            pages: pages.collect(),
            parts: parts.into_iter().collect(),
            version,
        }
    }

    /// The page for somebody who wants a language, most of all the first, or whose browser accepts some.
    pub(super) fn in_language(&self, wanted: &[Option<&str>], accept_language: &str) -> &File {
        let known: Vec<_> = self.pages.keys().copied().collect();
        let mut languages: Vec<_> = wanted
            .iter()
            .flatten()
            .map(|&language| language.to_owned())
            .collect();
        languages.extend(accepted(accept_language));
        let language = choose(&languages, &known).unwrap_or(FALLBACK);
        self.pages.get(language).unwrap_or(&self.pages[FALLBACK])
    }

    /// A file, and how long it may be kept.
    pub(super) fn part(&self, version: &str, name: &str) -> Option<(&File, &'static str)> {
        Some((self.parts.get(name)?, kept_under(version, &self.version)))
    }
}

/// Each language with its texts: a file of the folder `texts` is all that one needs.
fn languages() -> impl Iterator<Item = (&'static str, &'static str)> {
    PARTS
        .into_iter()
        .filter_map(|(name, texts)| Some((name.strip_suffix(".json")?, texts)))
}

fn page_in(language: &str, texts: &str, version: &str, prompt_chars_max: usize) -> String {
    // A test holds the files to be what they should be.
    let texts: BTreeMap<String, String> = serde_json::from_str(texts).unwrap_or_default();
    let assets = format!("/chat/assets/{version}");
    let modules = PARTS.iter().map(|(name, _)| *name);
    let modules = modules.filter(|name| name.rsplit_once('.').is_some_and(|(_, ending)| ending == "js"));
    // A browser that knows all modules from the start loads them at once, not one import after the other.
    let preloads: Vec<_> = modules
        .filter(|name| *name != "main.js")
        .map(|name| format!("<link rel=\"modulepreload\" href=\"{assets}/{name}\">"))
        .collect();
    let without_script = texts.get(WITHOUT_SCRIPT).map_or("", String::as_str);
    PAGE.replace("{{preloads}}", &preloads.join("\n"))
        .replace("{{assets}}", &assets)
        .replace("{{language}}", language)
        .replace(
            "{{dir}}",
            if RIGHT_TO_LEFT.contains(&language) {
                "rtl"
            } else {
                "ltr"
            },
        )
        .replace("{{prompt_chars_max}}", &prompt_chars_max.to_string())
        .replace("{{without_script}}", &escaped(without_script))
}

#[cfg(test)]
mod tests;
