//! Reads and writes rows of CSV (RFC 4180), the way spreadsheets really write it.

use std::fmt::Write as _;

/// A byte order mark, as spreadsheets put before UTF-8.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Why a row cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A quoted cell does not end in this text: the row goes on in the next line, or a quote is missing.
    Open,
    /// There is something between a closing quote and the end of the cell.
    TextAfterQuote,
}

/// The cells of one row. Space around a quoted cell is nothing, a quote within a bare cell is itself.
pub fn split(text: &str, separator: char) -> Result<Vec<String>, Broken> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let blank = |character: char| character == ' ' || (character == '\t' && separator != '\t');
        let trimmed = rest.trim_start_matches(blank);
        if let Some(quoted) = trimmed.strip_prefix('"') {
            let (cell, after) = quoted_cell(quoted)?;
            cells.push(cell);
            let after = after.trim_start_matches(blank);
            match after.strip_prefix(separator) {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(cells),
                None => return Err(Broken::TextAfterQuote),
            }
        } else if let Some((cell, next)) = rest.split_once(separator) {
            cells.push(cell.to_owned());
            rest = next;
        } else {
            cells.push(rest.to_owned());
            return Ok(cells);
        }
    }
}

/// The cell whose opening quote was just read, and what follows its closing quote.
fn quoted_cell(text: &str) -> Result<(String, &str), Broken> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or(Broken::Open)?;
        cell.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                cell.push('"');
                rest = next;
            }
            None => return Ok((cell, after)),
        }
    }
}

/// Adds a row to `text`, with cells a spreadsheet does not take for formulas.
pub fn write_row<'c>(text: &mut String, cells: impl IntoIterator<Item = &'c str>, separator: char) {
    for (number, cell) in cells.into_iter().enumerate() {
        if number > 0 {
            text.push(separator);
        }
        let cell = harmless(cell);
        let is_bare = !cell.contains(['"', ',', ';', '\t', '\r', '\n']) && cell.trim() == cell;
        if is_bare {
            text.push_str(&cell);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        }
    }
    text.push_str("\r\n");
}

/// The cell behind an apostrophe when a spreadsheet would run it (CWE-1236). One that has apostrophes already gets one
/// more, so that [`revealed`] always gives back what was there.
fn harmless(cell: &str) -> String {
    if is_formula(cell.trim_start_matches('\'')) {
        return format!("'{cell}");
    }
    cell.to_owned()
}

/// The cell without the apostrophe that [`write_row`] put before it.
pub fn revealed(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if is_formula(rest.trim_start_matches('\'')) => rest,
        _ => cell,
    }
}

fn is_formula(cell: &str) -> bool {
    // Full-width signs too: some spreadsheets read them as the ASCII ones.
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_bare_or_quoted() {
        for (text, cells) in [
            ("", vec![""]),
            ("a;b;;", vec!["a", "b", "", ""]),
            (r#""a;b";"say ""hi""""#, vec!["a;b", "say \"hi\""]),
            ("\"two\r\nlines\";x", vec!["two\r\nlines", "x"]),
            (r#"  "a" ; "b""#, vec!["a", "b"]),
            (r#"5" disk;x"#, vec!["5\" disk", "x"]),
            (r#""""""#, vec!["\""]),
        ] {
            assert_eq!(split(text, ';').unwrap(), cells, "{text:?}");
        }
        assert_eq!(split("a\t\"b\tc\"\t", '\t').unwrap(), ["a", "b\tc", ""]);
    }

    #[test]
    fn broken_quotes_are_told_apart() {
        assert_eq!(split(r#"a;"b"#, ';'), Err(Broken::Open));
        assert_eq!(split("\"", ';'), Err(Broken::Open));
        assert_eq!(split(r#""a"b;c"#, ';'), Err(Broken::TextAfterQuote));
        assert_eq!(split(r#""a" x"#, ';'), Err(Broken::TextAfterQuote));
    }

    #[test]
    fn formulas_are_written_as_text_and_read_back() {
        for cell in [
            "=HYPERLINK(\"http://evil.example\",\"x\")",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "＝1",
            "'=1",
            "''+1",
        ] {
            let mut text = String::new();
            write_row(&mut text, [cell], ';');
            let row = split(text.strip_suffix("\r\n").unwrap(), ';').unwrap();
            assert!(row[0].starts_with('\''), "{text:?}");
            assert_eq!(revealed(&row[0]), cell);
        }
        assert_eq!(revealed("'quoted'"), "'quoted'");
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let cells = [
            "", " ", "a", "\"", "a\"b", ";", ",", "\t", "\r\n", "'", "'a", "=", "''", "ö", "a b ",
        ];
        for separator in [';', ',', '\t'] {
            for one in cells {
                for other in cells {
                    let mut text = String::new();
                    write_row(&mut text, [one, other, "end"], separator);
                    let row = split(text.strip_suffix("\r\n").unwrap(), separator).unwrap();
                    let row: Vec<_> = row.iter().map(|cell| revealed(cell)).collect();
                    assert_eq!(row, [one, other, "end"], "{text:?}");
                }
            }
        }
    }
}
