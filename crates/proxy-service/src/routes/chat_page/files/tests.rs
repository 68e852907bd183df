use std::collections::BTreeSet;

use super::*;
use crate::routes::page_file::FOR_EVER;

/// What one view of the page may weigh, with everything it loads.
const VIEW_BYTES_MAX: usize = 70 * 1_000;

fn is_script(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, kind)| kind == "js")
}

fn texts_in(language: &str) -> BTreeMap<String, String> {
    let (_, texts) = languages().find(|(known, _)| *known == language).unwrap();
    serde_json::from_str(texts).unwrap()
}

#[test]
fn all_that_a_page_view_loads_is_light() {
    let page = ChatPage::new(32_000);
    let parts = page.parts.iter().filter(|(name, _)| **name != "en.json");
    let weight = parts.map(|(_, file)| file.weight()).sum::<usize>() + page.pages["de"].weight();
    assert!(weight < VIEW_BYTES_MAX, "{weight} bytes");
}

#[test]
fn the_page_loads_what_there_is_and_nothing_from_elsewhere() {
    let page = ChatPage::new(32_000);
    for (language, file) in &page.pages {
        let text = file.text();
        assert!(!text.contains("{{"), "{language}: every place is filled");
        assert!(text.contains(&format!("<html lang=\"{language}\" dir=\"ltr\"")));
        for tag in [
            "<script>",
            "<style",
            "onclick",
            "style=",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!text.contains(tag), "{tag} stands in the page");
        }
        let addresses: Vec<_> = text
            .split('"')
            .filter_map(|word| word.strip_prefix("/chat/assets/"))
            .filter(|address| address.contains('/'))
            .collect();
        for address in &addresses {
            let (version, name) = address.split_once('/').unwrap();
            assert_eq!(page.part(version, name).unwrap().1, FOR_EVER, "{address}");
        }
        let modules = PARTS.iter().filter(|(name, _)| is_script(name));
        assert_eq!(text.matches("modulepreload").count() + 1, modules.count());
    }
    for (name, text) in PARTS {
        for unsafe_word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "document.cookie",
        ] {
            assert!(!text.contains(unsafe_word), "{name} has {unsafe_word}");
        }
        for line in text
            .lines()
            .filter(|line| line.contains("http://") || line.contains("https://"))
        {
            assert!(line.contains("www.w3.org"), "{name}: {line}");
        }
        for (_, import) in text.lines().filter_map(|line| line.split_once("from './")) {
            assert!(
                page.parts.contains_key(import.trim_end_matches("';")),
                "{name} imports {import}"
            );
        }
    }
}

#[test]
fn every_language_has_every_text_with_its_places() {
    let places = |text: &str| -> BTreeSet<String> {
        let found = text.match_indices('{');
        found
            .map(|(at, _)| text[at..].split('}').next().unwrap().to_owned())
            .collect()
    };
    let english = texts_in(FALLBACK);
    assert!(english.len() > 100);
    let names = |texts: &BTreeMap<String, String>| -> BTreeSet<String> {
        texts.keys().map(|name| without_form(name).to_owned()).collect()
    };
    for (language, _) in languages() {
        let texts = texts_in(language);
        assert_eq!(names(&texts), names(&english), "{language}");
        for (name, text) in &texts {
            assert!(!text.trim().is_empty(), "{language} {name}");
            let plain = without_form(name);
            let same = english
                .get(plain)
                .unwrap_or_else(|| &english[&format!("{plain}.other")]);
            assert_eq!(places(text), places(same), "{language} {name}");
        }
    }
}

/// The name of a text that counts, without the form of the plural.
fn without_form(name: &str) -> &str {
    let forms = [".zero", ".one", ".two", ".few", ".many", ".other"];
    forms
        .iter()
        .find_map(|form| name.strip_suffix(form))
        .unwrap_or(name)
}

#[test]
fn every_text_that_is_shown_is_there_and_every_one_that_is_there_is_shown() {
    let pattern = regex_lite::Regex::new(r#"["'`]([a-z][a-zA-Z]*\.[a-zA-Z_]+)["'`]"#).unwrap();
    let english = texts_in(FALLBACK);
    let groups: BTreeSet<_> = english.keys().filter_map(|name| name.split('.').next()).collect();
    let scripts = PARTS.iter().filter(|(name, _)| is_script(name));
    let sources: Vec<_> = scripts.map(|(_, text)| *text).chain([PAGE]).collect();
    let named: BTreeSet<_> = sources
        .iter()
        .flat_map(|source| pattern.captures_iter(source))
        .map(|found| found[1].to_owned())
        .filter(|name| groups.contains(name.split('.').next().unwrap()) && !is_script(name))
        .collect();
    for name in &named {
        let counted = format!("{name}.other");
        assert!(
            english.contains_key(name) || english.contains_key(&counted),
            "{name} has no text"
        );
    }
    for name in english.keys() {
        let plain = without_form(name);
        // What a problem is called comes from the server.
        let is_shown = named.contains(plain) || name.starts_with("errors.") || name == WITHOUT_SCRIPT;
        assert!(is_shown, "{name} is shown nowhere");
    }
}

#[test]
fn the_language_is_the_addresss_or_the_browsers_or_english() {
    let page = ChatPage::new(32_000);
    let language = |wanted: &[Option<&str>], accepted: &str| {
        let text = page.in_language(wanted, accepted).text();
        text.split("lang=\"").nth(1).unwrap()[..2].to_owned()
    };
    assert_eq!(language(&[], "de-AT, en;q=0.5"), "de");
    assert_eq!(language(&[None, Some("en")], "de"), "en");
    assert_eq!(language(&[Some("tlh"), None], "de"), "de");
    assert_eq!(language(&[Some("de"), Some("en")], "en"), "de");
    assert_eq!(language(&[], "fr, es"), "en");
    assert_eq!(language(&[], ""), "en");
}
