//! Pages of the list of users. Each is read from an index in the order of that index, from where the page before
//! ended: what it costs does not grow with the number of users or with how far in it lies.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use chrono::{DateTime, NaiveDate, Utc};
use common_jwt::Role;
use futures_util::TryStreamExt as _;
use mongodb::{
    IndexModel,
    options::{Collation, CollationStrength, Hint, IndexOptions},
};

use super::{UserStore, approvals::AWAITS_APPROVAL};
use crate::{
    domain::{
        email,
        user::{User, UserId},
        user_list::{Position, Search, UserFilter, UserState},
    },
    error::Result,
};

/// Names in the order of people: without regard to case and accents.
const BY_NAME: &str = "username_folded";

/// Role and state, then the order of accounts.
const BY_ROLE: &str = "role_state";

/// State, then the order of accounts.
const BY_STATE: &str = "state";

/// The unique index over addresses, as MongoDB names it.
const BY_EMAIL: &str = "email_1";

/// The index that every collection has.
const BY_ID: &str = "_id_";

/// Users that a page of a search looks at, at most, when role or state let few of them pass. Then the page is shorter
/// than it could be, and its cursor leads on.
const LOOKED_AT_MAX: usize = 1_000;

/// Users that are read at once when not all of them will pass.
const CHUNK: usize = 250;

/// Words in the collection that may read as one role; there are five when nobody invents more.
const ROLE_WORDS_MAX: usize = 20;

/// After everything that begins as the text before it does: no character has a higher weight in a collation.
const LAST_IN_COLLATION: char = '\u{ffff}';

/// The same where texts are compared byte by byte.
const LAST_IN_BYTES: char = '\u{10ffff}';

/// One page.
#[derive(Debug)]
pub(crate) struct UserPage {
    /// In the order of the list.
    pub(crate) users: Vec<User>,
    /// Where the next page begins; `None` when this is the last.
    pub(crate) next: Option<Position>,
}

/// The indexes that pages need beside the two unique ones.
pub(super) fn indexes() -> [IndexModel; 3] {
    let named = |name: &str, keys: Document, collation: Option<Collation>| {
        let options = IndexOptions::builder().name(name.to_owned()).collation(collation);
        IndexModel::builder().keys(keys).options(options.build()).build()
    };
    [
        named(BY_NAME, doc! { "username": 1, "_id": 1 }, Some(folded())),
        named(
            BY_ROLE,
            doc! { "role": 1, "isVerified": 1, "isDisabled": 1, "_id": 1 },
            None,
        ),
        named(
            BY_STATE,
            doc! { "isVerified": 1, "isDisabled": 1, "_id": 1 },
            None,
        ),
    ]
}

fn folded() -> Collation {
    Collation::builder()
        .locale("en")
        .strength(CollationStrength::Secondary)
        .build()
}

impl UserStore {
    /// How many accounts there are, as MongoDB knows without counting.
    pub(crate) async fn count(&self) -> Result<u64> {
        Ok(self.rows.estimated_document_count().await?)
    }

    /// How many people can sign in.
    pub(crate) async fn count_active(&self) -> Result<u64> {
        let (verified, disabled) = state_points(Some(UserState::Active));
        let filter = doc! {
            "isVerified": { "$in": verified },
            "isDisabled": { "$in": disabled },
            AWAITS_APPROVAL: { "$ne": true },
        };
        let counted = self.rows.count_documents(filter);
        Ok(counted.hint(Hint::Name(BY_STATE.to_owned())).await?)
    }

    /// How many accounts were made since `from`, by day in UTC.
    pub(crate) async fn count_created_by_day(&self, from: DateTime<Utc>) -> Result<BTreeMap<NaiveDate, u64>> {
        super::super::days::count_by_day(&self.rows, doc! {}, "createdAt", from).await
    }

