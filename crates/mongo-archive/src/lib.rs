//! A whole MongoDB database into one stream and back: what `backup` and `restore` of the services do.
//!
//! The services carry this themselves, so that a backup needs no further program, and what it reads is one moment of
//! the database (a snapshot), however long it takes. The stream is BSON documents one after another: for each
//! collection its options and indexes, then its documents; at the end how many of both there were, without which a
//! stream counts as cut off.

mod reading;
mod writing;

use std::io::{self, BufWriter};

use anyhow::Context as _;
use clap::Args;
use mongodb::{Client, Database};

pub use self::{reading::restore, writing::backup};

/// How `restore` is asked for.
#[derive(Args, Clone, Copy, Debug)]
pub struct Restore {
    /// Remove what the database holds now. Without it a database that is not empty is left alone.
    #[arg(long)]
    pub replace: bool,
}

/// The commands of a service that has a database.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// Write the whole database, as it is at one moment, to standard output. Needs the database's variables only.
    Backup,
    /// Read what `backup` wrote from standard input into an empty database, while no service runs on it.
    Restore(Restore),
}

impl Command {
    /// Does it, and returns a line that says how much it was.
    pub async fn run(self, uri: &str, database: Option<&str>, default: &str) -> anyhow::Result<String> {
        let database = open(uri, database, default).await?;
        let (done, counts) = match self {
            Self::Backup => {
                let mut out = BufWriter::new(io::stdout().lock());
                ("saved", backup(&database, &mut out).await?)
            }
            Self::Restore(how) => (
                "restored",
                restore(&database, &mut io::stdin().lock(), how).await?,
            ),
        };
        let (name, documents, collections) = (database.name(), counts.documents, counts.collections);
        Ok(format!(
            "{done} {name}: {documents} documents in {collections} collections"
        ))
    }
}

/// The database of this name, or that of the address, or the default.
async fn open(uri: &str, name: Option<&str>, default: &str) -> anyhow::Result<Database> {
    // The address holds a password: what is wrong with it is said without it.
    let client = Client::with_uri_str(uri)
        .await
        .context("MONGODB_URI is not the address of a MongoDB")?;
    let database = name
        .map(|name| client.database(name))
        .or_else(|| client.default_database());
    Ok(database.unwrap_or_else(|| client.database(default)))
}

/// How much was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Collections.
    pub collections: i64,
    /// Documents of all of them.
    pub documents: i64,
}

/// What begins a stream; another number is another format.
const FORMAT: i32 = 1;

/// The member that says what a document of the stream is.
const KIND: &str = "kind";
/// The member of a document of the stream that holds a document of the database.
const CONTENT: &str = "content";

/// Begins the stream.
const BEGIN: &str = "begin";
/// Begins a collection.
const COLLECTION: &str = "collection";
/// One document of the collection that has begun.
const DOCUMENT: &str = "document";
/// Ends the stream.
const END: &str = "end";
