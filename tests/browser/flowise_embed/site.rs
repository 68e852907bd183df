//! A school's web site: a page with what the documents say is to be put there, the window's script, and a way for the page
//! to learn the key of whoever is signed in.

use std::sync::{Mutex, PoisonError};

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use system_tests::programs::{path_of, read};

/// The name of the site.
pub(crate) const SITE_HOST: &str = "school.example";

/// Where in `proto-docs/clients.md` everything about the window stands.
const SECTION: &str = "## flowise-embed on a web page";

/// What the page has under this name, as the documents want.
const KEY: &str = "globalThis.keyOfThePersonWhoIsSignedIn = async () => (await fetch('/key')).text();";

#[derive(Default)]
struct Content {
    page: String,
    policy: String,
    key: String,
}

/// The site, on every name that the browser looks for on this machine.
pub(super) struct Site {
    port: u16,
    content: web::Data<Mutex<Content>>,
}

async fn page(content: web::Data<Mutex<Content>>) -> HttpResponse {
    let content = content.lock().unwrap_or_else(PoisonError::into_inner);
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", content.policy.as_str()))
        .body(content.page.clone())
}

async fn key(content: web::Data<Mutex<Content>>) -> String {
    content.lock().unwrap_or_else(PoisonError::into_inner).key.clone()
}

async fn embed(script: web::Data<Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/javascript; charset=utf-8")
        .body(Bytes::clone(&script))
}

async fn school() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript").body(KEY)
}

impl Site {
    /// An empty site.
    pub(super) async fn start() -> Self {
        let script = std::fs::read(path_of("flowise-embed").await).unwrap();
        let script = web::Data::new(Bytes::from(script));
        let content = web::Data::new(Mutex::<Content>::default());
        let shown = content.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shown.clone())
                .app_data(script.clone())
                .route("/", web::get().to(page))
                .route("/key", web::get().to(key))
                .route("/flowise-embed.js", web::get().to(embed))
                .route("/school.js", web::get().to(school))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .unwrap();
        let port = server.addrs()[0].port();
        tokio::spawn(server.run());
        Self { port, content }
    }

    /// Its origin under this name.
    pub(super) fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// Puts the window on the page as the documents say, for this chatflow of this server, changed by `adapt`.
    pub(super) fn show(&self, chat: &str, chatflow: &str, adapt: impl Fn(String) -> String) {
        let tag = adapt(documented("html"))
            .replace(
                "<script type=\"module\">",
                "<script type=\"module\" nonce=\"school\">",
            )
            .replace(
                &format!("https://cdn.jsdelivr.net/npm/{}/dist/web.js", package()),
                "/flowise-embed.js",
            )
            .replace("https://chat.example.org", chat)
            .replace("26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10", chatflow);
        for needed in ["/flowise-embed.js", chat, chatflow, "nonce"] {
            assert!(tag.contains(needed), "{needed} is not in {tag}");
        }
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        content.page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Biology</title>
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"icon\" href=\"data:,\">
             <script src=\"/school.js\"></script></head><body><h1>Biology, class 7b</h1><p>Cells and what is in them.</p>{tag}</body></html>"
        );
        // As the documents say. Whatever the window loaded from elsewhere would stand in the console.
        content.policy = format!(
            "default-src 'none'; script-src 'self' 'nonce-school'; connect-src 'self' {chat}; \
             style-src 'unsafe-inline'; img-src data: blob: {chat}"
        );
    }

    /// Who is signed in on the site from now on, by their key.
    pub(super) fn sign_in(&self, key: &str) {
        key.clone_into(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner).key);
    }
}

/// The first listing of this language in what the documents say about the window.
pub(super) fn documented(language: &str) -> String {
    let page = read("proto-docs/clients.md");
    let (_, section) = page.split_once(SECTION).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, listing) = section.split_once(&format!("```{language}\n")).unwrap();
    listing.split("```").next().unwrap().to_owned()
}

/// The package and its version, which the documents name, too.
fn package() -> String {
    let script = read("scripts/programs.sh");
    let (_, package) = script.split_once("EMBED_PACKAGE=").unwrap();
    package.lines().next().unwrap().to_owned()
}
