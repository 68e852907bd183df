//! Random text that people read out, write down and type: Crockford's 32 symbols, in groups of four.
//!
//! No two symbols look alike, so what is typed wrong in the usual way (`O` for `0`, `l` for `1`) is still read right.

/// Five bits each.
const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Symbols between two hyphens.
const GROUP: usize = 4;

/// `symbols` symbols, each out of the lowest five bits of a random byte, which is 32 equally likely values.
pub fn text(mut random: impl FnMut() -> u8, symbols: usize) -> String {
    let mut text = String::with_capacity(symbols + symbols / GROUP);
    for index in 0..symbols {
        if index > 0 && index % GROUP == 0 {
            text.push('-');
        }
        let symbol = SYMBOLS.get(usize::from(random() & 31)).copied();
        text.push(char::from(symbol.unwrap_or(b'0')));
    }
    text
}

/// What was typed, as it was meant: without hyphens and space, in lower case, look-alikes read as what they look like.
/// `None` when it is not `symbols` symbols long or has others.
pub fn normalised(typed: &str, symbols: usize) -> Option<String> {
    let mut text = String::with_capacity(symbols);
    for character in typed.chars().filter(|character| !matches!(character, '-' | ' ')) {
        let symbol = match character.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        if text.len() == symbols
            || !symbol.is_ascii()
            || !SYMBOLS.iter().any(|one| char::from(*one) == symbol)
        {
            return None;
        }
        text.push(symbol);
    }
    (text.len() == symbols).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_as_likely_as_the_others() {
        let mut counts = std::collections::HashMap::new();
        for byte in 0..=u8::MAX {
            *counts.entry(text(|| byte, 1)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 32);
        assert!(counts.values().all(|count| *count == 8));
    }

    #[test]
    fn text_is_grouped_and_read_back_however_it_is_typed() {
        let mut next = 0_u8;
        let shown = text(
            || {
                next += 7;
                next
            },
            12,
        );
        assert_eq!(shown, "7enw-3ahr-z6dm");
        for typed in ["7enw3ahrz6dm", "7ENW-3AHR-Z6DM", " 7enw 3ahr z6dm "] {
            assert_eq!(normalised(typed, 12).as_deref(), Some("7enw3ahrz6dm"), "{typed}");
        }
        assert_eq!(normalised("O0oIl1", 6).as_deref(), Some("000111"));
        for typed in [
            "",
            "7enw-3ahr-z6d",
            "7enw-3ahr-z6dmm",
            "7enw-3ahr-z6d!",
            "uenw-3ahr-z6dm",
            "7enw-3ahr-z6d\u{0}",
        ] {
            assert_eq!(normalised(typed, 12), None, "{typed:?}");
        }
    }
}
