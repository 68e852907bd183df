//! Typed reads of environment variables that report every mistake at once.
//!
//! A service reads its whole configuration before it opens anything. Each read names its variable, remembers a
//! mistake instead of stopping at the first, and never shows a value: it may be a secret.
//!
//! ```
//! use common_config::Env;
//!
//! let env = Env::from_pairs([("PORT", "3000")]);
//! let port = env.var("PORT").or(8080_u16);
//! let uri = env.var("MONGODB_URI").alias("MONGO_URI").required::<String>();
//! assert_eq!(port.ok(), Some(3000));
//! assert!(uri.is_err());
//! assert_eq!(env.mistakes(), ["MONGODB_URI (or MONGO_URI) is not set"]);
//! ```

mod duration;
mod secret;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt::Display,
    path::Path,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

/// The shortest secret a token may be signed with: 256 bits, as RFC 7518 section 3.2 demands of HS256.
pub const SIGNING_SECRET_BYTES_MIN: usize = 32;

/// A variable could not be read; what is wrong stands in [`Env::mistakes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not valid")]
pub struct Invalid;

/// The variables of one process, and what was wrong with those read so far.
#[derive(Debug, Default)]
pub struct Env {
    values: HashMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
    mistakes: RefCell<Vec<String>>,
}

impl Env {
    /// The variables of this process. An empty value counts as not set, as compose files leave them.
    pub fn from_process() -> Self {
        Self::from_pairs(std::env::vars())
    }

    /// Given variables, for tests.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            values: values.filter(|(_, value)| !value.trim().is_empty()).collect(),
            ..Self::default()
        }
    }

    /// Begins to read a variable.
    pub fn var<'e>(&'e self, name: &'e str) -> Variable<'e> {
        Variable {
            env: self,
            names: vec![name],
        }
    }

    /// Remembers a mistake that no single variable has, such as two that contradict each other.
    pub fn mistake(&self, text: impl Into<String>) -> Invalid {
        self.mistakes.borrow_mut().push(text.into());
        Invalid
    }

    /// Everything wrong so far, a line each.
    pub fn mistakes(&self) -> Vec<String> {
        self.mistakes.borrow().clone()
    }

    /// Every name asked for so far, aliases and `_FILE` variants included: what `.env.example` has to list.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.values.get(name).map(|value| value.trim())
    }
}

/// One variable under its name and the names older deployments use for it; the first that is set counts.
#[derive(Debug)]
pub struct Variable<'e> {
    env: &'e Env,
    names: Vec<&'e str>,
}

impl<'e> Variable<'e> {
    /// Another name the variable may stand under.
    pub fn alias(mut self, name: &'e str) -> Self {
        self.names.push(name);
        self
    }

