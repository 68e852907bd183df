//! Reads a table of people from a file, a few rows at a time. Blocking: it runs where blocking is allowed.
//!
//! Whatever the file holds, memory stays small: a line, a row and a batch of rows are bounded. A quote that is never
//! closed costs the row it stands in, not the rest of the file.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
};

use encoding_rs::WINDOWS_1252;

use crate::domain::{
    csv::{self, BYTE_ORDER_MARK, Broken},
    import::{Header, ROWS_MAX, Row, is_remark},
};

/// A longer line is no row of people.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// Lines that one row may have, where cells hold line breaks.
const ROW_LINES_MAX: usize = 30;

/// How the text of a file is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// With or without a byte order mark.
    Utf8,
    /// What spreadsheets on Windows write when nobody asks for UTF-8.
    Windows1252,
}

impl Encoding {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// What a file holds, found out by reading it once before anything is done.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// How it is written.
    pub(crate) encoding: Encoding,
    /// Its columns.
    pub(crate) header: Header,
    /// Rows, good or bad, without remarks.
    pub(crate) rows: u64,
    /// Whether any row gives credits.
    pub(crate) has_credits: bool,
    /// Whether any row gives chatflows.
    pub(crate) has_chatflows: bool,
}

/// Why a file cannot be imported at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// What is wrong with it, for people.
    #[error("{0}")]
    Content(String),
    /// It cannot be read.
    #[error("the table cannot be read")]
    Io(#[from] io::Error),
}

/// Rows of a file, from its first to its last.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Lines,
    header: Header,
    /// Lines that were read ahead for a row that turned out to be broken.
    ahead: VecDeque<Line>,
}

#[derive(Debug)]
struct Lines {
    file: BufReader<File>,
    encoding: Encoding,
    number: u64,
}

#[derive(Debug)]
struct Line {
    number: u64,
    text: String,
    is_too_long: bool,
}

impl Survey {
    /// Reads the whole file once.
    pub(crate) fn take(file: &File) -> Result<Self, Unusable> {
        let encoding = encoding_of(file)?;
        let mut table = Table::open(file, encoding)?;
        let mut survey = Self {
            encoding,
            header: table.header.clone(),
            rows: 0,
            has_credits: false,
            has_chatflows: false,
        };
        while let Some(row) = table.next_row()? {
            survey.rows += 1;
            if survey.rows > ROWS_MAX {
                let mistake = format!("the table has more than {ROWS_MAX} rows; cut it in parts");
                return Err(Unusable::Content(mistake));
            }
            if let Ok(person) = row.content {
                survey.has_credits |= person.gift.credits > 0;
                survey.has_chatflows |= !person.gift.chatflows.is_empty();
            }
        }
        Ok(survey)
    }
}

impl Table {
    /// Reads the header of `file`; its rows come next.
    pub(crate) fn open(file: &File, encoding: Encoding) -> Result<Self, Unusable> {
        let mut lines = Lines::open(file, encoding)?;
        let header = loop {
            match lines.next()? {
                None => {
                    return Err(Unusable::Content(
                        "the table is empty: the first line must name the columns".to_owned(),
                    ));
                }
                Some(line) if line.text.trim().is_empty() || is_remark(&line.text) => {}
                Some(line) => break line,
            }
        };
        Ok(Self {
            header: Header::parse(&header.text).map_err(Unusable::Content)?,
            lines,
            ahead: VecDeque::new(),
        })
    }

    /// At most `rows_max` further rows, fewer when `passwords_max` of them have a password. None are left when it is
    /// empty.
    pub(crate) fn batch(&mut self, rows_max: usize, passwords_max: usize) -> io::Result<Vec<Row>> {
        let (mut batch, mut passwords) = (Vec::new(), 0);
        while batch.len() < rows_max && passwords < passwords_max {
            let Some(row) = self.next_row()? else { break };
            let has_password = row.content.as_ref().is_ok_and(|person| person.password.is_some());
            passwords += usize::from(has_password);
            batch.push(row);
        }
        Ok(batch)
    }

    fn next_row(&mut self) -> io::Result<Option<Row>> {
        while let Some(first) = self.next_line()? {
            if first.is_too_long {
                return Ok(Some(Row::unreadable(first.number, "the line is too long")));
            }
            let row = self.whole_row(&first)?;
            if row.is_some() {
                return Ok(row);
            }
        }
        Ok(None)
    }

