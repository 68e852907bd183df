//! Accounts that wait for an administrator. Each is approved or refused once, whoever tries at the same time.

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_jwt::Role;
use futures_util::TryStreamExt as _;
use mongodb::{IndexModel, options::ReturnDocument};

use super::{UserStore, changes::UNTOLD};
use crate::{
    domain::{
        keyset::{Cursor, Page},
        user::{SignInRule, User, UserId},
    },
    error::Result,
};

/// Whether an account waits; missing where it does not.
pub(super) const AWAITS_APPROVAL: &str = "awaitsApproval";

/// Who waits, in the order in which they came.
pub(super) fn index() -> IndexModel {
    super::super::sparse(doc! { AWAITS_APPROVAL: 1, "createdAt": 1, "_id": 1 })
}

impl UserStore {
    /// A page of those who wait and may sign in by `rule` once they are approved, the first who came first.
    pub(crate) async fn list_waiting(
        &self,
        rule: SignInRule,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<User>> {
        let mut filter = waiting(rule);
        if let Some(after) = after {
            let at = BsonDateTime::from_chrono(after.at);
            let id = ObjectId::parse_str(&after.id).unwrap_or_default();
            filter.insert("createdAt", doc! { "$gte": at });
            // Those of the same millisecond that stood on the page before.
            filter.insert("$nor", vec![doc! { "createdAt": at, "_id": { "$lte": id } }]);
        }
        let rows = self
            .rows
            .find(filter)
            .sort(doc! { "createdAt": 1, "_id": 1 })
            .limit(i64::from(limit) + 1);
        let users = rows.await?.map_ok(|row| self.read(row)).try_collect().await?;
        Ok(Page::cut(users, limit, |user: &User| Cursor {
            at: user.created_at,
            id: user.id.to_string(),
        }))
    }

    /// How many wait, up to `most`.
    pub(crate) async fn count_waiting(&self, rule: SignInRule, most: u64) -> Result<u64> {
        Ok(self.rows.count_documents(waiting(rule)).limit(most).await?)
    }

    /// Lets somebody in who waits; `None` when nobody of this id does.
    pub(crate) async fn approve(&self, id: UserId, now: DateTime<Utc>) -> Result<Option<User>> {
        self.decide(waits(id), doc! {}, now).await
    }

    /// Shuts the account of somebody who waits and is no admin, so that nobody can approve it any more; `None` when
    /// nobody of this id does.
    pub(crate) async fn refuse(&self, id: UserId, now: DateTime<Utc>) -> Result<Option<User>> {
        let mut filter = waits(id);
        filter.insert("role", doc! { "$ne": Role::Admin.as_str() });
        self.decide(filter, doc! { "isDisabled": true }, now).await
    }

    async fn decide(&self, filter: Document, also: Document, now: DateTime<Utc>) -> Result<Option<User>> {
        let mut set = doc! { "updatedAt": BsonDateTime::from_chrono(now), UNTOLD: ObjectId::new() };
        set.extend(also);
        let decided = self
            .rows
            .find_one_and_update(filter, doc! { "$set": set, "$unset": { AWAITS_APPROVAL: "" } })
            .return_document(ReturnDocument::After);
        Ok(decided.await?.map(|row| self.read(row)))
    }
}

fn waiting(rule: SignInRule) -> Document {
    let mut filter = doc! { AWAITS_APPROVAL: true, "isDisabled": { "$ne": true } };
    if rule == SignInRule::VerifiedOnly {
        filter.insert("isVerified", true);
    }
    filter
}

fn waits(id: UserId) -> Document {
    doc! { "_id": id.0, AWAITS_APPROVAL: true }
}
