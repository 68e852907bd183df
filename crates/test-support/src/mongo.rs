//! A MongoDB database of a test's own.

use mongodb::{Client, Database};

use crate::{fresh_name, is_leftover, required};

/// A database nobody else uses.
#[derive(Clone, Debug)]
pub struct TestMongo {
    /// Its address, with the database's name in the path.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// A look inside, past the service.
    pub database: Database,
}

impl TestMongo {
    /// A new, empty database; those that crashed runs left behind are removed.
    pub async fn create() -> Self {
        let server = required("TEST_MONGODB_URL");
        let client = Client::with_uri_str(&server)
            .await
            .expect("TEST_MONGODB_URL is the address of a MongoDB");
        for name in client.list_database_names().await.expect("MongoDB answers") {
            if is_leftover(&name) {
                let _ = client.database(&name).drop().await;
            }
        }
        let name = fresh_name();
        let mut uri = url::Url::parse(&server).expect("TEST_MONGODB_URL is an address");
        uri.set_path(&name);
        Self {
            uri: uri.into(),
            database: client.database(&name),
            name,
        }
    }
}
