//! `rotate-keys`: adds a key that will sign, takes out those that are not needed any more. The service that runs takes
//! the change over by itself.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use common_config::Env;
use common_http::Clock;
use common_jwt::LEEWAY_SECS;
use secrecy::ExposeSecret as _;

use super::complain;
use crate::{
    config,
    domain::signing_keys::{Rotated, SigningKeyFile},
    key_file::{self, PrivateKeys},
};

/// Give access tokens a new signing key.
///
/// The new key is published at once and signs after a while, when every service knows it; the old one stays until its
/// last token has expired. Nobody is refused, nothing is restarted. The file is made when it does not exist.
#[derive(Args)]
pub(super) struct RotateKeys {
    /// The file of keys; without it the one that `JWT_PRIVATE_KEY_FILE` names.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// How many seconds the new key is published before it signs. The other services look once a minute.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(..=86_400))]
    lead_secs: u32,
    /// The old keys may be in strange hands: they go at once. Access tokens they signed are refused from then on, so
    /// every client has to refresh.
    #[arg(long)]
    leaked: bool,
}

impl RotateKeys {
    /// Rotates and says what was done.
    #[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
    pub(super) fn run(self, env: &Env) -> anyhow::Result<ExitCode> {
        let file = PrivateKeys::file_from_env(env);
        let access_life = config::access_life(env);
        let (Ok(file), Ok(access_life)) = (file, access_life) else {
            return Ok(complain(env));
        };
        let Some(path) = self.file.clone().or(file) else {
            env.mistake("JWT_PRIVATE_KEY_FILE is not set; or name the file with --file");
            return Ok(complain(env));
        };
        for line in self.rotate(&path, access_life, Clock::System.now())? {
            println!("{line}");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What was done, a line each.
    fn rotate(&self, path: &Path, access_life: Duration, now: DateTime<Utc>) -> anyhow::Result<Vec<String>> {
        let shown = path.display();
        let _lock =
            key_file::lock(path).with_context(|| format!("the folder of {shown} cannot be locked"))?;
        let old = match key_file::read(path) {
            Ok(text) => Some(
                SigningKeyFile::parse(text.expose_secret())
                    .with_context(|| format!("{shown} is left as it is"))?,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{shown} cannot be read")),
        };
        if let Some(waiting) = old
            .as_ref()
            .and_then(|file| file.waiting(now))
            .filter(|_| !self.leaked)
        {
            let from = written(waiting.signs_from.unwrap_or(now));
            return Ok(vec![format!(
                "nothing was done: key {} waits already and signs from {from}",
                waiting.key.kid()
            )]);
        }
        let is_first = old.is_none();
        let rotated = self.next(old, access_life, now)?;
        key_file::replace(path, &rotated.file.render())
            .with_context(|| format!("{shown} cannot be written"))?;
        Ok(report(&rotated, is_first))
    }

    fn next(
        &self,
        old: Option<SigningKeyFile>,
        access_life: Duration,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Rotated> {
        let pem = new_key()?;
        let keep = TimeDelta::from_std(access_life)? + TimeDelta::seconds(LEEWAY_SECS);
        let lead = TimeDelta::seconds(self.lead_secs.into());
        Ok(match old {
            None => SigningKeyFile::first(&pem, now)?,
            Some(file) if self.leaked => file.replace(&pem, now)?,
            Some(file) => file.rotate(&pem, now, lead, keep)?,
        })
    }
}

fn report(rotated: &Rotated, is_first: bool) -> Vec<String> {
    let (kid, from) = (&rotated.kid, written(rotated.signs_from));
    let made = if is_first {
        format!("key {kid} was made; it is the first and signs from {from}")
    } else {
        format!("key {kid} was added; it signs from {from}")
    };
    let dropped = rotated
        .dropped
        .iter()
        .map(|kid| format!("key {kid} was taken out"));
    [made].into_iter().chain(dropped).collect()
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A new Ed25519 private key in PKCS#8 PEM form.
fn new_key() -> anyhow::Result<String> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).context("no key could be made")?;
    Ok(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(pkcs8)
    ))
}
