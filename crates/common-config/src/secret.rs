//! What makes a secret too weak to start with.

/// Texts that stand in examples and tutorials; a secret that contains one was copied, not made.
const WELL_KNOWN: [&str; 12] = [
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "your-",
    "your_",
    "yoursecret",
    "example",
    "placeholder",
    "secret-key",
    "secretkey",
    "default-",
];

/// A random secret of 32 hex digits has more; `aaaa…` and `12341234…` have fewer.
const DISTINCT_BYTES_MIN: usize = 8;

/// Why `text` is not good enough, or `None` when it is. `bytes_min` 0 asks for nothing (database passwords are not ours).
pub(crate) fn weakness(text: &str, bytes_min: usize) -> Option<String> {
    if text.len() < bytes_min {
        return Some(format!(
            "is too short: at least {bytes_min} characters are needed"
        ));
    }
    if bytes_min == 0 {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if WELL_KNOWN.iter().any(|known| lower.contains(known)) {
        return Some("is a well-known example; make a random one".to_owned());
    }
    let distinct = text.bytes().collect::<std::collections::BTreeSet<_>>().len();
    (distinct < DISTINCT_BYTES_MIN).then(|| "repeats itself; make a random one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_copied_and_repeated_secrets_are_refused() {
        for text in [
            "short",
            "your-super-secret-jwt-key-of-some-length",
            &"ab".repeat(40),
            &"x".repeat(64),
        ] {
            assert!(weakness(text, 32).is_some(), "{text:?}");
        }
        assert_eq!(weakness("c4f0b8d2e6a19375c4f0b8d2e6a19375", 32), None);
        assert_eq!(weakness("postgres", 0), None);
    }
}
