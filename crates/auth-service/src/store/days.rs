//! How much was added to a collection, by day in UTC.

use std::{collections::BTreeMap, time::Duration};

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use serde::Deserialize;

use crate::error::Result;

/// Somebody waits for a page. What takes longer is given up.
const TIME_MAX: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "_id")]
    day: String,
    count: i64,
}

/// Counts the documents since `from` that `filter` lets pass, by the day in `field`. There should be an index over the
/// filter's members and then the field: MongoDB counts in it and reads no document.
pub(super) async fn count_by_day<T: Send + Sync>(
    rows: &Collection<T>,
    mut filter: Document,
    field: &str,
    from: DateTime<Utc>,
) -> Result<BTreeMap<NaiveDate, u64>> {
    filter.insert(field, doc! { "$gte": BsonDateTime::from_chrono(from) });
    let day = doc! { "$dateToString": { "format": "%Y-%m-%d", "date": format!("${field}") } };
    let pipeline = [
        doc! { "$match": filter },
        doc! { "$project": { "_id": 0, field: 1 } },
        doc! { "$group": { "_id": day, "count": { "$sum": 1_i64 } } },
    ];
    let found = rows.aggregate(pipeline).max_time(TIME_MAX).with_type::<Row>();
    let counted: Vec<Row> = found.await?.try_collect().await?;
    let counted = counted.into_iter().filter_map(|row| {
        let day = row.day.parse().ok()?;
        Some((day, u64::try_from(row.count).ok()?))
    });
    Ok(counted.collect())
}
