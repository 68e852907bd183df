//! What sites and their visitors' browsers load of the widget: scripts, pages and their configuration.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

use std::collections::BTreeMap;

use chrono::DateTime;
use common_http::TrustedProxies;
use proxy_service::{
    Config,
    domain::embed::{Backend, Budget, DEFAULT_ID, Embed, MessageLimits, RotatedKey},
};
use reqwest::{Method, header::HeaderMap};
use test_support::Answer;

use crate::catalog::support::TestApp;

const SITE: &str = "https://www.school.example";

fn named(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn embed() -> Embed {
    Embed {
        id: DEFAULT_ID.to_owned(),
        name: "School <b>".to_owned(),
        owner_id: "0123456789abcdef01234567".to_owned(),
        allowed_origins: vec![SITE.parse().unwrap(), "https://*.school.example".parse().unwrap()],
        backend: Backend::Flowise {
            chatflow_id: "26806ff8-5cd7-41b2-8a3d-5dd901f928d0".to_owned(),
        },
        price: 1,
        limits: MessageLimits::default(),
        budget: Budget::default(),
        theme: named(&[
            ("primaryColor", "#2f5d50"),
            ("mode", "dark"),
            ("width", "360"),
            ("autoOpen", "true"),
        ]),
        texts: [
            (
                "en".to_owned(),
                named(&[
                    ("header.title", "School </script>"),
                    ("suggestions.1", "Timetable?"),
                ]),
            ),
            ("pt".to_owned(), named(&[("header.title", "Escola")])),
        ]
        .into(),
        languages: vec!["en".to_owned(), "de".to_owned(), "pt".to_owned()],
        requires_ticket: true,
        is_active: true,
        app_key: RotatedKey::default(),
        is_configured: true,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

async fn spawn_with(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::spawn_with(|config| {
        config.widget.default_embed = Some(embed());
        change(config);
    })
    .await
}

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
async fn the_page_may_be_framed_by_allowed_sites_and_runs_nothing_of_others() {
    let app = spawn_with(|_| {}).await;
    for path in [
        "/widget/modern-widget.html",
        "/widget/chat",
        "/widget/chat?embed=default&title=x",
    ] {
        let page = get(&app, path, &[]).await.expect(200);
        let policy = header(&page.headers, "content-security-policy");
        assert!(
            policy.ends_with(&format!(
                "; frame-ancestors 'self' {SITE} https://*.school.example"
            )),
            "{policy}"
        );
        assert!(
            policy
                .starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"),
            "{policy}"
        );
        assert!(
            policy.contains("trusted-types 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(
            !page.headers.contains_key("x-frame-options"),
            "it would forbid what the policy allows"
        );
        assert_eq!(
            header(&page.headers, "referrer-policy"),
            "strict-origin-when-cross-origin"
        );
        assert_eq!(
            header(&page.headers, "cross-origin-resource-policy"),
            "cross-origin"
        );
        assert_eq!(header(&page.headers, "cache-control"), "no-store");
        assert!(
            page.text.contains("assets/") && page.text.contains("<main"),
            "{}",
            page.text
        );
    }
    for path in [
        "/widget/demo",
        "/widget/widget-config.json",
        "/widget/embed.js",
        "/widget/nothing",
    ] {
        let answer = get(&app, path, &[]).await;
        assert_eq!(header(&answer.headers, "x-frame-options"), "DENY", "{path}");
    }
    get(&app, "/widget/chat?embed=other", &[])
        .await
        .expect_problem(404, "embed_not_found");
}

#[actix_web::test]
async fn a_foreign_frame_gets_nothing() {
    let app = spawn_with(|_| {}).await;
    let framed = async |referer: &str| {
        let headers = [
            ("referer", referer),
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-site", "cross-site"),
        ];
        get(&app, "/widget/modern-widget.html", &headers).await
    };
    framed("https://www.school.example/").await.expect(200);
    framed("https://lab.school.example/").await.expect(200);
    for foreign in [
        "https://evil.example/",
        "http://www.school.example/",
        "https://www.school.example.evil.example/",
    ] {
        framed(foreign).await.expect_problem(403, "invalid_origin");
    }
    let link = [
        ("referer", "https://evil.example/"),
        ("sec-fetch-dest", "document"),
    ];
    get(&app, "/widget/modern-widget.html", &link).await.expect(200);
}

#[actix_web::test]
async fn what_never_changes_is_kept_and_what_is_known_is_not_sent_again() {
    let app = spawn_with(|_| {}).await;
    let page = get(&app, "/widget/chat", &[]).await.expect(200).text;
    let addresses = page.split('"').filter(|word| word.starts_with("assets/"));
    let addresses: Vec<_> = addresses.map(|address| format!("/widget/{address}")).collect();
    assert!(addresses.len() > 10, "{addresses:?}");
    for address in &addresses {
        let part = get(&app, address, &[]).await.expect(200);
        assert_eq!(
            header(&part.headers, "cache-control"),
            "public, max-age=31536000, immutable",
            "{address}"
        );
        let tag = header(&part.headers, "etag").to_owned();
        let known = get(&app, address, &[("if-none-match", &format!("\"x\", W/{tag}"))])
            .await
            .expect(304);
        assert!(known.text.is_empty() && header(&known.headers, "etag") == tag);
        let packed = get(&app, address, &[("accept-encoding", "br, gzip;q=0.5, gzip")])
            .await
            .expect(200);
        assert_eq!(header(&packed.headers, "content-encoding"), "gzip");
        assert!(
            header(&packed.headers, "vary").contains("Accept-Encoding")
                && header(&packed.headers, "etag") != tag
        );
    }
    let (_, name) = addresses[0].rsplit_once('/').unwrap();
    let other = get(&app, &format!("/widget/assets/0123456789abcdef/{name}"), &[])
        .await
        .expect(200);
    assert_eq!(
        header(&other.headers, "cache-control"),
        "no-cache",
        "another replica's version is good for now only"
    );
}

#[actix_web::test]
async fn there_is_nothing_beside_what_there_is() {
    let app = spawn_with(|_| {}).await;
    let paths = [
        "/widget",
        "/widget/",
        "/widget/assets/x/nothing.js",
        "/widget/assets/x/..%2f..%2fCargo.toml",
        "/widget/..%2f..%2fetc%2fpasswd",
        "/widget//etc/passwd",
        "/widget/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/widget/assets/x/main.js%00.css",
        "/widget/.env",
        "/widget/assets/x/page.html",
        "/widget/texts/en.json",
        "/widget/assets//main.js",
    ];
    for path in paths {
        get(&app, path, &[]).await.expect_problem(404, "not_found");
    }
    let posted = app.anybody.request(Method::POST, "/widget/embed.js");
    app.anybody
        .send(posted)
        .await
        .expect_problem(405, "method_not_allowed");
}

#[actix_web::test]
async fn the_configuration_has_every_key_that_the_old_page_reads() {
    let app = spawn_with(|_| {}).await;
    let config = get(&app, "/widget/widget-config.json", &[]).await.expect(200);
    assert_eq!(header(&config.headers, "cache-control"), "no-store");
    assert!(header(&config.headers, "vary").contains("Referer"));
    let keys = [
        "api.baseUrl",
        "appearance.theme.primaryColor",
        "appearance.theme.secondaryColor",
        "appearance.theme.primaryGradient",
        "appearance.theme.bgDark",
        "appearance.theme.bgGlass",
        "appearance.theme.textLight",
        "appearance.theme.textDark",
        "appearance.theme.borderRadius",
        "appearance.dimensions.width",
        "appearance.dimensions.height",
        "appearance.dimensions.buttonSize",
        "appearance.dimensions.bottomOffset",
        "appearance.dimensions.rightOffset",
        "texts.header.title",
        "texts.header.subtitle",
        "texts.button.openIcon",
        "texts.button.closeIcon",
        "texts.button.sendIcon",
        "texts.input.placeholder",
        "texts.messages.welcomeMessage",
        "texts.messages.errorMessage",
        "texts.messages.connectionError",
        "texts.messages.footer.enabled",
        "texts.messages.footer.botName",
        "texts.messages.footer.userName",
        "texts.messages.footer.showTimestamp",
        "texts.messages.footer.showDate",
        "texts.messages.backgroundActivity.responseInProgress",
        "texts.suggestions.0.text",
        "texts.suggestions.0.value",
        "texts.notifications.badge.enabled",
        "texts.notifications.badge.text",
        "texts.notifications.badge.ariaLabel",
        "texts.notifications.indicators.backgroundActivity.enabled",
        "texts.notifications.indicators.backgroundActivity.icon",
        "texts.notifications.indicators.backgroundActivity.tooltip",
        "texts.notifications.indicators.backgroundActivity.ariaLabel",
        "behavior.autoOpen",
        "behavior.autoOpenDelay",
        "behavior.backgroundActivity.enabled",
        "behavior.backgroundActivity.checkInterval",
        "behavior.backgroundActivity.connectionTimeout",
        "behavior.backgroundActivity.enableNotifications",
        "behavior.backgroundActivity.enableVisualIndicators",
    ];
    for key in keys {
        let value = config.body.pointer(&format!("/{}", key.replace('.', "/")));
        assert!(value.is_some_and(|value| !value.is_null()), "{key}");
    }
    assert_eq!(config.body["appearance"]["scheme"], "dark");
    assert_eq!(config.body["appearance"]["dimensions"]["width"], "360px");
    assert_eq!(config.body["texts"]["header"]["title"], "School </script>");
    assert_eq!(config.body["behavior"]["autoOpen"], true);
}

#[actix_web::test]
async fn its_address_is_the_one_that_the_visitor_sees() {
    let app =
        spawn_with(|config| config.trusted_proxies = TrustedProxies(vec!["127.0.0.1/32".parse().unwrap()]))
            .await;
    let base = async |app: &TestApp, headers: &[(&str, &str)]| {
        let config = get(app, "/widget/widget-config.json", headers).await.expect(200);
        config.body["api"]["baseUrl"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        base(&app, &[("host", "chat.example:8443")]).await,
        "http://chat.example:8443"
    );
    let forwarded = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "chat.example"),
        ("host", "inside:8000"),
    ];
    assert_eq!(base(&app, &forwarded).await, "https://chat.example");

    let alone = spawn_with(|_| {}).await;
    assert_eq!(
        base(&alone, &forwarded).await,
        "http://inside:8000",
        "nobody else may say so"
    );
    let set =
        spawn_with(|config| config.public_base_url = Some("https://set.example".parse().unwrap())).await;
    assert_eq!(base(&set, &forwarded).await, "https://set.example");
}

#[actix_web::test]
async fn options_of_a_tag_are_read_from_the_page_that_asks() {
    let app = spawn_with(|_| {}).await;
    let own = [("host", "chat.example")];
    let referer = "http://chat.example/widget/modern-widget.html?title=Mine&language=de&theme=light&position=top-left&placeholder=%3Cb%3E&x=1";
    let config = get(
        &app,
        "/widget/widget-config.json",
        &[own[0], ("referer", referer)],
    )
    .await
    .expect(200)
    .body;
    assert_eq!(config["texts"]["header"]["title"], "Mine");
    assert_eq!(config["texts"]["input"]["placeholder"], "<b>");
    assert_eq!(config["strings"]["input.send"], "Senden");
    assert_eq!(
        (&config["appearance"]["scheme"], &config["appearance"]["position"]),
        (&"light".into(), &"top-left".into())
    );
    let foreign = [
        own[0],
        (
            "referer",
            "https://evil.example/widget/modern-widget.html?title=Mine",
        ),
    ];
    let config = get(&app, "/widget/widget-config.json", &foreign)
        .await
        .expect(200)
        .body;
    assert_eq!(config["texts"]["header"]["title"], "School </script>");
}

#[actix_web::test]
async fn the_language_is_the_tags_or_the_browsers_or_the_embeds() {
    let app = spawn_with(|_| {}).await;
    let language = async |query: &str, accepted: &str| {
        let path = format!("/widget/widget-config.json?{query}");
        let config = get(&app, &path, &[("accept-language", accepted)])
            .await
            .expect(200)
            .body;
        let text = |name: &str| config["strings"][name].as_str().unwrap().to_owned();
        (
            config["language"].as_str().unwrap().to_owned(),
            text("header.title"),
            text("input.send"),
        )
    };
    let is =
        |language: &str, title: &str, send: &str| (language.to_owned(), title.to_owned(), send.to_owned());
    assert_eq!(
        language("", "de-AT, en;q=0.5").await,
        is("de", "School </script>", "Senden")
    );
    assert_eq!(language("language=pt-BR", "de").await, is("pt", "Escola", "Send"));
    assert_eq!(
        language("language=ru", "").await,
        is("en", "School </script>", "Send"),
        "not one of the embed's"
    );
}

#[actix_web::test]
async fn only_our_own_page_gets_a_ticket() {
    let app = spawn_with(|_| {}).await;
    let ticket = async |query: &str, headers: &[(&str, &str)]| {
        let config = get(&app, &format!("/widget/widget-config.json{query}"), headers).await;
        (config.status.as_u16(), config.body["ticket"].is_string())
    };
    let ours = ("sec-fetch-site", "same-origin");
    assert_eq!(ticket("", &[ours]).await, (200, true));
    assert_eq!(
        ticket("?parent=https://www.school.example", &[ours]).await,
        (200, true)
    );
    assert_eq!(
        ticket("?parent=https://evil.example", &[ours]).await,
        (403, false)
    );
    assert_eq!(ticket("?parent=null", &[ours]).await, (403, false));
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
    ] {
        assert_eq!(ticket("", &[(name, value)]).await, (200, false), "{value}");
    }
    assert_eq!(
        ticket("", &[ours, ("sec-fetch-mode", "navigate")]).await,
        (200, false)
    );
    let one = get(&app, "/widget/widget-config.json", &[ours]).await.body["ticket"].clone();
    let other = get(&app, "/widget/widget-config.json", &[ours]).await.body["ticket"].clone();
    assert_ne!(one, other, "each begins one session");
}

#[actix_web::test]
async fn the_script_knows_what_the_owner_has_set() {
    let app = spawn_with(|_| {}).await;
    for path in [
        "/widget/embed.js",
        "/widget/public/embed.js",
        "/widget/embed.js?embed=default",
    ] {
        let script = get(&app, path, &[]).await.expect(200);
        assert!(
            script.text.contains("#2f5d50") && script.text.contains("Chat öffnen"),
            "{path}"
        );
        assert!(
            !script.text.contains("const SERVED = null") && !script.text.contains("</script>"),
            "{path}"
        );
        assert_eq!(
            header(&script.headers, "cross-origin-resource-policy"),
            "cross-origin"
        );
        assert_eq!(header(&script.headers, "cache-control"), "public, max-age=300");
        let tag = header(&script.headers, "etag").to_owned();
        get(&app, path, &[("if-none-match", &tag)]).await.expect(304);
    }
    get(&app, "/widget/embed.js?embed=other", &[])
        .await
        .expect_problem(404, "embed_not_found");
    let without = TestApp::spawn().await;
    let script = get(&without, "/widget/embed.js", &[]).await.expect(200);
    assert!(
        script.text.contains("Open chat"),
        "the tag may name its embed where we do not see it"
    );
    let demo = get(&without, "/widget/demo", &[]).await.expect(200);
    assert!(demo.text.contains("There is no such embed yet"));
}

#[actix_web::test]
async fn the_demo_page_writes_names_as_text() {
    let app = spawn_with(|_| {}).await;
    let demo = get(&app, "/widget/demo", &[("host", "chat.example")])
        .await
        .expect(200);
    assert!(demo.text.contains("School &lt;b&gt;") && !demo.text.contains("School <b>"));
    assert!(
        demo.text
            .contains("&lt;script src=\"http://chat.example/widget/embed.js?embed=default\" async&gt;")
    );
    let policy = header(&demo.headers, "content-security-policy");
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("frame-src 'self'"),
        "{policy}"
    );
    let asked = get(
        &app,
        "/widget/demo?embed=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        &[],
    )
    .await
    .expect(200);
    assert!(!asked.text.contains("<script>alert"), "{}", asked.text);
}
