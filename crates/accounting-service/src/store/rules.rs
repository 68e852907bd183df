//! `credit_rules`: credits that are granted by themselves, and who is still to get them.

use chrono::{DateTime, Utc};
use common_jwt::Role;
use diesel::{
    AsChangeset, ExpressionMethods as _, Insertable, OptionalExtension as _, QueryDsl as _, QueryResult,
    Queryable, QueryableByName, Selectable, SelectableHelper as _,
    result::{DatabaseErrorKind, Error as QueryError},
    sql_query,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{Database, schema::credit_rules};
use crate::{
    domain::{
        credits::Amount,
        expiry::ExpiryDays,
        ids::{Actor, UserId},
        rules::{DayOfMonth, DueGrant, Occasion, Rule, RuleClaim, Terms},
        text::Name,
    },
    error::{Error, Result},
};

/// Rules there may be at once: every one of them is looked at for every new account.
const RULES_MAX: i64 = 100;

/// A rule as it is stored. A `None` that is written is a null.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = credit_rules, check_for_backend(diesel::pg::Pg), treat_none_as_null = true)]
struct Row {
    id: Uuid,
    name: String,
    kind: String,
    role: Option<String>,
    amount: i64,
    expiry_days: i64,
    day_of_month: Option<i16>,
    active: bool,
    active_since: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<&Rule> for Row {
    fn from(rule: &Rule) -> Self {
        let terms = &rule.terms;
        Self {
            id: rule.id,
            name: terms.name.to_string(),
            kind: terms.occasion.as_str().to_owned(),
            role: terms.role.map(|role| role.to_string()),
            amount: terms.amount.get(),
            expiry_days: terms.expiry_days.get(),
            day_of_month: terms.occasion.day().map(DayOfMonth::get),
            active: terms.active,
            active_since: rule.active_since,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

impl TryFrom<Row> for Rule {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unreadable = || Error::Unreadable("credit_rules");
        let occasion = match row.day_of_month {
            None => Occasion::AccountCreation,
            Some(day) => Occasion::Monthly(DayOfMonth::new(day).ok_or_else(unreadable)?),
        };
        if occasion.as_str() != row.kind {
            return Err(unreadable());
        }
        Ok(Self {
            id: row.id,
            terms: Terms {
                name: Name::parse(row.name).ok_or_else(unreadable)?,
                occasion,
                role: row.role.map(|role| role_of(&role)),
                amount: Amount::new(row.amount).ok_or_else(unreadable)?,
                expiry_days: ExpiryDays::new(row.expiry_days).ok_or_else(unreadable)?,
                active: row.active,
            },
            active_since: row.active_since,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn role_of(text: &str) -> Role {
    match text.parse() {
        Ok(role) => role,
        Err(never) => match never {},
    }
}

/// Somebody of whom it has become known who they are, and who has not been welcomed yet.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who.
    pub user_id: UserId,
    /// The role they came with.
    pub role: Role,
    /// Since when they are known.
    pub known_since: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct ArrivalLine {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    first_role: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    known_since: DateTime<Utc>,
}

const ARRIVALS: &str = "
    SELECT user_id, first_role, known_since FROM user_accounts
    WHERE known_since IS NOT NULL AND welcomed_at IS NULL AND closed_at IS NULL AND deleted_at IS NULL AND user_id > $1
    ORDER BY user_id LIMIT $2";

/// In the order of ids, as everybody locks accounts.
const WELCOME: &str = "
    WITH new AS (SELECT user_id FROM user_accounts WHERE user_id = ANY($1) AND welcomed_at IS NULL
                 ORDER BY user_id FOR NO KEY UPDATE)
    UPDATE user_accounts a SET welcomed_at = $2 FROM new WHERE a.user_id = new.user_id";

/// Accounts that were known by `$4` and have not got what `$1` grants for `$2`.
const LACKING: &str = "
    SELECT a.user_id FROM user_accounts a
    WHERE a.user_id > $5 AND a.known_since <= $4 AND a.closed_at IS NULL AND a.deleted_at IS NULL AND ($3 IS NULL OR a.role = $3)
      AND NOT EXISTS (SELECT 1 FROM credit_rule_grants g
                      WHERE g.rule_id = $1 AND g.period = $2 AND g.user_id = a.user_id)
    ORDER BY a.user_id LIMIT $6";

#[derive(QueryableByName)]
struct UserLine {
    #[diesel(sql_type = Text)]
    user_id: String,
}

const FINISH: &str = "
    INSERT INTO credit_rule_periods (rule_id, period, finished_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

const IS_FINISHED: &str = "
    SELECT count(*) AS count FROM credit_rule_periods WHERE rule_id = $1 AND period = $2";

#[derive(QueryableByName)]
struct CountLine {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Rules.
#[derive(Clone)]
pub struct RuleStore {
    database: Database,
}

impl RuleStore {
    /// Rules in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Every rule, oldest first.
    pub async fn list(&self) -> Result<Vec<Rule>> {
        let mut connection = self.database.connection().await?;
        let rows = credit_rules::table
            .filter(credit_rules::deleted_at.is_null())
            .order((credit_rules::created_at, credit_rules::id))
            .select(Row::as_select())
            .load(&mut connection)
            .await?;
        rows.into_iter().map(Rule::try_from).collect()
    }

    /// The rule of this id.
    pub async fn find(&self, id: Uuid) -> Result<Option<Rule>> {
        let mut connection = self.database.connection().await?;
        let row = credit_rules::table
            .find(id)
            .filter(credit_rules::deleted_at.is_null())
            .select(Row::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.map(Rule::try_from).transpose()
    }

    /// Adds a rule.
    pub async fn insert(&self, rule: &Rule, by: &Actor) -> Result<()> {
        let mut connection = self.database.connection().await?;
        let inserted = connection
            .transaction(async |connection| {
                // Nobody else adds one meanwhile, so the count is right.
                sql_query("LOCK TABLE credit_rules IN SHARE ROW EXCLUSIVE MODE")
                    .execute(connection)
                    .await?;
                let count: i64 = credit_rules::table
                    .filter(credit_rules::deleted_at.is_null())
                    .count()
                    .get_result(connection)
                    .await?;
                if count >= RULES_MAX {
                    return Ok(false);
                }
                insert(connection, rule, by, None).await?;
                Ok::<_, QueryError>(true)
            })
            .await
            .map_err(name_taken)?;
        inserted.then_some(()).ok_or(Error::TooManyRules)
    }

    /// Changes a rule; false when it is gone.
    pub async fn update(&self, rule: &Rule) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let updated = diesel::update(credit_rules::table.find(rule.id))
            .filter(credit_rules::deleted_at.is_null())
            .set(Row::from(rule))
            .execute(&mut connection)
            .await
            .map_err(name_taken)?;
        Ok(updated == 1)
    }

    /// Deletes a rule; false when it is gone.
    pub async fn delete(&self, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let deleted = diesel::update(credit_rules::table.find(id))
            .filter(credit_rules::deleted_at.is_null())
            .set((
                credit_rules::deleted_at.eq(now),
                credit_rules::active.eq(false),
                credit_rules::updated_at.eq(now),
            ))
            .execute(&mut connection)
            .await?;
        Ok(deleted == 1)
    }

    /// Adds the rule that a variable asks for, unless it has been added before, whatever has become of it since.
    pub async fn seed(&self, rule: &Rule, variable: &str) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        match insert(&mut connection, rule, &Actor::system(), Some(variable)).await {
            Ok(inserted) => Ok(inserted == 1),
            // Somebody has given a rule of theirs the name.
            Err(QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Who has not been welcomed: at most `limit` after the user `after`.
    pub async fn list_arrivals(&self, after: Option<&UserId>, limit: i64) -> Result<Vec<Arrival>> {
        let mut connection = self.database.connection().await?;
        let lines: Vec<ArrivalLine> = sql_query(ARRIVALS)
            .bind::<Text, _>(after.map(UserId::as_str).unwrap_or_default())
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?;
        let arrivals = lines.into_iter().map(|line| {
            Ok(Arrival {
                user_id: user_of(&line.user_id)?,
                role: line.first_role.as_deref().map(role_of).unwrap_or_default(),
                known_since: line.known_since,
            })
        });
        arrivals.collect()
    }

    /// Notes that they have got what there is for new accounts.
    pub async fn welcomed(&self, users: &[&str], now: DateTime<Utc>) -> Result<()> {
        if users.is_empty() {
            return Ok(());
        }
        let mut connection = self.database.connection().await?;
        sql_query(WELCOME)
            .bind::<Array<Text>, _>(users)
            .bind::<Timestamptz, _>(now)
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Who has not got a monthly grant: at most `limit` after the user `after`.
    pub async fn list_lacking(
        &self,
        rule: &Rule,
        grant: &DueGrant,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<UserId>> {
        let mut connection = self.database.connection().await?;
        let lines: Vec<UserLine> = sql_query(LACKING)
            .bind::<SqlUuid, _>(grant.claim.rule_id)
            .bind::<Text, _>(&grant.claim.period)
            .bind::<Nullable<Text>, _>(rule.terms.role.map(Role::as_str))
            .bind::<Timestamptz, _>(grant.due)
            .bind::<Text, _>(after.map(UserId::as_str).unwrap_or_default())
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?;
        lines.into_iter().map(|line| user_of(&line.user_id)).collect()
    }

    /// Whether everybody has got a monthly grant.
    pub async fn is_finished(&self, claim: &RuleClaim) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let line: CountLine = sql_query(IS_FINISHED)
            .bind::<SqlUuid, _>(claim.rule_id)
            .bind::<Text, _>(&claim.period)
            .get_result(&mut connection)
            .await?;
        Ok(line.count > 0)
    }

    /// Notes that everybody has got a monthly grant.
    pub async fn finish(&self, claim: &RuleClaim, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        sql_query(FINISH)
            .bind::<SqlUuid, _>(claim.rule_id)
            .bind::<Text, _>(&claim.period)
            .bind::<Timestamptz, _>(now)
            .execute(&mut connection)
            .await?;
        Ok(())
    }
}

async fn insert(
    connection: &mut AsyncPgConnection,
    rule: &Rule,
    by: &Actor,
    seed: Option<&str>,
) -> QueryResult<usize> {
    diesel::insert_into(credit_rules::table)
        .values((
            Row::from(rule),
            credit_rules::seed.eq(seed),
            credit_rules::created_by.eq(by.as_str()),
        ))
        .on_conflict(credit_rules::seed)
        .do_nothing()
        .execute(connection)
        .await
}

/// The only thing about a rule that may be taken.
fn name_taken(error: QueryError) -> Error {
    if let QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) = error {
        return Error::RuleExists;
    }
    error.into()
}

fn user_of(text: &str) -> Result<UserId> {
    UserId::parse(text).ok_or(Error::Unreadable("user_accounts.user_id"))
}
