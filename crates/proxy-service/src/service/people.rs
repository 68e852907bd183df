//! Our copies of people, renewed from auth-service when an administrator names somebody.

use common_http::{Caller, Clock};

use super::access::Access;
use crate::{
    auth::AuthClient,
    domain::person::{Email, Person},
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
        let known = self.auth.find_by_email(admin, email).await?;
        let known = known.ok_or_else(|| Error::UserNotFound(email.clone()))?;
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
}
