//! Chats on other sites, for administrators.

use serde_json::{Value, json};

use super::neighbours::Neighbour;

const EMBEDS: &str = "/api/v1/embeds";
const SHOP: &str = "/api/v1/embeds/shop";
const PAGE: &str = "/admin/embeds/shop";

fn embed(owner: &str) -> Value {
    json!({ "id": "shop", "name": "The <shop>", "owner_id": owner, "allowed_origins": ["https://www.shop.example"],
        "backend": { "type": "n8n", "webhook_url": "https://n8n.example/webhook/a", "shown_nodes": ["AI Agent"],
            "has_api_key": true, "previous_api_key_until": null },
        "price": 2, "limits": { "per_minute": 1000, "per_hour": null, "per_day": null },
        "budget": { "credits_per_day": 500, "credits_per_month": null }, "theme": { "primaryColor": "#3b5bdb" },
        "texts": { "en": { "header.title": "Ask\nus" } }, "languages": ["en", "zh"], "requires_ticket": true, "is_active": true,
        "is_configured": false, "has_app_key": true, "previous_app_key_until": "2026-11-22T08:00:00.000Z",
        "created_at": "2026-11-21T08:00:00.000Z", "updated_at": "2026-11-21T08:00:00.000Z" })
}

fn shown(owner: &str) -> Value {
    let mut embed = embed(owner);
    embed["active_sessions"] = json!(4);
    embed
}

/// The form as it is sent.
fn members<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut members = vec![
        ("name", "The shop"),
        ("owner_id", "payer"),
        (
            "allowed_origins",
            "https://www.shop.example\r\nhttps://*.shop.example\r\n",
        ),
        ("backend.type", "n8n"),
        ("backend.webhook_url", "https://n8n.example/webhook/a"),
        ("backend.shown_nodes", "AI Agent\r\nOther"),
        ("price", "2"),
        ("limits.per_minute", "100"),
        ("budget.credits_per_day", "500"),
        ("languages", "en, zh"),
        ("theme", "primaryColor = #3b5bdb"),
        ("texts", "en.header.title = Ask\\nus"),
        ("requires_ticket", "on"),
        ("is_active", "on"),
        ("updated_at", "2026-11-21T08:00:00.000Z"),
    ];
    members.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    members.extend(changes);
    members
}

fn wish(owner: &str) -> Value {
    json!({ "name": "The shop", "owner_id": owner,
        "allowed_origins": ["https://www.shop.example", "https://*.shop.example"],
        "backend": { "type": "n8n", "webhook_url": "https://n8n.example/webhook/a", "shown_nodes": ["AI Agent", "Other"] },
        "price": 2, "limits": { "per_minute": 100, "per_hour": null, "per_day": null },
        "budget": { "credits_per_day": 500, "credits_per_month": null }, "theme": { "primaryColor": "#3b5bdb" },
        "texts": { "en": { "header.title": "Ask\nus" } }, "languages": ["en", "zh"], "requires_ticket": true, "is_active": true })
}

#[tokio::test]
async fn embeds_are_listed_a_page_at_a_time() {
    let proxy = Neighbour::proxy().await;
    proxy.answers("GET", EMBEDS, 200, json!({ "embeds": [] })).await;
    let (app, mut root) = proxy.administrator().await;
    root.open("/admin/embeds")
        .await
        .expect(200)
        .expect_text("Nothing found.");
    let payer = app.sign_up("payer").await;
    let mut many: Vec<_> = (0..51).map(|_| embed(&payer)).collect();
    many[0]["is_configured"] = json!(true);
    many[50]["name"] = json!("The last");
    many[50]["is_active"] = json!(false);
    many[50]["owner_id"] = json!("673d9f2c8b1e4a0057c3d9a1");
    proxy.answers("GET", EMBEDS, 200, json!({ "embeds": many })).await;
    let first = root.open("/admin/embeds").await.expect(200);
    first
        .expect_text("The &#60;shop&#62;")
        .expect_text("<td>payer</td>")
        .expect_text("From the environment")
        .expect_text("/admin/embeds?page=2");
    assert!(!first.html.contains("The last"));
    let last = root.open("/admin/embeds?page=2").await.expect(200);
    last.expect_text("The last")
        .expect_text("Inactive")
        .expect_text("673d9f2c8b1e4a0057c3d9a1");
    root.open("/admin/embeds?page=18446744073709551615")
        .await
        .expect(200)
        .expect_text("Nothing found.");
}

