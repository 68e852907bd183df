//! Connections: the pool that requests read through, and single ones for whoever owns theirs.

use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, QueryableByName, sql_types::Integer};
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig,
        deadpool::{BuildError, Object, Pool},
    },
};
use futures_util::FutureExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a request may wait for a free connection. Whoever cannot be served within that is better told so.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request must not wait for ever for what somebody has locked by hand, or for a report over a huge table, and what it
/// has locked must not stay so when its process stands still.
const SESSION: &str = "
    SET lock_timeout = '1s';
    SET statement_timeout = '20s';
    SET idle_in_transaction_session_timeout = '10s'";

/// A connection of its own.
pub async fn connect(url: &SecretString) -> Result<AsyncPgConnection> {
    Ok(establish(url.expose_secret()).await?)
}

async fn establish(url: &str) -> ConnectionResult<AsyncPgConnection> {
    match tokio::time::timeout(CONNECT_TIMEOUT, AsyncPgConnection::establish(url)).await {
        Ok(connection) => connection,
        Err(elapsed) => Err(ConnectionError::BadConnection(elapsed.to_string())),
    }
}

/// A connection for the pool.
async fn establish_shared(url: &str) -> ConnectionResult<AsyncPgConnection> {
    let mut connection = establish(url).await?;
    connection
        .batch_execute(SESSION)
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
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
        let mut setup = ManagerConfig::default();
        setup.custom_setup = Box::new(|url| establish_shared(url).boxed());
        let manager =
            AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url.expose_secret(), setup);
        let pool = Pool::builder(manager).max_size(size).build()?;
        Ok(Self { pool })
    }

    /// A free connection.
    pub(super) async fn connection(&self) -> Result<Object<AsyncPgConnection>> {
        match tokio::time::timeout(ACQUIRE_TIMEOUT, self.pool.get()).await {
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
