//! The keys that sign access tokens, as one file holds them: which of them signs, and how they are rotated.
//!
//! The file is a sequence of Ed25519 private keys (PKCS#8 PEM). A comment line above a key says from when on it signs:
//!
//! ```text
//! # signs from: 2026-03-01T02:00:00.000Z
//! -----BEGIN PRIVATE KEY-----
//! …
//! -----END PRIVATE KEY-----
//! ```
//!
//! A key without that line signs from the beginning of time. The one with the latest time that has come signs; all of
//! them are published and verify.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use common_jwt::SigningKey;

/// What the comment line above a key begins with.
const SIGNS_FROM: &str = "# signs from:";

/// More keys than any rotation leaves; whoever follows the published set takes no more.
const KEYS_MAX: usize = 16;

/// What is wrong with a file of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Nothing in it.
    #[error("there is no private key in it")]
    Empty,
    /// A `BEGIN` without its `END`.
    #[error("key {0} begins and does not end")]
    Unfinished(usize),
    /// A time that cannot be read.
    #[error("the line `# signs from:` above key {0} has no time as RFC 3339 writes one")]
    Time(usize),
    /// Another kind of key, or a damaged one.
    #[error("key {0} cannot be used")]
    Key(usize, #[source] common_jwt::KeyError),
    /// The same key again, which would begin to sign twice.
    #[error("key {0} stands in it twice")]
    Repeated(usize),
    /// More than followers take.
    #[error("there are more than {KEYS_MAX} keys in it")]
    TooMany,
}

/// One key and from when on it signs.
#[derive(Clone)]
pub struct DatedKey {
    /// `None` from the beginning of time.
    pub signs_from: Option<DateTime<Utc>>,
    /// The key.
    pub key: SigningKey,
    /// The key as it stands in the file, with the lines above it.
    text: String,
}

/// The keys of a file in the order in which they begin to sign; never empty.
#[derive(Clone, Debug)]
pub struct SigningKeyFile {
    keys: Vec<DatedKey>,
}

/// What a rotation leaves behind.
#[derive(Debug)]
pub struct Rotated {
    /// The keys from now on.
    pub file: SigningKeyFile,
    /// The new key's name.
    pub kid: String,
    /// When the new key begins to sign.
    pub signs_from: DateTime<Utc>,
    /// The names of the keys that were taken out.
    pub dropped: Vec<String>,
}

