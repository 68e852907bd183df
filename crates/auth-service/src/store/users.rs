//! `users`: the collection that administration scripts also read and write directly.
//!
//! So a document may hold a role we do not know and may lack what older tools left out; reading maps both, and every
//! write sets single fields, so that what we do not know survives.

pub(crate) mod approvals;
pub(crate) mod bulk;
pub(crate) mod changes;
pub(crate) mod identities;
pub(crate) mod pages;

use std::collections::HashMap;

use bson::{Bson, DateTime as BsonDateTime, bson, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_jwt::Role;
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        email,
        roles::RoleMap,
        user::{User, UserId},
    },
    error::{Error, FederationError, Result},
};

/// How many users one round trip brings when all are listed.
const BATCH: u32 = 500;

/// The users.
#[derive(Clone, Debug)]
pub(crate) struct UserStore {
    rows: Collection<UserRow>,
    /// What stored roles mean.
    roles: RoleMap,
}

/// Another password for a user.
#[derive(Debug)]
pub(crate) struct PasswordChange<'a> {
    /// Its hash.
    pub(crate) hash: &'a str,
    /// Whether the user has to choose yet another.
    pub(crate) must_change: bool,
    /// Which password it replaces; any, when there is none.
    pub(crate) version: Option<i32>,
    /// The address that the change has proven, which must still be the user's.
    pub(crate) proves_email: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the documented members")]
struct UserRow {
    #[serde(rename = "_id")]
    id: ObjectId,
    username: String,
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_name: Option<String>,
    #[serde(default)]
    is_verified: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_disabled: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_service_account: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    awaits_approval: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    must_change_password: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    password_version: i32,
    #[serde(default)]
    role: String,
    created_at: Option<BsonDateTime>,
    updated_at: Option<BsonDateTime>,
    #[serde(rename = "__v", default)]
    version: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    identities: Vec<identities::IdentityRow>,
    /// Whether other services have to hear of a change yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untold: Option<changes::Mark>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
const fn is_zero(version: &i32) -> bool {
    *version == 0
}

#[derive(Deserialize)]
struct UserName {
    #[serde(rename = "_id")]
    id: ObjectId,
    username: String,
}

impl UserStore {
    /// Opens the collection and sees to its indexes, under the names that older deployments gave them.
    pub(crate) async fn open(database: &Database, roles: RoleMap) -> Result<Self> {
        let rows = database.collection("users");
        rows.create_indexes([
            super::unique(doc! { "username": 1 }),
            super::unique(doc! { "email": 1 }),
            super::sparse(doc! { changes::UNTOLD: 1 }),
            approvals::index(),
            identities::index(),
            identities::provider_index(),
            super::plain(doc! { "createdAt": 1 }),
        ])
        .await?;
        rows.create_indexes(pages::indexes()).await?;
        Ok(Self { rows, roles })
    }

    /// Adds a user; the unique indexes decide between two of the same name.
    pub(crate) async fn insert(&self, user: &User) -> Result<()> {
        match self.rows.insert_one(UserRow::from(user)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(taken(error)),
        }
    }

    /// The user with this id.
    pub(crate) async fn find(&self, id: UserId) -> Result<Option<User>> {
        let row = self.rows.find_one(doc! { "_id": id.0 }).await?;
        Ok(row.map(|row| self.read(row)))
    }

    /// The user with this address, in whatever case it is typed.
    pub(crate) async fn find_by_email(&self, email: &str) -> Result<Option<User>> {
        let row = self
            .rows
            .find_one(doc! { "email": email::normalise(email) })
            .await?;
        Ok(row.map(|row| self.read(row)))
    }

    /// The user with exactly this name.
    pub(crate) async fn find_by_username(&self, username: &str) -> Result<Option<User>> {
        let row = self.rows.find_one(doc! { "username": username.trim() }).await?;
        Ok(row.map(|row| self.read(row)))
    }

    /// The user who signs in as `login`: an address before a name, so that no name can stand in for an address.
    pub(crate) async fn find_by_login(&self, login: &str) -> Result<Option<User>> {
        if login.contains('@')
            && let Some(user) = self.find_by_email(login).await?
        {
            return Ok(Some(user));
        }
        self.find_by_username(login).await
    }

