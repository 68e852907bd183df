//! What the ledger's writer reads and writes: a whole batch in two round trips, on a connection of its own.
//!
//! First trip: begin, lock the accounts in the order of their ids, load what the batch speaks of. Second trip: every
//! change in bulk, and the commit. Statements are sent one behind the other without waiting (pipelined); the server
//! runs them in that order, and each sees what was committed when it began, so what is loaded is loaded under the locks.
//! When one fails the rest fail with it and the commit becomes a rollback.

mod changes;
mod notices;
mod rule_grants;
mod statements;

use std::collections::{HashMap, HashSet};

use diesel::{
    QueryResult, sql_query,
    sql_types::{Array, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::join;
use secrecy::SecretString;
use uuid::Uuid;

pub use super::idempotency::RememberedRow;
use super::{connect, idempotency::Remembered, sessions::SessionRow};
use crate::{
    domain::{
        credits::Credits,
        idempotency::IdempotencyKey,
        ids::{SessionKey, UserId},
        ledger::{AccountState, Allocation, Hold},
        rules::RuleClaim,
    },
    error::{Error, Result},
};
pub use changes::{Changes, CommitError, LedgerRow};
pub use rule_grants::RuleGrantRow;
use statements::{AllocationLine, IdLine, OpenLine, Prepared, UserLine};

/// Every statement of the writer finds its rows by index, whatever the tables' sizes were when it was planned: a plan
/// made on an empty table must not read a full one from end to end. A lock that somebody else holds is waited for
/// briefly, for all others wait with us.
const SESSION: &str = "
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SET lock_timeout = '1s';
    SET idle_in_transaction_session_timeout = '30s'";

/// What a batch speaks of.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// The accounts.
    pub users: HashSet<&'a UserId>,
    /// The accounts that want to open holds.
    pub openers: HashSet<&'a UserId>,
    /// The sessions, each with the account whose command names it.
    pub sessions: Vec<(&'a UserId, &'a SessionKey)>,
    /// The idempotency keys.
    pub keys: Vec<&'a IdempotencyKey>,
    /// What automatic grants claim, each with the account it is for.
    pub claims: Vec<(&'a UserId, &'a RuleClaim)>,
    /// Commands that may have been carried out before the connection broke.
    pub doubtful: Vec<Uuid>,
}

/// What a batch begins from.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The accounts that exist.
    pub accounts: HashMap<UserId, AccountState>,
    /// Answers given before, by scope and key.
    pub remembered: HashMap<(String, String), Remembered>,
    /// What was granted by a rule before.
    pub claimed: HashSet<(UserId, RuleClaim)>,
    /// Those of the doubtful commands that were carried out.
    pub done: HashSet<Uuid>,
}

/// The writer's connection.
pub struct LedgerConnection {
    connection: AsyncPgConnection,
}

impl LedgerConnection {
    /// Opens one.
    pub async fn open(url: &SecretString) -> Result<Self> {
        let mut connection = connect(url).await?;
        connection.batch_execute(SESSION).await?;
        Ok(Self { connection })
    }

