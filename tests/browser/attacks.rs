//! Texts that try to become more than text. They are drawn under the page's own policy, which would stop a script as
//! well; here none may even get so far.

use serde_json::json;

use crate::workbench::{Workbench, asynchronous, strings};

/// Written as an upstream might send them, told to by whoever wrote the page it has read.
pub(crate) const CORPUS: [&str; 54] = [
    "<script>window.hit=1</script>",
    "</script><img src=x onerror=window.hit=1>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "<svg><script>window.hit=1</script></svg>",
    "<iframe src=\"javascript:parent.hit=1\"></iframe>",
    "<iframe srcdoc=\"<script>parent.hit=1</script>\">",
    "<body onload=window.hit=1>",
    "<details open ontoggle=window.hit=1>x</details>",
    "<a href=\"javascript:window.hit=1\">x</a>",
    "<math><mtext></p><img src=x onerror=window.hit=1>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content=\"0;url=https://evil.example\">",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example><button>x</button></form>",
    "<object data=javascript:window.hit=1></object>",
    "<template><img src=x onerror=window.hit=1></template>",
    "<x id=root></x><x name=body>",
    "<!--><img src=x onerror=window.hit=1>-->",
    "<![CDATA[<img src=x onerror=window.hit=1>]]>",
    "[x](javascript:window.hit=1)",
    "[x](JaVaScRiPt:window.hit=1)",
    "[x]( javascript:window.hit=1 )",
    "[x](<javascript:window.hit=1>)",
    "[x](\u{1}javascript:window.hit=1)",
    "[x](java\tscript:window.hit=1)",
    "[x](java\nscript:window.hit=1)",
    "[x](javascript&colon;window.hit=1)",
    "[x](&#106;avascript:window.hit=1)",
    "[x](data:text/html,<script>parent.hit=1</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5wYXJlbnQuaGl0PTE8L3NjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](blob:https://a.example/x)",
    "[x](//evil.example/x)",
    "[x](\\\\evil.example\\x)",
    "[x](https:evil.example)",
    "[x](https://a.example\" onmouseover=\"window.hit=1)",
    "[x](https://a.example/'onclick='window.hit=1')",
    "[x](https://a.example \"t\" onclick=window.hit=1)",
    "[<img src=x onerror=window.hit=1>](https://a.example)",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:window.hit=1)",
    "![x\" onerror=\"window.hit=1](https://evil.example/pixel.png)",
    "<javascript:window.hit=1>",
    "<https://a.example/\"onclick=\"window.hit=1>",
    "https://a.example/<script>window.hit=1</script>",
    "https://a.example/\"onmouseover=\"window.hit=1",
    "```html\"><img src=x onerror=window.hit=1>\n</code></pre><script>window.hit=1</script>\n```",
    "`</code><script>window.hit=1</script>`",
    "| <img src=x onerror=window.hit=1> | b |\n|---|---|\n| <script>window.hit=1</script> | [x](javascript:window.hit=1) |",
    "- <img src=x onerror=window.hit=1>\n> <script>window.hit=1</script>\n# <svg onload=window.hit=1>",
    "{{constructor.constructor('window.hit=1')()}} ${window.hit=1} <%= window.hit=1 %>",
];

#[actix_web::test]
async fn hostile_text_stays_text() {
    let bench = Workbench::start().await;
    let script = "const { MarkdownView } = await import('/markdown.js');
        const elements = ['p', 'br', 'strong', 'em', 'del', 'code', 'pre', 'a', 'ul', 'ol', 'li', 'blockquote', 'hr', 'h3', 'h4', 'h5',
            'h6', 'div', 'span', 'button', 'svg', 'path', 'table', 'thead', 'tbody', 'tr', 'th', 'td'];
        const attributes = ['dir', 'class', 'tabindex', 'href', 'target', 'rel', 'type', 'viewBox', 'aria-hidden', 'focusable', 'd',
            'scope', 'start'];
        const found = [];
        for (const text of arguments[0]) {
            const container = document.createElement('div');
            document.body.append(container);
            new MarkdownView(container, { copy: 'Copy', copied: 'Copied' }).update(text);
            for (const node of container.querySelectorAll('*')) {
                if (!elements.includes(node.localName)) found.push(`${text}: <${node.localName}>`);
                for (const { name, value } of node.attributes) {
                    if (!attributes.includes(name)) found.push(`${text}: ${name}=${value}`);
                    if (name === 'href' && !/^(https?:\\/\\/[a-z]+\\.example|mailto:)/.test(value)) found.push(`${text}: ${value}`);
                }
                if (node.localName === 'a' && !/\\bnoopener\\b.*\\bnoreferrer\\b/.test(node.rel)) found.push(`${text}: ${node.rel}`);
                for (const type of ['mouseover', 'click', 'load', 'error', 'toggle']) {
                    if (node.localName !== 'a') node.dispatchEvent(new Event(type));
                }
            }
        }
        if (window.hit !== undefined) found.push('a script ran');
        const foreign = performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => !name.startsWith(location.origin));
        return [...found, ...foreign];";
    let found = bench
        .browser
        .run_with(&asynchronous(script), json!([CORPUS.to_vec()]))
        .await;
    assert_eq!(strings(&found), Vec::<String>::new());
    let stopped: Vec<_> = bench
        .browser
        .console()
        .await
        .into_iter()
        .filter(|line| line.contains("Security Policy"))
        .collect();
    assert!(
        stopped.is_empty(),
        "the policy had to stop something: {stopped:?}"
    );
}

#[actix_web::test]
async fn links_lead_only_where_nothing_runs() {
    let bench = Workbench::start().await;
    let script = "const { safeAddress } = await import('/inline.js');
        return arguments[0].map((address) => String(safeAddress(address)));";
    let cases = [
        ("https://a.example/x?y=z#w", "https://a.example/x?y=z#w"),
        ("HTTP://A.example", "http://a.example/"),
        ("mailto:me@a.example", "mailto:me@a.example"),
        ("javascript:alert(1)", "null"),
        ("https://", "null"),
        ("https:a.example", "null"),
        ("//a.example", "null"),
        ("/admin", "null"),
        ("", "null"),
        ("https://a.example/a b", "null"),
        ("https://a.example/\u{7f}", "null"),
        ("tel:123", "null"),
        ("intent://x", "null"),
    ];
    let addresses: Vec<_> = cases.iter().map(|(address, _)| *address).collect();
    let answers = strings(
        &bench
            .browser
            .run_with(&asynchronous(script), json!([addresses]))
            .await,
    );
    for ((address, expected), answer) in cases.iter().zip(answers) {
        assert_eq!(answer, *expected, "{address}");
    }
}
