//! What a stored message says, for people: searched, quoted and exported.

use serde::Deserialize;

/// Characters of a quotation on each side of what was found.
const AROUND: usize = 80;

/// The text of a message as it is stored: an answer is a JSON array of events, of which the tokens count.
pub fn text_of(role: &str, content: &str) -> String {
    #[derive(Deserialize)]
    struct Event {
        event: String,
        #[serde(default)]
        data: serde_json::Value,
    }
    if role != "user"
        && content.starts_with('[')
        && let Ok(events) = serde_json::from_str::<Vec<Event>>(content)
    {
        let tokens = events.iter().filter(|event| event.event == "token");
        return tokens.filter_map(|event| event.data.as_str()).collect();
    }
    content.to_owned()
}

/// A quotation around the first place where `text` says `wanted`, in whatever case.
pub fn quote(text: &str, wanted: &str) -> Option<String> {
    // Letter by letter: as words, the same letters may become others at the end of one (Σ).
    let fold = |text: &str| -> String { text.chars().flat_map(char::to_lowercase).collect() };
    let (wanted, lower) = (fold(wanted), fold(text));
    let at = lower.find(&wanted)?;
    // Letters may change their length with their case, so the place is counted in characters of the original.
    let mut passed = 0;
    let place = text.chars().position(|c| {
        passed += c.to_lowercase().map(char::len_utf8).sum::<usize>();
        passed > at
    })?;
    let first = place.saturating_sub(AROUND);
    let length = place - first + wanted.chars().count() + AROUND;
    let mut quotation: String = text.chars().skip(first).take(length).collect();
    if first > 0 {
        quotation.insert(0, '…');
    }
    if text.chars().nth(first + length).is_some() {
        quotation.push('…');
    }
    Some(quotation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_tokens_and_a_question_is_itself() {
        let answer =
            r#"[{"event":"token","data":"It \u4f60"},{"event":"start"},{"event":"token","data":"!"}]"#;
        assert_eq!(text_of("assistant", answer), "It 你!");
        assert_eq!(text_of("assistant", "[not JSON"), "[not JSON");
        assert_eq!(text_of("assistant", "plain"), "plain");
        assert_eq!(text_of("user", answer), answer);
    }

    #[test]
    fn quotations_show_the_place_and_a_little_around_it() {
        assert_eq!(
            quote("Was ist STRASSE?", "strasse").as_deref(),
            Some("Was ist STRASSE?")
        );
        assert_eq!(quote("細胞的粒線體", "粒線體").as_deref(), Some("細胞的粒線體"));
        let long = format!("{}needle{}", "a".repeat(100), "b".repeat(100));
        let expected = format!("…{}needle{}…", "a".repeat(80), "b".repeat(80));
        assert_eq!(quote(&long, "NEEDLE"), Some(expected));
        assert_eq!(quote("hay", "needle"), None);
        assert_eq!(quote("İİİneedle", "needle").as_deref(), Some("İİİneedle"));
    }

    #[test]
    fn what_is_there_is_always_found() {
        proptest::proptest!(|(text: String, wanted in ".+")| {
            let quoted = quote(&format!("{text}{wanted}{text}"), &wanted);
            proptest::prop_assert!(quoted.is_some());
        });
    }
}
