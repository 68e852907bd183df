//! What has to be true of the ledger, each as a query that looks at every row it speaks of.
//!
//! Accounts are gone through in steps, in one snapshot, so that neither this program nor the server holds more than a
//! step in memory, however large the ledger is; and a service at work does not disturb.

use diesel::{
    QueryResult, QueryableByName,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::rollups;
use crate::error::Result;

/// Accounts looked at together.
const ACCOUNTS_PER_STEP: i64 = 1_000;

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
    /// One of those that break it.
    pub example: Option<String>,
}

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    checked: i64,
    #[diesel(sql_type = BigInt)]
    violations: i64,
    #[diesel(sql_type = Nullable<Text>)]
    example: Option<String>,
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Nullable<Text>)]
    last: Option<String>,
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    name: String,
}

/// One thing that has to be true.
pub(super) struct Check {
    invariant: &'static str,
    statement: &'static str,
    /// Yields (subject, broken) for every row there is; of accounts above `$1` up to `$2`.
    query: &'static str,
}

pub(super) const fn check(invariant: &'static str, statement: &'static str, query: &'static str) -> Check {
    Check {
        invariant,
        statement,
        query,
    }
}

/// Checks that are made account by account.
const OF_ACCOUNTS: [Check; 10] = [
    check(
        "I1",
        "the ledger's amounts of an account add up to what remains in its allocations",
        "SELECT 'account ' || user_id AS subject, coalesce(l.total, 0) <> coalesce(a.total, 0) AS broken
         FROM user_accounts u
         LEFT JOIN LATERAL (SELECT sum(amount) AS total FROM credit_transactions WHERE user_id = u.user_id) l ON true
         LEFT JOIN LATERAL (SELECT sum(remaining_credits) AS total FROM credit_allocations
                            WHERE user_id = u.user_id) a ON true
         WHERE user_id > $1 AND user_id <= $2",
    ),
    check(
        "I1",
        "the ledger's draws on an allocation add up to what remains in it",
        "SELECT 'allocation ' || id AS subject, coalesce(drawn, 0) IS DISTINCT FROM remaining_credits AS broken
         FROM (SELECT user_id, id, remaining_credits FROM credit_allocations
               WHERE user_id > $1 AND user_id <= $2) AS allocations
         FULL JOIN (SELECT user_id, (draw ->> 'allocation')::uuid AS id, sum((draw ->> 'credits')::bigint) AS drawn
                    FROM credit_transactions, jsonb_array_elements(draws) AS draw
                    WHERE user_id > $1 AND user_id <= $2 GROUP BY 1, 2) AS drawn USING (user_id, id)",
    ),
    check(
        "I1",
        "a ledger entry's amount is the sum of its draws",
        "SELECT 'entry ' || id AS subject,
                amount <> (SELECT coalesce(sum((draw ->> 'credits')::bigint), 0)
                           FROM jsonb_array_elements(draws) AS draw) AS broken
         FROM credit_transactions WHERE user_id > $1 AND user_id <= $2",
    ),
    check(
        "I1",
        "a ledger entry's balance is the sum of the amounts up to it",
        "SELECT 'entry ' || id AS subject, balance_after <> running AS broken
         FROM (SELECT id, seq, balance_after, sum(amount) OVER (PARTITION BY user_id ORDER BY seq) AS running
               FROM credit_transactions WHERE user_id > $1 AND user_id <= $2) AS entries
         JOIN ledger_state ON seq > chained_after",
    ),
    check(
        "I2",
        "what remains in an allocation is between nothing and what it began with",
        "SELECT 'allocation ' || id AS subject, remaining_credits NOT BETWEEN 0 AND total_credits AS broken
         FROM credit_allocations WHERE user_id > $1 AND user_id <= $2",
    ),
    check(
        "I3",
        "a hold is open, or was captured, voided or expired exactly once",
        "SELECT 'hold ' || s.id AS subject,
                coalesce(made, 0) <> 1 OR coalesce(ended, '{}') <> CASE status
                    WHEN 'open' THEN '{}' WHEN 'captured' THEN '{capture}'
                    WHEN 'voided' THEN '{void}' ELSE '{expire}' END::text[] AS broken
         FROM streaming_sessions s
         LEFT JOIN (SELECT hold_id AS id, count(*) FILTER (WHERE kind = 'hold') AS made,
                           coalesce(array_agg(kind) FILTER (WHERE kind <> 'hold'), '{}') AS ended
                    FROM credit_transactions
                    WHERE hold_id IS NOT NULL AND kind <> 'write_off' AND user_id > $1 AND user_id <= $2
                    GROUP BY hold_id) AS entries USING (id)
         WHERE user_id > $1 AND user_id <= $2",
    ),
    check(
        "I4",
        "no more is captured than was held, and the rest went back",
        "SELECT 'hold ' || s.id AS subject,
                captured_credits NOT BETWEEN 0 AND held_credits
                    OR -net IS DISTINCT FROM CASE status WHEN 'open' THEN held_credits ELSE captured_credits END
                    AS broken
         FROM streaming_sessions s
         LEFT JOIN (SELECT hold_id AS id, sum(amount) AS net FROM credit_transactions
                    WHERE hold_id IS NOT NULL AND kind <> 'write_off' AND user_id > $1 AND user_id <= $2
                    GROUP BY hold_id) AS entries USING (id)
         WHERE user_id > $1 AND user_id <= $2",
    ),
    check(
        "I6",
        "an allocation that exists was granted by the ledger exactly once",
        "SELECT 'allocation ' || a.id AS subject, coalesce(grants, 0) <> 1 AS broken
         FROM credit_allocations a
         LEFT JOIN (SELECT (draw ->> 'allocation')::uuid AS id, count(*) AS grants
                    FROM credit_transactions, jsonb_array_elements(draws) AS draw
                    WHERE kind IN ('allocate', 'adjust', 'set') AND (draw ->> 'credits')::bigint > 0
                        AND user_id > $1 AND user_id <= $2
                    GROUP BY 1) AS granted USING (id)
         WHERE user_id > $1 AND user_id <= $2",
    ),
    check(
        "I7",
        "a captured hold has exactly one usage record, of what was captured",
        "SELECT 'hold ' || s.id AS subject,
                records IS DISTINCT FROM 1 OR credits <> captured_credits AS broken
         FROM streaming_sessions s
         LEFT JOIN (SELECT hold_id AS id, count(*) AS records, sum(credits) AS credits FROM usage_logs
                    WHERE hold_id IS NOT NULL AND user_id > $1 AND user_id <= $2 GROUP BY hold_id) AS used USING (id)
         WHERE status = 'captured' AND user_id > $1 AND user_id <= $2",
    ),
    check(
        "I7",
        "a usage record that names a hold names a captured one of the same account",
        "SELECT 'usage record ' || u.id AS subject, s.status <> 'captured' OR s.user_id <> u.user_id AS broken
         FROM usage_logs u JOIN streaming_sessions s ON s.id = u.hold_id
         WHERE u.user_id > $1 AND u.user_id <= $2",
    ),
];

