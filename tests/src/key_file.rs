//! A file of private keys, as `auth-service rotate-keys` leaves one, at the times a test wants.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use test_support::ed25519_pem;
use uuid::Uuid;

/// The file, in a folder of its own; removed with it.
#[derive(Debug)]
pub struct KeyFile {
    folder: PathBuf,
    /// Its keys, oldest first: from when on each signs, and its PEM.
    keys: Vec<(DateTime<Utc>, String)>,
}

impl KeyFile {
    /// A file of one key that signs from now on.
    pub fn create(now: DateTime<Utc>) -> Self {
        let folder = std::env::temp_dir().join(format!("flowgate-keys-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a folder can be made");
        let mut file = Self {
            folder,
            keys: Vec::new(),
        };
        file.add(now);
        file
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.join("keys.pem")
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The key that was added last.
    pub fn newest(&self) -> &str {
        self.keys.last().map_or("", |(_, pem)| pem)
    }

    /// Adds a key that signs from `signs_from` on.
    pub fn add(&mut self, signs_from: DateTime<Utc>) {
        self.keys.push((signs_from, ed25519_pem()));
        self.write();
    }

    /// Takes the oldest key away.
    pub fn drop_oldest(&mut self) {
        self.keys.remove(0);
        self.write();
    }

    fn write(&self) {
        let lines = self.keys.iter().map(|(signs_from, pem)| {
            let time = signs_from.to_rfc3339_opts(SecondsFormat::Millis, true);
            format!("# signs from: {time}\n{pem}")
        });
        let draft = self.folder.join("draft");
        std::fs::write(&draft, lines.collect::<String>()).expect("a file can be written");
        std::fs::rename(&draft, self.path()).expect("a file can be replaced");
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
