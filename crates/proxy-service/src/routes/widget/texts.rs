//! The widget's own texts in its languages. An embed's owner may replace each of them, and add languages.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::routes::languages::base_of;

/// Texts by name, such as `header.title`.
pub(super) type Strings = BTreeMap<String, String>;

/// The language of whoever wants none that there is.
pub(super) const FALLBACK: &str = "en";

const LANGUAGES: [(&str, &str); 6] = [
    ("de", include_str!("../../../widget/texts/de.json")),
    ("en", include_str!("../../../widget/texts/en.json")),
    ("es", include_str!("../../../widget/texts/es.json")),
    ("fr", include_str!("../../../widget/texts/fr.json")),
    ("ru", include_str!("../../../widget/texts/ru.json")),
    ("zh", include_str!("../../../widget/texts/zh.json")),
];

/// A test holds the files to be what they should be; a broken one would be empty here.
static STRINGS: LazyLock<BTreeMap<&str, Strings>> = LazyLock::new(|| {
    let read = |(language, text)| (language, serde_json::from_str(text).unwrap_or_default());
    LANGUAGES.into_iter().map(read).collect()
});

/// The languages there are texts in.
pub(super) fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.into_iter().map(|(language, _)| language)
}

/// The texts in a language (`de`, `de-CH`), else in English.
pub(super) fn strings(language: &str) -> &'static Strings {
    STRINGS
        .get(base_of(language).as_str())
        .unwrap_or_else(|| &STRINGS[FALLBACK])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_text_with_its_places() {
        let places = |text: &str| {
            let mut found: Vec<_> = text
                .match_indices('{')
                .map(|(at, _)| text[at..].split('}').next().unwrap().to_owned())
                .collect();
            found.sort();
            found
        };
        let english = &STRINGS[FALLBACK];
        assert!(english.len() > 30);
        for language in languages() {
            let texts = &STRINGS[language];
            assert!(texts.keys().eq(english.keys()), "{language}");
            for (name, text) in texts {
                assert!(!text.trim().is_empty(), "{language} {name}");
                assert_eq!(places(text), places(&english[name]), "{language} {name}");
            }
        }
    }

    #[test]
    fn every_text_that_the_page_shows_is_there() {
        let sources = [
            include_str!("../../../widget/page.html"),
            include_str!("../../../widget/chat/main.js"),
            include_str!("../../../widget/chat/thread.js"),
            include_str!("../../../widget/chat/drawer.js"),
            include_str!("../../../widget/chat/composer.js"),
        ];
        let pattern = regex_lite::Regex::new(
            r#"["'`]((?:header|launcher|input|messages|conversations|suggestions)\.[A-Za-z]+)["'`]"#,
        )
        .unwrap();
        let names: std::collections::BTreeSet<_> = sources
            .iter()
            .flat_map(|source| pattern.captures_iter(source))
            .map(|found| found[1].to_owned())
            .collect();
        assert!(names.len() > 25, "{names:?}");
        for name in names {
            assert!(STRINGS[FALLBACK].contains_key(&name), "{name}");
        }
    }

    #[test]
    fn who_speaks_none_of_them_reads_english() {
        assert_eq!(strings("de-AT")["input.send"], "Senden");
        assert_eq!(strings("tlh")["input.send"], "Send");
    }
}
