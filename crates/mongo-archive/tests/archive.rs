//! A database goes into a stream and comes back, whole or not at all.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails there")]

use bson::{Document, doc};
use mongo_archive::{Counts, Restore, backup, restore};
use mongodb::{Database, IndexModel, options::IndexOptions};
use test_support::TestMongo;

const CAREFULLY: Restore = Restore { replace: false };

async fn fill(database: &Database) {
    let people = database.collection::<Document>("people");
    let many = (0..2_500).map(|number| doc! { "_id": number, "name": format!("n{number}"), "at": bson::DateTime::from_millis(number) });
    people.insert_many(many).await.unwrap();
    let unique = IndexOptions::builder()
        .unique(true)
        .name("by_name".to_owned())
        .build();
    let index = IndexModel::builder()
        .keys(doc! { "name": 1 })
        .options(unique)
        .build();
    people.create_index(index).await.unwrap();
    database.create_collection("empty").await.unwrap();
    let large = doc! { "_id": "large", "bytes": "x".repeat(15 << 20) };
    database
        .collection::<Document>("files")
        .insert_one(large)
        .await
        .unwrap();
}

async fn archive_of(database: &Database) -> (Vec<u8>, Counts) {
    let mut archive = Vec::new();
    let counts = backup(database, &mut archive).await.unwrap();
    (archive, counts)
}

#[tokio::test]
async fn everything_comes_back_with_its_indexes() {
    let (from, to) = (TestMongo::create().await, TestMongo::create().await);
    fill(&from.database).await;

    let (archive, counts) = archive_of(&from.database).await;
    let restored = restore(&to.database, &mut archive.as_slice(), CAREFULLY)
        .await
        .unwrap();

    assert_eq!(
        counts,
        Counts {
            collections: 3,
            documents: 2_501
        }
    );
    assert_eq!(restored, counts);
    // What is in the database decides what a stream of it holds, to the byte: only its name may differ.
    let (again, _) = archive_of(&to.database).await;
    let content = |archive: &[u8]| {
        let head = u32::from_le_bytes(archive[..4].try_into().unwrap());
        archive[usize::try_from(head).unwrap()..].to_vec()
    };
    assert!(content(&archive) == content(&again), "the copy is the same");
    let people = to.database.collection::<Document>("people");
    let twice = people.insert_one(doc! { "name": "n7" }).await;
    assert!(twice.is_err(), "the index is unique there too");
}

#[tokio::test]
async fn what_is_there_is_only_replaced_on_demand() {
    let (from, to) = (TestMongo::create().await, TestMongo::create().await);
    from.database
        .collection("new")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    to.database
        .collection("old")
        .insert_one(doc! { "_id": 2 })
        .await
        .unwrap();
    let (archive, _) = archive_of(&from.database).await;

    let refused = restore(&to.database, &mut archive.as_slice(), CAREFULLY).await;
    assert!(refused.unwrap_err().to_string().contains("is not empty"));
    assert_eq!(to.database.list_collection_names().await.unwrap(), ["old"]);

    restore(&to.database, &mut archive.as_slice(), Restore { replace: true })
        .await
        .unwrap();
    assert_eq!(to.database.list_collection_names().await.unwrap(), ["new"]);
}

#[tokio::test]
async fn a_stream_that_is_cut_or_no_backup_is_an_error() {
    let (from, to) = (TestMongo::create().await, TestMongo::create().await);
    from.database
        .collection("things")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    let (archive, _) = archive_of(&from.database).await;
    for cut in [0, 3, archive.len() / 2, archive.len() - 1] {
        let outcome = restore(&to.database, &mut &archive[..cut], Restore { replace: true }).await;
        assert!(outcome.is_err(), "{cut} of {} bytes", archive.len());
    }
    let other = bson::serialize_to_vec(&doc! { "kind": "letter" }).unwrap();
    assert!(
        restore(&to.database, &mut other.as_slice(), CAREFULLY)
            .await
            .is_err()
    );
}