    /// The names of these users; of those that are gone, none.
    pub(crate) async fn list_names(&self, ids: &[UserId]) -> Result<HashMap<UserId, String>> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let rows = self.rows.clone_with_type::<UserName>();
        let found = rows
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "username": 1 });
        let names = found.await?.map_ok(|user| (UserId(user.id), user.username));
        Ok(names.try_collect().await?)
    }

    /// All users, oldest first, a batch at a time.
    pub(crate) async fn list(&self) -> Result<impl Stream<Item = Result<User>> + use<>> {
        let users = self
            .rows
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .batch_size(BATCH)
            .await?;
        let store = self.clone();
        Ok(users.map_ok(move |row| store.read(row)).map_err(Error::from))
    }

    /// Whether anybody is an admin, able to sign in or not.
    pub(crate) async fn has_admin(&self) -> Result<bool> {
        let admin = doc! { "role": Role::Admin.as_str() };
        Ok(self.rows.count_documents(admin).limit(1).await? > 0)
    }

    /// Marks the address as proven, if it is still the user's.
    pub(crate) async fn set_verified(&self, id: UserId, email: &str, now: DateTime<Utc>) -> Result<bool> {
        let filter = doc! { "_id": id.0, "email": email };
        let update = doc! { "$set": {
            "isVerified": true,
            "updatedAt": BsonDateTime::from_chrono(now),
            changes::UNTOLD: ObjectId::new(),
        } };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Replaces the password. Says whether it did: not when the user is gone, or has another password or address than
    /// `change` counts on.
    pub(crate) async fn set_password(
        &self,
        id: UserId,
        change: &PasswordChange<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut filter = doc! { "_id": id.0 };
        if let Some(version) = change.version {
            filter.insert("passwordVersion", version_filter(version));
        }
        let mut set = doc! { "password": change.hash, "updatedAt": BsonDateTime::from_chrono(now) };
        if let Some(email) = change.proves_email {
            filter.insert("email", email);
            set.insert("isVerified", true);
        }
        let mut update = doc! { "$set": set, "$inc": { "passwordVersion": 1 } };
        if change.must_change {
            update
                .get_document_mut("$set")
                .map(|set| set.insert("mustChangePassword", true))
                .ok();
        } else {
            update.insert("$unset", doc! { "mustChangePassword": "" });
        }
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Gives the user another address, which they have proven. Returns them as they were before.
    pub(crate) async fn set_email(
        &self,
        id: UserId,
        email: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<User>> {
        let update = doc! { "$set": {
            "email": email,
            "isVerified": true,
            "updatedAt": BsonDateTime::from_chrono(now),
            changes::UNTOLD: ObjectId::new(),
        } };
        let changed = self.rows.find_one_and_update(doc! { "_id": id.0 }, update);
        match changed.return_document(ReturnDocument::Before).await {
            Ok(row) => Ok(row.map(|row| self.read(row))),
            Err(error) => Err(taken(error)),
        }
    }

    /// Gives the user another name.
    pub(crate) async fn set_username(
        &self,
        id: UserId,
        username: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<User>> {
        let update = doc! { "$set": {
            "username": username,
            "updatedAt": BsonDateTime::from_chrono(now),
            changes::UNTOLD: ObjectId::new(),
        } };
        let changed = self.rows.find_one_and_update(doc! { "_id": id.0 }, update);
        match changed.return_document(ReturnDocument::After).await {
            Ok(row) => Ok(row.map(|row| self.read(row))),
            Err(error) => Err(taken(error)),
        }
    }

    /// Replaces a hash by a stronger one of the same password, unless the password was changed meanwhile.
    pub(crate) async fn renew_hash(&self, id: UserId, old: &str, new: &str) -> Result<()> {
        let filter = doc! { "_id": id.0, "password": old };
        self.rows
            .update_one(filter, doc! { "$set": { "password": new } })
            .await?;
        Ok(())
    }
}

/// A user who never had another password has no number.
fn version_filter(version: i32) -> Bson {
    if version == 0 {
        return bson!({ "$in": [0, null] });
    }
    version.into()
}

/// Says which of the two unique values somebody else has.
fn taken(error: mongodb::error::Error) -> Error {
    match Error::duplicate_key(&error) {
        Some(message) if message.contains("index: username") => Error::UsernameTaken,
        Some(message) if message.contains("index: identities") => FederationError::IdentityTaken.into(),
        Some(_) => Error::EmailTaken,
        None => Error::Database(error),
    }
}

impl UserStore {
    /// A user as the document describes one.
    fn read(&self, row: UserRow) -> User {
        let made = || row.id.timestamp().to_chrono();
        User {
            id: UserId(row.id),
            created_at: row.created_at.map_or_else(made, BsonDateTime::to_chrono),
            updated_at: row.updated_at.map_or_else(made, BsonDateTime::to_chrono),
            username: row.username,
            email: row.email,
            password_hash: row.password,
            full_name: row.full_name,
            is_verified: row.is_verified,
            is_disabled: row.is_disabled,
            is_service_account: row.is_service_account,
            awaits_approval: row.awaits_approval,
            role: self.roles.read(&row.role),
            must_change_password: row.must_change_password,
            password_version: row.password_version,
            version: row.version,
            identities: row.identities.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.0,
            username: user.username.clone(),
            email: user.email.clone(),
            password: user.password_hash.clone(),
            full_name: user.full_name.clone(),
            is_verified: user.is_verified,
            is_disabled: user.is_disabled,
            is_service_account: user.is_service_account,
            awaits_approval: user.awaits_approval,
            must_change_password: user.must_change_password,
            password_version: user.password_version,
            role: user.role.as_str().to_owned(),
            created_at: Some(BsonDateTime::from_chrono(user.created_at)),
            updated_at: Some(BsonDateTime::from_chrono(user.updated_at)),
            version: user.version,
            identities: user.identities.iter().map(Into::into).collect(),
            untold: None,
        }
    }
}
