//! The ledger's invariants as questions to the database. Each counts what it looked at and what is wrong; nothing is
//! loaded, so the size of the tables does not matter.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::rollups::compare_rollups;
use crate::error::Result;

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant: `I1` to `I7`, or `R1` to `R4` for the sums of usage.
    pub invariant: &'static str,
    /// What it says.
    pub statement: &'static str,
    /// How many rows were looked at.
    pub checked: i64,
    /// How many of them break it.
    pub violations: i64,
}

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    checked: i64,
    #[diesel(sql_type = BigInt)]
    violations: i64,
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Name, statement, and a query for (checked, violations).
const CHECKS: [(&str, &str, &str); 11] = [
    (
        "I1",
        "the ledger's amounts of an account add up to what remains in its allocations",
        "SELECT count(*) AS checked, count(*) FILTER (WHERE ledger <> remaining) AS violations
         FROM (SELECT user_id, coalesce(l.total, 0) AS ledger, coalesce(a.total, 0) AS remaining
               FROM user_accounts
               LEFT JOIN (SELECT user_id, sum(amount) AS total FROM credit_transactions GROUP BY user_id) l
                   USING (user_id)
               LEFT JOIN (SELECT user_id, sum(remaining_credits) AS total FROM credit_allocations GROUP BY user_id) a
                   USING (user_id)) AS accounts",
    ),
    (
        "I1",
        "the ledger's draws on an allocation add up to what remains in it",
        "SELECT count(*) AS checked,
                count(*) FILTER (WHERE coalesce(drawn, 0) IS DISTINCT FROM remaining_credits) AS violations
         FROM credit_allocations
         FULL JOIN (SELECT (draw ->> 'allocation')::uuid AS id, sum((draw ->> 'credits')::bigint) AS drawn
                    FROM credit_transactions, jsonb_array_elements(draws) AS draw GROUP BY 1) AS drawn USING (id)",
    ),
    (
        "I1",
        "a ledger entry's amount is the sum of its draws",
        "SELECT count(*) AS checked,
                count(*) FILTER (WHERE amount <> (SELECT coalesce(sum((draw ->> 'credits')::bigint), 0)
                                                  FROM jsonb_array_elements(draws) AS draw)) AS violations
         FROM credit_transactions",
    ),
    (
        "I2",
        "what remains in an allocation is between nothing and what it began with",
        "SELECT count(*) AS checked,
                count(*) FILTER (WHERE remaining_credits NOT BETWEEN 0 AND total_credits) AS violations
         FROM credit_allocations",
    ),
    (
        "I3",
        "a hold is open, or was captured, voided or expired exactly once",
        "SELECT count(*) AS checked,
                count(*) FILTER (WHERE coalesce(made, 0) <> 1 OR coalesce(ended, '{}') <> CASE status
                    WHEN 'open' THEN '{}' WHEN 'captured' THEN '{capture}'
                    WHEN 'voided' THEN '{void}' ELSE '{expire}' END::text[]) AS violations
         FROM streaming_sessions s
         LEFT JOIN (SELECT hold_id AS id, count(*) FILTER (WHERE kind = 'hold') AS made,
                           coalesce(array_agg(kind) FILTER (WHERE kind <> 'hold'), '{}') AS ended
                    FROM credit_transactions WHERE hold_id IS NOT NULL GROUP BY hold_id) AS entries USING (id)",
    ),
    (
        "I4",
        "no more is captured than was held, and the rest went back",
        "SELECT count(*) AS checked,
                count(*) FILTER (WHERE captured_credits NOT BETWEEN 0 AND held_credits
                    OR -net IS DISTINCT FROM CASE status WHEN 'open' THEN held_credits ELSE captured_credits END)
                    AS violations
         FROM streaming_sessions s
         LEFT JOIN (SELECT hold_id AS id, sum(amount) AS net FROM credit_transactions
                    WHERE hold_id IS NOT NULL GROUP BY hold_id) AS entries USING (id)",
    ),
    (
        "I5",
        "a command that changed credits answers at most one idempotency key",
        "SELECT coalesce(sum(keys), 0)::bigint AS checked, count(*) FILTER (WHERE keys > 1) AS violations
         FROM (SELECT count(*) AS keys FROM idempotency_keys WHERE command_id IS NOT NULL GROUP BY command_id) AS used",
    ),
    (
        "I6",
        "an answer that was given and remembered has its entry in the ledger",
        "SELECT count(*) AS checked, count(*) FILTER (WHERE t.id IS NULL) AS violations
         FROM idempotency_keys k LEFT JOIN credit_transactions t ON t.id = k.command_id
         WHERE k.command_id IS NOT NULL",
    ),
    (
        "I6",
        "an allocation that exists was granted by the ledger exactly once",
        "SELECT count(*) AS checked, count(*) FILTER (WHERE coalesce(grants, 0) <> 1) AS violations
         FROM credit_allocations a
         LEFT JOIN (SELECT (draw ->> 'allocation')::uuid AS id, count(*) AS grants
                    FROM credit_transactions, jsonb_array_elements(draws) AS draw
                    WHERE kind IN ('allocate', 'adjust', 'set') AND (draw ->> 'credits')::bigint > 0
                    GROUP BY 1) AS granted USING (id)",
    ),
    (
        "I7",
        "a captured hold has exactly one usage record, of what was captured",
        "SELECT count(*) AS checked,
                count(*) FILTER (WHERE records IS DISTINCT FROM 1 OR credits <> captured_credits) AS violations
         FROM streaming_sessions s
         LEFT JOIN (SELECT hold_id AS id, count(*) AS records, sum(credits) AS credits FROM usage_logs
                    WHERE hold_id IS NOT NULL GROUP BY hold_id) AS used USING (id)
         WHERE status = 'captured'",
    ),
    (
        "I7",
        "a usage record that names a hold names a captured one",
        "SELECT count(*) AS checked, count(*) FILTER (WHERE s.status <> 'captured') AS violations
         FROM usage_logs u JOIN streaming_sessions s ON s.id = u.hold_id",
    ),
];

/// Settings without which a commit that was answered may be lost with the machine.
const UNSAFE_SETTINGS: &str = "
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off' ORDER BY name";

/// Checks every invariant in one snapshot, so that a service at work does not disturb. The second result names the
/// server's settings that make commits less than durable.
pub async fn check_invariants(connection: &mut AsyncPgConnection) -> Result<(Vec<Finding>, Vec<String>)> {
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection| {
            let mut findings = Vec::new();
            for (invariant, statement, query) in CHECKS {
                let counts: Counts = diesel::sql_query(query).get_result(connection).await?;
                findings.push(Finding {
                    invariant,
                    statement,
                    checked: counts.checked,
                    violations: counts.violations,
                });
            }
            findings.extend(compare_rollups(connection).await?);
            let settings: Vec<Setting> = diesel::sql_query(UNSAFE_SETTINGS).load(connection).await?;
            Ok((
                findings,
                settings.into_iter().map(|setting| setting.name).collect(),
            ))
        })
        .await
}
