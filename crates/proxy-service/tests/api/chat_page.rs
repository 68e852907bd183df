//! The chat page and what it loads, and who is let in by the cookie that it comes with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

use common_jwt::Role;
use reqwest::{Method, header::HeaderMap};
use test_support::{Answer, Person};

use crate::catalog::support::TestApp;

async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.anybody.request(Method::GET, path);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    app.anybody.send(request).await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[actix_web::test]
async fn the_page_is_open_holds_no_data_and_runs_nothing_of_others() {
    let app = TestApp::spawn().await;
    let page = get(&app, "/chat", &[]).await.expect(200);
    let policy = header(&page.headers, "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(policy.split("; ").any(|given| given == part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-site"),
        ("cache-control", "no-cache"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(header(&page.headers, name), value, "{name}");
    }
    assert!(
        page.headers
            .get_all("vary")
            .iter()
            .any(|vary| vary.to_str().unwrap().contains("Accept-Language"))
    );
    assert!(page.text.contains("<html lang=\"en\"") && page.text.contains("data-prompt-chars-max=\"32000\""));
    assert!(!page.headers.contains_key("set-cookie"));
    let tag = header(&page.headers, "etag");
    let known = get(&app, "/chat", &[("if-none-match", tag)]).await.expect(304);
    assert!(known.text.is_empty());
}

#[actix_web::test]
async fn it_speaks_the_language_that_is_asked_for() {
    let app = TestApp::spawn().await;
    let german = [("accept-language", "de-CH, en;q=0.5")];
    for (path, headers, language) in [
        ("/chat", &german[..], "de"),
        ("/chat?language=en", &german[..], "en"),
        ("/chat?language=de-AT", &[][..], "de"),
        ("/chat?language=%3Cb%3E", &[][..], "en"),
        ("/chat?session=x&other=y", &[][..], "en"),
    ] {
        let page = get(&app, path, headers).await.expect(200);
        assert!(
            page.text.contains(&format!("<html lang=\"{language}\"")),
            "{path}"
        );
        assert!(page.text.contains(&format!("/{language}.json")), "{path}");
    }
    let chosen = [("cookie", "flowgateLanguage=de"), ("accept-language", "en")];
    let page = get(&app, "/chat", &chosen).await.expect(200);
    assert!(
        page.text.contains("<html lang=\"de\""),
        "as it was chosen on a page of auth-service"
    );
}

#[actix_web::test]
async fn what_it_loads_never_changes_under_its_address() {
    let app = TestApp::spawn().await;
    let page = get(&app, "/chat", &[]).await.expect(200).text;
    let addresses = page
        .split('"')
        .filter(|word| word.starts_with("/chat/assets/") && word.contains('.'));
    let addresses: Vec<_> = addresses.collect();
    assert!(addresses.len() > 20, "{addresses:?}");
    for address in &addresses {
        let part = get(&app, address, &[]).await.expect(200);
        assert_eq!(
            header(&part.headers, "cache-control"),
            "public, max-age=31536000, immutable",
            "{address}"
        );
        let packed = get(&app, address, &[("accept-encoding", "gzip")])
            .await
            .expect(200);
        assert_eq!(header(&packed.headers, "content-encoding"), "gzip");
        assert_eq!(packed.text, part.text, "{address}");
        assert!(header(&packed.headers, "etag") != header(&part.headers, "etag"));
    }
    let other = get(&app, "/chat/assets/0123456789abcdef/main.js", &[])
        .await
        .expect(200);
    assert_eq!(header(&other.headers, "cache-control"), "no-cache");
    for path in [
        "/chat/",
        "/chat/assets",
        "/chat/assets/x",
        "/chat/assets/x/page.html",
        "/chat/assets/x/..%2f..%2fCargo.toml",
        "/chat/assets/x/fr.json",
        "/chat/assets/x/embed.js",
        "/chat/assets//main.js",
    ] {
        get(&app, path, &[]).await.expect_problem(404, "not_found");
    }
    let posted = app.anybody.send(app.anybody.request(Method::POST, "/chat")).await;
    posted.expect_problem(405, "method_not_allowed");
}

#[actix_web::test]
async fn the_widget_and_the_page_share_the_files_that_read_markdown() {
    let app = TestApp::spawn().await;
    for name in ["markdown.js", "inline.js", "events.js", "dom.js", "look.css"] {
        let of_page = get(&app, &format!("/chat/assets/x/{name}"), &[])
            .await
            .expect(200);
        let of_widget = get(&app, &format!("/widget/assets/x/{name}"), &[])
            .await
            .expect(200);
        assert_eq!(of_page.text, of_widget.text, "{name}");
    }
}

#[actix_web::test]
async fn its_paths_shadow_no_other() {
    let app = TestApp::spawn().await;
    for path in [
        "/chat/credits",
        "/chat/sessions",
        "/chat/turns",
        "/chat/files",
        "/chat/chatflows",
    ] {
        get(&app, path, &[]).await.expect_problem(401, "missing_token");
    }
}

#[actix_web::test]
async fn only_pages_of_ours_come_in_with_the_cookie() {
    let app = TestApp::spawn().await;
    let token = app.tokens.access(&Person::new("mei", Role::EndUser));
    let cookie = format!("flowgateAccess={token}");
    let path = "/api/v1/chatflows/my-chatflows";
    let own = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    get(&app, path, &own).await.expect(200);
    for site in ["cross-site", "same-site"] {
        let foreign = [("cookie", cookie.as_str()), ("sec-fetch-site", site)];
        get(&app, path, &foreign)
            .await
            .expect_problem(401, "missing_token");
    }
    let foreign = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    get(&app, path, &foreign)
        .await
        .expect_problem(401, "missing_token");
    let other = [
        ("cookie", "flowgateAccess=rubbish"),
        ("sec-fetch-site", "same-origin"),
    ];
    get(&app, path, &other).await.expect_problem(401, "invalid_token");
}
