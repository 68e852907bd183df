//! The widget's files, as they are compiled into the program: no path of a request ever reaches a file system.

use std::collections::BTreeMap;

use crate::routes::page_file::{File, escaped, kept_under, version_of};

/// What pages load, by name: the script modules of the chat page, and style sheets.
const PARTS: [(&str, &str); 18] = [
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
    ("look.css", include_str!("../../../widget/look.css")),
    ("page.css", include_str!("../../../widget/page.css")),
    ("demo.css", include_str!("../../../widget/demo/demo.css")),
    ("demo.js", include_str!("../../../widget/demo/demo.js")),
];

const PAGE: &str = include_str!("../../../widget/page.html");
const DEMO: &str = include_str!("../../../widget/demo/demo.html");
const EMBED: &str = include_str!("../../../widget/embed.js");

/// Where the embedding script takes what its embed's owner has set.
const SERVED: &str = "const SERVED = null;";

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
        let version = version_of(&PARTS);
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
        Some((self.parts.get(name)?, kept_under(version, &self.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::page_file::FOR_EVER;

    /// What one view of the page may weigh, with everything it loads.
    const VIEW_BYTES_MAX: usize = 60 * 1_000;

    #[test]
    fn all_that_a_page_view_loads_is_light() {
        let files = WidgetFiles::new();
        let parts = files.parts.iter().filter(|(name, _)| !name.starts_with("demo"));
        let texts = crate::routes::widget::texts::strings("ru").len() * 200;
        let weight = parts.map(|(_, file)| file.weight()).sum::<usize>()
            + files.page.weight()
            + WidgetFiles::embed_script(&serde_json::Value::Null).weight()
            + texts;
        assert!(weight < VIEW_BYTES_MAX, "{weight} bytes");
    }

    #[test]
    fn pages_load_what_there_is_and_nothing_from_elsewhere() {
        let files = WidgetFiles::new();
        let page = files.page.text();
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
        let script = script.text();
        assert!(script.contains("\\u003c/script>") && !script.contains("</script>"));
        assert!(!script.contains(SERVED), "the place is filled");
        assert_eq!(
            escaped("<a href=\"x\" id='y'>&"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;"
        );
    }
}
