//! The widget as a guest on other people's pages.

use serde_json::json;

use crate::{
    site::Site,
    stage::{SITE_HOST, Stage},
};

const ROOT: &str = "document.querySelector('#chat-widget-root')";

#[actix_web::test]
async fn it_is_a_good_guest() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.visit().await;

    let frames = format!("return {ROOT}.shadowRoot.querySelectorAll('iframe').length");
    assert_eq!(
        browser.run(&frames).await,
        0,
        "nothing is loaded before somebody wants it"
    );
    let loaded = "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).pathname).filter((path) => path.startsWith('/widget'))";
    assert_eq!(browser.run(loaded).await, json!(["/widget/embed.js"]));
    browser.click("#buy").await;
    stage.press_launcher().await;
    stage.enter().await;
    browser.leave().await;
    browser.resize(1280, 800).await;
    stage.press_launcher().await;
    browser.click("#buy").await;
    assert_eq!(
        browser
            .run("return document.querySelector('#buy').dataset.clicks")
            .await,
        "2",
        "the page's own clicks are its own"
    );
    let covers = format!("const box = {ROOT}.getBoundingClientRect(); return box.width * box.height");
    assert_eq!(
        browser.run(&covers).await,
        0,
        "there is nothing invisible in the way"
    );

    // Beside what every window has, there is one name more.
    let names = "const fresh = document.createElement('iframe'); document.body.append(fresh);
        const usual = new Set(Object.getOwnPropertyNames(fresh.contentWindow)); fresh.remove();
        return Object.getOwnPropertyNames(window).filter((name) => !usual.has(name) && !/^[$]?cdc_|^ret_nodes$|^se_/.test(name))";
    assert_eq!(browser.run(names).await, json!(["initChatWidget"]));
    let stopped: Vec<_> = browser
        .console()
        .await
        .into_iter()
        .filter(|line| !line.starts_with("INFO"))
        .collect();
    assert_eq!(
        stopped,
        Vec::<String>::new(),
        "the site's policy has nothing to say"
    );
}

#[actix_web::test]
async fn a_page_of_a_foreign_site_is_refused() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    browser.open(&stage.site.origin("evil.example")).await;
    browser
        .until(&format!("{ROOT}?.shadowRoot.querySelector('.launcher')"))
        .await;
    stage.press_launcher().await;
    browser.until(&format!("{ROOT} === null")).await;
    let said = browser.console().await.join("\n");
    assert!(said.contains("does not open on http://evil.example"), "{said}");

    // Nor can its scripts read what would let them begin a session.
    let read = format!(
        "const answers = await Promise.allSettled(['{0}/widget/widget-config.json?embed=shop', '{0}/widget/chat?embed=shop'].map((url) => fetch(url)));
         return answers.map((answer) => answer.status)",
        stage.chat
    );
    browser
        .open(&format!(
            "{}/widget/demo?embed=shop",
            stage.chat.replace("chat.example", "other.example")
        ))
        .await;
    let answers = browser.run(&crate::workbench::asynchronous(&read)).await;
    assert_eq!(answers, json!(["rejected", "rejected"]));
    assert_eq!(
        stage
            .platform
            .mongo()
            .database
            .collection::<bson::Document>("visitor_sessions")
            .count_documents(bson::doc! {})
            .await
            .unwrap(),
        0
    );
}

#[actix_web::test]
async fn options_of_the_tag_reach_the_page() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    let tag = format!(
        "<script src=\"{}/widget/public/embed.js\" data-embed=\"shop\" data-title=\"Der Bücherwurm\" data-language=\"de\"
          data-theme=\"dark\" data-position=\"top-left\" data-primary-color=\"#ffd43b\" data-width=\"360\" data-auto-open=\"true\" data-dir=\"rtl\"></script>",
        stage.chat
    );
    let site = Site::start(&stage.chat, &tag);
    // The embed is told of this site, too.
    let origins = json!({ "allowed_origins": [stage.site.origin(SITE_HOST), site.origin(SITE_HOST)] });
    stage
        .platform
        .as_admin(
            &stage.platform.proxy,
            reqwest::Method::PATCH,
            "/api/v1/embeds/shop",
            &origins,
        )
        .await
        .expect(200);
    browser.open(&site.origin(SITE_HOST)).await;
    browser
        .until(&format!("{ROOT}?.shadowRoot.querySelector('.open iframe')"))
        .await;
    let launcher = format!(
        "const area = {ROOT}.shadowRoot.querySelector('.launcher'), box = area.getBoundingClientRect(), style = getComputedStyle(area);
         return [box.left < 100, box.top < 100, style.backgroundColor, style.color, {ROOT}.shadowRoot.querySelector('iframe').offsetWidth]"
    );
    assert_eq!(
        browser.run(&launcher).await,
        json!([true, true, "rgb(255, 212, 59)", "rgb(17, 17, 17)", 360])
    );
    assert_eq!(stage.launcher_label().await, "Chat schließen");
    stage.enter().await;
    assert_eq!(browser.text("#title").await, "Der Bücherwurm");
    let page = "const root = document.documentElement; return [root.lang, root.dir, root.dataset.theme, document.querySelector('#input').placeholder]";
    assert_eq!(
        browser.run(page).await,
        json!(["de", "rtl", "dark", "Nachricht schreiben …"])
    );

    // And again, otherwise, by the script's one function.
    browser.leave().await;
    browser
        .run("window.initChatWidget({ embed: 'shop', language: 'fr', position: 'bottom-right' }).open()")
        .await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('#chat-widget-root').length")
            .await,
        1
    );
    stage.enter().await;
    assert_eq!(browser.run("return document.documentElement.lang").await, "fr");
}

#[actix_web::test]
async fn the_demo_page_shows_it_and_writes_the_tag() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    browser
        .open(&format!("{}/widget/demo?embed=shop", stage.chat))
        .await;
    browser
        .until(&format!("{ROOT}?.shadowRoot.querySelector('.launcher')"))
        .await;
    let snippet = browser.text("#snippet").await;
    assert_eq!(
        snippet,
        format!(
            "<script src=\"{}/widget/embed.js?embed=shop\" async></script>",
            stage.chat
        )
    );
    browser.resize(1280, 900).await;
    browser.picture("demo").await;
    browser.click("input[name=theme][value=dark]").await;
    browser.click("input[name=language][value=es]").await;
    assert!(
        browser
            .text("#snippet")
            .await
            .contains("data-theme=\"dark\"\n  data-language=\"es\" async")
    );
    stage.press_launcher().await;
    stage.enter().await;
    assert!(!stage.ask("Hola").await.is_empty());
    assert_eq!(
        browser.run("return document.documentElement.dataset.theme").await,
        "dark"
    );
    browser.leave().await;
    let refused: Vec<_> = browser
        .console()
        .await
        .into_iter()
        .filter(|line| line.contains("Policy") || line.contains("SEVERE"))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
}