impl SigningKeyFile {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut keys: Vec<DatedKey> = Vec::new();
        let mut block = Vec::new();
        let mut has_begun = false;
        for line in text.lines() {
            let number = keys.len() + 1;
            has_begun |= line.starts_with("-----BEGIN ");
            block.push(line);
            if !(has_begun && line.starts_with("-----END ")) {
                continue;
            }
            let key = DatedKey::parse(&block, number)?;
            if keys.iter().any(|other| other.key.kid() == key.key.kid()) {
                return Err(KeyFileError::Repeated(number));
            }
            keys.push(key);
            block.clear();
            has_begun = false;
        }
        match (has_begun, keys.len()) {
            (true, count) => Err(KeyFileError::Unfinished(count + 1)),
            (false, 0) => Err(KeyFileError::Empty),
            (false, count) if count > KEYS_MAX => Err(KeyFileError::TooMany),
            (false, _) => Ok(Self::of(keys)),
        }
    }

    /// A file of one new key, given as PEM, that signs at once.
    pub fn first(pem: &str, now: DateTime<Utc>) -> Result<Rotated, KeyFileError> {
        let key = DatedKey::new(pem, now, 1)?;
        let kid = key.key.kid().to_owned();
        Ok(Rotated {
            file: Self::of(vec![key]),
            kid,
            signs_from: now,
            dropped: Vec::new(),
        })
    }

    /// Adds a new key, given as PEM, that signs after `lead`, by when everybody knows it; and takes out those that have
    /// signed nothing for longer than `keep`, the longest life of a token.
    pub fn rotate(
        self,
        pem: &str,
        now: DateTime<Utc>,
        lead: TimeDelta,
        keep: TimeDelta,
    ) -> Result<Rotated, KeyFileError> {
        let key = DatedKey::new(pem, now + lead, self.keys.len() + 1)?;
        let kid = key.key.kid().to_owned();
        let successors = self.keys.iter().skip(1).map(|key| key.signs_from);
        let ends: Vec<_> = successors.map(Option::unwrap_or_default).collect();
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (position, key) in self.keys.into_iter().enumerate() {
            // The last one is superseded by the new key, later.
            let is_over = ends.get(position).is_some_and(|end| *end + keep < now);
            if is_over {
                dropped.push(key.key.kid().to_owned());
            } else {
                kept.push(key);
            }
        }
        kept.push(key);
        if kept.len() > KEYS_MAX {
            return Err(KeyFileError::TooMany);
        }
        Ok(Rotated {
            file: Self::of(kept),
            kid,
            signs_from: now + lead,
            dropped,
        })
    }

    /// Replaces all keys by a new one, given as PEM, that signs at once: the old ones may be in strange hands.
    pub fn replace(self, pem: &str, now: DateTime<Utc>) -> Result<Rotated, KeyFileError> {
        let dropped = self.keys.iter().map(|key| key.key.kid().to_owned()).collect();
        Ok(Rotated {
            dropped,
            ..Self::first(pem, now)?
        })
    }

    fn of(mut keys: Vec<DatedKey>) -> Self {
        // Stable: of two with the same time the later one in the file signs.
        keys.sort_by_key(|key| key.signs_from);
        Self { keys }
    }

    /// All keys, in the order in which they begin to sign.
    pub fn keys(&self) -> &[DatedKey] {
        &self.keys
    }

    /// The key that signs now: the last whose time has come. Should none have, it is the first, so that people can sign
    /// in.
    #[expect(clippy::expect_used, reason = "a file without a key is not read")]
    pub fn signing(&self, now: DateTime<Utc>) -> &DatedKey {
        let come = self.keys.iter().rfind(|key| key.has_come(now));
        come.or(self.keys.first()).expect("there is a key")
    }

    /// The key that is to sign but does not yet, if there is one.
    pub fn waiting(&self, now: DateTime<Utc>) -> Option<&DatedKey> {
        self.keys.last().filter(|key| !key.has_come(now))
    }

    /// The text of the file. Secret.
    pub fn render(&self) -> String {
        self.keys.iter().map(|key| key.text.as_str()).collect()
    }
}

/// Without the private key.
impl fmt::Debug for DatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatedKey")
            .field("signs_from", &self.signs_from)
            .field("kid", &self.key.kid())
            .finish_non_exhaustive()
    }
}

impl DatedKey {
    fn new(pem: &str, signs_from: DateTime<Utc>, number: usize) -> Result<Self, KeyFileError> {
        let key =
            SigningKey::ed25519_pem(pem.as_bytes()).map_err(|error| KeyFileError::Key(number, error))?;
        let time = signs_from.to_rfc3339_opts(SecondsFormat::Millis, true);
        Ok(Self {
            signs_from: Some(signs_from),
            key,
            text: format!("{SIGNS_FROM} {time}\n{}\n", pem.trim()),
        })
    }

    fn parse(lines: &[&str], number: usize) -> Result<Self, KeyFileError> {
        let time = lines.iter().rev().find_map(|line| line.strip_prefix(SIGNS_FROM));
        let signs_from = match time.map(|time| DateTime::parse_from_rfc3339(time.trim())) {
            None => None,
            Some(Ok(time)) => Some(time.to_utc()),
            Some(Err(_)) => return Err(KeyFileError::Time(number)),
        };
        let begin = lines.iter().position(|line| line.starts_with("-----BEGIN "));
        let pem = lines
            .get(begin.unwrap_or_default()..)
            .unwrap_or_default()
            .join("\n");
        let key =
            SigningKey::ed25519_pem(pem.as_bytes()).map_err(|error| KeyFileError::Key(number, error))?;
        Ok(Self {
            signs_from,
            key,
            text: format!("{}\n", lines.join("\n")),
        })
    }

    fn has_come(&self, now: DateTime<Utc>) -> bool {
        self.signs_from.is_none_or(|time| time <= now)
    }
}

#[cfg(test)]
mod tests {
    use test_support::ed25519_pem;

    use super::*;

    const LEAD: TimeDelta = TimeDelta::seconds(120);
    const KEEP: TimeDelta = TimeDelta::seconds(930);

