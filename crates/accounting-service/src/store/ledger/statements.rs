//! The writer's SQL. Parameters are whole columns, so each text serves batches of any size and is prepared once.

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult, QueryableByName,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Bool, Text, Timestamptz, Untyped, Uuid as SqlUuid},
};
use uuid::Uuid;

/// A statement whose text is a constant. Diesel prepares `sql_query` anew at each use, because it cannot know that; this
/// says so.
pub(super) struct Prepared<Q>(pub(super) Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// Statements are told apart by their text.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q> Query for Prepared<Q> {
    type SqlType = Untyped;
}

/// Each later statement sees what was committed before it began: what is read after the locks is current.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

pub(super) const COMMIT: &str = "COMMIT";

pub(super) const ROLLBACK: &str = "ROLLBACK";

/// In the order of ids, so that two writers never wait for each other. Not `FOR UPDATE`: nothing changes the key, and
/// rows that refer to the account may be inserted meanwhile.
pub(super) const LOCK_ACCOUNTS: &str = "
    SELECT user_id, closed_at IS NOT NULL AS closed FROM user_accounts
    WHERE user_id = ANY($1) ORDER BY user_id FOR NO KEY UPDATE";

#[derive(QueryableByName)]
pub(super) struct UserLine {
    #[diesel(sql_type = Text)]
    pub(super) user_id: String,
    #[diesel(sql_type = Bool)]
    pub(super) closed: bool,
}

/// What is left, expired or not: the expired is written off. What had expired a day before the last write-off of the
/// account is not looked at again; the day is for replicas whose clocks differ.
pub(super) const LOAD_ALLOCATIONS: &str = "
    SELECT a.id, a.user_id, a.remaining_credits, a.expires_at
    FROM user_accounts u
    JOIN credit_allocations a ON a.user_id = u.user_id AND a.expires_at > u.lapsed_to - interval '1 day'
    WHERE u.user_id = ANY($1) AND a.remaining_credits > 0";

#[derive(QueryableByName)]
pub(super) struct AllocationLine {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) user_id: String,
    #[diesel(sql_type = BigInt)]
    pub(super) remaining_credits: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) const COUNT_OPEN_HOLDS: &str = "
    SELECT user_id, count(*) AS count FROM streaming_sessions
    WHERE user_id = ANY($1) AND status = 'open' GROUP BY user_id";

#[derive(QueryableByName)]
pub(super) struct OpenLine {
    #[diesel(sql_type = Text)]
    pub(super) user_id: String,
    #[diesel(sql_type = BigInt)]
    pub(super) count: i64,
}

pub(super) const LOAD_SESSIONS: &str = "
    SELECT s.* FROM unnest($1, $2) AS wanted (owner, session_id)
    JOIN streaming_sessions s ON s.owner = wanted.owner AND s.session_id = wanted.session_id";

pub(super) const LOAD_KEYS: &str = "
    SELECT k.scope, k.key, k.fingerprint, k.status, k.body FROM unnest($1, $2) AS wanted (scope, key)
    JOIN idempotency_keys k ON k.scope = wanted.scope AND k.key = wanted.key";

pub(super) const FIND_DONE: &str = "SELECT id FROM credit_transactions WHERE id = ANY($1)";

#[derive(QueryableByName)]
pub(super) struct IdLine {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
}

pub(super) const INSERT_ALLOCATIONS: &str = "
    INSERT INTO credit_allocations
        (id, user_id, total_credits, remaining_credits, allocated_by, notes, allocated_at, expires_at)
    SELECT id, user_id, credits, 0, allocated_by, notes, $6, expires_at
    FROM unnest($1, $2, $3, $4, $5, $7) AS new (id, user_id, credits, allocated_by, notes, expires_at)";

/// Adds differences instead of storing results: even a writer that has lost its locks could not undo another's change,
/// and the table's own checks would stop it.
pub(super) const MOVE_CREDITS: &str = "
    WITH moved AS (
        UPDATE credit_allocations a SET remaining_credits = a.remaining_credits + moves.credits
        FROM unnest($1, $2) AS moves (id, credits) WHERE a.id = moves.id RETURNING 1)
    SELECT expect_rows((SELECT count(*) FROM moved), cardinality($1))";

pub(super) const MARK_LAPSED: &str = "
    UPDATE user_accounts SET lapsed_to = $2 WHERE user_id = ANY($1) AND lapsed_to < $2";

/// The name may not be empty: an account of which only the id is known has that.
pub(super) const CLOSE_ACCOUNTS: &str = "
    UPDATE user_accounts
    SET closed_at = $2, username = user_id, email = NULL, email_seen_at = NULL, role = 'enduser', updated_at = $2
    WHERE user_id = ANY($1)";

pub(super) const INSERT_SESSIONS: &str = "
    INSERT INTO streaming_sessions
        (id, owner, session_id, user_id, model_id, estimated_credits, held_credits, status, draws, started_at, expires_at,
         price_id)
    SELECT id, owner, session_id, user_id, model_id, estimated, held, 'open', draws, $9, expires_at, price_id
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $10, $11)
        AS new (id, owner, session_id, user_id, model_id, estimated, held, draws, expires_at, price_id)";

pub(super) const SETTLE_SESSIONS: &str = "
    WITH settled AS (
        UPDATE streaming_sessions s
        SET status = ended.status, captured_credits = ended.captured, succeeded = ended.succeeded, settled_at = $5
        FROM unnest($1, $2, $3, $4) AS ended (id, status, captured, succeeded)
        WHERE s.id = ended.id AND s.status = 'open' RETURNING 1)
    SELECT expect_rows((SELECT count(*) FROM settled), cardinality($1))";

pub(super) const INSERT_USAGE: &str = "
    INSERT INTO usage_logs (id, user_id, service, operation, credits, metadata, hold_id, \"timestamp\")
    SELECT id, user_id, service, operation, credits, metadata, hold_id, $8
    FROM unnest($1, $2, $3, $4, $5, $6, $7)
        AS new (id, user_id, service, operation, credits, metadata, hold_id)";

/// In the order of the batch, which is the order of `seq`.
pub(super) const INSERT_TRANSACTIONS: &str = "
    INSERT INTO credit_transactions
        (id, user_id, kind, amount, balance_after, description, actor, request_id, hold_id, draws, created_at)
    SELECT id, user_id, kind, amount, balance_after, description, actor, request_id, hold_id, draws, $11
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) WITH ORDINALITY
        AS new (id, user_id, kind, amount, balance_after, description, actor, request_id, hold_id, draws, place)
    ORDER BY place";

pub(super) const INSERT_KEYS: &str = "
    INSERT INTO idempotency_keys (scope, key, fingerprint, status, body, command_id, created_at)
    SELECT scope, key, fingerprint, status, body, command_id, $7
    FROM unnest($1, $2, $3, $4, $5, $6) AS new (scope, key, fingerprint, status, body, command_id)";
