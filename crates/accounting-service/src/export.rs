//! `accounting-service export-ledger`: the whole ledger as text, account by account, as it was at one moment.

use std::io::Write;

use anyhow::Context as _;
use chrono::SecondsFormat;
use secrecy::SecretString;
use serde_json::json;

use crate::{
    domain::{
        csv::{harmless, push_line},
        ids::UserId,
    },
    store::{LedgerExport, Transaction},
};

/// Entries held in memory at once.
const PAGE: i64 = 2_000;

/// How the ledger is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table that spreadsheets open.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

const COLUMNS: [&str; 11] = [
    "id",
    "userId",
    "type",
    "amount",
    "balanceAfter",
    "description",
    "actor",
    "requestId",
    "sessionId",
    "draws",
    "createdAt",
];

/// Writes every entry, or those of one account, to `out`. Returns how many there were.
pub async fn export(
    url: &SecretString,
    format: Format,
    user_id: Option<UserId>,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let mut ledger = LedgerExport::begin(url, user_id)
        .await
        .context("the database cannot be reached")?;
    let mut text = String::new();
    if format == Format::Csv {
        push_line(&mut text, COLUMNS);
    }
    let mut count = 0;
    loop {
        let page = ledger.next_page(PAGE).await?;
        for row in &page {
            match format {
                Format::Csv => push_row(&mut text, row),
                Format::Jsonl => push_object(&mut text, row),
            }
            count += 1;
        }
        out.write_all(text.as_bytes())?;
        text.clear();
        if page.is_empty() {
            out.flush()?;
            return Ok(count);
        }
    }
}

fn push_row(text: &mut String, row: &Transaction) {
    push_line(
        text,
        [
            row.id.to_string().as_str(),
            &row.user_id,
            &row.kind,
            &row.amount.to_string(),
            &row.balance_after.to_string(),
            &harmless(row.description.as_deref().unwrap_or_default()),
            &row.actor,
            &harmless(&row.request_id),
            &harmless(row.session_id.as_deref().unwrap_or_default()),
            &row.draws.to_string(),
            &row.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        ],
    );
}

fn push_object(text: &mut String, row: &Transaction) {
    let object = json!({
        "id": row.id,
        "userId": row.user_id,
        "type": row.kind,
        "amount": row.amount,
        "balanceAfter": row.balance_after,
        "description": row.description,
        "actor": row.actor,
        "requestId": row.request_id,
        "sessionId": row.session_id,
        "draws": row.draws,
        "createdAt": row.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
    });
    text.push_str(&object.to_string());
    text.push('\n');
}
