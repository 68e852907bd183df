//! Which language a page speaks: the first of those that a person wants that it has.

/// `pt` of `pt-BR`.
pub(super) fn base_of(language: &str) -> String {
    let base = language.split(&['-', '_'][..]).next().unwrap_or(language);
    base.to_ascii_lowercase()
}

/// The first language of `wanted` that is among `known`, as it is written there.
pub(super) fn choose<'a>(wanted: &[String], known: &[&'a str]) -> Option<&'a str> {
    let exactly = |wanted: &String| known.iter().find(|known| known.eq_ignore_ascii_case(wanted));
    let nearly = |wanted: &String| known.iter().find(|known| base_of(known) == base_of(wanted));
    let found = wanted
        .iter()
        .find_map(|wanted| exactly(wanted).or_else(|| nearly(wanted)));
    found.copied()
}

/// What `Accept-Language` prefers, most first.
pub(super) fn accepted(header: &str) -> Vec<String> {
    let mut languages: Vec<_> = header
        .split(',')
        .take(20)
        .filter_map(|part| {
            let (language, weight) = part.split_once(";q=").unwrap_or((part, "1"));
            let weight: f32 = weight.trim().parse().ok()?;
            let language = language.trim();
            (weight > 0.0 && language != "*").then(|| (language.to_owned(), weight))
        })
        .collect();
    languages.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    languages.into_iter().map(|(language, _)| language).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_chosen_as_browsers_ask() {
        let wanted = accepted("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5, xx;q=no");
        assert_eq!(wanted, ["fr-CH", "fr", "en", "de"]);
        assert_eq!(choose(&wanted, &["en", "fr"]), Some("fr"));
        assert_eq!(choose(&["zh-Hant-TW".to_owned()], &["en", "zh"]), Some("zh"));
        assert_eq!(choose(&["zh".to_owned()], &["en", "zh-TW"]), Some("zh-TW"));
        assert_eq!(choose(&["ja".to_owned()], &["en"]), None);
        assert!(accepted("").is_empty() || accepted("") == [""]);
    }
}