    fn time(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    fn kid(pem: &str) -> String {
        SigningKey::ed25519_pem(pem.as_bytes()).unwrap().kid().to_owned()
    }

    fn signing(file: &SigningKeyFile, now: DateTime<Utc>) -> &str {
        file.signing(now).key.kid()
    }

    #[test]
    fn a_plain_key_signs_from_the_beginning_of_time() {
        let first = ed25519_pem();
        let file = SigningKeyFile::parse(&first).unwrap();
        assert_eq!(signing(&file, DateTime::UNIX_EPOCH), kid(&first));
        assert!(file.waiting(DateTime::UNIX_EPOCH).is_none());
    }

    #[test]
    fn a_new_key_waits_for_its_time_and_the_old_one_stays_for_its_tokens() {
        let [first, second, third] = [(); 3].map(|()| ed25519_pem());
        let only = SigningKeyFile::first(&first, time(0)).unwrap();
        assert_eq!(
            signing(&only.file, time(0)),
            kid(&first),
            "the first key signs at once"
        );

        let two = only.file.rotate(&second, time(1_000), LEAD, KEEP).unwrap();
        assert_eq!(
            (two.kid.as_str(), two.signs_from),
            (kid(&second).as_str(), time(1_120))
        );
        assert_eq!(two.file.waiting(time(1_119)).unwrap().key.kid(), kid(&second));
        assert!(two.file.waiting(time(1_120)).is_none());
        assert_eq!(signing(&two.file, time(1_119)), kid(&first));
        assert_eq!(signing(&two.file, time(1_120)), kid(&second));

        for (at, dropped) in [(1_120 + 930, 0), (1_120 + 931, 1)] {
            let file = two.file.clone();
            let three = file.rotate(&third, time(at), LEAD, KEEP).unwrap();
            assert_eq!(three.dropped.len(), dropped, "{at}");
            assert_eq!(three.file.keys().len(), 3 - dropped);
            assert_eq!(
                signing(&three.file, time(at)),
                kid(&second),
                "the one that signs is never dropped"
            );
        }
    }

    #[test]
    fn what_was_written_is_read_again_with_the_remarks_of_people() {
        let [first, second, third] = [(); 3].map(|()| ed25519_pem());
        let text =
            format!("# made on the old server\n{first}\n# signs from: 2027-01-15T16:00:00+08:00\n{second}");
        let file = SigningKeyFile::parse(&text).unwrap();
        let rotated = file.rotate(&third, time(0), LEAD, KEEP).unwrap();

        let again = SigningKeyFile::parse(&rotated.file.render()).unwrap();

        assert!(rotated.file.render().contains("# made on the old server"));
        let kids = |file: &SigningKeyFile| {
            file.keys()
                .iter()
                .map(|key| key.key.kid().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(kids(&again), kids(&rotated.file));
        assert_eq!(again.keys()[1].signs_from, Some(time(0)));
        assert_eq!(again.keys()[2].signs_from, Some(time(120)));
    }

    #[test]
    fn a_leak_leaves_nothing_of_what_was() {
        let [first, second, third] = [(); 3].map(|()| ed25519_pem());
        let file = SigningKeyFile::parse(&format!("{first}{second}")).unwrap();
        let rotated = file.replace(&third, time(0)).unwrap();
        assert_eq!(rotated.dropped, [kid(&first), kid(&second)]);
        assert_eq!(rotated.file.keys().len(), 1);
        assert_eq!(signing(&rotated.file, time(0)), kid(&third));
    }

    #[test]
    fn a_file_that_cannot_be_trusted_is_refused_whole() {
        let [first, second] = [(); 2].map(|()| ed25519_pem());
        let (cut, _) = first.split_once("-----END").unwrap();
        for (text, part) in [
            (String::new(), "no private key"),
            (
                "# signs from: 2027-01-01T00:00:00Z\n".to_owned(),
                "no private key",
            ),
            (cut.to_owned(), "key 1 begins"),
            (format!("{first}{cut}"), "key 2 begins"),
            (format!("{first}{first}"), "key 2 stands in it twice"),
            (format!("# signs from: soon\n{first}"), "above key 1"),
            (
                format!("{first}{}", second.replace("PRIVATE", "PUBLIC")),
                "key 2 cannot",
            ),
            (
                format!("{first}{}", second.replace("MC4C", "AAAA")),
                "key 2 cannot",
            ),
        ] {
            let error = SigningKeyFile::parse(&text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let first = ed25519_pem();
        let shown = format!("{:?}", SigningKeyFile::parse(&first).unwrap());
        assert!(!shown.contains("MC4C"), "{shown}");
    }
}
