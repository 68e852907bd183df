//! What a file is, told by its content; its name and what the client declares only choose among texts.
//!
//! Nothing is opened or unpacked: of an archive only the names of its first entries are looked at.

use std::str;

/// How much of the beginning of a file tells what it is.
pub const HEAD_BYTES: usize = 64 << 10;

/// A kind of file that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// Its media type, as stored, sent to Flowise and served.
    pub mime: &'static str,
    /// The endings that names of such files have; the first is added to a name that has another one.
    pub endings: &'static [&'static str],
    /// Whether a browser may show it in place. What can hold scripts never is.
    pub inline: bool,
}

const fn kind(mime: &'static str, endings: &'static [&'static str], inline: bool) -> FileKind {
    FileKind {
        mime,
        endings,
        inline,
    }
}

const JPEG: FileKind = kind("image/jpeg", &["jpg", "jpeg", "jpe", "jfif"], true);
const PNG: FileKind = kind("image/png", &["png"], true);
const GIF: FileKind = kind("image/gif", &["gif"], true);
const WEBP: FileKind = kind("image/webp", &["webp"], true);
const PDF: FileKind = kind("application/pdf", &["pdf"], true);
const DOC: FileKind = kind("application/msword", &["doc", "dot"], false);
const XLS: FileKind = kind("application/vnd.ms-excel", &["xls", "xlt"], false);
const PPT: FileKind = kind("application/vnd.ms-powerpoint", &["ppt", "pps", "pot"], false);
const DOCX: FileKind = kind(
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    &["docx"],
    false,
);
const XLSX: FileKind = kind(
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    &["xlsx"],
    false,
);
const PPTX: FileKind = kind(
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    &["pptx"],
    false,
);
const ODT: FileKind = kind("application/vnd.oasis.opendocument.text", &["odt"], false);
const ODS: FileKind = kind("application/vnd.oasis.opendocument.spreadsheet", &["ods"], false);
const ODP: FileKind = kind("application/vnd.oasis.opendocument.presentation", &["odp"], false);
const EPUB: FileKind = kind("application/epub+zip", &["epub"], false);
const RTF: FileKind = kind("application/rtf", &["rtf"], false);
const MP3: FileKind = kind("audio/mpeg", &["mp3"], true);
const WAV: FileKind = kind("audio/wav", &["wav"], true);
const OGG: FileKind = kind("audio/ogg", &["ogg", "oga", "opus"], true);
const AUDIO_WEBM: FileKind = kind("audio/webm", &["webm", "weba"], true);
const AUDIO_MP4: FileKind = kind("audio/mp4", &["m4a", "mp4"], true);
const HTML: FileKind = kind("text/html", &["html", "htm", "xhtml"], false);
const SVG: FileKind = kind("image/svg+xml", &["svg"], false);
const CSV: FileKind = kind("text/csv", &["csv"], false);
const MARKDOWN: FileKind = kind("text/markdown", &["md", "markdown"], false);
const JSON: FileKind = kind("application/json", &["json"], false);
const XML: FileKind = kind("application/xml", &["xml"], false);
const TEXT: FileKind = kind("text/plain", &["txt", "text", "log"], true);

/// Every kind there is.
pub const KINDS: [FileKind; 29] = [
    JPEG, PNG, GIF, WEBP, PDF, DOC, XLS, PPT, DOCX, XLSX, PPTX, ODT, ODS, ODP, EPUB, RTF, MP3, WAV, OGG,
    AUDIO_WEBM, AUDIO_MP4, HTML, SVG, CSV, MARKDOWN, JSON, XML, TEXT, OCTETS,
];

/// What an older service stored under a type we do not know.
const OCTETS: FileKind = kind("application/octet-stream", &[], false);

/// Texts that are told apart by name or declaration only.
const TEXTS: [FileKind; 5] = [CSV, MARKDOWN, JSON, XML, TEXT];

impl FileKind {
    /// The kind stored under this media type.
    pub fn stored(mime: &str) -> Self {
        let known = KINDS.iter().find(|kind| kind.mime == mime);
        *known.unwrap_or(&OCTETS)
    }

    /// Whether a thumbnail can be made of it.
    pub fn is_image(self) -> bool {
        matches!(self.mime, "image/jpeg" | "image/png" | "image/gif" | "image/webp")
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> String {
        if self.mime.starts_with("text/") {
            format!("{}; charset=utf-8", self.mime)
        } else {
            self.mime.to_owned()
        }
    }

    /// Whether the name claims to be another kind of file.
    pub fn contradicts(self, name: &str) -> bool {
        ending_of(name).is_some_and(|ending| {
            !self.endings.contains(&&*ending) && KINDS.iter().any(|kind| kind.endings.contains(&&*ending))
        })
    }

    /// The name to give Flowise, which refuses files whose ending is not that of their type.
    pub fn matching_name(self, name: &str) -> String {
        match self.endings.first() {
            Some(ending) if self.contradicts(name) || ending_of(name).is_none() => format!("{name}.{ending}"),
            _ => name.to_owned(),
        }
    }
}

/// The kind of a file that begins with `head` (its first [`HEAD_BYTES`], or all of it); `None` when such files are not
/// taken.
pub fn sniff(head: &[u8], name: &str, declared: &str) -> Option<FileKind> {
    let at = |from: usize, magic: &[u8]| head.get(from..).is_some_and(|rest| rest.starts_with(magic));
    match head {
        _ if at(0, b"\xFF\xD8\xFF") => Some(JPEG),
        _ if at(0, b"\x89PNG\r\n\x1A\n") => Some(PNG),
        _ if at(0, b"GIF87a") || at(0, b"GIF89a") => Some(GIF),
        _ if at(0, b"RIFF") && at(8, b"WEBP") => Some(WEBP),
        _ if at(0, b"RIFF") && at(8, b"WAVE") => Some(WAV),
        _ if at(0, b"%PDF-") => Some(PDF),
        _ if at(0, b"{\\rtf") => Some(RTF),
        _ if at(0, b"OggS") => Some(OGG),
        _ if at(0, b"ID3") || is_mpeg_audio(head) => Some(MP3),
        _ if at(0, b"\x1A\x45\xDF\xA3") => is_audio(declared).then_some(AUDIO_WEBM),
        _ if at(4, b"ftypM4A") => Some(AUDIO_MP4),
        _ if at(4, b"ftyp") => is_audio(declared).then_some(AUDIO_MP4),
        _ if at(0, b"PK\x03\x04") => archive(head),
        _ if at(0, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1") => compound(name, declared),
        _ => text(head, name, declared),
    }
}

fn is_audio(declared: &str) -> bool {
    declared.starts_with("audio/")
}

/// A frame of MPEG audio, layer III. Eleven set bits alone also begin other things (a byte order mark).
fn is_mpeg_audio(head: &[u8]) -> bool {
    matches!(head, [0xFF, 0xFA | 0xFB | 0xF2 | 0xF3, third, ..] if third & 0xF0 != 0xF0 && third & 0x0C != 0x0C)
}

/// Office documents are archives; other archives are not taken.
fn archive(head: &[u8]) -> Option<FileKind> {
    // OpenDocument and EPUB begin with an entry that is not compressed and says what they are.
    const FIRST_DATA: usize = 30 + "mimetype".len();
    if head.get(30..FIRST_DATA) == Some(b"mimetype") {
        let said = head.get(FIRST_DATA..)?;
        let kinds = [ODT, ODS, ODP, EPUB];
        return kinds
            .into_iter()
            .find(|kind| said.starts_with(kind.mime.as_bytes()));
    }
    let mut is_office = false;
    for name in entry_names(head) {
        is_office |= name == b"[Content_Types].xml" || name.starts_with(b"_rels/");
        for (folder, kind) in [(&b"word/"[..], DOCX), (b"xl/", XLSX), (b"ppt/", PPTX)] {
            if name.starts_with(folder) {
                return Some(kind);
            }
        }
        if !(is_office || name.starts_with(b"docProps/") || name.starts_with(b"customXml/")) {
            return None;
        }
    }
    None
}

/// Names of the entries of an archive, as far as their headers stand in `head`.
fn entry_names(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    const MAGIC: &[u8] = b"PK\x03\x04";
    let mut rest = head;
    std::iter::from_fn(move || {
        // Sizes in these headers may be left out, so the next header is looked for instead of reckoned.
        let start = rest.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let header = rest.get(start..)?;
        let (low, high) = (*header.get(26)?, *header.get(27)?);
        let length = usize::from(u16::from_le_bytes([low, high]));
        let name = header.get(30..30 + length)?;
        rest = header.get(30 + length..)?;
        Some(name)
    })
}

/// Older office documents all begin alike; what they are is only in their inside, and nothing runs them here.
fn compound(name: &str, declared: &str) -> Option<FileKind> {
    let kinds = [DOC, XLS, PPT];
    let ending = ending_of(name).unwrap_or_default();
    let named = kinds.into_iter().find(|kind| kind.endings.contains(&&*ending));
    named.or_else(|| kinds.into_iter().find(|kind| kind.mime == declared))
}

fn text(head: &[u8], name: &str, declared: &str) -> Option<FileKind> {
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        // The end may cut a character, where there is more behind it.
        Err(error) if error.error_len().is_none() && head.len() >= HEAD_BYTES => {
            str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return legacy_text(head, name, declared),
    };
    let is_binary = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}');
    if text.contains(is_binary) {
        return None;
    }
    Some(markup(text).unwrap_or_else(|| named_text(name, declared)))
}

/// Spreadsheets still write tables in the old encoding of their country, and UTF-16.
fn legacy_text(head: &[u8], name: &str, declared: &str) -> Option<FileKind> {
    let is_utf16 = head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF");
    let is_binary = |byte: &u8| *byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0C | 0x1B);
    if head.is_empty() || (!is_utf16 && head.iter().any(is_binary)) {
        return None;
    }
    let ascii: String = head
        .iter()
        .filter(|byte| byte.is_ascii() && **byte != 0)
        .map(|byte| char::from(*byte))
        .collect();
    if let Some(kind) = markup(&ascii) {
        return Some(kind);
    }
    let kind = named_text(name, declared);
    let is_said = kind != TEXT || ending_of(name).is_some_and(|ending| TEXT.endings.contains(&&*ending));
    is_said.then_some(kind)
}

/// What a browser would run must be known as such, whatever it is called.
fn markup(text: &str) -> Option<FileKind> {
    const HTML_TAGS: [&str; 16] = [
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<script",
        "<iframe",
        "<h1",
        "<div",
        "<font",
        "<table",
        "<a ",
        "<style",
        "<title",
        "<br",
        "<p>",
        "<img",
    ];
    let beginning: String = text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .chars()
        .take(4_096)
        .collect();
    let beginning = beginning.to_ascii_lowercase();
    if beginning.contains("<svg") {
        return Some(SVG);
    }
    let is_html = HTML_TAGS.iter().any(|tag| beginning.starts_with(tag))
        || (beginning.starts_with('<') && (beginning.contains("<html") || beginning.contains("<script")));
    is_html.then_some(HTML)
}

fn named_text(name: &str, declared: &str) -> FileKind {
    let ending = ending_of(name).unwrap_or_default();
    let all = TEXTS.into_iter().chain([HTML, SVG]);
    let named = all.clone().find(|kind| kind.endings.contains(&&*ending));
    let declared = all.into_iter().find(|kind| kind.mime == declared);
    // A name that says nothing leaves it to the declaration.
    named.or(declared).unwrap_or(TEXT)
}

fn ending_of(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    (!stem.is_empty() && !ending.is_empty()).then(|| ending.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mime(head: &[u8], name: &str, declared: &str) -> &'static str {
        sniff(head, name, declared).map_or("refused", |kind| kind.mime)
    }

    /// The beginning of an archive with these entries.
    fn zip(names: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in names {
            bytes.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x02\0\0\0");
            bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend(name.as_bytes());
            bytes.extend(b"hi");
        }
        bytes
    }

    #[test]
    fn content_decides_and_not_what_is_claimed() {
        for (head, expected) in [
            (&b"\x89PNG\r\n\x1A\nrest"[..], "image/png"),
            (b"\xFF\xD8\xFF\xE0", "image/jpeg"),
            (b"GIF89a....", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"%PDF-1.7", "application/pdf"),
            (b"ID3\x04", "audio/mpeg"),
            (b"OggS\0", "audio/ogg"),
            (b"{\\rtf1", "application/rtf"),
            (b"\x7FELF\x02\x01\x01\0", "refused"),
            (b"MZ\x90\0\x03\0", "refused"),
            (b"\x1F\x8B\x08\0", "refused"),
            (b"Rar!\x1A\x07\0", "refused"),
            (b"", "text/plain"),
        ] {
            assert_eq!(mime(head, "picture.txt", "text/plain"), expected, "{head:?}");
        }
    }

    #[test]
    fn texts_are_told_apart_by_their_names_or_by_what_is_declared() {
        let table = b"name,credits\nmei,5\n";
        for (name, declared, expected) in [
            ("class.csv", "application/vnd.ms-excel", "text/csv"),
            ("class.CSV", "text/csv", "text/csv"),
            ("class", "text/csv", "text/csv"),
            ("notes.md", "", "text/markdown"),
            ("main.rs", "application/x-rust", "text/plain"),
            ("a.json", "", "application/json"),
        ] {
            assert_eq!(mime(table, name, declared), expected, "{name}");
        }
        let (big5, name) = (b"\xA4\xA4\xA4\xE5,1\r\n", "a.csv");
        assert_eq!(
            mime(big5, name, ""),
            "text/csv",
            "the encoding of older spreadsheets"
        );
        assert_eq!(mime(b"\xFF\xFEa\0,\0", "a.csv", ""), "text/csv", "UTF-16");
        assert_eq!(mime(big5, "a.bin", ""), "refused");
    }

    #[test]
    fn a_character_that_the_head_cuts_is_no_garbage() {
        let mut head = vec![b'a'; HEAD_BYTES - 1];
        head.push(0xE4);
        assert_eq!(mime(&head, "a.txt", ""), "text/plain");
        assert_eq!(
            mime(&head[1..], "a.bin", ""),
            "refused",
            "there is nothing behind it"
        );
    }

    #[test]
    fn what_a_browser_would_run_is_known_under_any_name() {
        for content in [
            "<!DOCTYPE html><p>x",
            "\u{feff}  <html>",
            "<script>alert(1)</script>",
            "<?xml version='1.0'?><html xmlns='x'>",
            "<!-- x --><script>",
        ] {
            assert_eq!(
                mime(content.as_bytes(), "a.txt", "text/plain"),
                "text/html",
                "{content}"
            );
        }
        for content in ["<svg onload=alert(1)>", "<?xml version='1.0'?>\n<svg xmlns='x'/>"] {
            assert_eq!(
                mime(content.as_bytes(), "a.png", "image/png"),
                "image/svg+xml",
                "{content}"
            );
        }
        assert_eq!(mime(b"harmless", "a.html", ""), "text/html");
        for runs in ["text/html", "image/svg+xml", "application/xml"] {
            assert!(!FileKind::stored(runs).inline, "{runs}");
        }
    }

    #[test]
    fn office_documents_are_told_from_other_archives() {
        let word = zip(&["[Content_Types].xml", "_rels/.rels", "word/document.xml"]);
        assert!(mime(&word, "a.docx", "application/zip").ends_with("wordprocessingml.document"));
        let excel = zip(&["_rels/.rels", "docProps/app.xml", "xl/workbook.xml"]);
        assert!(mime(&excel, "a.xlsx", "").ends_with("spreadsheetml.sheet"));
        assert_eq!(mime(&zip(&["virus.exe"]), "a.docx", ""), "refused");
        assert_eq!(
            mime(&zip(&["META-INF/MANIFEST.MF", "word/x"]), "a.docx", ""),
            "refused"
        );
        let mut writer = zip(&["mimetype"]);
        writer.truncate(38);
        writer.extend(b"application/vnd.oasis.opendocument.textPK");
        assert_eq!(mime(&writer, "a.odt", ""), ODT.mime);
        let old = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1rest";
        assert_eq!(mime(old, "a.doc", "application/msword"), "application/msword");
        assert_eq!(mime(old, "a.msi", ""), "refused");
    }

    #[test]
    fn names_that_claim_something_else_are_seen_and_mended_for_flowise() {
        assert!(WEBP.contradicts("photo.jpg"));
        assert!(!WEBP.contradicts("photo"));
        assert!(!TEXT.contradicts("main.rs"));
        assert_eq!(WEBP.matching_name("photo.jpg"), "photo.jpg.webp");
        assert_eq!(CSV.matching_name("class"), "class.csv");
        assert_eq!(TEXT.matching_name("main.rs"), "main.rs");
        assert_eq!(JPEG.matching_name("PHOTO.JPEG"), "PHOTO.JPEG");
    }

    #[test]
    fn sniffing_never_fails_on_any_bytes() {
        proptest::proptest!(|(head: Vec<u8>, name: String, declared: String)| {
            let mut office = b"PK\x03\x04".to_vec();
            office.extend(&head);
            for bytes in [&head, &office] {
                if let Some(kind) = sniff(bytes, &name, &declared) {
                    proptest::prop_assert!(KINDS.contains(&kind));
                }
            }
        });
    }
}
