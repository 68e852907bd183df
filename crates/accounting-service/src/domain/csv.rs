//! Tables as text (RFC 4180) that spreadsheets open without running anything.

/// Appends one line. Each cell is quoted where it has to be.
pub fn push_line<'a>(text: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_cell(text, cell);
    }
    text.push_str("\r\n");
}

/// Words of people's own, which no spreadsheet may take for a formula: one that looks like it is made text by an
/// apostrophe before it.
pub fn harmless(words: &str) -> String {
    if words.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']) {
        format!("'{words}")
    } else {
        words.to_owned()
    }
}

fn push_cell(text: &mut String, cell: &str) {
    if !cell.contains([',', '"', '\r', '\n']) {
        text.push_str(cell);
        return;
    }
    text.push('"');
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        let mut text = String::new();
        push_line(&mut text, ["a", "b,c", "say \"hi\"", "two\nlines", "-5", ""]);
        assert_eq!(text, "a,\"b,c\",\"say \"\"hi\"\"\",\"two\nlines\",-5,\r\n");
    }

    #[test]
    fn formulas_become_text() {
        for formula in [
            "=HYPERLINK(\"x\")",
            "+1",
            "-1+1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "|x",
            "%x",
        ] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for words in ["autumn term", "a=b", ""] {
            assert_eq!(harmless(words), words);
        }
    }
}
