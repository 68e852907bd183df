//! What answers look like: Markdown as language models write it.

use serde_json::json;

use crate::workbench::{Workbench, asynchronous, strings};

/// Without the attributes that every block has.
fn bare(html: &str) -> String {
    let link = " target=\"_blank\" rel=\"noopener noreferrer nofollow ugc\"";
    [" dir=\"auto\"", " tabindex=\"0\"", link]
        .iter()
        .fold(html.to_owned(), |html, attribute| html.replace(attribute, ""))
}

#[actix_web::test]
async fn markdown_is_drawn_as_it_is_meant() {
    let cases = [
        ("Hello", "<p>Hello</p>"),
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        (
            "**bold** and *soft* and ~~gone~~ and `code`",
            "<p><strong>bold</strong> and <em>soft</em> and <del>gone</del> and <code>code</code></p>",
        ),
        (
            "***both*** __too__ _so_",
            "<p><em><strong>both</strong></em> <strong>too</strong> <em>so</em></p>",
        ),
        (
            "snake_case_name and 2*3*4 stay, 5 * 6 * 7 too",
            "<p>snake_case_name and 2<em>3</em>4 stay, 5 * 6 * 7 too</p>",
        ),
        ("**open and *never closed", "<p>**open and *never closed</p>"),
        ("a **b *c* d** e", "<p>a <strong>b <em>c</em> d</strong> e</p>"),
        ("\\*not\\* \\[a\\](b) \\\\", "<p>*not* [a](b) \\</p>"),
        (
            "`` a ` b `` and ` c ` and `open",
            "<p><code>a ` b</code> and <code>c</code> and `open</p>",
        ),
        (
            "# One #\n## Two\n####### seven",
            "<h3>One</h3><h4>Two</h4><p>####### seven</p>",
        ),
        ("---\n***", "<hr><hr>"),
        (
            "- a\n- b\n  - c\n\n    d\n- e",
            "<ul><li>a</li><li>b<ul><li><p>c</p><p>d</p></li></ul></li><li>e</li></ul>",
        ),
        ("3. c\n4. d", "<ol start=\"3\"><li>c</li><li>d</li></ol>"),
        (
            "- [x] done\n- [ ] open",
            "<ul><li class=\"task\">☑ done</li><li class=\"task\">☐ open</li></ul>",
        ),
        (
            "It was in\n1984. Then\n1. first",
            "<p>It was in<br>1984. Then</p><ol><li>first</li></ol>",
        ),
        (
            "> a\nlazy\n> - b\n\nc",
            "<blockquote><p>a<br>lazy</p><ul><li>b</li></ul></blockquote><p>c</p>",
        ),
        (
            "[here](https://a.example/x_(y) \"title\") and <https://b.example>",
            "<p><a href=\"https://a.example/x_(y)\">here</a> and <a href=\"https://b.example/\">https://b.example</a></p>",
        ),
        (
            "See https://a.example/b?c=d_e_f. (https://a.example/g)",
            "<p>See <a href=\"https://a.example/b?c=d_e_f\">https://a.example/b?c=d_e_f</a>. (<a href=\"https://a.example/g\">https://a.example/g</a>)</p>",
        ),
        (
            "<me@a.example> [write](mailto:me@a.example)",
            "<p><a href=\"mailto:me@a.example\">me@a.example</a> <a href=\"mailto:me@a.example\">write</a></p>",
        ),
        (
            "![A cat](https://a.example/cat.png)",
            "<p><a href=\"https://a.example/cat.png\">A cat</a></p>",
        ),
        (
            "[relative](/admin) [none]() [odd](ftp://a.example)",
            "<p>[relative](/admin) [none]() [odd](ftp://a.example)</p>",
        ),
        (
            "[**b** [x](https://i.example)](https://o.example)",
            "<p>[<strong>b</strong> <a href=\"https://i.example/\">x</a>](<a href=\"https://o.example/\">https://o.example</a>)</p>",
        ),
        (
            "| a | b |\n|:-:|--:|\n| 1 | `x|y` |\n| 2 |\n\nend",
            "<div class=\"table\"><table><thead><tr><th class=\"to-center\" scope=\"col\">a</th><th class=\"to-end\" scope=\"col\">b</th></tr></thead><tbody><tr><td class=\"to-center\">1</td><td class=\"to-end\"><code>x|y</code></td></tr><tr><td class=\"to-center\">2</td><td class=\"to-end\"></td></tr></tbody></table></div><p>end</p>",
        ),
        ("a | b\nno table", "<p>a | b<br>no table</p>"),
        (
            "Привет, **мир**! 你好，**世界**。",
            "<p>Привет, <strong>мир</strong>! 你好，<strong>世界</strong>。</p>",
        ),
        (
            "tags <b>stay</b> & text",
            "<p>tags &lt;b&gt;stay&lt;/b&gt; &amp; text</p>",
        ),
        ("", ""),
    ];
    let bench = Workbench::start().await;
    let texts: Vec<_> = cases.iter().map(|(text, _)| *text).collect();
    let drawn = bench.drawn(&texts).await;
    for ((text, expected), html) in cases.iter().zip(drawn) {
        assert_eq!(bare(&html), *expected, "{text:?}");
    }
}

