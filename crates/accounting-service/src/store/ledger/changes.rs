//! Everything a batch changes, gathered column by column and written in one trip.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult,
    result::DatabaseErrorKind,
    sql_query,
    sql_types::{Array, BigInt, Bool, Bytea, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use futures_util::join;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LedgerConnection, Prepared, RememberedRow, rule_grants::RuleGrantRow, statements};
use crate::{
    domain::{
        ids::{Actor, UserId},
        ledger::{Entry, Grant, Hold, HoldStatus, Kind, Outcome},
        notice::Noticed,
        usage::UsageRecord,
    },
    error::Error,
    store::sessions::stored_draws,
};

/// A row of the ledger: an entry, and who wanted it why.
#[derive(Clone, Debug)]
pub struct LedgerRow {
    /// The command's own id.
    pub id: Uuid,
    /// Whose account.
    pub user_id: UserId,
    /// What happened.
    pub entry: Entry,
    /// Why, in words.
    pub description: Option<String>,
    /// Who wanted it.
    pub actor: Actor,
    /// The request it came with.
    pub request_id: String,
}

/// Everything a batch changes.
#[derive(Debug, Default)]
pub struct Changes {
    grants: Vec<(UserId, Grant)>,
    /// Differences per allocation.
    moves: BTreeMap<Uuid, i64>,
    opened: Vec<Hold>,
    settled: Vec<Hold>,
    usage: Vec<UsageRecord>,
    rows: Vec<LedgerRow>,
    remembered: Vec<RememberedRow>,
    /// Accounts of which something was written off.
    lapsed: BTreeSet<UserId>,
    closed: Vec<UserId>,
    pub(super) claims: Vec<RuleGrantRow>,
    /// What is to be told of it.
    pub noticed: Noticed,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.remembered.is_empty()
    }

    /// The entries that will be in the ledger.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.rows.iter().map(|row| &row.entry)
    }

    /// Adds what one command did. `rows` are its lines in the ledger, if it has any.
    pub fn add(&mut self, user_id: &UserId, outcome: &Outcome, rows: Vec<LedgerRow>) {
        if rows.is_empty() {
            return;
        }
        for entry in rows.iter().map(|row| &row.entry) {
            for movement in &entry.movements {
                *self.moves.entry(movement.allocation_id).or_default() += movement.credits;
            }
            if entry.kind == Kind::WriteOff {
                self.lapsed.insert(user_id.clone());
            }
        }
        self.rows.extend(rows);
        self.closed.extend(outcome.closed.then(|| user_id.clone()));
        self.grants
            .extend(outcome.granted.clone().map(|grant| (user_id.clone(), grant)));
        self.usage.extend(outcome.usage.clone());
        if let Some(hold) = &outcome.hold {
            let list = if hold.status == HoldStatus::Open {
                &mut self.opened
            } else {
                &mut self.settled
            };
            list.push(hold.clone());
        }
    }

    /// Adds what an automatic grant claims.
    pub fn claim(&mut self, row: RuleGrantRow) {
        self.claims.push(row);
    }

    /// Adds an answer to be remembered.
    pub fn remember(&mut self, row: RememberedRow) {
        self.remembered.push(row);
    }
}

/// Why a commit failed, and whether it is known that it did.
#[derive(Debug)]
pub enum CommitError {
    /// The server refused a statement, so the transaction is undone.
    Undone(Error),
    /// The connection broke. Nobody knows.
    InDoubt(Error),
}

/// Whether the server itself said no: then the transaction is aborted, and its commit becomes a rollback.
fn is_from_server(error: &diesel::result::Error) -> bool {
    let diesel::result::Error::DatabaseError(kind, _) = error else {
        return false;
    };
    !matches!(
        kind,
        DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection
    )
}

impl LedgerConnection {
    /// Writes everything and commits.
    pub async fn commit(&self, changes: &Changes, now: DateTime<Utc>) -> Result<(), CommitError> {
        // Polled, and so sent, in this order: rows before what refers to them.
        let (
            grants,
            moves,
            opened,
            settled,
            usage,
            rows,
            remembered,
            lapsed,
            closed,
            claims,
            notices,
            commit,
        ) = join!(
            self.insert_allocations(&changes.grants, now),
            self.move_credits(&changes.moves),
            self.insert_sessions(&changes.opened, now),
            self.settle_sessions(&changes.settled, now),
            self.insert_usage(&changes.usage, now),
            self.insert_transactions(&changes.rows, now),
            self.insert_keys(&changes.remembered, now),
            self.touch_accounts(statements::MARK_LAPSED, &changes.lapsed, now),
            self.touch_accounts(statements::CLOSE_ACCOUNTS, &changes.closed, now),
            self.insert_claims(&changes.claims, now),
            self.insert_notices(&changes.noticed, now),
            async {
                let connection = &self.connection;
                Prepared(sql_query(statements::COMMIT))
                    .execute(&mut &*connection)
                    .await
            },
        );
        for written in [
            grants, moves, opened, settled, usage, rows, remembered, lapsed, closed, claims, notices,
        ] {
            if let Err(error) = written {
                return Err(if is_from_server(&error) {
                    CommitError::Undone(error.into())
                } else {
                    CommitError::InDoubt(error.into())
                });
            }
        }
        match commit {
            Ok(_) => Ok(()),
            Err(error) => Err(CommitError::InDoubt(error.into())),
        }
    }

