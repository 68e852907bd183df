//! Somebody else's web site, with the widget's tag on it, and the policy that the documents ask such a site for.

use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};

/// A site on this machine. The browser finds it under any name that ends in `.example` or `.localhost`.
pub(crate) struct Site {
    address: SocketAddr,
}

struct Content {
    page: String,
    policy: String,
}

async fn page(content: web::Data<Content>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", content.policy.as_str()))
        .body(content.page.clone())
}

async fn script() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript").body(
        "document.getElementById('buy').addEventListener('click', (event) => { event.target.dataset.clicks = 1 + Number(event.target.dataset.clicks || 0); });",
    )
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css").body(
        "body { font: 17px/1.6 system-ui, sans-serif; margin: 0 auto; max-width: 980px; padding: 56px 24px; color: #23272e; background: #faf7f2 }
         h1 { font-size: 44px; line-height: 1.1; margin: 0 0 16px } p { max-width: 36em }
         .shelf { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 18px; margin: 36px 0 }
         .shelf div { height: 200px; border-radius: 6px; background: #d8cfc0 } .shelf div:nth-child(2n) { background: #b9c4bd }
         .shelf div:nth-child(3n) { background: #c9b3a6 }
         #buy { position: fixed; right: 96px; bottom: 28px; padding: 12px 22px; border: 0; border-radius: 8px; background: #2f5d50; color: #fff; font: inherit }",
    )
}

impl Site {
    /// A page with this tag, which loads scripts and frames of `chat` and of nobody else.
    pub(crate) fn start(chat: &str, tag: &str) -> Self {
        let covers = "<div></div>".repeat(5);
        let content = web::Data::new(Content {
            page: format!(
                "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Northwind Books</title>
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1, viewport-fit=cover\">
                 <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/site.css\"></head><body>
                 <h1>Northwind Books</h1><p>New arrivals, used classics, and a warm place to read. Free delivery on orders
                 over 40 €, and every book can come back within a month.</p><div class=\"shelf\">{covers}</div>
                 <button id=\"buy\">Buy a voucher</button><script src=\"/site.js\"></script>{tag}</body></html>"
            ),
            policy: format!("default-src 'none'; script-src 'self' {chat}; frame-src {chat}; style-src 'self'; img-src data:"),
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(content.clone())
                .route("/", web::get().to(page))
                .route("/site.js", web::get().to(script))
                .route("/site.css", web::get().to(style))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        Self { address }
    }

    /// Its origin under this name.
    pub(crate) fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.address.port())
    }
}