    /// Begins a transaction, locks the accounts and loads what the batch speaks of.
    pub async fn begin(&self, wanted: &Wanted<'_>) -> Result<Loaded> {
        let mut users: Vec<&str> = wanted.users.iter().map(|user| user.as_str()).collect();
        users.sort_unstable();
        let openers: Vec<&str> = wanted.openers.iter().map(|user| user.as_str()).collect();
        let (owners, sessions): (Vec<_>, Vec<_>) = wanted
            .sessions
            .iter()
            .map(|(_, key)| (key.owner.as_str(), key.session_id.as_str()))
            .collect::<HashSet<_>>()
            .into_iter()
            .unzip();
        let (scopes, keys): (Vec<_>, Vec<_>) = wanted
            .keys
            .iter()
            .map(|key| (key.scope.as_str(), key.key.as_str()))
            .unzip();

        let connection = &self.connection;
        let begin = async {
            Prepared(sql_query(statements::BEGIN))
                .execute(&mut &*connection)
                .await
        };
        let lock = async {
            let query = sql_query(statements::LOCK_ACCOUNTS).bind::<Array<Text>, _>(&users);
            Prepared(query).load::<UserLine>(&mut &*connection).await
        };
        let allocations = async {
            let query = sql_query(statements::LOAD_ALLOCATIONS).bind::<Array<Text>, _>(&users);
            Prepared(query).load::<AllocationLine>(&mut &*connection).await
        };
        let open = async {
            let query = sql_query(statements::COUNT_OPEN_HOLDS).bind::<Array<Text>, _>(&openers);
            load_unless(
                openers.is_empty(),
                Prepared(query).load::<OpenLine>(&mut &*connection),
            )
            .await
        };
        let holds = async {
            let query = sql_query(statements::LOAD_SESSIONS)
                .bind::<Array<Text>, _>(&owners)
                .bind::<Array<Text>, _>(&sessions);
            load_unless(
                owners.is_empty(),
                Prepared(query).load::<SessionRow>(&mut &*connection),
            )
            .await
        };
        let remembered = async {
            let query = sql_query(statements::LOAD_KEYS)
                .bind::<Array<Text>, _>(&scopes)
                .bind::<Array<Text>, _>(&keys);
            load_unless(
                keys.is_empty(),
                Prepared(query).load::<Remembered>(&mut &*connection),
            )
            .await
        };
        let done = async {
            let query = sql_query(statements::FIND_DONE).bind::<Array<SqlUuid>, _>(&wanted.doubtful);
            load_unless(
                wanted.doubtful.is_empty(),
                Prepared(query).load::<IdLine>(&mut &*connection),
            )
            .await
        };
        let claimed = self.load_claims(&wanted.claims);
        // `join!` polls in this order, and that is the order in which they are sent.
        let (begin, lock, allocations, open, holds, remembered, claimed, done) =
            join!(begin, lock, allocations, open, holds, remembered, claimed, done);
        begin?;

        let mut loaded = Loaded {
            accounts: accounts(wanted, lock?, allocations?, open?, holds?)?,
            ..Loaded::default()
        };
        loaded.remembered = remembered?
            .into_iter()
            .map(|row| ((row.scope.clone(), row.key.clone()), row))
            .collect();
        loaded.claimed = claimed?;
        loaded.done = done?.into_iter().map(|row| row.id).collect();
        Ok(loaded)
    }

    /// Gives the locks back; nothing was written.
    pub async fn rollback(&self) -> Result<()> {
        let connection = &self.connection;
        Prepared(sql_query(statements::ROLLBACK))
            .execute(&mut &*connection)
            .await?;
        Ok(())
    }
}

/// Rows of a statement that is only worth sending when its parameters are not empty.
async fn load_unless<T>(
    pointless: bool,
    load: impl Future<Output = QueryResult<Vec<T>>>,
) -> QueryResult<Vec<T>> {
    if pointless { Ok(Vec::new()) } else { load.await }
}

/// Sorts what was loaded by account. An account is shown the sessions its own commands name, also one that is somebody
/// else's: that name is taken then.
fn accounts(
    wanted: &Wanted<'_>,
    users: Vec<UserLine>,
    allocations: Vec<AllocationLine>,
    open: Vec<OpenLine>,
    sessions: Vec<SessionRow>,
) -> Result<HashMap<UserId, AccountState>> {
    let unreadable = || Error::Unreadable("user_accounts.user_id");
    let mut spendable: HashMap<String, Vec<Allocation>> = HashMap::new();
    for line in allocations {
        let remaining = Credits::new(line.remaining_credits)
            .ok_or(Error::Unreadable("credit_allocations.remaining_credits"))?;
        spendable.entry(line.user_id).or_default().push(Allocation {
            id: line.id,
            remaining,
            expires_at: line.expires_at,
        });
    }
    let open: HashMap<String, usize> = open
        .into_iter()
        .map(|line| (line.user_id, usize::try_from(line.count).unwrap_or(usize::MAX)))
        .collect();
    let mut known: HashMap<SessionKey, Hold> = HashMap::new();
    for row in sessions {
        let hold = Hold::try_from(row)?;
        known.insert(hold.key.clone(), hold);
    }
    let mut holds: HashMap<&str, Vec<Hold>> = HashMap::new();
    for (user, key) in &wanted.sessions {
        holds
            .entry(user.as_str())
            .or_default()
            .extend(known.get(*key).cloned());
    }
    let account = |line: UserLine| {
        let id = UserId::parse(&line.user_id).ok_or_else(unreadable)?;
        let allocations = spendable.remove(id.as_str()).unwrap_or_default();
        let holds = holds.remove(id.as_str()).unwrap_or_default();
        let open = open.get(id.as_str()).copied().unwrap_or_default();
        let state = AccountState::new(id.clone(), allocations, holds, open).with_closed(line.closed);
        Ok((id, state))
    };
    users.into_iter().map(account).collect()
}
