//! The widget's files, as they are compiled into the program: no path of a request ever reaches a file system.

use std::{borrow::Cow, collections::BTreeMap, io::Write as _};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// What pages load, by name: the script modules of the chat page, and style sheets.
const PARTS: [(&str, &str); 17] = [
    ("main.js", include_str!("../../../widget/chat/main.js")),
    ("api.js", include_str!("../../../widget/chat/api.js")),
    ("chats.js", include_str!("../../../widget/chat/chats.js")),
    ("composer.js", include_str!("../../../widget/chat/composer.js")),
    ("dom.js", include_str!("../../../widget/chat/dom.js")),
    ("drawer.js", include_str!("../../../widget/chat/drawer.js")),
    ("events.js", include_str!("../../../widget/chat/events.js")),
    ("host.js", include_str!("../../../widget/chat/host.js")),
    ("inline.js", include_str!("../../../widget/chat/inline.js")),
    ("markdown.js", include_str!("../../../widget/chat/markdown.js")),
    ("store.js", include_str!("../../../widget/chat/store.js")),
    ("theme.js", include_str!("../../../widget/chat/theme.js")),
    ("thread.js", include_str!("../../../widget/chat/thread.js")),
    ("icon.svg", include_str!("../../../widget/icon.svg")),
    ("page.css", include_str!("../../../widget/page.css")),
    ("demo.css", include_str!("../../../widget/demo/demo.css")),
    ("demo.js", include_str!("../../../widget/demo/demo.js")),
];

const PAGE: &str = include_str!("../../../widget/page.html");
const DEMO: &str = include_str!("../../../widget/demo/demo.html");
const EMBED: &str = include_str!("../../../widget/embed.js");

/// Where the embedding script takes what its embed's owner has set.
const SERVED: &str = "const SERVED = null;";

/// An address with a version never means anything else.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What a browser asks for again before it uses it.
const ASK_FIRST: &str = "no-cache";

/// One file, plain and compressed.
#[derive(Clone, Debug)]
pub(super) struct File {
    content_type: &'static str,
    tag: String,
    plain: Bytes,
    gzipped: Bytes,
}

impl File {
    pub(super) fn new(name: &str, text: impl Into<Cow<'static, str>>) -> Self {
        let content_type = match name.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        let plain = match text.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Self {
            content_type,
            tag: hex::encode(&Sha256::digest(&plain)[..10]),
            gzipped: gzipped(&plain),
            plain,
        }
    }

    /// The answer to a request for it: nothing but headers where the browser has it already.
    pub(super) fn answer(&self, request: &HttpRequest, mut response: HttpResponseBuilder) -> HttpResponse {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let encodings = text(header::ACCEPT_ENCODING).unwrap_or_default();
        let accepts_gzip = encodings
            .split(',')
            .any(|encoding| encoding.trim().eq_ignore_ascii_case("gzip"));
        // Each form is a representation of its own (RFC 9110 section 8.8.3.3).
        let tag = format!("\"{}{}\"", self.tag, if accepts_gzip { "-gz" } else { "" });
        response
            .content_type(self.content_type)
            .insert_header((header::ETAG, tag.clone()))
            .append_header((header::VARY, "Accept-Encoding"));
        let known = text(header::IF_NONE_MATCH).unwrap_or_default();
        if known
            .split(',')
            .any(|known| known.trim().trim_start_matches("W/") == tag)
        {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        let body = if accepts_gzip {
            response.insert_header((header::CONTENT_ENCODING, "gzip"));
            &self.gzipped
        } else {
            &self.plain
        };
        response.body(body.clone())
    }
}

/// All of them, made once.
#[derive(Clone, Debug)]
pub(super) struct WidgetFiles {
    version: String,
    parts: BTreeMap<&'static str, File>,
    page: File,
    demo: String,
}

impl WidgetFiles {
    /// Reads and compresses what is compiled in.
    pub(super) fn new() -> Self {
        let mut digest = Sha256::new();
        for (name, text) in PARTS {
            digest.update(name);
            digest.update(text);
        }
        let version = hex::encode(&digest.finalize()[..8]);
        let parts = PARTS.map(|(name, text)| (name, File::new(name, text)));
        let assets = format!("assets/{version}");
        // A browser that knows all modules from the start loads them at once, not one import after the other.
        let modules = PARTS.iter().map(|(name, _)| *name);
        let modules = modules.filter(|name| {
            matches!(name.rsplit_once('.'), Some((_, "js"))) && !["main.js", "demo.js"].contains(name)
        });
        let preloads: Vec<_> = modules
            .map(|name| format!("<link rel=\"modulepreload\" href=\"{assets}/{name}\">"))
            .collect();
        let page = PAGE
            .replace("{{assets}}", &assets)
            .replace("{{preloads}}", &preloads.join("\n"));
        Self {
            page: File::new("page.html", page),
            demo: DEMO.replace("{{assets}}", &assets),
            parts: parts.into_iter().collect(),
            version,
        }
    }