/// Checks of what is remembered, which is never more than a day's.
const OF_ANSWERS: [Check; 2] = [
    check(
        "I5",
        "a command that changed credits answers at most one idempotency key",
        "SELECT 'entry ' || command_id AS subject, count(*) > 1 AS broken
         FROM idempotency_keys WHERE command_id IS NOT NULL GROUP BY command_id",
    ),
    check(
        "I6",
        "an answer that was given and remembered has its entry in the ledger",
        "SELECT 'entry ' || k.command_id AS subject, t.id IS NULL AS broken
         FROM idempotency_keys k LEFT JOIN credit_transactions t ON t.id = k.command_id
         WHERE k.command_id IS NOT NULL",
    ),
];

/// The last account of the next step, behind them those of sums that belong to no account; none when all have been seen.
const NEXT_STEP: &str = "
    SELECT coalesce(
        (SELECT max(user_id) FROM
            (SELECT user_id FROM user_accounts WHERE user_id > $1 ORDER BY user_id LIMIT $2) AS step),
        greatest(
            (SELECT max(user_id) FROM usage_daily WHERE user_id > $1),
            (SELECT max(user_id) FROM usage_user_days WHERE user_id > $1),
            (SELECT max(user_id) FROM usage_monthly WHERE user_id > $1))) AS last";

/// Settings without which a commit that was answered may be lost with the machine.
const UNSAFE_SETTINGS: &str = "
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off' ORDER BY name";

/// Checks every invariant. The second result names the server's settings that make commits less than durable.
pub async fn check_invariants(connection: &mut AsyncPgConnection) -> Result<(Vec<Finding>, Vec<String>)> {
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection| {
            let by_account: Vec<&Check> = OF_ACCOUNTS.iter().chain(&rollups::OF_ACCOUNTS).collect();
            let at_once: Vec<&Check> = OF_ANSWERS.iter().chain([&rollups::OF_ALL]).collect();
            let all = by_account.iter().chain(&at_once);
            let mut findings: Vec<_> = all.map(|check| Finding::of(check)).collect();
            let (of_accounts, of_the_rest) = findings.split_at_mut(by_account.len());
            let mut after = String::new();
            while let Some(last) = next_step(connection, &after).await? {
                for (check, finding) in by_account.iter().zip(&mut *of_accounts) {
                    let query = diesel::sql_query(counting(check.query))
                        .bind::<Text, _>(&after)
                        .bind::<Text, _>(&last);
                    finding.add(query.get_result(connection).await?);
                }
                after = last;
            }
            for (check, finding) in at_once.iter().zip(of_the_rest) {
                let query = diesel::sql_query(counting(check.query));
                finding.add(query.get_result(connection).await?);
            }
            findings.sort_by_key(|finding| finding.invariant);
            let settings: Vec<Setting> = diesel::sql_query(UNSAFE_SETTINGS).load(connection).await?;
            Ok((
                findings,
                settings.into_iter().map(|setting| setting.name).collect(),
            ))
        })
        .await
}

async fn next_step(connection: &mut AsyncPgConnection, after: &str) -> QueryResult<Option<String>> {
    let step: Step = diesel::sql_query(NEXT_STEP)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(ACCOUNTS_PER_STEP)
        .get_result(connection)
        .await?;
    Ok(step.last)
}

fn counting(query: &str) -> String {
    format!(
        "SELECT count(*) AS checked, count(*) FILTER (WHERE broken) AS violations,
                min(subject) FILTER (WHERE broken) AS example
         FROM ({query}) AS looked_at"
    )
}

impl Finding {
    fn of(check: &Check) -> Self {
        Self {
            invariant: check.invariant,
            statement: check.statement,
            checked: 0,
            violations: 0,
            example: None,
        }
    }

    fn add(&mut self, counts: Counts) {
        self.checked += counts.checked;
        self.violations += counts.violations;
        if self.example.is_none() {
            self.example = counts.example;
        }
    }
}
