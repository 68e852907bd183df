//! What came of one chat turn's hold, put together from the hold, its usage record and the ledger.

use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;

use super::{Database, sessions::SessionRow};
use crate::{
    domain::{
        credits::Credits,
        ids::{Actor, UserId},
        ledger::Hold,
    },
    error::Result,
};

/// A hold and what is known of it elsewhere.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The hold.
    pub hold: Hold,
    /// How many tokens the turn took, if that was told.
    pub tokens: Option<i64>,
    /// What came back too late to be spent again.
    pub written_off: Credits,
}

/// Who may see a receipt.
#[derive(Clone, Copy, Debug)]
enum Holder<'a> {
    /// The owner of the credits.
    Person(&'a UserId),
    /// Who opened the session.
    Opener(&'a Actor),
}

/// A person's session names are their own, but a service may have used the same one for them: the latest counts.
const OF_PERSON: &str = "SELECT * FROM streaming_sessions WHERE user_id = $1 AND session_id = $2
    ORDER BY started_at DESC, id DESC LIMIT 1";

const OF_OPENER: &str = "SELECT * FROM streaming_sessions WHERE owner = $1 AND session_id = $2";

/// Whoever settles names the tokens in one of three ways.
const AROUND: &str = "
    SELECT (SELECT coalesce(metadata -> 'tokens', metadata -> 'partialTokens', metadata -> 'total_tokens') #>> '{}'
            FROM usage_logs WHERE hold_id = $1) AS tokens,
           (SELECT coalesce(-sum(amount), 0)::bigint FROM credit_transactions
            WHERE hold_id = $1 AND kind = 'write_off') AS written_off";

#[derive(QueryableByName)]
struct Around {
    #[diesel(sql_type = Nullable<Text>)]
    tokens: Option<String>,
    #[diesel(sql_type = BigInt)]
    written_off: i64,
}

/// Receipts.
#[derive(Clone)]
pub struct ReceiptStore {
    database: Database,
}

impl ReceiptStore {
    /// Receipts from `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The receipt of somebody's session.
    pub async fn find_of_person(&self, user_id: &UserId, session_id: &str) -> Result<Option<Receipt>> {
        self.find(Holder::Person(user_id), session_id).await
    }

    /// The receipt of a session that `opener` has opened.
    pub async fn find_of_opener(&self, opener: &Actor, session_id: &str) -> Result<Option<Receipt>> {
        self.find(Holder::Opener(opener), session_id).await
    }

    async fn find(&self, holder: Holder<'_>, session_id: &str) -> Result<Option<Receipt>> {
        let (query, whose) = match holder {
            Holder::Person(user_id) => (OF_PERSON, user_id.as_str()),
            Holder::Opener(opener) => (OF_OPENER, opener.as_str()),
        };
        let mut connection = self.database.connection().await?;
        let row = diesel::sql_query(query)
            .bind::<Text, _>(whose)
            .bind::<Text, _>(session_id)
            .get_result::<SessionRow>(&mut connection)
            .await
            .optional()?;
        let Some(hold) = row.map(Hold::try_from).transpose()? else {
            return Ok(None);
        };
        let around: Around = diesel::sql_query(AROUND)
            .bind::<SqlUuid, _>(hold.id)
            .get_result(&mut connection)
            .await?;
        Ok(Some(Receipt {
            hold,
            tokens: around.tokens.and_then(|tokens| tokens.parse().ok()),
            written_off: Credits::new(around.written_off).unwrap_or_default(),
        }))
    }
}
