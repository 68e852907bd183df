//! `credit_rule_grants`: what a rule has granted to whom, once and for all.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult, QueryableByName,
    result::Error as QueryError,
    sql_query,
    sql_types::{Array, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{LedgerConnection, Prepared};
use crate::domain::{ids::UserId, rules::RuleClaim};

/// A grant of a rule, with the ledger's entry.
#[derive(Clone, Debug)]
pub struct RuleGrantRow {
    /// To whom.
    pub user_id: UserId,
    /// What for.
    pub claim: RuleClaim,
    /// The ledger's entry.
    pub transaction_id: Uuid,
}

const LOAD: &str = "
    SELECT g.rule_id, g.period, g.user_id FROM unnest($1, $2, $3) AS wanted (rule_id, period, user_id)
    JOIN credit_rule_grants g
      ON g.rule_id = wanted.rule_id AND g.period = wanted.period AND g.user_id = wanted.user_id";

const INSERT: &str = "
    INSERT INTO credit_rule_grants (rule_id, period, user_id, transaction_id, granted_at)
    SELECT rule_id, period, user_id, transaction_id, $5
    FROM unnest($1, $2, $3, $4) AS new (rule_id, period, user_id, transaction_id)";

#[derive(QueryableByName)]
struct ClaimLine {
    #[diesel(sql_type = SqlUuid)]
    rule_id: Uuid,
    #[diesel(sql_type = Text)]
    period: String,
    #[diesel(sql_type = Text)]
    user_id: String,
}

impl LedgerConnection {
    /// Those of `wanted` that were granted before. Sent behind the locks, so what it finds stays so.
    pub(super) async fn load_claims(
        &self,
        wanted: &[(&UserId, &RuleClaim)],
    ) -> QueryResult<HashSet<(UserId, RuleClaim)>> {
        if wanted.is_empty() {
            return Ok(HashSet::new());
        }
        let rules: Vec<Uuid> = wanted.iter().map(|(_, claim)| claim.rule_id).collect();
        let periods: Vec<&str> = wanted.iter().map(|(_, claim)| claim.period.as_str()).collect();
        let users: Vec<&str> = wanted.iter().map(|(user, _)| user.as_str()).collect();
        let query = sql_query(LOAD)
            .bind::<Array<SqlUuid>, _>(rules)
            .bind::<Array<Text>, _>(periods)
            .bind::<Array<Text>, _>(users);
        let connection = &self.connection;
        let lines: Vec<ClaimLine> = Prepared(query).load(&mut &*connection).await?;
        let claims = lines.into_iter().map(|line| {
            let claim = RuleClaim {
                rule_id: line.rule_id,
                period: line.period,
            };
            let user_id = UserId::parse(&line.user_id).ok_or(QueryError::NotFound)?;
            Ok((user_id, claim))
        });
        claims.collect()
    }

    pub(super) async fn insert_claims(
        &self,
        rows: &[RuleGrantRow],
        now: DateTime<Utc>,
    ) -> QueryResult<usize> {
        if rows.is_empty() {
            return Ok(0);
        }
        let query = sql_query(INSERT)
            .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.claim.rule_id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(
                rows.iter()
                    .map(|row| row.claim.period.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind::<Array<Text>, _>(rows.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.transaction_id).collect::<Vec<_>>())
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }
}
