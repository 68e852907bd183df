//! Indexes on collections that an older service may have filled.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{
    Collection, IndexModel,
    error::{Error, ErrorKind, Result, WriteFailure},
    options::IndexOptions,
};

/// Two documents would share the key of a unique index.
const DUPLICATE_KEY: i32 = 11_000;

/// The collection does not exist.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// Whether the database refused a write because of a unique index.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    let code = if let ErrorKind::Write(WriteFailure::WriteError(write)) = error.kind.as_ref() {
        write.code
    } else if let ErrorKind::Command(command) = error.kind.as_ref() {
        command.code
    } else {
        return false;
    };
    is_duplicate_key_code(code)
}

/// Whether this is the code of that refusal.
pub(super) fn is_duplicate_key_code(code: i32) -> bool {
    code == DUPLICATE_KEY
}

/// Makes sure of an index that serves queries only.
pub(super) async fn ensure_index(collection: &Collection<Document>, keys: Document) -> Result<()> {
    collection
        .create_index(IndexModel::builder().keys(keys).build())
        .await?;
    Ok(())
}

/// Makes sure that no two documents have equal `keys`. Where older data has such documents, the first by `preference`
/// stays and the others go. Documents without the member `required` do not count.
pub(super) async fn ensure_unique_index(
    collection: &Collection<Document>,
    keys: Document,
    required: &str,
    preference: Document,
) -> Result<()> {
    drop_lax_index(collection, &keys).await?;
    let options = IndexOptions::builder()
        .unique(true)
        .partial_filter_expression((!required.is_empty()).then(|| doc! { required: { "$exists": true } }))
        .build();
    let index = IndexModel::builder().keys(keys.clone()).options(options).build();
    match collection.create_index(index.clone()).await {
        Err(error) if is_duplicate_key(&error) => {}
        Err(error) => return Err(error),
        Ok(_) => return Ok(()),
    }
    remove_duplicates(collection, &keys, required, preference).await?;
    collection.create_index(index).await?;
    Ok(())
}

/// Drops an index on the same keys that is not unique: the two could not both exist under one name.
async fn drop_lax_index(collection: &Collection<Document>, keys: &Document) -> Result<()> {
    let indexes: Vec<IndexModel> = match collection.list_indexes().await {
        Ok(indexes) => indexes.try_collect().await?,
        Err(error) if matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == NAMESPACE_NOT_FOUND) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for index in indexes {
        let options = index.options.unwrap_or_default();
        let same_keys = index.keys.keys().eq(keys.keys());
        if let Some(name) = options.name
            && same_keys
            && options.unique != Some(true)
        {
            collection.drop_index(name).await?;
        }
    }
    Ok(())
}

async fn remove_duplicates(
    collection: &Collection<Document>,
    keys: &Document,
    required: &str,
    preference: Document,
) -> Result<()> {
    let key: Document = keys
        .keys()
        .map(|name| (name.clone(), format!("${name}").into()))
        .collect();
    let counted = if required.is_empty() {
        doc! {}
    } else {
        doc! { required: { "$exists": true } }
    };
    let pipeline = [
        doc! { "$match": counted },
        doc! { "$sort": preference },
        doc! { "$group": { "_id": key, "ids": { "$push": "$_id" } } },
        doc! { "$match": { "ids.1": { "$exists": true } } },
        doc! { "$project": { "ids": { "$slice": ["$ids", 1, i32::MAX] } } },
    ];
    let mut groups = collection.aggregate(pipeline).allow_disk_use(true).await?;
    let mut removed = 0;
    while let Some(mut group) = groups.try_next().await? {
        let ids = group.remove("ids").unwrap_or_default();
        removed += collection
            .delete_many(doc! { "_id": { "$in": ids } })
            .await?
            .deleted_count;
    }
    tracing::warn!(
        collection = collection.name(),
        removed,
        "documents that stood there twice were removed"
    );
    Ok(())
}