#[actix_web::test]
async fn code_stays_as_it_is_and_can_be_copied() {
    let bench = Workbench::start().await;
    let browser = &bench.browser;
    let code = "~~~rust extra\nfn main() {\n    // **no** <b>\n}\n~~~\nafter\n```\nnever closed\n";
    let html = bare(&bench.drawn(&[code]).await[0]);
    assert!(
        html.contains("<code>fn main() {\n    // **no** &lt;b&gt;\n}</code>"),
        "{html}"
    );
    assert!(
        html.contains("<span>rust</span>") && html.contains("<p>after</p>"),
        "{html}"
    );
    assert!(html.contains("<code>never closed\n</code>"), "{html}");

    let origin = browser.run("return location.origin").await;
    let rights =
        json!({ "origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    browser.command("Browser.grantPermissions", rights).await;
    assert_eq!(
        browser.heard(".copy").await,
        ("button".to_owned(), "Copy".to_owned())
    );
    browser.click(".copy").await;
    browser
        .until("document.querySelector('.copy').textContent === 'Copied'")
        .await;
    let copied = browser.run("return navigator.clipboard.readText()").await;
    assert_eq!(copied, "fn main() {\n    // **no** <b>\n}");
}

#[actix_web::test]
async fn a_growing_answer_becomes_what_it_is_as_a_whole_and_keeps_what_stands() {
    let text = "# Head\n\nSome *text* with [a link](https://a.example).\n\n- one\n- two\n  1. deep\n\n```js\nlet x = `1`;\n```\n\n\
                | a | b |\n|---|---|\n| 1 | **2** |\n\n> quote\n\nlast **words**";
    let bench = Workbench::start().await;
    let script = "const { MarkdownView } = await import('/markdown.js');
        const whole = document.createElement('div');
        new MarkdownView(whole, { copy: 'Copy', copied: 'Copied' }).update(arguments[0]);
        const growing = document.createElement('div');
        const view = new MarkdownView(growing, { copy: 'Copy', copied: 'Copied' });
        let first;
        for (let length = 1; length <= arguments[0].length; length += 1) {
            view.update(arguments[0].slice(0, length));
            if (length === 10) first = growing.firstChild;
        }
        return [whole.innerHTML, growing.innerHTML, String(growing.firstChild === first)];";
    let drawn = strings(&bench.browser.run_with(&asynchronous(script), json!([text])).await);
    assert_eq!(drawn[0], drawn[1]);
    assert_eq!(drawn[2], "true", "what is complete is not drawn again");
}

#[actix_web::test]
async fn no_text_is_too_deep_or_too_odd_to_be_drawn() {
    let bench = Workbench::start().await;
    let odd = [
        "> ".repeat(5_000),
        "- ".repeat(5_000),
        "*".repeat(20_000),
        "[".repeat(20_000),
        "*a ".repeat(20_000),
        "a_ *b ".repeat(10_000),
        "`".repeat(5_001),
        (1..200)
            .flat_map(|length| ["`".repeat(length), " ".to_owned()])
            .collect(),
        "[a](".repeat(5_000),
        "|".repeat(5_000) + "\n" + &"-|".repeat(5_000),
        "1. ".repeat(3_000),
        "<".repeat(20_000),
        "https://".repeat(2_000),
        "**a** ".repeat(5_000),
        "\u{202e}\u{0}\u{feff}\u{2028}".repeat(100),
        "![".repeat(10_000) + &"](https://a.example)".repeat(1_000),
        (0..3_000)
            .flat_map(|depth| [" ".repeat(depth % 200), "- x\n".to_owned()])
            .collect(),
        "~~a~~".repeat(5_000),
        "\\".repeat(20_001),
    ];
    let texts: Vec<_> = odd.iter().map(String::as_str).collect();
    let drawn = bench.drawn(&texts).await;
    assert_eq!(drawn.len(), odd.len());
    assert!(
        drawn
            .iter()
            .zip(&odd)
            .all(|(html, text)| !html.is_empty() || text.trim().is_empty())
    );
}
