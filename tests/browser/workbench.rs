//! The widget's modules by themselves, on a page under the policy of the real one.

use std::path::PathBuf;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use system_tests::{browser::Browser, programs::root};

/// As the chat page has it: no markup from text, by the browser's own check.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// A browser that shows an empty page from which the modules can be imported.
pub(crate) struct Workbench {
    pub(crate) browser: Browser,
}

fn folder() -> PathBuf {
    root().join("crates/proxy-service/widget")
}

async fn module(name: web::Path<String>) -> HttpResponse {
    match std::fs::read(folder().join("chat").join(name.as_str())) {
        Ok(bytes) => HttpResponse::Ok().content_type("text/javascript").body(bytes),
        Err(_) => HttpResponse::NotFound().finish(),
    }
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", POLICY))
        .body("<!doctype html><title>Workbench</title><link rel=\"icon\" href=\"data:,\"><body></body>")
}

impl Workbench {
    pub(crate) async fn start() -> Self {
        let server = HttpServer::new(|| {
            App::new()
                .route("/", web::get().to(page))
                .route("/{name}", web::get().to(module))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        let browser = Browser::start().await;
        browser.open(&format!("http://{address}/")).await;
        Self { browser }
    }

    /// The markup that texts become, each drawn by itself.
    pub(crate) async fn drawn(&self, texts: &[&str]) -> Vec<String> {
        let script = "const { MarkdownView } = await import('/markdown.js');
            return arguments[0].map((text) => {
                const container = document.createElement('div');
                document.body.append(container);
                new MarkdownView(container, { copy: 'Copy', copied: 'Copied' }).update(text);
                return container.innerHTML;
            });";
        strings(&self.browser.run_with(&asynchronous(script), json!([texts])).await)
    }
}

/// A script that may wait for imports.
pub(crate) fn asynchronous(script: &str) -> String {
    format!("return (async function () {{ {script} }}).apply(null, arguments);")
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    texts
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

#[actix_web::test]
async fn what_keeps_people_out_is_found() {
    let bench = Workbench::start().await;
    assert!(
        bench
            .browser
            .barriers()
            .await
            .iter()
            .any(|found| found.contains("h1"))
    );
    let faults = "
        document.body.append(document.createElement('button'), document.createElement('h1'));
        document.querySelector('h1').append('Pale');
        document.querySelector('h1').style.color = '#ccc';
        document.querySelector('h1').style.width = '9000px';";
    bench.browser.run(faults).await;
    let found = bench.browser.barriers().await.join("\n");
    for fault in ["button-name", "color-contrast", "wider than the window"] {
        assert!(found.contains(fault), "{found}");
    }
}
