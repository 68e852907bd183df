//! Everything that is kept about somebody besides their account, wherever it is: what must go with them.

use std::{collections::HashSet, net::IpAddr};

use bson::{DateTime as BsonDateTime, Document, doc};
use common_http::Timestamp;
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::{
    domain::user::UserId,
    error::{Error, Result},
};

/// The collections with rows about one user each, and the member that names the user. The audit trail is not among
/// them: it keeps the bare id as long as it keeps anything. `tokens` is what older deployments left.
const ABOUT_SOMEBODY: [(&str, &str); 13] = [
    ("api_keys", "userId"),
    ("onboarding", "_id"),
    ("known_devices", "_id"),
    ("sessions", "userId"),
    ("verifications", "userId"),
    ("password_resets", "_id"),
    ("second_factors", "_id"),
    ("pending_sign_ins", "userId"),
    ("pending_links", "userId"),
    ("sign_in_flows", "terms.userId"),
    ("sign_in_arrivals", "terms.userId"),
    ("invitations", "usedBy"),
    ("tokens", "userId"),
];

/// A time as the database keeps it and as people read it.
#[derive(Debug)]
struct Moment(Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let time = BsonDateTime::deserialize(deserializer)?;
        Ok(Self(Timestamp(time.to_chrono())))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A session as its owner may read it: without what its tokens could be known by.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptSession {
    #[serde(rename(deserialize = "_id"))]
    id: String,
    created_at: Moment,
    last_seen_at: Moment,
    ends_at: Moment,
    address: IpAddr,
    user_agent: Option<String>,
}

/// An open verification, without its code. Older deployments kept less of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptVerification {
    #[serde(rename(serialize = "kind", deserialize = "type"))]
    kind: String,
    email: Option<String>,
    #[serde(rename(deserialize = "sentLastAt"))]
    sent_at: Option<Moment>,
    #[serde(rename(deserialize = "expires"))]
    removed_at: Option<Moment>,
}

/// An API key as its owner may read it: without what it could be known by.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptApiKey {
    #[serde(rename(deserialize = "_id"))]
    id: String,
    name: String,
    prefix: String,
    scopes: Vec<String>,
    chatflows: Option<Vec<String>>,
    credit_cap: Option<i64>,
    rate: Option<u32>,
    expires_at: Option<Moment>,
    last_used_at: Option<Moment>,
    created_at: Moment,
}

/// An event of the audit trail.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptEvent {
    at: Moment,
    action: String,
    outcome: String,
    session_id: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
}

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

    /// The user's sessions, as they are read.
    pub(crate) async fn sessions(
        &self,
        id: UserId,
    ) -> Result<impl Stream<Item = Result<KeptSession>> + use<>> {
        self.stream("sessions", doc! { "userId": id.0 }).await
    }

    /// The user's API keys, as they are read.
    pub(crate) async fn api_keys(
        &self,
        id: UserId,
    ) -> Result<impl Stream<Item = Result<KeptApiKey>> + use<>> {
        self.stream("api_keys", doc! { "userId": id.0, "revokedAt": null })
            .await
    }

    /// What was sent to the user and not used, as it is read.
    pub(crate) async fn verifications(
        &self,
        id: UserId,
    ) -> Result<impl Stream<Item = Result<KeptVerification>> + use<>> {
        self.stream("verifications", doc! { "userId": id.0 }).await
    }

    /// What was done by or to the user, as it is read. Whom an administrator did something to is not told here.
    pub(crate) async fn audit_events(
        &self,
        id: UserId,
    ) -> Result<impl Stream<Item = Result<KeptEvent>> + use<>> {
        self.stream("audit_events", doc! { "subject": id.0 }).await
    }

    async fn stream<T: DeserializeOwned + Send + Sync>(
        &self,
        name: &str,
        filter: Document,
    ) -> Result<impl Stream<Item = Result<T>> + use<T>> {
        let rows: Collection<T> = self.database.collection(name);
        Ok(rows.find(filter).await?.map_err(Error::from))
    }

    /// Those of these users who have sessions or API keys.
    pub(crate) async fn list_signed_in(&self, ids: &[UserId]) -> Result<Vec<UserId>> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let mut signed_in = HashSet::new();
        for name in ["sessions", "api_keys"] {
            let rows: Collection<Document> = self.database.collection(name);
            let found = rows
                .distinct("userId", doc! { "userId": { "$in": &ids } })
                .await?;
            signed_in.extend(found.iter().filter_map(|id| id.as_object_id().map(UserId)));
        }
        Ok(signed_in.into_iter().collect())
    }
}
