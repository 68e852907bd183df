//! Everything that is kept about somebody besides their account, wherever it is: what must go with them.

use bson::{Document, doc};
use mongodb::{Collection, Database};

use crate::{domain::user::UserId, error::Result};

/// The collections with rows about one user each, and the member that names the user. The audit trail is not among
/// them: it keeps the bare id as long as it keeps anything. `tokens` is what older deployments left.
const ABOUT_SOMEBODY: [(&str, &str); 3] = [
    ("sessions", "userId"),
    ("verifications", "userId"),
    ("tokens", "userId"),
];

/// Rows about people, in all collections.
#[derive(Clone, Debug)]
pub(crate) struct PersonalStore {
    database: Database,
}

impl PersonalStore {
    /// The rows in this database.
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
        }
    }

    /// Removes everything about these users.
    pub(crate) async fn delete_of(&self, ids: &[UserId]) -> Result<()> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        for (name, member) in ABOUT_SOMEBODY {
            let rows: Collection<Document> = self.database.collection(name);
            rows.delete_many(doc! { member: { "$in": &ids } }).await?;
        }
        Ok(())
    }

    /// Those of these users who have sessions.
    pub(crate) async fn list_signed_in(&self, ids: &[UserId]) -> Result<Vec<UserId>> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let sessions: Collection<Document> = self.database.collection("sessions");
        let found = sessions
            .distinct("userId", doc! { "userId": { "$in": &ids } })
            .await?;
        Ok(found
            .iter()
            .filter_map(|id| id.as_object_id().map(UserId))
            .collect())
    }
}
