//! The texts of the pages in their languages: a file each, so that another is a file more.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use actix_web::{HttpRequest, http::header};

/// Keeps the language that somebody chose. No secret; a page of ours sets it.
pub(super) const COOKIE: &str = "flowgateLanguage";

const LANGUAGES: [(&str, &str, &str); 2] = [
    ("en", "English", include_str!("../../texts/en.json")),
    ("de", "Deutsch", include_str!("../../texts/de.json")),
];

/// A test holds the files to be what they should be; a broken one would be empty here.
static ALL: LazyLock<Vec<Texts>> = LazyLock::new(|| {
    let read = |(code, name, text)| Texts {
        code,
        name,
        strings: serde_json::from_str(text).unwrap_or_default(),
    };
    LANGUAGES.into_iter().map(read).collect()
});

/// The texts in one language.
#[derive(Debug)]
pub(super) struct Texts {
    /// Such as `en`.
    pub(super) code: &'static str,
    /// What its speakers call it.
    pub(super) name: &'static str,
    strings: BTreeMap<String, String>,
}

impl Texts {
    /// Every language.
    pub(super) fn all() -> &'static [Self] {
        &ALL
    }

    /// Those of a language, if there are any.
    pub(super) fn of(code: &str) -> Option<&'static Self> {
        ALL.iter().find(|texts| texts.code == code)
    }

    /// In the language that was chosen, else in the one that the browser prefers, else in the first.
    pub(super) fn for_request(request: &HttpRequest) -> &'static Self {
        let chosen = request.cookie(COOKIE);
        if let Some(texts) = chosen.and_then(|cookie| Self::of(cookie.value())) {
            return texts;
        }
        let accepted = request.headers().get(header::ACCEPT_LANGUAGE);
        let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or_default();
        preferred(accepted).unwrap_or(&ALL[0])
    }

    /// A text; its name where there is none, which a test keeps from happening.
    pub(super) fn get<'a>(&'static self, name: &'a str) -> Cow<'a, str> {
        self.find(name).map_or(Cow::Borrowed(name), Cow::Borrowed)
    }

    /// A text, if there is one of this name.
    pub(super) fn find(&'static self, name: &str) -> Option<&'static str> {
        self.strings.get(name).map(String::as_str)
    }
}

/// The best of our languages by `Accept-Language`.
fn preferred(header: &str) -> Option<&'static Texts> {
    let weighed = header.split(',').take(20).filter_map(|part| {
        let (language, weight) = part.split_once(";q=").unwrap_or((part, "1"));
        let base = language.trim().split('-').next()?.to_ascii_lowercase();
        let weight: f32 = weight.trim().parse().ok()?;
        Some((Texts::of(&base)?, weight))
    });
    let mut best: Option<(&'static Texts, f32)> = None;
    for (texts, weight) in weighed {
        if weight > 0.0 && best.is_none_or(|(_, known)| weight > known) {
            best = Some((texts, weight));
        }
    }
    best.map(|(texts, _)| texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_text_with_its_places() {
        let places = |text: &str| text.matches("{}").count();
        let english = &ALL[0].strings;
        assert!(english.len() > 100);
        for texts in Texts::all() {
            let missing: Vec<_> = english
                .keys()
                .filter(|name| !texts.strings.contains_key(*name))
                .collect();
            let surplus: Vec<_> = texts
                .strings
                .keys()
                .filter(|name| !english.contains_key(*name))
                .collect();
            assert!(
                missing.is_empty() && surplus.is_empty(),
                "{}: {missing:?} {surplus:?}",
                texts.code
            );
            for (name, text) in &texts.strings {
                assert!(!text.trim().is_empty(), "{} {name}", texts.code);
                assert_eq!(places(text), places(&english[name]), "{} {name}", texts.code);
            }
        }
    }

    #[test]
    fn every_text_that_a_page_names_is_there_and_no_other() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let mut sources = String::new();
        for folder in [
            "templates",
            "templates/admin",
            "src/pages",
            "src/pages/admin",
            "src/pages/admin/usage",
        ] {
            for file in std::fs::read_dir(format!("{root}{folder}")).unwrap() {
                let path = file.unwrap().path();
                if path.is_file() {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        // Named by words of other places: codes of problems, roles, states, kinds of entries.
        let derived = [
            "problem.", "done.", "role.", "state.", "entry.", "outcome.", "rule.", "kind.", "by.", "part.",
            "scope.",
        ];
        for name in ALL[0].strings.keys() {
            let is_named =
                sources.contains(&format!("\"{name}\"")) || derived.iter().any(|word| name.starts_with(word));
            assert!(is_named, "nobody shows {name}");
        }
        for call in sources
            .split("f.t(\"")
            .skip(1)
            .chain(sources.split(".fill(\"").skip(1))
        {
            let name = call.split('"').next().unwrap();
            assert!(ALL[0].strings.contains_key(name), "there is no {name}");
        }
    }

    #[test]
    fn a_language_is_chosen_as_browsers_ask() {
        let code = |header: &str| preferred(header).map(|texts| texts.code);
        assert_eq!(code("fr-CH, de-AT;q=0.9, en;q=0.8"), Some("de"));
        assert_eq!(code("de;q=0.1, en-GB"), Some("en"));
        assert_eq!(code("de;q=0, ja"), None);
        assert_eq!(code(""), None);
    }
}
