//! `backup`: a database into a stream.

use std::io::Write;

use anyhow::{Context as _, Result};
use bson::{Bson, Document, RawDocumentBuf, doc, rawdoc};
use mongodb::Database;

use crate::{BEGIN, COLLECTION, Counts, DOCUMENT, END, FORMAT, KIND};

/// More collections than any service has, in one answer.
const COLLECTIONS_MAX: i32 = 1_000;

/// Writes the whole database, as it is at one moment.
pub async fn backup(database: &Database, out: &mut impl Write) -> Result<Counts> {
    let mut session = database.client().start_session().snapshot(true).await?;
    let mut counts = Counts::default();
    let begin = doc! { KIND: BEGIN, "format": FORMAT, "database": database.name() };
    begin.to_writer(&mut *out)?;
    for (name, options) in collections(database).await? {
        let indexes = indexes(database, &name).await?;
        let head = doc! { KIND: COLLECTION, "name": &name, "options": options, "indexes": indexes };
        head.to_writer(&mut *out)?;
        counts.collections += 1;
        let collection = database.collection::<RawDocumentBuf>(&name);
        let mut cursor = collection.find(doc! {}).session(&mut session).await?;
        while cursor.advance(&mut session).await? {
            let document = rawdoc! { "kind": DOCUMENT, "content": cursor.current().to_owned() };
            out.write_all(document.as_bytes())?;
            counts.documents += 1;
        }
    }
    let end = doc! { KIND: END, "collections": counts.collections, "documents": counts.documents };
    end.to_writer(&mut *out)?;
    out.flush()?;
    Ok(counts)
}

/// The collections that hold documents of ours, with what they were made with.
async fn collections(database: &Database) -> Result<Vec<(String, Document)>> {
    let command = doc! { "listCollections": 1, "filter": { "type": "collection" }, "cursor": { "batchSize": COLLECTIONS_MAX } };
    let mut collections = Vec::new();
    for entry in first_batch(database, command).await? {
        let name = entry.get_str("name")?.to_owned();
        if !name.starts_with("system.") {
            let options = entry.get_document("options").cloned().unwrap_or_default();
            collections.push((name, options));
        }
    }
    collections.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(collections)
}

/// The indexes beside the one that every collection has.
async fn indexes(database: &Database, collection: &str) -> Result<Vec<Document>> {
    let command = doc! { "listIndexes": collection, "cursor": { "batchSize": COLLECTIONS_MAX } };
    let mut indexes = first_batch(database, command).await?;
    indexes.retain(|index| index.get_str("name").is_ok_and(|name| name != "_id_"));
    for index in &mut indexes {
        // Which version an index has is for the server to say that makes it.
        index.remove("v");
        index.remove("ns");
    }
    Ok(indexes)
}

async fn first_batch(database: &Database, command: Document) -> Result<Vec<Document>> {
    let answer = database.run_command(command).await?;
    let cursor = answer.get_document("cursor")?;
    let batch = cursor.get_array("firstBatch")?.iter();
    let documents = batch.map(|entry| entry.as_document().cloned());
    documents
        .collect::<Option<Vec<_>>>()
        .filter(|_| matches!(cursor.get("id"), Some(Bson::Int64(0))))
        .context("the server lists more than a database of ours has")
}
