//! `accounting-service rebuild-rollups`: the sums of usage, made anew from the usage log.

use std::io::Write;

use anyhow::Context as _;
use secrecy::SecretString;

use crate::store;

/// Corrects every sum that is not what the usage log says and writes what was done to `out`. Returns whether it was done:
/// not when somebody else is at it.
pub async fn rebuild_rollups(url: &SecretString, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut connection = store::connect(url)
        .await
        .context("the database cannot be reached")?;
    let Some(corrected) = store::rebuild_rollups(&mut connection).await? else {
        writeln!(out, "another rebuild is running")?;
        return Ok(false);
    };
    writeln!(
        out,
        "{} days gone through; {} sums of users and {} totals were corrected",
        corrected.days, corrected.sums, corrected.totals
    )?;
    Ok(true)
}
