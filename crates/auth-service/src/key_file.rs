//! Where the keys that sign access tokens come from: `JWT_PRIVATE_KEY`, or the file that `JWT_PRIVATE_KEY_FILE` names.
//! Blocking; what the keys mean is `domain::signing_keys`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use common_config::{Env, Invalid};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::signing_keys::SigningKeyFile;

/// Sixteen keys with room for remarks.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Only the owner may read a key.
const MODE: u32 = 0o600;

/// Where private keys are configured.
#[derive(Clone, Debug)]
pub enum PrivateKeys {
    /// In the variable itself; they cannot change while the service runs.
    Text(SecretString),
    /// In a file, which is read again when it changes.
    File(PathBuf),
}

impl PrivateKeys {
    /// From `JWT_PRIVATE_KEY` or `JWT_PRIVATE_KEY_FILE`; what cannot be used is a mistake.
    pub(crate) fn from_env(env: &Env) -> Result<Option<Self>, Invalid> {
        let text = env.var("JWT_PRIVATE_KEY").optional::<String>()?;
        let file = Self::file_from_env(env)?;
        let (name, keys) = match (text, file) {
            (None, None) => return Ok(None),
            // Files of variables have no lines in a value; `\n` stands for their ends.
            (Some(text), None) => ("JWT_PRIVATE_KEY", Self::Text(text.replace("\\n", "\n").into())),
            (None, Some(path)) => ("JWT_PRIVATE_KEY_FILE", Self::File(path)),
            (Some(_), Some(_)) => {
                return Err(env.mistake("JWT_PRIVATE_KEY and JWT_PRIVATE_KEY_FILE are both set; keep one"));
            }
        };
        match keys.load() {
            Ok(_) => Ok(Some(keys)),
            Err(error) => Err(env.mistake(format!("{name} cannot be used: {error:#}"))),
        }
    }

    /// The file alone, which may not exist yet.
    pub(crate) fn file_from_env(env: &Env) -> Result<Option<PathBuf>, Invalid> {
        env.var("JWT_PRIVATE_KEY_FILE").optional()
    }

    /// Reads the keys.
    pub(crate) fn load(&self) -> anyhow::Result<SigningKeyFile> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => read(path).context("the file cannot be read")?,
        };
        Ok(SigningKeyFile::parse(text.expose_secret())?)
    }
}

/// The text of a file of keys.
pub(crate) fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than any file of keys"));
    }
    Ok(text.into())
}

/// Keeps others who rotate from doing so at the same time, until it is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let folder = File::open(folder_of(path))?;
    folder.lock()?;
    Ok(folder)
}

/// Replaces a file, or makes it: whoever reads it finds the old text or the new one, whole, whatever happens meanwhile.
/// The new file belongs to whom the old one belonged, so that the service can read what an administrator wrote. For
/// holders of the [`lock`].
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one: what it points to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&path);
    let owner = fs::metadata(&path).or_else(|_| fs::metadata(folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.draft"));
    // Of somebody who was killed: whoever writes holds the lock.
    let _ = fs::remove_file(&draft);
    let written = write_new(&draft, text, &owner).and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, text: &str, owner: &fs::Metadata) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
