//! `sessions`: one document per sign-in on one device. It holds hashes of refresh tokens, never a token.

use std::{net::IpAddr, time::Duration};

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        origin::Origin,
        session::{RefreshGrant, Session},
        user::UserId,
    },
    error::Result,
};

/// A session is removed once its refresh token has expired, and the leeway of clocks with it.
const REMOVED_AFTER: Duration = Duration::from_mins(1);

/// The sessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionStore {
    rows: Collection<SessionRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionRow {
    #[serde(rename = "_id")]
    id: String,
    user_id: ObjectId,
    token_hash: String,
    token_id: String,
    token_issued_at: BsonDateTime,
    token_expires_at: BsonDateTime,
    previous_hash: Option<String>,
    rotated_at: Option<BsonDateTime>,
    created_at: BsonDateTime,
    last_seen_at: BsonDateTime,
    ends_at: BsonDateTime,
    address: IpAddr,
    user_agent: Option<String>,
}

#[derive(Deserialize)]
struct SessionId {
    #[serde(rename = "_id")]
    id: String,
}

impl SessionStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("sessions");
        rows.create_indexes([
            super::plain(doc! { "userId": 1, "createdAt": -1 }),
            super::expiring(doc! { "tokenExpiresAt": 1 }, REMOVED_AFTER),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// Adds a session.
    pub(crate) async fn insert(&self, session: &Session) -> Result<()> {
        self.rows.insert_one(SessionRow::from(session)).await?;
        Ok(())
    }

    /// The session with this id, if it has not ended.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Session>> {
        let row = self.rows.find_one(doc! { "_id": id }).await?;
        Ok(row.map(Session::from))
    }

    /// Whether the user has such a session.
    pub(crate) async fn exists(&self, id: &str, user_id: UserId) -> Result<bool> {
        let filter = doc! { "_id": id, "userId": user_id.0 };
        Ok(self.rows.count_documents(filter).limit(1).await? == 1)
    }

    /// Exchanges the token with the hash `presented` for the next one. The filter is the check: of any number of
    /// callers with the same token exactly one gets `true`.
    pub(crate) async fn rotate(
        &self,
        id: &str,
        presented: &str,
        grant: &RefreshGrant,
        token_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let filter = doc! { "_id": id, "tokenHash": presented };
        let update = doc! { "$set": {
            "tokenHash": token_hash,
            "tokenId": &grant.jti,
            "tokenIssuedAt": BsonDateTime::from_chrono(grant.issued_at),
            "tokenExpiresAt": BsonDateTime::from_chrono(grant.expires_at),
            "previousHash": presented,
            "rotatedAt": BsonDateTime::from_chrono(now),
            "lastSeenAt": BsonDateTime::from_chrono(now),
        } };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// The user's sessions, newest first.
    pub(crate) async fn list_ids(&self, user_id: UserId) -> Result<Vec<String>> {
        let ids = self.rows.clone_with_type::<SessionId>();
        let found = ids
            .find(doc! { "userId": user_id.0 })
            .projection(doc! { "_id": 1 })
            .sort(doc! { "createdAt": -1, "_id": -1 });
        Ok(found.await?.map_ok(|session| session.id).try_collect().await?)
    }

    /// Removes sessions; says how many were there.
    pub(crate) async fn delete(&self, ids: &[String]) -> Result<u64> {
        let deleted = self.rows.delete_many(doc! { "_id": { "$in": ids } }).await?;
        Ok(deleted.deleted_count)
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            user_id: UserId(row.user_id),
            grant: RefreshGrant {
                jti: row.token_id,
                issued_at: row.token_issued_at.to_chrono(),
                expires_at: row.token_expires_at.to_chrono(),
            },
            token_hash: row.token_hash,
            previous_hash: row.previous_hash,
            rotated_at: row.rotated_at.map(BsonDateTime::to_chrono),
            created_at: row.created_at.to_chrono(),
            last_seen_at: row.last_seen_at.to_chrono(),
            ends_at: row.ends_at.to_chrono(),
            origin: Origin {
                address: row.address,
                user_agent: row.user_agent,
            },
        }
    }
}

impl From<&Session> for SessionRow {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.clone(),
            user_id: session.user_id.0,
            token_hash: session.token_hash.clone(),
            token_id: session.grant.jti.clone(),
            token_issued_at: BsonDateTime::from_chrono(session.grant.issued_at),
            token_expires_at: BsonDateTime::from_chrono(session.grant.expires_at),
            previous_hash: session.previous_hash.clone(),
            rotated_at: session.rotated_at.map(BsonDateTime::from_chrono),
            created_at: BsonDateTime::from_chrono(session.created_at),
            last_seen_at: BsonDateTime::from_chrono(session.last_seen_at),
            ends_at: BsonDateTime::from_chrono(session.ends_at),
            address: session.origin.address,
            user_agent: session.origin.user_agent.clone(),
        }
    }
}