    /// The chat page.
    pub(super) fn page(&self) -> &File {
        &self.page
    }

    /// The page that shows and explains it, with these words in their places.
    pub(super) fn demo(&self, words: &[(&str, &str)]) -> File {
        let fill = |page: String, (place, word): &(&str, &str)| page.replace(place, &escaped(word));
        File::new("demo.html", words.iter().fold(self.demo.clone(), fill))
    }

    /// The script that sites embed, with what it needs to know before the page behind it is loaded.
    pub(super) fn embed_script(served: &serde_json::Value) -> File {
        // In a script, too, nothing may look like the end of one.
        let served = served.to_string().replace('<', "\\u003c");
        File::new(
            "embed.js",
            EMBED.replacen(SERVED, &format!("const SERVED = {served};"), 1),
        )
    }

    /// A file, and how long it may be kept: one that was asked for under another version is another replica's, and only
    /// good for now.
    pub(super) fn part(&self, version: &str, name: &str) -> Option<(&File, &'static str)> {
        let kept = if version == self.version {
            FOR_EVER
        } else {
            ASK_FIRST
        };
        Some((self.parts.get(name)?, kept))
    }
}

/// Text that stays text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn gzipped(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Memory cannot refuse.
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(gzipped) => Bytes::from(gzipped),
        Err(error) => {
            tracing::error!(%error, "a file of the widget could not be compressed");
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one view of the page may weigh, with everything it loads.
    const VIEW_BYTES_MAX: usize = 60 * 1_000;

    #[test]
    fn all_that_a_page_view_loads_is_light() {
        let files = WidgetFiles::new();
        let parts = files.parts.iter().filter(|(name, _)| !name.starts_with("demo"));
        let texts = crate::routes::widget::texts::strings("ru").len() * 200;
        let weight = parts.map(|(_, file)| file.gzipped.len()).sum::<usize>()
            + files.page.gzipped.len()
            + WidgetFiles::embed_script(&serde_json::Value::Null).gzipped.len()
            + texts;
        assert!(weight < VIEW_BYTES_MAX, "{weight} bytes");
    }

    #[test]
    fn pages_load_what_there_is_and_nothing_from_elsewhere() {
        let files = WidgetFiles::new();
        let page = std::str::from_utf8(&files.page.plain).unwrap();
        for text in [page, &files.demo] {
            assert!(!text.contains("{{assets}}") && !text.contains("{{preloads}}"));
            for tag in ["<script>", "<style", "onclick", "style=", "javascript:"] {
                assert!(!text.contains(tag), "{tag} stands in a page");
            }
            let addresses = text
                .split(&['"', ' '][..])
                .filter_map(|word| word.strip_prefix("assets/"));
            for address in addresses {
                let (version, name) = address.split_once('/').unwrap();
                assert_eq!(files.part(version, name).unwrap().1, FOR_EVER, "{address}");
            }
        }
        assert_eq!(page.matches("modulepreload").count(), 12);
        for (name, text) in PARTS.into_iter().chain([("embed.js", EMBED)]) {
            for unsafe_word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(unsafe_word), "{name} has {unsafe_word}");
            }
            for line in text
                .lines()
                .filter(|line| line.contains("http://") || line.contains("https://"))
            {
                assert!(line.contains("www.w3.org"), "{name}: {line}");
            }
            let imports = text.lines().filter_map(|line| line.split_once("from './"));
            for (_, import) in imports {
                assert!(
                    files.parts.contains_key(import.trim_end_matches("';")),
                    "{name} imports {import}"
                );
            }
        }
    }

    #[test]
    fn what_is_written_into_a_script_or_page_stays_what_it_is() {
        let script = WidgetFiles::embed_script(&serde_json::json!({ "title": "</script><script>alert(1)" }));
        let script = std::str::from_utf8(&script.plain).unwrap();
        assert!(script.contains("\\u003c/script>") && !script.contains("</script>"));
        assert!(!script.contains(SERVED), "the place is filled");
        assert_eq!(
            escaped("<a href=\"x\" id='y'>&"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;"
        );
    }
}