    /// The value, or `None` when it is not set.
    pub fn optional<T: FromStr<Err: Display>>(self) -> Result<Option<T>, Invalid> {
        let Some((name, text)) = self.find() else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(self.env.mistake(format!("{name} is not valid: {error}"))),
        }
    }

    /// The value, or `default` when it is not set.
    pub fn or<T: FromStr<Err: Display>>(self, default: T) -> Result<T, Invalid> {
        Ok(self.optional()?.unwrap_or(default))
    }

    /// The value, which must be set.
    pub fn required<T: FromStr<Err: Display>>(self) -> Result<T, Invalid> {
        let missing = format!("{} is not set", self.label());
        let env = self.env;
        self.optional()?.ok_or_else(|| env.mistake(missing))
    }

    /// The value, or `default`, which must lie within `range`.
    pub fn within<T>(self, range: std::ops::RangeInclusive<T>, default: T) -> Result<T, Invalid>
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        let (env, label) = (self.env, self.label());
        let value = self.or(default)?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(env.mistake(format!(
            "{label} must be from {} to {}",
            range.start(),
            range.end()
        )))
    }

    /// `true`, `1`, `yes`, `on` or their opposites.
    pub fn flag(self, default: bool) -> Result<bool, Invalid> {
        let Some((name, text)) = self.find() else {
            return Ok(default);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(self.env.mistake(format!("{name} must be true or false"))),
        }
    }

    /// Values separated by commas; none when it is not set.
    pub fn list<T: FromStr<Err: Display>>(self) -> Result<Vec<T>, Invalid> {
        let Some((name, text)) = self.find() else {
            return Ok(Vec::new());
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items
            .map(|item| {
                item.parse()
                    .map_err(|error| self.env.mistake(format!("{name} is not valid: {error}")))
            })
            .collect()
    }

    /// A length of time with its unit: `30s`, `15m`, `12h`, `7d`.
    pub fn duration(self, default: Duration) -> Result<Duration, Invalid> {
        let Some((name, text)) = self.find() else {
            return Ok(default);
        };
        duration::parse(text).ok_or_else(|| {
            self.env.mistake(format!(
                "{name} must be a length of time with a unit, such as 15m or 7d"
            ))
        })
    }

    /// A secret, from the variable or from the file that `<NAME>_FILE` names; `None` when neither is set.
    pub fn optional_secret(self, bytes_min: usize) -> Result<Option<SecretString>, Invalid> {
        let Some((name, text)) = self.find_secret()? else {
            return Ok(None);
        };
        match secret::weakness(&text, bytes_min) {
            None => Ok(Some(SecretString::from(text))),
            Some(weakness) => Err(self.env.mistake(format!("{name} {weakness}"))),
        }
    }

    /// A secret that must be set.
    pub fn secret(self, bytes_min: usize) -> Result<SecretString, Invalid> {
        let missing = format!(
            "{} (or a file named by {}_FILE) is not set",
            self.label(),
            self.names[0]
        );
        let env = self.env;
        self.optional_secret(bytes_min)?
            .ok_or_else(|| env.mistake(missing))
    }

    fn find(&self) -> Option<(&'e str, &'e str)> {
        let values: Vec<_> = self
            .names
            .iter()
            .map(|name| (*name, self.env.find(name)))
            .collect();
        values
            .into_iter()
            .find_map(|(name, value)| value.map(|value| (name, value)))
    }

    fn find_secret(&self) -> Result<Option<(String, String)>, Invalid> {
        let direct = self.find();
        let file_name = format!("{}_FILE", self.names[0]);
        let file = self.env.find(&file_name);
        match (direct, file) {
            (Some((name, text)), None) => Ok(Some((name.to_owned(), text.to_owned()))),
            (None, None) => Ok(None),
            (Some((name, _)), Some(_)) => Err(self
                .env
                .mistake(format!("{name} and {file_name} are both set; keep one"))),
            (None, Some(path)) => match std::fs::read_to_string(Path::new(path)) {
                // Empty is not set, as with variables: a deployment has the file before anybody fills it.
                Ok(text) if text.trim().is_empty() => Ok(None),
                Ok(text) => Ok(Some((file_name, text.trim().to_owned()))),
                Err(error) => Err(self
                    .env
                    .mistake(format!("{file_name} names a file that cannot be read: {error}"))),
            },
        }
    }

    fn label(&self) -> String {
        match self.names.as_slice() {
            [only] => (*only).to_owned(),
            [first, others @ ..] => format!("{first} (or {})", others.join(", ")),
            [] => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn every_mistake_is_reported_and_no_value_shown() {
        let env = Env::from_pairs([
            ("PORT", "hunter2"),
            ("FLAG", "maybe"),
            ("COST", "40"),
            ("LIFE", "3600"),
        ]);

        let _ = env.var("PORT").or(1_u16);
        let _ = env.var("FLAG").flag(false);
        let _ = env.var("COST").within(10..=16, 10_u32);
        let _ = env.var("LIFE").duration(Duration::ZERO);
        let _ = env.var("DB").required::<String>();

        assert_eq!(
            env.mistakes(),
            [
                "PORT is not valid: invalid digit found in string",
                "FLAG must be true or false",
                "COST must be from 10 to 16",
                "LIFE must be a length of time with a unit, such as 15m or 7d",
                "DB is not set",
            ]
        );
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_line_end() {
        let path = std::env::temp_dir().join(format!("flowgate-secret-{}", std::process::id()));
        std::fs::write(&path, "Zq8vT3mK1xWc7Rb5Ny2Lp9Hd4Gf6Js0A\n").unwrap();
        let env = Env::from_pairs([("KEY_FILE", path.to_str().unwrap())]);

        let secret = env.var("KEY").secret(SIGNING_SECRET_BYTES_MIN).unwrap();

        assert_eq!(secret.expose_secret(), "Zq8vT3mK1xWc7Rb5Ny2Lp9Hd4Gf6Js0A");
        assert!(env.asked().contains("KEY") && env.asked().contains("KEY_FILE"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let file = std::env::temp_dir().join(format!("flowgate-empty-{}", std::process::id()));
        std::fs::write(&file, "\n").unwrap();
        let env = Env::from_pairs([("KEY_FILE", file.to_str().unwrap())]);

        assert!(env.var("KEY").optional_secret(0).unwrap().is_none());
        assert!(env.var("KEY").secret(0).is_err());

        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn the_first_name_that_is_set_counts_and_empty_is_not_set() {
        let env = Env::from_pairs([("NEW", " "), ("OLD", "7"), ("OLDEST", "8")]);
        assert_eq!(env.var("NEW").alias("OLD").alias("OLDEST").or(1_u8), Ok(7));
        assert_eq!(env.var("LISTS").list::<u8>(), Ok(vec![]));
    }
}
