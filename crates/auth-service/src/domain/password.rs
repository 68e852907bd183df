//! Which passwords may be chosen, and which can be checked at all.

use std::{collections::HashSet, sync::LazyLock};

use secrecy::{ExposeSecret as _, SecretString};

/// NIST SP 800-63B: eight at least.
const BYTES_MIN: usize = 8;

/// bcrypt reads no more; a longer password would silently be a shorter one.
const BYTES_MAX: usize = 72;

/// Words of this product, which guessers try first.
const OUR_WORDS: [&str; 2] = ["flowise", "flowgate"];

/// The passwords that guessing lists begin with, lower case, those of eight bytes and more.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// A password somebody may choose. There are no rules on kinds of characters: they make passwords no better.
#[derive(Clone, Debug)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// Reads the password that the user `username` wants. The error completes the sentence "the password ...".
    pub fn parse(password: SecretString, username: &str) -> Result<Self, &'static str> {
        let text = password.expose_secret();
        if text.is_empty() {
            return Err("is required");
        }
        if text.len() < BYTES_MIN {
            return Err("must have at least 8 characters");
        }
        if text.len() > BYTES_MAX {
            return Err("is too long: at most 72 bytes can be checked");
        }
        if text.contains('\0') {
            return Err("must not contain a NUL character");
        }
        let lower = text.to_lowercase();
        if COMMON.contains(lower.as_str()) {
            return Err("is one of the passwords that are guessed first");
        }
        if OUR_WORDS.iter().any(|word| lower.contains(word)) {
            return Err("must not contain the name of this product");
        }
        let name = username.trim().to_lowercase();
        if !name.is_empty() && lower.contains(&name) {
            return Err("must not contain the user name");
        }
        Ok(Self(password))
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.0.expose_secret().len()
    }

    /// The password itself.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Whether bcrypt can tell this password from every other: no more than it reads, and no NUL, where it stops.
pub fn is_checkable(password: &SecretString) -> bool {
    let text = password.expose_secret();
    text.len() <= BYTES_MAX && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NewPassword, &'static str> {
        NewPassword::parse(SecretString::from(text), "ada")
    }

    #[test]
    fn length_is_counted_in_bytes_and_nothing_is_cut() {
        assert!(parse("short77").is_err());
        assert!(parse("x".repeat(72).as_str()).is_ok());
        assert!(parse("x".repeat(73).as_str()).is_err());
        assert!(parse(&"é".repeat(36)).is_ok(), "72 bytes");
        assert!(parse(&"é".repeat(37)).is_err(), "74 bytes");
        assert!(parse("correct\0horse").is_err());
    }

    #[test]
    fn guessable_passwords_are_refused_in_any_case() {
        for text in [
            "password",
            "PassWord1",
            "12345678",
            "qwertyuiop",
            "iloveyou1",
            "Flowise2024!",
            "xx-ADA-1815-xx",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_kinds_of_characters_are_asked_for() {
        assert!(parse("twentylowercaseletrs").is_ok());
    }

    #[test]
    fn the_list_is_lower_case_long_enough_and_without_repeats() {
        let lines: Vec<_> = include_str!("common_passwords.txt").lines().collect();
        assert!(lines.len() > 1_500, "{}", lines.len());
        assert_eq!(lines.len(), COMMON.len());
        for line in lines {
            assert!(line.len() >= BYTES_MIN && line == line.to_lowercase(), "{line:?}");
        }
    }
}
