//! Tables of people, as spreadsheets write them: one row a person, named by address or id.

use std::collections::HashSet;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use csv::{ReaderBuilder, StringRecord};

use super::{group::Part, window::Window};

/// Rows one table may have.
pub const ROWS_MAX: usize = 100_000;

/// One person of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line it stands in, for reports; the first is 1.
    pub line: u64,
    /// The address or the id, as it was written.
    pub who: String,
    /// What they are to be in a group.
    pub part: Part,
    /// From when until when; `None` where the table says nothing about it.
    pub window: Option<Window>,
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The line it stands in.
    pub line: u64,
    /// The address or the id, as far as there is one.
    pub who: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// Why a table cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no heading that says who is meant.
    #[error("the first line must name the columns, one of them email or user_id")]
    NoHeading,
    /// It is not UTF-8.
    #[error("the table must be UTF-8")]
    NotUtf8,
    /// It is too long.
    #[error("the table may have at most 100,000 rows")]
    TooLong,
    /// It names nobody.
    #[error("the table names nobody")]
    Empty,
}

struct Columns {
    who: usize,
    part: Option<usize>,
    starts_at: Option<usize>,
    ends_at: Option<usize>,
}

/// Reads a table: the columns `email` (or `user_id`), `part`, `starts_at`, `ends_at` in any order, others ignored,
/// separated by commas, semicolons or tabs. Lines that begin with `#` are comments. Who stands there twice counts once.
pub fn read(bytes: &[u8]) -> Result<(Vec<Row>, Vec<BadRow>), Unreadable> {
    let text = std::str::from_utf8(bytes).or(Err(Unreadable::NotUtf8))?;
    // With one kind of line end lines are counted as people count them.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut reader = ReaderBuilder::new()
        .delimiter(separator(&text))
        .comment(Some(b'#'))
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let headings = reader.headers().or(Err(Unreadable::NoHeading))?;
    let columns = Columns::of(headings).ok_or(Unreadable::NoHeading)?;
    let (mut rows, mut bad, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for record in reader.records() {
        // What is no UTF-8 was refused above, and rows may have any length.
        let Ok(record) = record else { continue };
        if record.iter().all(str::is_empty) {
            continue;
        }
        if rows.len() + bad.len() >= ROWS_MAX {
            return Err(Unreadable::TooLong);
        }
        match columns.row(&record) {
            Ok(row) if seen.insert((row.who.to_lowercase(), row.part)) => rows.push(row),
            Ok(_) => {}
            Err(row) => bad.push(row),
        }
    }
    if rows.is_empty() && bad.is_empty() {
        return Err(Unreadable::Empty);
    }
    Ok((rows, bad))
}

/// The separator of the first line that says something.
fn separator(text: &str) -> u8 {
    let heading = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let heading = heading.unwrap_or_default();
    let count = |separator: u8| heading.bytes().filter(|byte| *byte == separator).count();
    *[b',', b';', b'\t']
        .iter()
        .rev()
        .max_by_key(|separator| count(**separator))
        .unwrap_or(&b',')
}

impl Columns {
    fn of(headings: &StringRecord) -> Option<Self> {
        let find = |names: &[&str]| {
            headings.iter().position(|heading| {
                let heading = heading.trim().to_lowercase().replace([' ', '-'], "_");
                names.contains(&heading.as_str())
            })
        };
        Some(Self {
            who: find(&["email", "e_mail", "user_id", "external_user_id"])?,
            part: find(&["part"]),
            starts_at: find(&["starts_at", "start"]),
            ends_at: find(&["ends_at", "end"]),
        })
    }

    fn row(&self, record: &StringRecord) -> Result<Row, BadRow> {
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
        let who = cell(Some(self.who)).to_owned();
        let bad = |reason: &str| BadRow {
            line,
            who: who.clone(),
            reason: reason.to_owned(),
        };
        if who.is_empty() {
            return Err(bad("nobody is named"));
        }
        let part = match cell(self.part) {
            "" => Part::default(),
            text => Part::parse(&text.to_lowercase()).ok_or_else(|| bad("part must be member or lead"))?,
        };
        let time = |column, is_end| match cell(column) {
            "" => Ok(None),
            text => read_time(text, is_end).map(Some),
        };
        let not_a_time = |()| bad("starts_at and ends_at must be dates (2026-09-01) or RFC 3339 times");
        let window = Window {
            starts_at: time(self.starts_at, false).map_err(not_a_time)?,
            ends_at: time(self.ends_at, true).map_err(not_a_time)?,
        };
        let says_when = self.starts_at.is_some() || self.ends_at.is_some();
        Ok(Row {
            line,
            part,
            window: says_when.then_some(window),
            who,
        })
    }
}

/// A time, or a date: as a start its first moment (UTC), as an end the moment after its last.
fn read_time(text: &str, is_end: bool) -> Result<DateTime<Utc>, ()> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let day: NaiveDate = text.parse().or(Err(()))?;
    let day = day.checked_add_days(Days::new(u64::from(is_end))).ok_or(())?;
    Ok(DateTime::UNIX_EPOCH + TimeDelta::days((day - NaiveDate::default()).num_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        for text in [
            "email\nmei@example.com\ntom@example.com\n",
            "\u{feff}Name;E-Mail;Part\r\nMei;mei@example.com;\r\n# a comment\r\n;;\r\nTom;\"tom@example.com\";member\r\n",
            "user_id\tpart\nmei@example.com\tMember\ntom@example.com\nMEI@example.com\n",
        ] {
            let (rows, bad) = read(text.as_bytes()).unwrap();
            let who: Vec<_> = rows.iter().map(|row| row.who.as_str()).collect();
            assert_eq!(who, ["mei@example.com", "tom@example.com"], "{text:?}");
            assert_eq!(bad, [], "{text:?}");
            assert!(
                rows.iter()
                    .all(|row| row.window.is_none() && row.part == Part::Member)
            );
        }
    }

    #[test]
    fn dates_are_whole_days_and_bad_rows_are_told_one_by_one() {
        let text = "email,starts_at,ends_at,part\na@x.org,2026-09-01,2026-12-31,lead\nb@x.org,soon,,\nc@x.org,,,boss\n,,2026-01-01,\n\
                    d@x.org,2026-09-01T08:00:00+08:00,,\n";
        let (rows, bad) = read(text.as_bytes()).unwrap();
        let window = rows[0].window.unwrap();
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(window.starts_at, at("2026-09-01T00:00:00Z"));
        assert_eq!(window.ends_at, at("2027-01-01T00:00:00Z"), "the last day counts");
        assert_eq!(rows[0].part, Part::Lead);
        assert_eq!(rows[1].window.unwrap().starts_at, at("2026-09-01T00:00:00Z"));
        let lines: Vec<_> = bad.iter().map(|row| (row.line, row.who.as_str())).collect();
        assert_eq!(lines, [(3, "b@x.org"), (4, "c@x.org"), (5, "")]);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (bytes, why) in [
            (&b""[..], Unreadable::NoHeading),
            (b"name,role\nmei,x\n", Unreadable::NoHeading),
            (b"email\n\n# nobody\n", Unreadable::Empty),
            (b"email\n\xff\xfe\n", Unreadable::NotUtf8),
        ] {
            assert_eq!(read(bytes), Err(why), "{bytes:?}");
        }
        let long = format!("email\n{}", "a@x.org\n".repeat(3));
        assert_eq!(
            read(long.as_bytes()).unwrap().0.len(),
            1,
            "who stands there twice counts once"
        );
    }
}
