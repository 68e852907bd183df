//! `user_accounts`: who owns credits.

use chrono::{DateTime, Utc};
use common_jwt::Role;
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName, Selectable,
    SelectableHelper as _,
    sql_types::{Bool, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{Database, schema::user_accounts};
use crate::{
    domain::{ids::UserId, text::Email},
    error::{Error, Result},
};

/// Who somebody is, as auth-service says in a token or another service in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The id, which never changes.
    pub id: UserId,
    /// The name.
    pub username: String,
    /// The address, when it is known.
    pub email: Option<Email>,
    /// The role.
    pub role: Role,
}

impl Identity {
    /// An identity of what somebody says of it, unusual as it may be: a name or an address that auth-service let
    /// through must not stop a turn. PostgreSQL cannot keep NUL; an address of no use for look-ups is left out.
    pub fn new(id: UserId, username: &str, email: &str, role: Role) -> Self {
        let username = username.replace('\0', "");
        Self {
            username: if username.is_empty() {
                id.to_string()
            } else {
                username
            },
            email: Email::parse(email),
            id,
            role,
        }
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub id: UserId,
    /// The owner's address, when it is known.
    pub email: Option<String>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = user_accounts, check_for_backend(diesel::pg::Pg))]
struct Row {
    user_id: String,
    email: Option<String>,
}

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let id = UserId::parse(&row.user_id).ok_or(Error::Unreadable("user_accounts.user_id"))?;
        Ok(Self { id, email: row.email })
    }
}

/// Writes only when something is new: most tokens say what is known, and are told apart by a read that waits for no
/// lock. The time of an address is when it was first seen on this account, so that an old token of the former owner
/// does not win it back.
const UPSERT: &str = "
    INSERT INTO user_accounts AS known
        (user_id, username, email, email_seen_at, role, created_at, updated_at, known_since, first_role)
    SELECT $1, $2, $3, $4, $5, $4, $4, $4, $5
    WHERE NOT EXISTS (
        SELECT 1 FROM user_accounts same
        WHERE same.user_id = $1 AND same.known_since IS NOT NULL
          AND (same.username, same.email, same.role) IS NOT DISTINCT FROM ($2, $3, $5))
    ON CONFLICT (user_id) DO UPDATE SET
        username = excluded.username,
        email = excluded.email,
        email_seen_at = CASE WHEN known.email IS DISTINCT FROM excluded.email
                             THEN excluded.email_seen_at ELSE known.email_seen_at END,
        role = excluded.role,
        updated_at = excluded.updated_at,
        known_since = coalesce(known.known_since, excluded.known_since),
        first_role = coalesce(known.first_role, excluded.first_role)
    WHERE known.closed_at IS NULL AND known.deleted_at IS NULL
        AND ((known.username, known.email, known.role)
            IS DISTINCT FROM (excluded.username, excluded.email, excluded.role) OR known.known_since IS NULL)
    RETURNING known_since = $4 AND welcomed_at IS NULL AS arrived";

#[derive(QueryableByName)]
struct Upserted {
    #[diesel(sql_type = Bool)]
    arrived: bool,
}

/// Lets an account live again under what is said of it now.
const REOPEN: &str = "
    UPDATE user_accounts SET closed_at = NULL, updated_at = $2 WHERE user_id = $1 AND closed_at IS NOT NULL";

/// The same for an account that there is; the feed makes none.
const UPDATE: &str = "
    UPDATE user_accounts SET
        username = $2,
        email_seen_at = CASE WHEN email IS DISTINCT FROM $3 THEN $4 ELSE email_seen_at END,
        email = $3,
        role = $5,
        updated_at = $4
    WHERE user_id = $1 AND deleted_at IS NULL AND closed_at IS NULL
        AND (username, email, role) IS DISTINCT FROM ($2, $3, $5)";

/// Accounts.
#[derive(Clone)]
pub struct AccountStore {
    database: Database,
}

