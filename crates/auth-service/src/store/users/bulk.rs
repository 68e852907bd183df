//! Many users at once: who is there already, and adding those who are not.

use bson::{Bson, doc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::error::{Error as DriverError, ErrorKind};

use super::{BATCH, UserRow, UserStore};
use crate::{
    domain::user::{User, UserId},
    error::{DUPLICATE_KEY, Error, Result},
};

/// A user to be added.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    /// The user.
    pub(crate) user: User,
    /// The word for the role as it is stored, which may be one that only reads as `user.role`.
    pub(crate) role_word: String,
}

/// A user with the role as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredUser {
    /// The user.
    pub(crate) user: User,
    /// The word for the role.
    pub(crate) role_word: String,
}

/// Somebody who has a name or an address already.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// Who.
    pub(crate) id: UserId,
    /// Their name.
    pub(crate) username: String,
    /// Their address.
    pub(crate) email: String,
}

impl UserStore {
    /// Everybody who has one of these addresses or names.
    pub(crate) async fn list_holders(&self, emails: &[&str], usernames: &[&str]) -> Result<Vec<Holder>> {
        let any_of = |field: &str, values: &[&str]| {
            let values: Vec<Bson> = values.iter().map(|value| Bson::from(*value)).collect();
            doc! { field: { "$in": values } }
        };
        let filter = doc! { "$or": [any_of("email", emails), any_of("username", usernames)] };
        let found = self.rows.find(filter).await?;
        let holder = |row: UserRow| Holder {
            id: UserId(row.id),
            username: row.username,
            email: row.email,
        };
        Ok(found.map_ok(holder).try_collect().await?)
    }

    /// Adds as many of these users as can be, and says which could not and why: somebody took their name or address.
    pub(crate) async fn insert_many(&self, users: &[NewUser]) -> Result<Vec<(usize, Error)>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let rows = users.iter().map(|new| UserRow {
            role: new.role_word.clone(),
            ..UserRow::from(&new.user)
        });
        match self.rows.insert_many(rows).ordered(false).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => duplicates(error),
        }
    }

    /// Those of these users who exist.
    pub(crate) async fn list_by_ids(&self, ids: &[UserId]) -> Result<Vec<User>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Bson> = ids.iter().map(|id| id.0.into()).collect();
        let found = self.rows.find(doc! { "_id": { "$in": ids } }).await?;
        Ok(found.map_ok(|row| self.read(row)).try_collect().await?)
    }

    /// All users, oldest first, with the words for their roles.
    pub(crate) async fn list_stored(&self) -> Result<impl Stream<Item = Result<StoredUser>> + use<>> {
        let users = self
            .rows
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .batch_size(BATCH)
            .await?;
        let store = self.clone();
        let stored = move |row: UserRow| StoredUser {
            role_word: row.role.clone(),
            user: store.read(row),
        };
        Ok(users.map_ok(stored).map_err(Error::from))
    }
}

/// The rows that met somebody with their name or address; any other failure is the whole write's.
fn duplicates(error: DriverError) -> Result<Vec<(usize, Error)>> {
    let ErrorKind::InsertMany(many) = &*error.kind else {
        return Err(error.into());
    };
    let rows = many.write_errors.as_deref().unwrap_or_default();
    if many.write_concern_error.is_some()
        || rows.is_empty()
        || rows.iter().any(|row| row.code != DUPLICATE_KEY)
    {
        return Err(error.into());
    }
    let taken = |message: &str| {
        if message.contains("index: username") {
            Error::UsernameTaken
        } else {
            Error::EmailTaken
        }
    };
    Ok(rows.iter().map(|row| (row.index, taken(&row.message))).collect())
}
