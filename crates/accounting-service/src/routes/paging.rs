//! Pages of a list: how long they are, and where the next one begins.

use crate::error::{Error, Result};

/// How many rows one answer shows.
#[derive(Clone, Copy)]
pub(super) struct PageSize(u16);

impl PageSize {
    /// What the parameter `limit` asks for, or `usual` without one; never more than `max`.
    pub(super) fn of(limit: Option<u16>, usual: u16, max: u16) -> Result<Self> {
        let limit = limit.unwrap_or(usual);
        if !(1..=max).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be from 1 to {max}")));
        }
        Ok(Self(limit))
    }

    /// How many rows to read: one more than are shown, which tells whether there is another page.
    pub(super) fn to_read(self) -> i64 {
        i64::from(self.0) + 1
    }

    /// Cuts what was read down to the page. Returns the place of its last row when more follow.
    pub(super) fn cut<Row, Place>(
        self,
        rows: &mut Vec<Row>,
        place: impl FnOnce(&Row) -> Place,
    ) -> Option<Place> {
        let shown = usize::from(self.0);
        let is_last = rows.len() <= shown;
        rows.truncate(shown);
        rows.last().filter(|_| !is_last).map(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins_only_when_there_is_one() {
        let size = PageSize::of(Some(2), 100, 1_000).unwrap();
        assert_eq!(size.to_read(), 3);
        for (read, shown, next) in [
            (vec![], vec![], None),
            (vec![1, 2], vec![1, 2], None),
            (vec![1, 2, 3], vec![1, 2], Some(2)),
        ] {
            let mut rows = read;
            assert_eq!(size.cut(&mut rows, |row| *row), next);
            assert_eq!(rows, shown);
        }
    }

    #[test]
    fn a_page_is_neither_empty_nor_endless() {
        assert_eq!(PageSize::of(None, 100, 1_000).unwrap().to_read(), 101);
        assert_eq!(PageSize::of(Some(1_000), 100, 1_000).unwrap().to_read(), 1_001);
        assert!(PageSize::of(Some(0), 100, 1_000).is_err());
        assert!(PageSize::of(Some(1_001), 100, 1_000).is_err());
    }
}