impl AccountStore {
    /// Accounts in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Creates the account or brings it up to date. Returns whether it has become known just now who its owner is; it may
    /// be told so twice.
    pub async fn upsert(&self, identity: &Identity, now: DateTime<Utc>) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let upserted: Option<Upserted> = diesel::sql_query(UPSERT)
            .bind::<Text, _>(identity.id.as_str())
            .bind::<Text, _>(&identity.username)
            .bind::<Nullable<Text>, _>(identity.email.as_ref().map(Email::as_str))
            .bind::<Timestamptz, _>(now)
            .bind::<Text, _>(identity.role.as_str())
            .get_result(&mut connection)
            .await
            .optional()?;
        Ok(upserted.is_some_and(|upserted| upserted.arrived))
    }

    /// Opens a closed account again; one that is open stays as it is.
    pub async fn reopen(&self, id: &UserId, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::sql_query(REOPEN)
            .bind::<Text, _>(id.as_str())
            .bind::<Timestamptz, _>(now)
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Brings the account up to date, if there is one.
    pub async fn update(&self, identity: &Identity, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::sql_query(UPDATE)
            .bind::<Text, _>(identity.id.as_str())
            .bind::<Text, _>(&identity.username)
            .bind::<Nullable<Text>, _>(identity.email.as_ref().map(Email::as_str))
            .bind::<Timestamptz, _>(now)
            .bind::<Text, _>(identity.role.as_str())
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Removes from the account whose it was and notes that its credits have to go; says whether there is one. From now
    /// on no token says anything about it.
    pub async fn anonymise(&self, id: &UserId, now: DateTime<Utc>) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let account = user_accounts::table
            .find(id.as_str())
            .filter(user_accounts::deleted_at.is_null());
        diesel::update(account)
            .set((
                user_accounts::username.eq(id.as_str()),
                user_accounts::email.eq(None::<String>),
                user_accounts::email_seen_at.eq(None::<DateTime<Utc>>),
                user_accounts::role.eq(Role::EndUser.as_str()),
                user_accounts::updated_at.eq(now),
                user_accounts::deleted_at.eq(now),
                user_accounts::removal_due.eq(true),
            ))
            .execute(&mut connection)
            .await?;
        let known = user_accounts::table
            .find(id.as_str())
            .filter(user_accounts::removal_due)
            .count();
        let known: i64 = known.get_result(&mut connection).await?;
        Ok(known > 0)
    }

    /// Accounts of deleted users whose credits have to go, in the order of their ids.
    pub async fn list_removal_due(&self, after: Option<&UserId>, limit: i64) -> Result<Vec<UserId>> {
        let mut connection = self.database.connection().await?;
        let ids: Vec<String> = user_accounts::table
            .filter(user_accounts::removal_due)
            .filter(user_accounts::user_id.gt(after.map_or("", UserId::as_str)))
            .order(user_accounts::user_id)
            .select(user_accounts::user_id)
            .limit(limit)
            .load(&mut connection)
            .await?;
        ids.iter()
            .map(|id| UserId::parse(id).ok_or(Error::Unreadable("user_accounts.user_id")))
            .collect()
    }

    /// Notes that nothing is left of the account's credits, and nothing can come back.
    pub async fn clear_removal_due(&self, id: &UserId) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::update(user_accounts::table.find(id.as_str()))
            .set(user_accounts::removal_due.eq(false))
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Whether the account's owner has been deleted.
    pub async fn is_deleted(&self, id: &UserId) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let deleted: i64 = user_accounts::table
            .find(id.as_str())
            .filter(user_accounts::deleted_at.is_not_null())
            .count()
            .get_result(&mut connection)
            .await?;
        Ok(deleted > 0)
    }

    /// Creates an account of which only the id is known; the rest comes with its owner's first token.
    pub async fn insert_unknown(&self, id: &UserId, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        diesel::insert_into(user_accounts::table)
            .values((
                user_accounts::user_id.eq(id.as_str()),
                user_accounts::username.eq(id.as_str()),
                user_accounts::role.eq(Role::EndUser.as_str()),
                user_accounts::created_at.eq(now),
                user_accounts::updated_at.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// The account of this id, unless its owner has been deleted.
    pub async fn find(&self, id: &UserId) -> Result<Option<Account>> {
        let mut connection = self.database.connection().await?;
        let row = user_accounts::table
            .find(id.as_str())
            .filter(user_accounts::deleted_at.is_null())
            .select(Row::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.map(Account::try_from).transpose()
    }

    /// The account that last came to have this address.
    pub async fn find_by_email(&self, email: &Email) -> Result<Option<Account>> {
        let mut connection = self.database.connection().await?;
        let row = user_accounts::table
            .filter(user_accounts::email.eq(email.as_str()))
            .order((user_accounts::email_seen_at.desc(), user_accounts::user_id.desc()))
            .select(Row::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.map(Account::try_from).transpose()
    }

    /// The accounts of this name, two at most: names are not unique here, and more than one is as good as none.
    pub async fn list_by_username(&self, username: &str) -> Result<Vec<Account>> {
        let mut connection = self.database.connection().await?;
        let rows = user_accounts::table
            .filter(user_accounts::username.eq(username))
            .filter(user_accounts::deleted_at.is_null())
            .select(Row::as_select())
            .limit(2)
            .load(&mut connection)
            .await?;
        rows.into_iter().map(Account::try_from).collect()
    }
}
