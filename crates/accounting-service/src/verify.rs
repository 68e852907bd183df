//! `accounting-service verify`: are the ledger's invariants true?

use std::io::Write;

use anyhow::Context as _;
use secrecy::SecretString;

use crate::store::{check_invariants, connect};

/// Checks every invariant and writes one line for each to `out`, and one for each that is violated with what breaks it.
/// Returns whether all of them hold.
pub async fn verify(url: &SecretString, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut connection = connect(url).await.context("the database cannot be reached")?;
    let (findings, unsafe_settings) = check_invariants(&mut connection).await?;
    writeln!(out, "{:<4} {:>12} {:>11}  statement", "", "checked", "violations")?;
    for finding in &findings {
        writeln!(
            out,
            "{:<4} {:>12} {:>11}  {}",
            finding.invariant, finding.checked, finding.violations, finding.statement
        )?;
        if let Some(example) = &finding.example {
            writeln!(out, "{:>31}not so: {example}", "")?;
        }
    }
    for setting in unsafe_settings {
        writeln!(
            out,
            "note: {setting} is off; a crash of the machine can undo what was acknowledged"
        )?;
    }
    let violated = findings.iter().filter(|finding| finding.violations > 0).count();
    if violated == 0 {
        writeln!(out, "all invariants hold")?;
    } else {
        writeln!(out, "{violated} of {} checks failed", findings.len())?;
    }
    Ok(violated == 0)
}
