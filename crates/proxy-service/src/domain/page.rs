//! Long lists in pages: where a page ended, as a text that clients hand back.

use std::{fmt, str::FromStr};

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};

/// The last item of a page in a list that is ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its time.
    pub at: DateTime<Utc>,
    /// Tells it from others of the same millisecond.
    pub id: ObjectId,
}

/// A page that is wanted of such a list: so many items behind this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedPage {
    /// Items, at most.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

impl TimedPage {
    /// How many to read.
    pub fn one_more(self) -> i64 {
        one_more(self.limit)
    }

    /// The items of the page and where it ended, if that was not the end of the list.
    pub fn cut<T>(self, mut items: Vec<T>, cursor: impl Fn(&T) -> Cursor) -> (Vec<T>, Option<Cursor>) {
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| has_more).map(cursor);
        (items, next)
    }
}

/// How many items to read for a page of `limit`: one more says whether there is another page.
pub fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.timestamp_millis(), self.id.to_hex())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (at, id) = text.rsplit_once('-').ok_or(NoCursor)?;
        let at = DateTime::from_timestamp_millis(at.parse().or(Err(NoCursor))?);
        Ok(Self {
            at: at.ok_or(NoCursor)?,
            id: ObjectId::parse_str(id).or(Err(NoCursor))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_it_ended_unless_that_was_the_end() {
        let cursor = |second: &i64| Cursor {
            at: DateTime::from_timestamp(*second, 0).unwrap(),
            id: ObjectId::from_bytes([0; 12]),
        };
        let page = TimedPage {
            limit: 2,
            after: None,
        };
        assert_eq!(page.one_more(), 3);
        assert_eq!(page.cut(vec![3, 2, 1], cursor), (vec![3, 2], Some(cursor(&2))));
        assert_eq!(page.cut(vec![3, 2], cursor), (vec![3, 2], None));
        assert_eq!(page.cut(vec![], cursor), (vec![], None));
    }

    #[test]
    fn a_cursor_survives_the_way_to_the_client_and_back() {
        proptest::proptest!(|(at in -62_135_596_800_000_i64..253_402_300_799_999, id: [u8; 12])| {
            let cursor = Cursor {
                at: DateTime::from_timestamp_millis(at).unwrap(),
                id: ObjectId::from_bytes(id),
            };
            proptest::prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        });
        for text in [
            "",
            "1",
            "x-65f0c0ffee65f0c0ffee65f0",
            "1-65f0",
            "99999999999999999999-65f0c0ffee65f0c0ffee65f0",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }
}