#[tokio::test]
async fn an_embed_is_made_once() {
    let proxy = Neighbour::proxy().await;
    let (app, mut root) = proxy.administrator().await;
    let payer = app.sign_up("payer").await;
    proxy.answers("POST", EMBEDS, 201, embed(&payer)).await;
    let new = "/admin/embeds/new";
    let form = members(&[("id", "shop"), ("backend.api_key", "very secret")]);
    let made = root.fill(new, new, &form).await;
    assert_eq!(made.location(), "/admin/embeds/shop?done=embed_created");
    let mut sent = wish(&payer);
    sent["id"] = json!("shop");
    sent["backend"]["api_key"] = json!("very secret");
    assert_eq!(proxy.last("POST").await, (EMBEDS.to_owned(), sent));

    proxy.refuses("POST", EMBEDS, 409, "embed_id_taken").await;
    let refused = root.fill(new, new, &form).await.expect(409);
    refused
        .expect_text("There is an embed with this word already.")
        .expect_text(r#"value="shop""#);
    assert!(!refused.html.contains("very secret"));

    let asked = proxy.asked("POST").await.len();
    for (name, value, text) in [
        ("id", "", "Please fill this in."),
        ("id", "new", "This is taken."),
        ("name", " ", "Please fill this in."),
        ("owner_id", "nobody", "There is nobody with this name or address."),
        ("price", "", "Please fill this in."),
        ("price", "2,5", "A whole number, please."),
        ("limits.per_day", "many", "A whole number, please."),
        ("backend.type", "other", "Please fill this in."),
        ("backend.webhook_url", "", "Please fill this in."),
        ("theme", "primaryColor", "A name, = and a value on each line"),
        ("texts", "title = Ask", "Each name begins with a language"),
    ] {
        let id = [("id", "shop")].into_iter().filter(|_| name != "id");
        let form: Vec<_> = id.chain(members(&[(name, value)])).collect();
        root.fill(new, new, &form).await.expect(400).expect_text(text);
    }
    assert_eq!(proxy.asked("POST").await.len(), asked);
}

#[tokio::test]
async fn an_embed_is_shown_with_its_tag_and_without_secrets() {
    let proxy = Neighbour::proxy().await;
    let (app, mut root) = proxy.administrator().await;
    let payer = app.sign_up("payer").await;
    proxy.answers("GET", SHOP, 200, shown(&payer)).await;
    let page = root.open(PAGE).await.expect(200);
    page.expect_text("The &#60;shop&#62;")
        .expect_text(
            "&#60;script src=&#34;https://chat.example.com/widget/embed.js?embed=shop&#34; async&#62;&#60;/script&#62;",
        )
        .expect_text(">payer</a>")
        .expect_text("<dd>4</dd>")
        .expect_text("en.header.title = Ask\\nus")
        .expect_text("2026-11-22 08:00 UTC");

    let mut configured = shown(&payer);
    configured["is_configured"] = json!(true);
    proxy.answers("GET", SHOP, 200, configured).await;
    let page = root.open(PAGE).await.expect(200);
    page.expect_text("it can be changed only there");
    assert!(!page.html.contains(r#"action="/admin/embeds"#));
    proxy.refuses("GET", SHOP, 404, "embed_not_found").await;
    root.open(PAGE)
        .await
        .expect(404)
        .expect_text("There is no such embed.");
}

#[tokio::test]
async fn an_embed_is_changed_unless_somebody_else_was_first() {
    let proxy = Neighbour::proxy().await;
    let (app, mut root) = proxy.administrator().await;
    let payer = app.sign_up("payer").await;
    proxy.answers("GET", SHOP, 200, shown(&payer)).await;
    proxy.answers("PATCH", SHOP, 200, embed(&payer)).await;
    let saved = root.fill(PAGE, PAGE, &members(&[])).await;
    assert_eq!(saved.location(), "/admin/embeds/shop?done=saved");
    assert_eq!(proxy.last("PATCH").await, (SHOP.to_owned(), wish(&payer)));

    let mut without_key = wish(&payer);
    without_key["backend"]["api_key"] = json!("");
    root.fill(PAGE, PAGE, &members(&[("without_key", "on")]))
        .await
        .location();
    assert_eq!(proxy.last("PATCH").await.1, without_key);
    let mut with_chatflow = wish(&payer);
    with_chatflow["backend"] = json!({ "type": "flowise", "chatflow_id": "f-1" });
    let form = members(&[("backend.type", "flowise"), ("backend.chatflow_id", "f-1")]);
    root.fill(PAGE, PAGE, &form).await.location();
    assert_eq!(proxy.last("PATCH").await.1, with_chatflow);

    let changes = proxy.asked("PATCH").await.len();
    let form = members(&[("updated_at", "2026-11-20T08:00:00.000Z"), ("name", "Mine")]);
    root.fill(PAGE, PAGE, &form)
        .await
        .expect(409)
        .expect_text("has been changed since you opened the page")
        .expect_text(r#"value="Mine""#);
    assert_eq!(proxy.asked("PATCH").await.len(), changes);
}

#[tokio::test]
async fn what_the_neighbour_finds_wrong_stands_at_its_field() {
    let proxy = Neighbour::proxy().await;
    let (app, mut root) = proxy.administrator().await;
    let payer = app.sign_up("payer").await;
    proxy.answers("GET", SHOP, 200, shown(&payer)).await;
    for (field, at, text) in [
        ("allowed_origins.1", "allowed_origins", "Entry 2: This is wrong."),
        ("backend.webhook_url", "backend.webhook_url", "This is wrong."),
        (
            "theme.primaryColor",
            "theme",
            "Entry primaryColor: This is wrong.",
        ),
        (
            "texts.en.header.title",
            "texts",
            "Entry en.header.title: This is wrong.",
        ),
        ("limits.per_minute", "limits.per_minute", "This is wrong."),
        ("name", "name", "This is wrong."),
    ] {
        proxy.finds_wrong("PATCH", SHOP, field, "is wrong").await;
        let form = members(&[("is_active", ""), ("name", "<typed>")]);
        let form: Vec<_> = form
            .into_iter()
            .filter(|(name, _)| *name != "is_active")
            .collect();
        let page = root.fill(PAGE, PAGE, &form).await.expect(422);
        page.expect_text(&format!(r#"id="{at}-error">{text}"#))
            .expect_text("&#60;typed&#62;");
        assert!(
            !page
                .html
                .contains(r#"name="is_active" type="checkbox" value="on" checked"#),
            "the box is as it was sent"
        );
    }
    proxy.refuses("PATCH", SHOP, 503, "auth_unavailable").await;
    root.fill(PAGE, PAGE, &members(&[]))
        .await
        .expect(503)
        .expect_text("does not answer at the moment");
}

#[tokio::test]
async fn a_key_for_apps_is_shown_once_and_made_once() {
    let proxy = Neighbour::proxy().await;
    let (app, mut root) = proxy.administrator().await;
    let payer = app.sign_up("payer").await;
    proxy.answers("GET", SHOP, 200, shown(&payer)).await;
    let (rotate, action) = (format!("{SHOP}/key"), format!("{PAGE}/key"));
    let made = json!({ "key": "fgembed_5f0c6a52", "previous_key_until": "2026-11-22T08:00:00.000Z" });
    proxy.answers("POST", &rotate, 201, made).await;
    let seen = ("updated_at", "2026-11-21T08:00:00.000Z");
    root.fill(PAGE, &action, &[seen])
        .await
        .expect(400)
        .expect_text("Tick this to go on.");
    let page = root
        .fill(PAGE, &action, &[seen, ("replace", "on")])
        .await
        .expect(200);
    page.expect_text("fgembed_5f0c6a52").expect_text("never again");
    assert_eq!(page.headers["cache-control"], "no-store");

    let mut rotated = shown(&payer);
    rotated["updated_at"] = json!("2026-11-21T08:00:01.000Z");
    proxy.answers("GET", SHOP, 200, rotated).await;
    root.fill(PAGE, &action, &[seen, ("replace", "on")])
        .await
        .expect(409);
    assert_eq!(proxy.asked("POST").await.len(), 1);
}

#[tokio::test]
async fn an_embed_is_deleted_only_with_a_tick() {
    let proxy = Neighbour::proxy().await;
    let (app, mut root) = proxy.administrator().await;
    let payer = app.sign_up("payer").await;
    proxy.answers("GET", SHOP, 200, shown(&payer)).await;
    let action = format!("{PAGE}/delete");
    root.fill(PAGE, &action, &[])
        .await
        .expect(400)
        .expect_text("Tick this to go on.");
    assert!(proxy.asked("DELETE").await.is_empty());
    proxy.refuses("DELETE", SHOP, 409, "embed_configured").await;
    root.fill(PAGE, &action, &[("understood", "on")])
        .await
        .expect(409)
        .expect_text("it can be changed only there");
    let gone = json!({ "message": "The embed is deleted.", "id": "shop" });
    proxy.answers("DELETE", SHOP, 200, gone).await;
    let done = root.fill(PAGE, &action, &[("understood", "on")]).await;
    assert_eq!(done.location(), "/admin/embeds?done=embed_deleted");
    assert_eq!(proxy.last("DELETE").await.0, SHOP);
}

#[tokio::test]
async fn what_an_embed_cost_is_shown_by_day() {
    let proxy = Neighbour::proxy().await;
    let (_app, mut root) = proxy.administrator().await;
    let (usage, page) = (format!("{SHOP}/usage"), format!("{PAGE}/usage"));
    let row = json!({ "day": "2026-11-20", "user_id": "673d9f2c8b1e4a0057c3d9a1", "username": "<payer>", "email": null,
        "chatflow_id": "embed:shop", "chatflow_name": null, "turns": 412, "failed": 3, "credits": 409, "tokens": 0 });
    let report = json!({ "from": "2026-11-01", "to": "2026-11-30", "time_zone": "Asia/Hong_Kong",
        "total": { "turns": 512, "failed": 3, "credits": 509, "tokens": 0 }, "by_day": [], "rows": [row], "next_cursor": "n&x" });
    proxy.answers("GET", &usage, 200, report).await;
    let shown = root
        .open(&format!("{page}?from=2026-11-01&to=2026-11-30&cursor=c%26d"))
        .await
        .expect(200);
    shown
        .expect_text("<dd>509</dd>")
        .expect_text("&#60;payer&#62;")
        .expect_text("from=2026-11-01&#38;to=2026-11-30&#38;cursor=n%26x");
    let asked = proxy.asked("GET").await;
    assert_eq!(
        asked.last().unwrap().url.query(),
        Some("from=2026-11-01&to=2026-11-30&limit=50&cursor=c%26d")
    );
    root.open(&format!("{page}?from=yesterday&to=")).await.expect(200);
    assert_eq!(
        proxy.asked("GET").await.last().unwrap().url.query(),
        Some("limit=50")
    );

    proxy
        .finds_wrong("GET", &usage, "to", "must not be before from")
        .await;
    root.open(&format!("{page}?from=2026-11-30&to=2026-11-01"))
        .await
        .expect(400)
        .expect_text("There is no report of these days");
}
