//! Connections: the pool that requests read through, and single ones for whoever owns theirs.

use std::time::Duration;

use diesel::{ConnectionError, QueryableByName, sql_types::Integer};
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _,
    pooled_connection::{
        AsyncDieselConnectionManager,
        deadpool::{BuildError, Object, Pool},
    },
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};

/// How long a connection may take to be made, or a free one to be found. A request that cannot be served within a
/// second is better told so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection of its own.
pub async fn connect(url: &SecretString) -> Result<AsyncPgConnection> {
    let establish = AsyncPgConnection::establish(url.expose_secret());
    match tokio::time::timeout(CONNECT_TIMEOUT, establish).await {
        Ok(connection) => Ok(connection?),
        Err(elapsed) => Err(ConnectionError::BadConnection(elapsed.to_string()).into()),
    }
}

/// The connections that requests share.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
}

#[derive(QueryableByName)]
struct One {
    #[diesel(sql_type = Integer)]
    one: i32,
}

impl Database {
    /// A pool of at most `size` connections, made when they are needed and checked before each use.
    pub fn new(url: &SecretString, size: usize) -> std::result::Result<Self, BuildError> {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url.expose_secret());
        let pool = Pool::builder(manager).max_size(size).build()?;
        Ok(Self { pool })
    }

    /// A free connection.
    pub(super) async fn connection(&self) -> Result<Object<AsyncPgConnection>> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.pool.get()).await {
            Ok(connection) => Ok(connection?),
            Err(_) => Err(Error::Unavailable),
        }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        let ask = async {
            let mut connection = self.connection().await?;
            let row: One = diesel::sql_query("SELECT 1 AS one")
                .get_result(&mut connection)
                .await?;
            Ok(row)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, ask).await {
            Ok(row) => row.map(|row| debug_assert_eq!(row.one, 1)),
            Err(_) => Err(Error::Unavailable),
        }
    }
}
