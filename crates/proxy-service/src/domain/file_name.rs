//! Names of files: what people may call them, and how a name stands in a header whatever its script.

use std::fmt::Write as _;

/// Characters a name may have.
pub const NAME_CHARS_MAX: usize = 255;

/// The name for a person's file: what they called it without folders, control characters and marks that turn the
/// direction of writing (`exe.txt` must not read `txt.exe`). Never used as a path.
pub fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = last.chars().filter(|c| !c.is_control() && !turns(*c));
    let kept: String = kept.collect();
    let kept: String = kept.trim().chars().take(NAME_CHARS_MAX).collect();
    if kept.is_empty() || kept.chars().all(|c| c == '.') {
        "file".to_owned()
    } else {
        kept
    }
}

/// `Content-Disposition` (RFC 6266): the name as it is (RFC 8187), and something readable for programs that do not know
/// that form.
pub fn disposition(kind: &str, name: &str) -> String {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%');
    let readable: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut header = format!("{kind}; filename=\"{readable}\"");
    if readable != name {
        header.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                header.push(char::from(byte));
            } else {
                // Writing to a text does not fail.
                let _ = write!(header, "%{byte:02X}");
            }
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_and_hides_nothing() {
        for (name, expected) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\y.txt", "y.txt"),
            ("a\0b\r\n.txt", "ab.txt"),
            ("cod\u{202e}txt.exe", "codtxt.exe"),
            ("..", "file"),
            ("  ", "file"),
            ("CON", "CON"),
            ("生物 筆記.pdf", "生物 筆記.pdf"),
        ] {
            assert_eq!(clean(name), expected);
        }
        assert_eq!(clean(&"長".repeat(300)).chars().count(), NAME_CHARS_MAX);
    }

    #[test]
    fn names_of_any_script_stand_in_the_header() {
        assert_eq!(disposition("inline", "a b.txt"), r#"inline; filename="a b.txt""#);
        assert_eq!(
            disposition("attachment", "筆記.pdf"),
            "attachment; filename=\"__.pdf\"; filename*=UTF-8''%E7%AD%86%E8%A8%98.pdf"
        );
        assert_eq!(
            disposition("inline", "a\"; x=\"b"),
            "inline; filename=\"a_; x=_b\"; filename*=UTF-8''a%22%3B%20x%3D%22b"
        );
    }

    #[test]
    fn any_name_gives_a_header_that_is_one_line_of_ascii() {
        proptest::proptest!(|(name: String)| {
            let header = disposition("inline", &clean(&name));
            proptest::prop_assert!(header.bytes().all(|byte| (0x20..0x7F).contains(&byte)), "{header}");
        });
    }
}
