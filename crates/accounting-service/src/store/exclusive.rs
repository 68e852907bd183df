//! A turn that one process at a time has: an advisory lock on a connection of its own, which ends with the process.

use diesel::{QueryableByName, sql_query, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use secrecy::SecretString;

use super::connect;
use crate::error::Result;

/// The turn.
pub struct Exclusive {
    url: SecretString,
    lock: i64,
    connection: Option<AsyncPgConnection>,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

impl Exclusive {
    /// The turn to grant by rules. The number spells "rule".
    pub fn to_grant_by_rules(url: SecretString) -> Self {
        Self {
            url,
            lock: 0x7275_6C65,
            connection: None,
        }
    }

    /// Takes the turn, unless somebody has it.
    pub async fn try_take(&mut self) -> Result<bool> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.url).await?,
        };
        let query = sql_query(format!("SELECT pg_try_advisory_lock({}) AS taken", self.lock));
        let Taken { taken } = query.get_result(&mut connection).await?;
        self.connection = Some(connection);
        Ok(taken)
    }

    /// Gives the turn back. A connection that is broken has given it back already.
    pub async fn give_back(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let query = sql_query(format!("SELECT pg_advisory_unlock({})", self.lock));
            if query.execute(&mut connection).await.is_ok() {
                self.connection = Some(connection);
            }
        }
    }
}
