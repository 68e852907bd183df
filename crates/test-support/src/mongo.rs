//! A MongoDB database of a test's own.

use std::sync::Arc;

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
    _removed_with_the_last_clone: Arc<Removal>,
}

/// Removes the databases of a test when it ends, well or not: hundreds of them, with dozens of files each, would be more
/// than a server may hold open.
#[derive(Debug)]
struct Removal {
    server: String,
    prefix: String,
}

impl Drop for Removal {
    fn drop(&mut self) {
        let (server, prefix) = (self.server.clone(), self.prefix.clone());
        // A thread of its own: the test's runtime may be ending. What cannot be removed is left to a later run.
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let remove = async {
                let client = Client::with_uri_str(&server).await?;
                for name in client.list_database_names().await? {
                    if name.starts_with(&prefix) {
                        client.database(&name).drop().await?;
                    }
                }
                Ok::<_, mongodb::error::Error>(())
            };
            runtime.map(|runtime| runtime.block_on(remove))
        });
        let _ = removing.join();
    }
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
            _removed_with_the_last_clone: Arc::new(Removal {
                server,
                prefix: name.clone(),
            }),
            name,
        }
    }
}
