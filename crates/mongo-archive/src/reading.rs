//! `restore`: a stream into a database.

use std::io::Read;

use anyhow::{Context as _, Result, ensure};
use bson::{Document, RawDocumentBuf, doc};
use mongodb::Database;

use crate::{BEGIN, COLLECTION, CONTENT, Counts, DOCUMENT, END, FORMAT, KIND, Restore};

/// Documents written together, and how large they may be in all.
const BATCH_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Documents of one collection on their way into the database.
struct Filling {
    name: String,
    indexes: Vec<Document>,
    batch: Vec<RawDocumentBuf>,
    batch_bytes: usize,
}

/// Reads a whole stream into the database, which has to be empty unless it is to be replaced.
pub async fn restore(database: &Database, input: &mut impl Read, how: Restore) -> Result<Counts> {
    let begin = next(input)?;
    ensure!(
        begin.get_str(KIND).is_ok_and(|kind| kind == BEGIN),
        "this is no backup"
    );
    ensure!(
        begin.get_i32("format").is_ok_and(|format| format == FORMAT),
        "the backup has a format that is not known here"
    );
    let present = database.list_collection_names().await?;
    let mut present: Vec<_> = present
        .iter()
        .filter(|name| !name.starts_with("system."))
        .collect();
    if how.replace {
        // Not the database itself: whoever may read and write it may not drop it.
        for name in present.drain(..) {
            database.collection::<Document>(name).drop().await?;
        }
    }
    ensure!(
        present.is_empty(),
        "the database {} is not empty ({} collections); nothing was done",
        database.name(),
        present.len()
    );

    let mut counts = Counts::default();
    let mut filling: Option<Filling> = None;
    loop {
        let raw = next_raw(input)?;
        match raw.get_str(KIND).context("the backup is damaged")? {
            COLLECTION => {
                finish(database, filling.take()).await?;
                filling = Some(begin_collection(database, &Document::try_from(&raw)?).await?);
                counts.collections += 1;
            }
            DOCUMENT => {
                let filling = filling.as_mut().context("the backup is damaged")?;
                let document = raw.get_document(CONTENT).context("the backup is damaged")?;
                filling.batch_bytes += document.as_bytes().len();
                filling.batch.push(document.to_owned());
                counts.documents += 1;
                if filling.batch.len() >= BATCH_MAX || filling.batch_bytes >= BATCH_BYTES_MAX {
                    filling.write(database).await?;
                }
            }
            END => {
                finish(database, filling.take()).await?;
                let end = Document::try_from(&raw)?;
                let promised = Counts {
                    collections: end.get_i64("collections")?,
                    documents: end.get_i64("documents")?,
                };
                ensure!(
                    promised == counts,
                    "the backup promises {promised:?} and holds {counts:?}"
                );
                return Ok(counts);
            }
            other => anyhow::bail!("the backup is damaged: it has a {other:?}"),
        }
    }
}

async fn begin_collection(database: &Database, head: &Document) -> Result<Filling> {
    let name = head.get_str("name")?.to_owned();
    let mut create = doc! { "create": &name };
    create.extend(head.get_document("options")?.clone());
    database.run_command(create).await?;
    let indexes = head.get_array("indexes")?.iter();
    let indexes = indexes.map(|index| index.as_document().cloned());
    Ok(Filling {
        name,
        indexes: indexes.collect::<Option<_>>().context("the backup is damaged")?,
        batch: Vec::new(),
        batch_bytes: 0,
    })
}

/// Writes the rest of a collection; its indexes come last, when they are made in one go.
async fn finish(database: &Database, filling: Option<Filling>) -> Result<()> {
    let Some(mut filling) = filling else {
        return Ok(());
    };
    filling.write(database).await?;
    if !filling.indexes.is_empty() {
        let command = doc! { "createIndexes": &filling.name, "indexes": filling.indexes };
        database.run_command(command).await?;
    }
    Ok(())
}

impl Filling {
    async fn write(&mut self, database: &Database) -> Result<()> {
        if !self.batch.is_empty() {
            let collection = database.collection::<RawDocumentBuf>(&self.name);
            collection.insert_many(std::mem::take(&mut self.batch)).await?;
            self.batch_bytes = 0;
        }
        Ok(())
    }
}

fn next_raw(input: &mut impl Read) -> Result<RawDocumentBuf> {
    RawDocumentBuf::from_reader(input).context("the backup is cut off")
}

fn next(input: &mut impl Read) -> Result<Document> {
    Ok(Document::try_from(&next_raw(input)?)?)
}