    /// Joins lines while a quote is open. If it stays open, only the first line is lost: the others are read again.
    fn whole_row(&mut self, first: &Line) -> io::Result<Option<Row>> {
        let is_open = csv::split(&first.text, self.header.separator) == Err(Broken::Open);
        if is_remark(&first.text) || !is_open {
            return Ok(self.header.row(first.number, &first.text));
        }
        let (mut text, mut joined) = (first.text.clone(), VecDeque::new());
        while joined.len() < ROW_LINES_MAX && text.len() < row_bytes_max() {
            let next = match self.ahead.pop_front() {
                Some(line) => Some(line),
                None => self.lines.next()?,
            };
            let Some(next) = next else { break };
            text.push('\n');
            text.push_str(&next.text);
            let is_too_long = next.is_too_long;
            joined.push_back(next);
            if is_too_long {
                break;
            }
            match csv::split(&text, self.header.separator) {
                Err(Broken::Open) => {}
                Ok(_) => return Ok(self.header.row(first.number, &text)),
                // The quote that seemed to close belongs to another row.
                Err(Broken::TextAfterQuote) => break,
            }
        }
        joined.append(&mut self.ahead);
        self.ahead = joined;
        Ok(Some(Row::broken(first.number, Broken::Open)))
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next(),
        }
    }
}

impl Lines {
    fn open(file: &File, encoding: Encoding) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        Ok(Self {
            file: BufReader::new(file),
            encoding,
            number: 0,
        })
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        (&mut self.file)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let has_ended = bytes.ends_with(b"\n");
        let is_too_long = !has_ended && length_of(&bytes) == LINE_BYTES_MAX;
        if is_too_long {
            skip_line(&mut self.file)?;
        }
        let text = match self.encoding {
            Encoding::Utf8 => String::from_utf8_lossy(&bytes),
            Encoding::Windows1252 => WINDOWS_1252.decode_without_bom_handling(&bytes).0,
        };
        let text = if self.number == 1 {
            text.trim_start_matches(BYTE_ORDER_MARK)
        } else {
            &text
        };
        Ok(Some(Line {
            number: self.number,
            text: text.trim_end_matches(['\r', '\n']).to_owned(),
            is_too_long,
        }))
    }
}

/// UTF-8 when every line is; else what spreadsheets on Windows write. A line never ends within a character of UTF-8.
fn encoding_of(file: &File) -> Result<Encoding, Unusable> {
    let mut start = file.try_clone()?;
    start.rewind()?;
    let mut reader = BufReader::new(start);
    let head = reader.fill_buf()?;
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(Unusable::Content(
            "the table is written in UTF-16; save it as «CSV UTF-8»".to_owned(),
        ));
    }
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(if rest.is_empty() {
                Encoding::Utf8
            } else {
                Encoding::Windows1252
            });
        }
        if piece.contains(&0) {
            return Err(Unusable::Content(
                "the table is no text: it holds zero bytes".to_owned(),
            ));
        }
        let length = piece.len();
        rest.extend_from_slice(piece);
        match std::str::from_utf8(&rest) {
            Ok(_) => rest.clear(),
            // The piece ended within a character.
            Err(error) if error.error_len().is_none() => {
                rest.drain(..error.valid_up_to());
            }
            Err(_) => return Ok(Encoding::Windows1252),
        }
        reader.consume(length);
    }
}