    /// At most `limit` users from after `after` on.
    pub(crate) async fn page(
        &self,
        filter: &UserFilter,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<UserPage> {
        match (&filter.search, after) {
            (None, _) => self.page_by_id(filter, after, limit).await,
            (Some(Search::Email(prefix)), _) => {
                let mut page = Filling::new(filter, limit);
                self.fill_by_email(&mut page, prefix, after, None).await?;
                Ok(page.finish())
            }
            (Some(Search::NameOrEmail(prefix)), after) => {
                let mut page = Filling::new(filter, limit);
                if !matches!(after, Some(Position::Email(_))) {
                    self.fill_by_name(&mut page, prefix, after).await?;
                }
                if page.has_room() {
                    let after = after.filter(|after| matches!(after, Position::Email(_)));
                    let address = email::normalise(prefix);
                    self.fill_by_email(&mut page, &address, after, Some(prefix))
                        .await?;
                }
                Ok(page.finish())
            }
        }
    }

    /// Without a search: the order of accounts. Role and state are points of an index whose last key is the id, so
    /// MongoDB merges a few ordered scans and sorts nothing.
    async fn page_by_id(
        &self,
        filter: &UserFilter,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<UserPage> {
        let mut query = doc! {};
        let mut index = BY_ID;
        if filter.state.is_some() || filter.role.is_some() {
            index = BY_STATE;
            let (verified, disabled) = state_points(filter.state);
            query.insert("isVerified", doc! { "$in": verified });
            query.insert("isDisabled", doc! { "$in": disabled });
            if filter.state == Some(UserState::Active) {
                query.insert(AWAITS_APPROVAL, doc! { "$ne": true });
            }
        }
        if let Some(role) = filter.role {
            index = BY_ROLE;
            query.insert("role", doc! { "$in": self.words_for(role).await? });
        }
        if let Some(Position::Id(id)) = after {
            query.insert("_id", doc! { "$gt": id.0 });
        }
        let found = self
            .rows
            .find(query)
            .sort(doc! { "_id": 1 })
            .hint(Hint::Name(index.to_owned()))
            .limit(to_limit(limit + 1))
            .await?;
        let mut users: Vec<User> = found.map_ok(|row| self.read(row)).try_collect().await?;
        let is_last = users.len() <= limit;
        users.truncate(limit);
        let next = users
            .last()
            .filter(|_| !is_last)
            .map(|user| Position::Id(user.id));
        Ok(UserPage { users, next })
    }

    async fn fill_by_name(
        &self,
        page: &mut Filling<'_>,
        prefix: &str,
        after: Option<&Position>,
    ) -> Result<()> {
        let mut after = match after {
            Some(Position::Name { username, id }) => Some((username.clone(), *id)),
            _ => None,
        };
        while page.has_room() {
            let wanted = page.chunk();
            let chunk = self
                .rows
                .find(names_from(prefix, after.as_ref()))
                .collation(folded())
                .sort(doc! { "username": 1, "_id": 1 })
                .hint(Hint::Name(BY_NAME.to_owned()))
                .limit(to_limit(wanted))
                .await?;
            let chunk: Vec<User> = chunk.map_ok(|row| self.read(row)).try_collect().await?;
            let is_last = chunk.len() < wanted;
            for user in chunk {
                let position = (user.username.clone(), user.id);
                let (username, id) = position.clone();
                if !page.offer(user, Position::Name { username, id }) {
                    return Ok(());
                }
                after = Some(position);
            }
            if is_last {
                page.next = Some(Position::Email(String::new()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Addresses in their order, without the users whose names match `unless`: they were listed before.
    async fn fill_by_email(
        &self,
        page: &mut Filling<'_>,
        prefix: &str,
        after: Option<&Position>,
        unless: Option<&str>,
    ) -> Result<()> {
        let mut after = match after {
            Some(Position::Email(email)) => email.clone(),
            _ => String::new(),
        };
        while page.has_room() {
            let wanted = page.chunk();
            let mut range = doc! { "$gte": prefix, "$lt": format!("{prefix}{LAST_IN_BYTES}") };
            if !after.is_empty() {
                range.insert("$gt", after.as_str());
            }
            let chunk = self
                .rows
                .find(doc! { "email": range })
                .sort(doc! { "email": 1 })
                .hint(Hint::Name(BY_EMAIL.to_owned()))
                .limit(to_limit(wanted))
                .await?;
            let chunk: Vec<User> = chunk.map_ok(|row| self.read(row)).try_collect().await?;
            let is_last = chunk.len() < wanted;
            let listed = match unless {
                Some(name) => self.named_like(name, &chunk).await?,
                None => Vec::new(),
            };
            for user in chunk {
                after.clone_from(&user.email);
                let position = Position::Email(user.email.clone());
                let goes_on = if listed.contains(&user.id) {
                    page.pass_over(position)
                } else {
                    page.offer(user, position)
                };
                if !goes_on {
                    return Ok(());
                }
            }
            if is_last {
                page.next = None;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Which of these users have a name that begins with `prefix`, by the same comparison that lists names.
    async fn named_like(&self, prefix: &str, users: &[User]) -> Result<Vec<UserId>> {
        let ids: Vec<Bson> = users.iter().map(|user| user.id.0.into()).collect();
        let mut query = names_from(prefix, None);
        query.insert("_id", doc! { "$in": ids });
        let found = self
            .rows
            .find(query)
            .collation(folded())
            .hint(Hint::Name(BY_ID.to_owned()))
            .await?;
        found
            .map_ok(|row| UserId(row.id))
            .map_err(Into::into)
            .try_collect()
            .await
    }

    /// The stored words that read as this role. Without a word one is an end user.
    async fn words_for(&self, role: Role) -> Result<Vec<Bson>> {
        let words = self.rows.distinct("role", doc! {}).await?;
        let reads_as = |word: &Bson| self.roles.read(word.as_str().unwrap_or_default()) == role;
        let mut words: Vec<_> = words.into_iter().filter(reads_as).take(ROLE_WORDS_MAX).collect();
        if role == Role::default() && !words.contains(&Bson::Null) {
            words.push(Bson::Null);
        }
        Ok(words)
    }
}

/// A page that is being filled.
struct Filling<'f> {
    filter: &'f UserFilter,
    limit: usize,
    looked_at: usize,
    users: Vec<User>,
    next: Option<Position>,
}

impl<'f> Filling<'f> {
    fn new(filter: &'f UserFilter, limit: usize) -> Self {
        Self {
            filter,
            limit,
            looked_at: 0,
            users: Vec::with_capacity(limit),
            next: None,
        }
    }

    fn has_room(&self) -> bool {
        self.users.len() < self.limit && self.looked_at < LOOKED_AT_MAX
    }

    /// How many users to read next: one more than fit when each of them passes, to see whether there are more.
    fn chunk(&self) -> usize {
        let narrowed = self.filter.role.is_some() || self.filter.state.is_some();
        if narrowed {
            CHUNK
        } else {
            self.limit - self.users.len() + 1
        }
    }

    /// Takes the next user of the list; says whether the page goes on after them.
    fn offer(&mut self, user: User, position: Position) -> bool {
        if self.users.len() == self.limit {
            return false;
        }
        if self.filter.admits(&user) {
            self.users.push(user);
        }
        self.pass_over(position)
    }

    fn pass_over(&mut self, position: Position) -> bool {
        self.looked_at += 1;
        self.next = Some(position);
        self.looked_at < LOOKED_AT_MAX
    }

    fn finish(self) -> UserPage {
        UserPage {
            users: self.users,
            next: self.next,
        }
    }
}

/// Names that begin with `prefix`, from after `after` on.
fn names_from(prefix: &str, after: Option<&(String, UserId)>) -> Document {
    let end = format!("{prefix}{LAST_IN_COLLATION}");
    match after {
        None => doc! { "username": { "$gte": prefix, "$lt": end } },
        // Names that differ in case only are equal here; their ids tell them apart.
        Some((username, id)) => doc! {
            "username": { "$gte": username, "$lt": end },
            "$or": [{ "username": { "$gt": username } }, { "_id": { "$gt": id.0 } }],
        },
    }
}

/// What `isVerified` and `isDisabled` hold for this state, or at all; either may be missing.
fn state_points(state: Option<UserState>) -> (Vec<Bson>, Vec<Bson>) {
    let (yes, no) = (Bson::Boolean(true), [Bson::Boolean(false), Bson::Null]);
    let either = || [vec![yes.clone()], no.to_vec()].concat();
    match state {
        None => (either(), either()),
        Some(UserState::Active) => (vec![yes.clone()], no.to_vec()),
        Some(UserState::Disabled) => (either(), vec![yes.clone()]),
        Some(UserState::Unverified) => (no.to_vec(), no.to_vec()),
    }
}

fn to_limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
