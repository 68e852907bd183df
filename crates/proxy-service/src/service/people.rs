//! Our copies of people, renewed from auth-service when an administrator names somebody.

use std::collections::{HashMap, HashSet};

use common_http::{Caller, Clock};
use common_jwt::Role;
use futures_util::Stream;

use super::access::Access;
use crate::{
    accounting::Payer,
    auth::AuthClient,
    domain::person::{Email, KnownPerson, Person, Who},
    error::{Error, Result},
    store::people::PersonStore,
};

/// Looks people up and keeps copies.
#[derive(Clone)]
pub(crate) struct People {
    auth: AuthClient,
    store: PersonStore,
    access: Access,
    clock: Clock,
}

impl People {
    /// Asks `auth`, writes to `store`.
    pub(crate) fn new(auth: AuthClient, store: PersonStore, access: Access, clock: Clock) -> Self {
        Self {
            auth,
            store,
            access,
            clock,
        }
    }

    /// Renews the copy of the person with this address.
    pub(crate) async fn sync_by_email(&self, admin: &Caller, email: &Email) -> Result<Person> {
        self.sync(admin, &Who::Email(email.clone())).await
    }

    /// Renews the copy of somebody, however they are named.
    pub(crate) async fn sync(&self, admin: &Caller, who: &Who) -> Result<Person> {
        let known = match who {
            Who::Email(email) => self.auth.find_by_email(admin, email).await?,
            Who::Id(id) => self.auth.find_by_id(admin, id).await?,
        };
        let known = known.ok_or_else(|| Error::UserNotFound(who.clone()))?;
        let person = self.store.upsert(&known, self.clock.now()).await?;
        // They may have been switched off.
        self.access.forget();
        Ok(person)
    }

    /// Everybody this address may mean, the likeliest first: who had it when last looked at, else who has it now.
    pub(crate) async fn candidates(&self, admin: &Caller, email: &Email) -> Result<Vec<Person>> {
        let known = self.store.list_by_email(email).await?;
        if known.is_empty() {
            return self.sync_by_email(admin, email).await.map(|person| vec![person]);
        }
        Ok(known)
    }

    /// The ids of whoever of these is known here already and switched on; the others have to be looked up.
    pub(crate) async fn known_ids(&self, who: &[Who]) -> Result<HashMap<Who, String>> {
        let (mut emails, mut ids) = (Vec::new(), Vec::new());
        for who in who {
            match who {
                Who::Email(email) => emails.push(email.as_str()),
                Who::Id(id) => ids.push(id.as_str()),
            }
        }
        let (by_email, by_id) = futures_util::try_join!(
            self.store.list_by_emails(&emails),
            self.store.list_by_external_ids(&ids),
        )?;
        let mut known = HashMap::new();
        let mut ambiguous = HashSet::new();
        for person in by_email {
            let Ok(email) = Email::parse(&person.known.email) else {
                continue;
            };
            let who = Who::Email(email);
            // An address that has wandered from one to another is looked up.
            if !person.known.is_active || known.contains_key(&who) {
                ambiguous.insert(who.clone());
            }
            known.insert(who, person.known.external_id);
        }
        known.retain(|who, _| !ambiguous.contains(who));
        let active = by_id.into_iter().filter(|person| person.known.is_active);
        known.extend(active.map(|person| {
            (
                Who::Id(person.known.external_id.clone()),
                person.known.external_id,
            )
        }));
        Ok(known)
    }

    /// Everybody auth-service knows, or everybody with this role, page by page.
    pub(crate) fn pages<'a>(&'a self, admin: &'a Caller, role: Option<Role>) -> Pages<'a> {
        Pages {
            auth: &self.auth,
            admin,
            role,
            after: None,
            is_over: false,
        }
    }

    /// Whoever pays for an embed, unless they are known to be switched off. Somebody never looked at pays, too: only
    /// accounting-service knows whether they can.
    pub(crate) async fn payer(&self, user_id: &str) -> Result<Option<Payer>> {
        let copies = self.store.list_by_external_ids(&[user_id]).await?;
        let Some(person) = copies.into_iter().next() else {
            return Ok(Some(Payer {
                id: user_id.to_owned(),
                username: user_id.to_owned(),
                email: String::new(),
                role: Role::EndUser,
            }));
        };
        Ok(person.known.is_active.then_some(Payer {
            id: person.known.external_id,
            username: person.known.username,
            email: person.known.email,
            role: Role::EndUser,
        }))
    }

    /// Renews the copies of the people on a page.
    pub(crate) async fn copy(&self, page: &[KnownPerson]) -> Result<()> {
        self.store.upsert_many(page, self.clock.now()).await?;
        self.access.forget();
        Ok(())
    }

    /// Copies of everybody by their ids: a page, and all of them as they are read.
    pub(crate) async fn page(&self, after: Option<&str>, limit: i64) -> Result<Vec<Person>> {
        Ok(self.store.page(after, limit).await?)
    }

    /// See [`People::page`].
    pub(crate) async fn stream(&self) -> Result<impl Stream<Item = mongodb::error::Result<Person>> + use<>> {
        Ok(self.store.stream().await?)
    }

    /// Caps somebody's turns a day; `None` takes their own cap away.
    pub(crate) async fn set_daily_turns_max(&self, user_id: &str, max: Option<i64>) -> Result<Person> {
        let person = self.store.set_daily_turns_max(user_id, max).await?;
        self.access.forget();
        person.ok_or_else(|| Error::UserNotFound(Who::Id(user_id.to_owned())))
    }
}

/// Pages of people, read one after the other.
pub(crate) struct Pages<'a> {
    auth: &'a AuthClient,
    admin: &'a Caller,
    role: Option<Role>,
    after: Option<String>,
    is_over: bool,
}

impl Pages<'_> {
    /// The next page; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<KnownPerson>>> {
        if self.is_over {
            return Ok(None);
        }
        let page = self
            .auth
            .list(self.admin, self.role, self.after.as_deref())
            .await?;
        // A list that went in circles would never end.
        self.is_over = page.next.is_none() || page.next == self.after;
        self.after = page.next;
        Ok(Some(page.people))
    }
}
