//! `sessions`: one document per sign-in on one device. It holds hashes of refresh tokens, never a token.

use std::{net::IpAddr, time::Duration};

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        keyset::{Cursor, Page},
        origin::Origin,
        session::{AuthMethod, RefreshGrant, Session},
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
    /// Older sessions lack it; they were all opened by a password.
    auth_method: Option<String>,
}

#[derive(Deserialize)]
struct SessionId {
    #[serde(rename = "_id")]
    id: String,
}

/// A session's id and whose it is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SessionOwner {
    /// The session.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    #[serde(rename = "userId")]
    user_id: ObjectId,
}

impl SessionOwner {
    /// The session `id` of this user.
    pub(crate) fn new(id: String, user_id: UserId) -> Self {
        Self {
            id,
            user_id: user_id.0,
        }
    }

    /// Whose it is.
    pub(crate) fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }
}

impl SessionStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("sessions");
        rows.create_indexes([
            super::plain(doc! { "userId": 1, "createdAt": -1 }),
            super::plain(doc! { "createdAt": -1, "_id": -1 }),
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

    /// The user's sessions that have not expired, newest first.
    pub(crate) async fn list_of(&self, user_id: UserId, now: DateTime<Utc>) -> Result<Vec<Session>> {
        let mut filter = live(now);
        filter.insert("userId", user_id.0);
        let rows = self.rows.find(filter).sort(doc! { "createdAt": -1, "_id": -1 });
        Ok(rows.await?.map_ok(Session::from).try_collect().await?)
    }

    /// One of the user's sessions that has not expired. Somebody else's is none.
    pub(crate) async fn find_of(
        &self,
        id: &str,
        user_id: UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<Session>> {
        let mut filter = live(now);
        filter.extend(doc! { "_id": id, "userId": user_id.0 });
        Ok(self.rows.find_one(filter).await?.map(Session::from))
    }

    /// How many sessions have not expired: the user's, or everybody's.
    pub(crate) async fn count_live(&self, user_id: Option<UserId>, now: DateTime<Utc>) -> Result<u64> {
        let mut filter = live(now);
        if let Some(user_id) = user_id {
            filter.insert("userId", user_id.0);
        }
        Ok(self.rows.count_documents(filter).await?)
    }

    /// A page of the sessions that have not expired, newest first: the user's, or everybody's.
    pub(crate) async fn list_page(
        &self,
        user_id: Option<UserId>,
        after: Option<&Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page<Session>> {
        let mut filter = live(now);
        if let Some(user_id) = user_id {
            filter.insert("userId", user_id.0);
        }
        if let Some(after) = after {
            let at = BsonDateTime::from_chrono(after.at);
            filter.insert("createdAt", doc! { "$lte": at });
            // Those of the same millisecond that stood on the page before.
            filter.insert(
                "$nor",
                vec![doc! { "createdAt": at, "_id": { "$gte": &after.id } }],
            );
        }
        let rows = self
            .rows
            .find(filter)
            .sort(doc! { "createdAt": -1, "_id": -1 })
            .limit(i64::from(limit) + 1);
        let sessions = rows.await?.map_ok(Session::from).try_collect().await?;
        Ok(Page::cut(sessions, limit, |session: &Session| Cursor {
            at: session.created_at,
            id: session.id.clone(),
        }))
    }

    /// Whose session this is, expired or not.
    pub(crate) async fn find_owner(&self, id: &str) -> Result<Option<SessionOwner>> {
        let owners = self.rows.clone_with_type::<SessionOwner>();
        Ok(owners.find_one(doc! { "_id": id }).await?)
    }

    /// Up to `limit` sessions of whomever that were opened until then, all but `except`.
    pub(crate) async fn list_others(
        &self,
        except: &str,
        until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SessionOwner>> {
        let opened = doc! { "$lte": BsonDateTime::from_chrono(until) };
        let owners = self.rows.clone_with_type::<SessionOwner>();
        let found = owners
            .find(doc! { "_id": { "$ne": except }, "createdAt": opened })
            .projection(doc! { "_id": 1, "userId": 1 })
            .limit(limit);
        Ok(found.await?.try_collect().await?)
    }

    /// Removes sessions; says how many were there.
    pub(crate) async fn delete(&self, ids: &[String]) -> Result<u64> {
        let deleted = self.rows.delete_many(doc! { "_id": { "$in": ids } }).await?;
        Ok(deleted.deleted_count)
    }
}

/// What has not expired. Expired sessions are removed only a little later.
fn live(now: DateTime<Utc>) -> Document {
    let now = BsonDateTime::from_chrono(now);
    doc! { "tokenExpiresAt": { "$gt": now }, "endsAt": { "$gt": now } }
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
            auth_method: row
                .auth_method
                .map_or(AuthMethod::PASSWORD, |method| AuthMethod(method.into())),
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
            auth_method: Some(session.auth_method.0.clone().into_owned()),
        }
    }
}
