//! `sign_in_providers`: who vouches for people.
//!
//! Whether anybody is connected stands in the accounts, not here. So a provider is deleted only as long as its `links`
//! are what they were before the accounts were looked at; whoever links counts them up afterwards
//! ([`ProviderStore::count_link`]). Whichever comes first, no account is left with an identity of no provider.

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    domain::{
        provider::{Provider, ProviderKind},
        user::parse_role,
    },
    error::{Error, FederationError, Result},
};

/// The providers.
#[derive(Clone, Debug)]
pub(crate) struct ProviderStore {
    rows: Collection<ProviderRow>,
}

/// How often a provider was linked or changed: what a deletion compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Links(i64);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProviderRow {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    display_name: String,
    icon: String,
    color: String,
    kind: String,
    issuer: String,
    client_id: String,
    sealed_secret: String,
    authorize_url: Option<Url>,
    token_url: Option<Url>,
    userinfo_url: Option<Url>,
    scope: String,
    is_active: bool,
    auto_provision: bool,
    default_role: String,
    trust_email: bool,
    redirect_uris: Vec<String>,
    created_at: BsonDateTime,
    updated_at: BsonDateTime,
    #[serde(default)]
    links: i64,
}

impl ProviderStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("sign_in_providers");
        rows.create_indexes([super::unique(doc! { "name": 1 })]).await?;
        Ok(Self { rows })
    }

    /// Adds a provider, unless there is one of this name.
    pub(crate) async fn insert(&self, provider: &Provider) -> Result<()> {
        self.rows
            .insert_one(ProviderRow::from(provider))
            .await
            .map(drop)
            .map_err(taken)
    }

    /// How many there are.
    pub(crate) async fn count(&self) -> Result<u64> {
        Ok(self.rows.count_documents(doc! {}).await?)
    }

    /// The provider with this id.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Provider>> {
        let row = self.rows.find_one(doc! { "_id": id }).await?;
        Ok(row.and_then(ProviderRow::read))
    }

    /// The provider of this name.
    pub(crate) async fn find_by_name(&self, name: &str) -> Result<Option<Provider>> {
        let row = self.rows.find_one(doc! { "name": name }).await?;
        Ok(row.and_then(ProviderRow::read))
    }

    /// All of them, in the order in which they were added.
    pub(crate) async fn list(&self) -> Result<Vec<Provider>> {
        let rows = self.rows.find(doc! {}).sort(doc! { "createdAt": 1, "_id": 1 });
        let rows: Vec<_> = rows.await?.try_collect().await?;
        Ok(rows.into_iter().filter_map(ProviderRow::read).collect())
    }

    /// Replaces a provider, provided that it is still as it was at `seen`, and that nobody was linked since `links` were
    /// read, where that matters.
    pub(crate) async fn replace(
        &self,
        provider: &Provider,
        seen: DateTime<Utc>,
        links: Option<Links>,
    ) -> Result<bool> {
        let Ok(mut set) = bson::serialize_to_document(&ProviderRow::from(provider)) else {
            return Ok(false);
        };
        for kept in ["_id", "links", "createdAt"] {
            set.remove(kept);
        }
        let mut filter = doc! { "_id": &provider.id, "updatedAt": BsonDateTime::from_chrono(seen) };
        if let Some(Links(links)) = links {
            filter.insert("links", links);
        }
        let replaced = self.rows.update_one(filter, doc! { "$set": set });
        Ok(replaced.await.map_err(taken)?.matched_count == 1)
    }

    /// Counts an identity that has just been linked. Says whether the provider is there and active: if not, the identity
    /// must go again.
    pub(crate) async fn count_link(&self, id: &str) -> Result<bool> {
        let filter = doc! { "_id": id, "isActive": true };
        let counted = self.rows.update_one(filter, doc! { "$inc": { "links": 1 } });
        Ok(counted.await?.matched_count == 1)
    }

    /// What a deletion has to compare with; `None` when there is no such provider.
    pub(crate) async fn links(&self, id: &str) -> Result<Option<Links>> {
        let row = self.rows.find_one(doc! { "_id": id }).await?;
        Ok(row.map(|row| Links(row.links)))
    }

    /// Deletes a provider, if nothing was linked since `links` were read. Says whether it did.
    pub(crate) async fn delete(&self, id: &str, links: Links) -> Result<bool> {
        let filter = doc! { "_id": id, "links": links.0 };
        Ok(self.rows.delete_one(filter).await?.deleted_count == 1)
    }

    /// The ids of those by which one can sign in.
    pub(crate) async fn list_open(&self) -> Result<Vec<String>> {
        let rows = self.rows.clone_with_type::<Document>();
        let rows = rows.find(doc! { "isActive": true }).projection(doc! { "_id": 1 });
        let rows: Vec<_> = rows.await?.try_collect().await?;
        let id = |row: Document| row.get_str("_id").ok().map(str::to_owned);
        Ok(rows.into_iter().filter_map(id).collect())
    }

    /// The names of all providers by their ids.
    pub(crate) async fn list_names(&self) -> Result<Vec<(String, String)>> {
        let rows = self.rows.clone_with_type::<Document>();
        let rows = rows.find(doc! {}).projection(doc! { "name": 1 });
        let rows: Vec<_> = rows.await?.try_collect().await?;
        let pair = |row: Document| {
            Some((
                row.get_str("_id").ok()?.to_owned(),
                row.get_str("name").ok()?.to_owned(),
            ))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }
}

fn taken(error: mongodb::error::Error) -> Error {
    if Error::duplicate_key(&error).is_some() {
        return FederationError::ProviderNameTaken.into();
    }
    Error::Database(error)
}

impl ProviderRow {
    /// The provider; `None` for one of a kind that a newer version of this program wrote.
    fn read(self) -> Option<Provider> {
        Some(Provider {
            kind: ProviderKind::parse(&self.kind)?,
            default_role: parse_role(&self.default_role)?,
            id: self.id,
            name: self.name,
            display_name: self.display_name,
            icon: self.icon,
            color: self.color,
            issuer: self.issuer,
            client_id: self.client_id,
            sealed_secret: self.sealed_secret,
            authorize_url: self.authorize_url,
            token_url: self.token_url,
            userinfo_url: self.userinfo_url,
            scope: self.scope,
            is_active: self.is_active,
            auto_provision: self.auto_provision,
            trust_email: self.trust_email,
            redirect_uris: self.redirect_uris,
            created_at: self.created_at.to_chrono(),
            updated_at: self.updated_at.to_chrono(),
        })
    }
}

impl From<&Provider> for ProviderRow {
    fn from(provider: &Provider) -> Self {
        Self {
            id: provider.id.clone(),
            name: provider.name.clone(),
            display_name: provider.display_name.clone(),
            icon: provider.icon.clone(),
            color: provider.color.clone(),
            kind: provider.kind.as_str().to_owned(),
            issuer: provider.issuer.clone(),
            client_id: provider.client_id.clone(),
            sealed_secret: provider.sealed_secret.clone(),
            authorize_url: provider.authorize_url.clone(),
            token_url: provider.token_url.clone(),
            userinfo_url: provider.userinfo_url.clone(),
            scope: provider.scope.clone(),
            is_active: provider.is_active,
            auto_provision: provider.auto_provision,
            default_role: provider.default_role.as_str().to_owned(),
            trust_email: provider.trust_email,
            redirect_uris: provider.redirect_uris.clone(),
            created_at: BsonDateTime::from_chrono(provider.created_at),
            updated_at: BsonDateTime::from_chrono(provider.updated_at),
            links: 0,
        }
    }
}
