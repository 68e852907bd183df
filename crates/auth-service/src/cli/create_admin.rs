//! `create-admin`: makes an administrator, for the first day and for the day when nobody can sign in any more. It
//! promotes nobody: a name or an address that exists is refused.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use common_config::Env;
use common_jwt::Role;
use rand::distr::{Alphanumeric, SampleString as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::spawn_blocking;

use crate::{
    Config,
    app::Offline,
    service::accounts::{Beginning, NewAccount, Verification},
};

/// 24 letters and digits: more than 140 bits.
const GENERATED_CHARS: usize = 24;

/// Whom to make.
#[derive(Args)]
pub(super) struct CreateAdmin {
    /// The name: 3 to 30 characters.
    #[arg(long)]
    username: String,
    /// The address, which counts as proven.
    #[arg(long)]
    email: String,
    /// A file whose first line is the password; or set `ADMIN_PASSWORD_FILE`. Asked for on a terminal otherwise.
    #[arg(long, conflicts_with = "generate")]
    password_file: Option<PathBuf>,
    /// Make a password up and print it, once.
    #[arg(long)]
    generate: bool,
}

/// Makes the administrator.
pub(super) async fn run(env: &Env, config: Config, admin: CreateAdmin) -> anyhow::Result<ExitCode> {
    let file = match (&admin.password_file, admin.generate) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => None,
        (None, false) => env.var("ADMIN_PASSWORD_FILE").optional().ok().flatten(),
    };
    let generate = admin.generate;
    let password = spawn_blocking(move || password(file, generate)).await??;
    let account = NewAccount::parse(&admin.username, &admin.email, password.clone())
        .map_err(|error| anyhow::anyhow!("{}", error.problem().detail()))?;
    let offline = Offline::open(&config).await?;
    let made = offline
        .accounts
        .create(
            account,
            Beginning::with(Role::Admin, Verification::Vouched),
            None,
            None,
        )
        .await;
    let user = made.map_err(|error| anyhow::anyhow!("{}", error.problem().detail()))?;
    let mut out = io::stdout().lock();
    writeln!(out, "the admin {} was made: {}", user.username, user.id)?;
    if generate {
        writeln!(out, "password: {}", password.expose_secret())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn password(file: Option<PathBuf>, generate: bool) -> anyhow::Result<SecretString> {
    if generate {
        return Ok(Alphanumeric
            .sample_string(&mut rand::rng(), GENERATED_CHARS)
            .into());
    }
    if let Some(file) = file {
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        return Ok(text.lines().next().unwrap_or_default().into());
    }
    anyhow::ensure!(
        io::stdin().is_terminal(),
        "there is no terminal to ask for a password: give --password-file or --generate"
    );
    let password = rpassword::prompt_password("Password: ")?;
    anyhow::ensure!(
        password == rpassword::prompt_password("The same again: ")?,
        "the two passwords differ"
    );
    Ok(password.into())
}
