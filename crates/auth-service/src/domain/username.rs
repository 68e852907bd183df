//! The name somebody signs in with.

/// As the documented service counts: characters after trimming.
const CHARS_MIN: usize = 3;
const CHARS_MAX: usize = 30;

/// A name of 3 to 30 characters. Case-sensitive, any script, nothing invisible.
///
/// `@` is refused: people sign in with name or address, and nobody may name themselves like another's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// Reads a name as typed. The error completes the sentence "the name ...".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.trim();
        if name.is_empty() {
            return Err("is required");
        }
        if !(CHARS_MIN..=CHARS_MAX).contains(&name.chars().count()) {
            return Err("must have 3 to 30 characters");
        }
        if name.contains('@') {
            return Err("must not contain @");
        }
        if name.chars().any(is_invisible) {
            return Err("must not contain control or invisible characters");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, and those that change how the text around them is shown.
fn is_invisible(character: char) -> bool {
    let formats = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    character.is_control() || formats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_taken_and_trimmed() {
        assert_eq!(Username::parse("  ada ").unwrap().as_str(), "ada");
        assert!(Username::parse("Ödön Überson").is_ok());
        assert!(Username::parse("田中さくら").is_ok());
    }

    #[test]
    fn names_that_mislead_are_refused() {
        for text in [
            "",
            "ab",
            "   ab   ",
            &"a".repeat(31),
            "ada@example.com",
            "ada\0x",
            "a\u{202e}bc",
            "ad\u{200b}a",
            "ada\nx",
        ] {
            assert!(Username::parse(text).is_err(), "{text:?}");
        }
    }
}