fn skip_line(reader: &mut impl io::BufRead) -> io::Result<()> {
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(());
        }
        let (used, has_ended) = match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (piece.len(), false),
        };
        reader.consume(used);
        if has_ended {
            return Ok(());
        }
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn row_bytes_max() -> usize {
    usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn rows(bytes: &[u8]) -> Vec<(u64, String, bool)> {
        let file = file(bytes);
        let survey = Survey::take(&file).unwrap();
        let mut table = Table::open(&file, survey.encoding).unwrap();
        let rows = table.batch(1_000, 1_000).unwrap();
        assert_eq!(u64::try_from(rows.len()).unwrap(), survey.rows);
        rows.into_iter()
            .map(|row| (row.line, row.username, row.content.is_ok()))
            .collect()
    }

    fn named(line: u64, username: &str) -> (u64, String, bool) {
        (line, username.to_owned(), true)
    }

    #[test]
    fn lines_end_either_way_and_the_last_may_not_end() {
        for end in ["\n", "\r\n"] {
            let text = format!("\u{feff}username,email{end}# remark{end}{end}ada,a@b.c{end}bob,b@b.c");
            assert_eq!(rows(text.as_bytes()), [named(4, "ada"), named(5, "bob")]);
        }
    }

    #[test]
    fn remarks_and_empty_lines_may_stand_before_the_header() {
        assert_eq!(
            rows(b"# class 7b\n\nusername,email\nada,a@b.c\n"),
            [named(4, "ada")]
        );
    }

    #[test]
    fn cells_may_hold_line_breaks() {
        let text =
            b"username,email,fullName,remark\nada,a@b.c,,\"two\r\nlines, \"\"quoted\"\"\"\nbob,b@b.c,,\n";
        assert_eq!(rows(text), [named(2, "ada"), named(4, "bob")]);
    }

    #[test]
    fn an_open_quote_costs_one_row_and_no_more() {
        let mut text = String::from("username,email\n\"eve,e@b.c\n");
        text.extend((0..200).map(|number| format!("ada{number},a{number}@b.c\n")));
        text.push_str("\"mallory,m@b.c\nzoe,z@b.c");
        let rows = rows(text.as_bytes());
        assert_eq!(rows.len(), 203);
        let bad: Vec<_> = rows.iter().filter(|row| !row.2).map(|row| row.0).collect();
        assert_eq!(bad, [2, 203]);
        assert_eq!(rows.last().unwrap(), &named(204, "zoe"));
    }

    #[test]
    fn a_line_that_does_not_end_is_one_bad_row() {
        let long = "x".repeat(100_000);
        let text = format!("username,email\n{long}\nada,a@b.c\n\"{long}\nbob,b@b.c\n");
        let rows = rows(text.as_bytes());
        let read: Vec<_> = rows.iter().map(|row| (row.0, row.2)).collect();
        assert_eq!(read, [(2, false), (3, true), (4, false), (5, true)]);
    }

    #[test]
    fn text_that_is_not_utf_8_is_read_as_windows_writes_it() {
        let file = file(b"username;email;fullName\n\xd6d\xf6n;o@b.c;\x80uro\n");
        let survey = Survey::take(&file).unwrap();
        assert_eq!(survey.encoding, Encoding::Windows1252);
        let row = Table::open(&file, survey.encoding)
            .unwrap()
            .batch(1, 1)
            .unwrap()
            .remove(0);
        assert_eq!(row.username, "Ödön");
        assert_eq!(row.content.unwrap().full_name.as_deref(), Some("€uro"));
    }

    #[test]
    fn characters_on_the_edge_of_what_is_read_at_once_are_whole() {
        for shift in 0..4 {
            let text = format!(
                "username,email\n#{}{}\nada,a@b.c\n",
                "x".repeat(shift),
                "€".repeat(4_000)
            );
            let survey = Survey::take(&file(text.as_bytes())).unwrap();
            assert_eq!((survey.encoding, survey.rows), (Encoding::Utf8, 1));
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (bytes, part) in [
            (&b""[..], "is empty"),
            (b"\n\n# nothing\n", "is empty"),
            (b"\xff\xfeu\0s\0", "UTF-16"),
            (b"PK\x03\x04\0\0", "no text"),
            (b"a;b;c\n1;2;3\n", "names the column"),
        ] {
            let mistake = Survey::take(&file(bytes)).unwrap_err().to_string();
            assert!(mistake.contains(part), "{mistake}");
        }
    }

    #[test]
    fn a_survey_sees_what_the_other_services_will_be_asked_for() {
        let take = |text: &str| Survey::take(&file(text.as_bytes())).unwrap();
        let survey = take("username,email,credits,chatflows\nada,a@b.c,0,\nbob,b@b.c,,x\n");
        assert!(!survey.has_credits && survey.has_chatflows);
        let survey = take("username,email,credits\nada,a@b.c,5\n");
        assert!(survey.has_credits && !survey.has_chatflows);
    }

    #[test]
    fn too_many_rows_are_refused_before_the_first() {
        let mut text = String::from("username,email\n");
        text.extend((0..=ROWS_MAX).map(|number| format!("u{number},u{number}@b.c\n")));
        let mistake = Survey::take(&file(text.as_bytes())).unwrap_err().to_string();
        assert!(mistake.contains("more than 100000"), "{mistake}");
    }
}
