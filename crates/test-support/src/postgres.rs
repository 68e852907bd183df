//! A PostgreSQL database of a test's own, copied from a template that was migrated once.

use diesel::{QueryableByName, sql_query, sql_types::Text};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

use crate::{fresh_name, is_leftover, required};

/// Held while a template is made, so that test processes starting together make one.
const TEMPLATE_LOCK: i64 = 0x666C_6F77;

/// A database nobody else uses.
#[derive(Clone, Debug)]
pub struct TestPostgres {
    /// Its address.
    pub url: String,
    /// Its name.
    pub name: String,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    datname: String,
}

impl TestPostgres {
    /// A copy of the template `version`, which `migrate` fills the first time. `version` changes with the migrations.
    pub async fn create(version: &str, migrate: impl AsyncFnOnce(&str)) -> Self {
        let mut server = Self::server().await;
        let template = format!("flowgate_template_{version}");
        execute(&mut server, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
        let names = Self::names(&mut server).await;
        if !names.contains(&template) {
            let draft = fresh_name();
            execute(&mut server, &format!("CREATE DATABASE {draft}")).await;
            migrate(&Self::url_of(&draft)).await;
            execute(
                &mut server,
                &format!("ALTER DATABASE {draft} RENAME TO {template}"),
            )
            .await;
        }
        execute(
            &mut server,
            &format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})"),
        )
        .await;
        for name in names.iter().filter(|name| is_leftover(name)) {
            // Another test may remove it at the same moment.
            let _ = sql_query(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                .execute(&mut server)
                .await;
        }
        let name = fresh_name();
        execute(
            &mut server,
            &format!("CREATE DATABASE {name} TEMPLATE {template}"),
        )
        .await;
        Self {
            url: Self::url_of(&name),
            name,
        }
    }

    /// A connection, to look inside past the service.
    pub async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.url)
            .await
            .expect("the test's own database answers")
    }

    /// A connection to the server itself, for tests that take their database away.
    pub async fn server() -> AsyncPgConnection {
        let url = required("TEST_POSTGRES_URL");
        AsyncPgConnection::establish(&url)
            .await
            .expect("TEST_POSTGRES_URL is the address of a PostgreSQL")
    }

    async fn names(server: &mut AsyncPgConnection) -> Vec<String> {
        let rows = sql_query("SELECT datname::text AS datname FROM pg_database")
            .load::<Name>(server)
            .await;
        rows.expect("PostgreSQL lists its databases")
            .into_iter()
            .map(|row| row.datname)
            .collect()
    }

    fn url_of(name: &str) -> String {
        let mut url =
            url::Url::parse(&required("TEST_POSTGRES_URL")).expect("TEST_POSTGRES_URL is an address");
        url.set_path(name);
        url.into()
    }
}

async fn execute(connection: &mut AsyncPgConnection, sql: &str) {
    sql_query(sql)
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
