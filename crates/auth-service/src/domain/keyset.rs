//! Pages of lists that grow at their head: a page begins behind the last entry of the one before, however many came or
//! went meanwhile.

use chrono::{DateTime, Utc};

/// The most entries on one page.
pub const LIMIT_MAX: u32 = 200;

/// Entries on a page when nobody asks.
pub const LIMIT_DEFAULT: u32 = 50;

/// Ids are shorter.
const ID_BYTES_MAX: usize = 40;

/// The last entry of a page: its time and, among those of the same time, its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its time.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: String,
}

impl Cursor {
    /// Reads what [`Cursor::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('.')?;
        let at = DateTime::from_timestamp_millis(millis.parse().ok()?)?;
        let is_id = (1..=ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_id.then(|| Self {
            at,
            id: id.to_owned(),
        })
    }

    /// The cursor as clients carry it.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.at.timestamp_millis(), self.id)
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Its entries, newest first.
    pub entries: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Cuts a list that was read one entry too long.
    pub fn cut(mut entries: Vec<T>, limit: u32, cursor: impl Fn(&T) -> Cursor) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| has_more).map(cursor);
        Self { entries, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_to_the_client_and_back() {
        let cursor = Cursor {
            at: DateTime::from_timestamp_millis(1_800_000_000_123).unwrap(),
            id: "673d9f2c8b1e4a0057c3d9a1".to_owned(),
        };
        assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
        for bad in [
            "",
            ".",
            "x.a",
            "1.",
            "1.$gt",
            "9223372036854775807.a",
            &format!("1.{}", "a".repeat(41)),
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_a_full_page_has_a_next_one() {
        let cursor = |number: &u32| Cursor {
            at: DateTime::UNIX_EPOCH,
            id: number.to_string(),
        };
        assert!(Page::cut(vec![1, 2], 2, cursor).next.is_none());
        let page = Page::cut(vec![1, 2, 3], 2, cursor);
        assert_eq!((page.entries, page.next.unwrap().id.as_str()), (vec![1, 2], "2"));
    }
}