    /// New allocations begin empty and are filled by `move_credits`, as all are.
    async fn insert_allocations(&self, grants: &[(UserId, Grant)], now: DateTime<Utc>) -> QueryResult<usize> {
        if grants.is_empty() {
            return Ok(0);
        }
        let column =
            |value: fn(&Grant) -> i64| grants.iter().map(|(_, grant)| value(grant)).collect::<Vec<_>>();
        let ids: Vec<Uuid> = grants.iter().map(|(_, grant)| grant.id).collect();
        let users: Vec<&str> = grants.iter().map(|(user, _)| user.as_str()).collect();
        let givers: Vec<&str> = grants
            .iter()
            .map(|(_, grant)| grant.allocated_by.as_str())
            .collect();
        let notes: Vec<Option<&str>> = grants.iter().map(|(_, grant)| grant.notes.as_deref()).collect();
        let expiries: Vec<DateTime<Utc>> = grants.iter().map(|(_, grant)| grant.expires_at).collect();
        let query = sql_query(statements::INSERT_ALLOCATIONS)
            .bind::<Array<SqlUuid>, _>(ids)
            .bind::<Array<Text>, _>(users)
            .bind::<Array<BigInt>, _>(column(|grant| grant.credits.get()))
            .bind::<Array<Text>, _>(givers)
            .bind::<Array<Nullable<Text>>, _>(notes)
            .bind::<Timestamptz, _>(now)
            .bind::<Array<Timestamptz>, _>(expiries);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn move_credits(&self, moves: &BTreeMap<Uuid, i64>) -> QueryResult<usize> {
        let (ids, credits): (Vec<Uuid>, Vec<i64>) = moves
            .iter()
            .filter(|(_, credits)| **credits != 0)
            .map(|(id, credits)| (*id, *credits))
            .unzip();
        if ids.is_empty() {
            return Ok(0);
        }
        let query = sql_query(statements::MOVE_CREDITS)
            .bind::<Array<SqlUuid>, _>(ids)
            .bind::<Array<BigInt>, _>(credits);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn insert_sessions(&self, holds: &[Hold], now: DateTime<Utc>) -> QueryResult<usize> {
        if holds.is_empty() {
            return Ok(0);
        }
        let text = |value: fn(&Hold) -> &str| holds.iter().map(value).collect::<Vec<_>>();
        let number = |value: fn(&Hold) -> i64| holds.iter().map(value).collect::<Vec<_>>();
        let query = sql_query(statements::INSERT_SESSIONS)
            .bind::<Array<SqlUuid>, _>(holds.iter().map(|hold| hold.id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(text(|hold| hold.key.owner.as_str()))
            .bind::<Array<Text>, _>(text(|hold| &hold.key.session_id))
            .bind::<Array<Text>, _>(text(|hold| hold.user_id.as_str()))
            .bind::<Array<Text>, _>(text(|hold| &hold.model_id))
            .bind::<Array<BigInt>, _>(number(|hold| hold.estimated.get()))
            .bind::<Array<BigInt>, _>(number(|hold| hold.held.get()))
            .bind::<Array<Jsonb>, _>(
                holds
                    .iter()
                    .map(|hold| stored_draws(&hold.draws))
                    .collect::<Vec<_>>(),
            )
            .bind::<Timestamptz, _>(now)
            .bind::<Array<Timestamptz>, _>(holds.iter().map(|hold| hold.expires_at).collect::<Vec<_>>())
            .bind::<Array<Nullable<SqlUuid>>, _>(holds.iter().map(|hold| hold.price_id).collect::<Vec<_>>());
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn settle_sessions(&self, holds: &[Hold], now: DateTime<Utc>) -> QueryResult<usize> {
        if holds.is_empty() {
            return Ok(0);
        }
        let query = sql_query(statements::SETTLE_SESSIONS)
            .bind::<Array<SqlUuid>, _>(holds.iter().map(|hold| hold.id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(holds.iter().map(|hold| hold.status.as_str()).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(holds.iter().map(|hold| hold.captured.get()).collect::<Vec<_>>())
            .bind::<Array<Nullable<Bool>>, _>(holds.iter().map(|hold| hold.succeeded).collect::<Vec<_>>())
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn insert_usage(&self, records: &[UsageRecord], now: DateTime<Utc>) -> QueryResult<usize> {
        if records.is_empty() {
            return Ok(0);
        }
        let text = |value: fn(&UsageRecord) -> &str| records.iter().map(value).collect::<Vec<_>>();
        let metadata = records
            .iter()
            .map(|record| Value::Object(record.metadata.clone()));
        let query = sql_query(statements::INSERT_USAGE)
            .bind::<Array<SqlUuid>, _>(records.iter().map(|record| record.id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(text(|record| record.user_id.as_str()))
            .bind::<Array<Text>, _>(text(|record| &record.service))
            .bind::<Array<Text>, _>(text(|record| &record.operation))
            .bind::<Array<BigInt>, _>(
                records
                    .iter()
                    .map(|record| record.credits.get())
                    .collect::<Vec<_>>(),
            )
            .bind::<Array<Jsonb>, _>(metadata.collect::<Vec<_>>())
            .bind::<Array<Nullable<SqlUuid>>, _>(
                records.iter().map(|record| record.hold_id).collect::<Vec<_>>(),
            )
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn insert_transactions(&self, rows: &[LedgerRow], now: DateTime<Utc>) -> QueryResult<usize> {
        if rows.is_empty() {
            return Ok(0);
        }
        let text = |value: fn(&LedgerRow) -> &str| rows.iter().map(value).collect::<Vec<_>>();
        let number = |value: fn(&Entry) -> i64| rows.iter().map(|row| value(&row.entry)).collect::<Vec<_>>();
        let descriptions: Vec<Option<&str>> = rows.iter().map(|row| row.description.as_deref()).collect();
        let query = sql_query(statements::INSERT_TRANSACTIONS)
            .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(text(|row| row.user_id.as_str()))
            .bind::<Array<Text>, _>(text(|row| row.entry.kind.as_str()))
            .bind::<Array<BigInt>, _>(number(|entry| entry.amount))
            .bind::<Array<BigInt>, _>(number(|entry| entry.balance_after.get()))
            .bind::<Array<Nullable<Text>>, _>(descriptions)
            .bind::<Array<Text>, _>(text(|row| row.actor.as_str()))
            .bind::<Array<Text>, _>(text(|row| &row.request_id))
            .bind::<Array<Nullable<SqlUuid>>, _>(rows.iter().map(|row| row.entry.hold_id).collect::<Vec<_>>())
            .bind::<Array<Jsonb>, _>(
                rows.iter()
                    .map(|row| stored_movements(&row.entry))
                    .collect::<Vec<_>>(),
            )
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    /// Runs a statement of (accounts, now).
    async fn touch_accounts<'a>(
        &self,
        statement: &'static str,
        accounts: impl IntoIterator<Item = &'a UserId>,
        now: DateTime<Utc>,
    ) -> QueryResult<usize> {
        let users: Vec<&str> = accounts.into_iter().map(UserId::as_str).collect();
        if users.is_empty() {
            return Ok(0);
        }
        let query = sql_query(statement)
            .bind::<Array<Text>, _>(users)
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn insert_keys(&self, rows: &[RememberedRow], now: DateTime<Utc>) -> QueryResult<usize> {
        if rows.is_empty() {
            return Ok(0);
        }
        let text = |value: fn(&RememberedRow) -> &str| rows.iter().map(value).collect::<Vec<_>>();
        let query = sql_query(statements::INSERT_KEYS)
            .bind::<Array<Text>, _>(text(|row| &row.key.scope))
            .bind::<Array<Text>, _>(text(|row| &row.key.key))
            .bind::<Array<Bytea>, _>(
                rows.iter()
                    .map(|row| row.key.fingerprint.as_slice())
                    .collect::<Vec<_>>(),
            )
            .bind::<Array<SmallInt>, _>(rows.iter().map(|row| row.status).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(text(|row| &row.body))
            .bind::<Array<Nullable<SqlUuid>>, _>(rows.iter().map(|row| row.command_id).collect::<Vec<_>>())
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }
}

fn stored_movements(entry: &Entry) -> Value {
    let movements = entry
        .movements
        .iter()
        .map(|movement| json!({ "allocation": movement.allocation_id, "credits": movement.credits }));
    movements.collect()
}
