//! The catalog, for administrators.

use serde_json::{Value, json};

use super::{Browser, neighbours::Neighbour, signed_in};
use crate::support::TestApp;

const CATALOG: &str = "/api/v1/admin/chatflows";
const FLOW: &str = "26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10";
const GROUP: &str = "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6";

fn record(name: &str) -> Value {
    json!({ "_id": "673db2e08b1e4a0057c3da02", "flowise_id": FLOW, "name": name, "description": "On the cell.", "deployed": true,
        "is_public": false, "category": "science", "type": "CHATFLOW", "api_key_id": null, "flow_data": null,
        "chatbot_config": null, "api_config": null, "analytic_config": null, "speech_to_text_config": null,
        "created_date": "2026-08-20T09:00:00.000Z", "updated_date": "2026-10-14T15:21:07.330Z",
        "synced_at": "2026-11-20T08:03:00.412Z", "sync_status": "active", "sync_error": null, "price": 7, "usage_price": null,
        "override_config_allowed": ["temperature", "topK"], "show_inner_events": true, "daily_turns_max": null,
        "daily_turns_per_user_max": 30 })
}

fn given(id: &str, username: &str, email: &str) -> Value {
    json!({ "username": username, "email": email, "external_user_id": id, "assigned_at": "2026-09-01T07:12:44.015Z",
        "starts_at": null, "ends_at": "2027-01-31T00:00:00.000Z" })
}

/// proxy-service with one chatflow that one group has.
async fn school() -> Neighbour {
    let proxy = Neighbour::proxy().await;
    let one = format!("{CATALOG}/{FLOW}");
    proxy.answers("GET", &one, 200, record("Biology 2B")).await;
    proxy.lists(&format!("{one}/users"), None, &[], None).await;
    let groups = json!([{ "id": GROUP, "name": "Class <2B>", "granted_at": "2026-09-01T06:40:00.000Z", "starts_at": null,
        "ends_at": null }]);
    proxy.answers("GET", &format!("{one}/groups"), 200, groups).await;
    let group = json!({ "id": GROUP, "name": "Class <2B>", "description": null, "created_at": "2026-09-01T06:40:00.000Z",
        "updated_at": "2026-09-01T06:40:00.000Z" });
    proxy
        .lists("/api/v1/admin/groups", None, std::slice::from_ref(&group), None)
        .await;
    let mut counted = group;
    for count in ["members", "leads", "chatflows"] {
        counted[count] = json!(1);
    }
    proxy
        .answers("GET", &format!("/api/v1/admin/groups/{GROUP}"), 200, counted)
        .await;
    proxy
}

fn page() -> String {
    format!("/admin/chatflows/{FLOW}")
}

#[tokio::test]
async fn the_catalog_is_listed_searched_and_paged() {
    let proxy = Neighbour::proxy().await;
    let mut gone = record("Alchemy");
    gone["sync_status"] = json!("deleted");
    gone["price"] = Value::Null;
    gone["usage_price"] = json!({ "model_id": "m", "estimated_tokens": 10 });
    proxy.lists(CATALOG, None, &[gone], Some("second")).await;
    proxy
        .lists(
            CATALOG,
            Some("second"),
            &[record("<img src=x> Biology"), record("Chemistry")],
            None,
        )
        .await;
    let counts =
        json!({ "total": 3, "active": 2, "deleted": 1, "error": 0, "last_sync": "2026-11-20T08:03:00.412Z" });
    proxy
        .answers("GET", &format!("{CATALOG}/stats"), 200, counts)
        .await;
    let (_app, mut root) = proxy.administrator().await;
    let first = root.open("/admin/chatflows?state=all").await.expect(200);
    first
        .expect_text("Alchemy")
        .expect_text("Gone from Flowise")
        .expect_text("By usage")
        .expect_text("/admin/chatflows?q=&#38;state=all&#38;cursor=second");
    let asked = proxy.asked("GET").await;
    assert!(asked.iter().any(|request| {
        request.url.path() == CATALOG && request.url.query() == Some("limit=50&include_deleted=true")
    }));
    root.open("/admin/chatflows?cursor=second")
        .await
        .expect(200)
        .expect_text("&#60;img src=x&#62; Biology");

    // What is searched for is found on whichever page it is.
    let found = root.open("/admin/chatflows?q=CHEMI").await.expect(200);
    found.expect_text("Chemistry");
    assert!(!found.html.contains("Alchemy") && !found.html.contains("Biology"));
    root.open("/admin/chatflows?q=%3Cnothing%3E")
        .await
        .expect(200)
        .expect_text("Nothing found.")
        .expect_text("&#60;nothing&#62;");
}

#[tokio::test]
async fn taking_over_says_what_it_did() {
    let proxy = Neighbour::proxy().await;
    proxy.lists(CATALOG, None, &[], None).await;
    let sync = format!("{CATALOG}/sync");
    let report = json!({ "total_fetched": 12, "created": 1, "updated": 11, "deleted": 0, "errors": 0, "error_details": [] });
    proxy.answers("POST", &sync, 200, report).await;
    let (_app, mut root) = proxy.administrator().await;
    let done = root.fill("/admin/chatflows", "/admin/chatflows/sync", &[]).await;
    assert_eq!(done.location(), "/admin/chatflows?synced=12.1.11.0");
    root.open("/admin/chatflows?synced=12.1.11.0")
        .await
        .expect(200)
        .expect_text("Flowise lists 12: 1 new, 11 known already, 0 gone.");
    assert_eq!(
        proxy.last("POST").await,
        (sync.clone(), json!({ "confirm_empty": false }))
    );

    let report = json!({ "total_fetched": 0, "created": 0, "updated": 0, "deleted": 0, "errors": 2, "error_details": [
        { "error": "Flowise sent <b>", "type": "empty" },
        { "error": "no name", "type": "unreadable", "chatflow_id": "bad-1" }] });
    proxy.answers("POST", &sync, 200, report).await;
    root.fill(
        "/admin/chatflows",
        "/admin/chatflows/sync",
        &[("confirm_empty", "on")],
    )
    .await
    .expect(200)
    .expect_text("Flowise lists no chatflow at all.")
    .expect_text("Flowise sent &#60;b&#62;")
    .expect_text("bad-1");
    assert_eq!(proxy.last("POST").await.1, json!({ "confirm_empty": true }));

    proxy.refuses("POST", &sync, 503, "database_unavailable").await;
    root.fill("/admin/chatflows", "/admin/chatflows/sync", &[])
        .await
        .expect(503)
        .expect_text("does not answer at the moment");
}

#[tokio::test]
async fn a_chatflow_is_given_to_people_by_name_or_address_and_to_groups() {
    let proxy = school().await;
    let (app, mut root) = proxy.administrator().await;
    let mei = app.sign_up("mei").await;
    let to_mei = format!("{CATALOG}/{FLOW}/users/{mei}");
    let assigned = json!({ "email": "mei@example.com", "status": "Assigned", "message": "Done." });
    proxy.answers("POST", &to_mei, 200, assigned).await;
    let give = format!("{}/give", page());
    for (person, days, window) in [
        ("mei", ["", ""], json!({ "starts_at": null, "ends_at": null })),
        (
            " MEI@example.com ",
            ["2026-12-01", "2026-12-31"],
            json!({ "starts_at": "2026-12-01T00:00:00.000Z", "ends_at": "2027-01-01T00:00:00.000Z" }),
        ),
    ] {
        let members = [
            ("person", person),
            ("group_id", ""),
            ("starts_at", days[0]),
            ("ends_at", days[1]),
        ];
        let done = root.fill(&page(), &give, &members).await;
        assert_eq!(done.location(), format!("{}?done=given", page()));
        assert_eq!(proxy.last("POST").await, (to_mei.clone(), window));
    }

    let to_group = format!("/api/v1/admin/groups/{GROUP}/chatflows/{FLOW}");
    let granted = json!({ "group_id": GROUP, "flowise_id": FLOW, "name": "Biology 2B", "starts_at": null, "ends_at": null });
    proxy.answers("PUT", &to_group, 200, granted).await;
    let done = root.fill(&page(), &give, &[("group_id", GROUP)]).await;
    assert_eq!(done.location(), format!("{}?done=given", page()));
    assert_eq!(proxy.last("PUT").await.0, to_group);
}

#[tokio::test]
async fn a_gift_that_will_not_do_is_not_made() {
    let proxy = school().await;
    let (app, mut root) = proxy.administrator().await;
    let mei = app.sign_up("mei").await;
    let give = format!("{}/give", page());
    for (members, text) in [
        (vec![("person", "")], "Please fill this in."),
        (
            vec![("person", "no <b>")],
            "There is nobody with this name or address.",
        ),
        (
            vec![("person", "mei"), ("group_id", GROUP)],
            "A person or a group, please, not both.",
        ),
        (vec![("group_id", "../../users")], "Please fill this in."),
        (
            vec![("person", "mei"), ("ends_at", "31.12.2026")],
            "A day, please.",
        ),
        (
            vec![("person", "mei"), ("ends_at", "+262142-12-31")],
            "A day, please.",
        ),
    ] {
        root.fill(&page(), &give, &members)
            .await
            .expect(400)
            .expect_text(text);
    }
    assert!(proxy.asked("POST").await.is_empty() && proxy.asked("PUT").await.is_empty());

    let to_mei = format!("{CATALOG}/{FLOW}/users/{mei}");
    proxy
        .finds_wrong("POST", &to_mei, "ends_at", "has passed already")
        .await;
    let refused = root
        .fill(&page(), &give, &[("person", "mei"), ("ends_at", "2020-01-01")])
        .await
        .expect(422);
    refused
        .expect_text(r#"id="ends_at-error">This has passed already."#)
        .expect_text(r#"value="2020-01-01""#)
        .expect_text(r#"value="mei""#);
}

#[tokio::test]
async fn it_is_taken_away_again_once_that_is_meant() {
    let proxy = school().await;
    let (app, mut root) = proxy.administrator().await;
    let mei = app.sign_up("mei").await;
    let unknown = "673d9f2c8b1e4a0057c3d9a1";
    let users = format!("{CATALOG}/{FLOW}/users");
    let rows = [given(&mei, "", ""), given(unknown, "<i>", "x@example.com")];
    proxy.lists(&users, None, &rows, Some("more")).await;
    let shown = root.open(&page()).await.expect(200);
    shown
        .expect_text(">mei</a>")
        .expect_text("&#60;i&#62;")
        .expect_text("2027-01-31")
        .expect_text("Class &#60;2B&#62;")
        .expect_text("?cursor=more#people");

    let remove = format!("{}/people/{mei}/remove", page());
    let from_mei = format!("{users}/{mei}");
    root.open(&remove)
        .await
        .expect(200)
        .expect_text("Take this chatflow from mei?");
    assert!(proxy.asked("DELETE").await.is_empty(), "asking changes nothing");
    let gone = json!({ "user_id": mei, "status": "Deactivated", "message": "Done." });
    proxy.answers("DELETE", &from_mei, 200, gone).await;
    let taken = format!("{}?done=taken_away", page());
    assert_eq!(root.fill(&remove, &remove, &[]).await.location(), taken);
    assert_eq!(proxy.last("DELETE").await.0, from_mei);
    // The same form again.
    proxy
        .refuses("DELETE", &from_mei, 404, "assignment_not_found")
        .await;
    assert_eq!(root.fill(&remove, &remove, &[]).await.location(), taken);
    proxy
        .refuses("DELETE", &from_mei, 404, "chatflow_not_found")
        .await;
    root.fill(&remove, &remove, &[])
        .await
        .expect(404)
        .expect_text("There is no such chatflow.");
    proxy
        .refuses("DELETE", &from_mei, 503, "database_unavailable")
        .await;
    root.fill(&remove, &remove, &[])
        .await
        .expect(503)
        .expect_text("does not answer at the moment");

    let remove = format!("{}/groups/{GROUP}/remove", page());
    let from_group = format!("/api/v1/admin/groups/{GROUP}/chatflows/{FLOW}");
    root.open(&remove)
        .await
        .expect(200)
        .expect_text("Take this chatflow from Class &#60;2B&#62;?");
    proxy.answers("DELETE", &from_group, 204, Value::Null).await;
    assert_eq!(root.fill(&remove, &remove, &[]).await.location(), taken);
    assert_eq!(proxy.last("DELETE").await.0, from_group);
    proxy.refuses("DELETE", &from_group, 404, "grant_not_found").await;
    assert_eq!(root.fill(&remove, &remove, &[]).await.location(), taken);
}

#[tokio::test]
async fn the_price_is_one_of_three() {
    let proxy = school().await;
    let (_app, mut root) = proxy.administrator().await;
    let one = format!("{CATALOG}/{FLOW}");
    proxy.answers("PATCH", &one, 200, record("Biology 2B")).await;
    let action = format!("{}/price", page());
    let both = [
        ("price", "3"),
        ("usage_price.model_id", "gpt-4"),
        ("usage_price.estimated_tokens", "9000"),
    ];
    for (by, sent) in [
        ("flat", json!({ "price": 3 })),
        (
            "usage",
            json!({ "usage_price": { "model_id": "gpt-4", "estimated_tokens": 9000 } }),
        ),
        ("default", json!({ "price": null })),
    ] {
        let mut members = both.to_vec();
        members.push(("price_by", by));
        let done = root.fill(&page(), &action, &members).await;
        assert_eq!(done.location(), format!("{}?done=saved", page()));
        assert_eq!(proxy.last("PATCH").await, (one.clone(), sent));
    }
    let changes = proxy.asked("PATCH").await.len();
    for members in [
        vec![("price_by", "flat"), ("price", "")],
        vec![("price_by", "flat"), ("price", "1.5")],
        vec![("price_by", "flat"), ("price", "-1")],
        vec![("price_by", "usage")],
        vec![("price_by", "free")],
        vec![],
    ] {
        root.fill(&page(), &action, &members).await.expect(400);
    }
    assert_eq!(proxy.asked("PATCH").await.len(), changes);

    proxy
        .finds_wrong("PATCH", &one, "usage_price.model_id", "has no price")
        .await;
    let members = [("price_by", "usage"), ("usage_price.model_id", "\"><b>")];
    let refused = root.fill(&page(), &action, &members).await.expect(422);
    refused
        .expect_text(r#"id="usage_price.model_id-error">This has no price."#)
        .expect_text(r#"value="&#34;&#62;&#60;b&#62;""#)
        // Another form of the page is as it was.
        .expect_text(r#"name="show_inner_events" type="checkbox" value="on" checked"#);
    proxy.refuses("PATCH", &one, 503, "accounting_unavailable").await;
    root.fill(&page(), &action, &members)
        .await
        .expect(503)
        .expect_text("does not answer at the moment");
}

#[tokio::test]
async fn limits_are_set_and_taken_away() {
    let proxy = school().await;
    let (_app, mut root) = proxy.administrator().await;
    let one = format!("{CATALOG}/{FLOW}");
    proxy.answers("PATCH", &one, 200, record("Biology 2B")).await;
    let shown = root.open(&page()).await.expect(200);
    shown
        .expect_text(r#"value="temperature, topK""#)
        .expect_text(r#"value="30""#);
    let action = format!("{}/settings", page());
    let members = [
        ("daily_turns_max", "100"),
        ("daily_turns_per_user_max", ""),
        ("override_config_allowed", "temperature,  maxTokens\r\n"),
    ];
    root.fill(&page(), &action, &members).await.location();
    let sent = json!({ "daily_turns_max": 100, "daily_turns_per_user_max": null, "show_inner_events": false,
        "override_config_allowed": ["temperature", "maxTokens"] });
    assert_eq!(proxy.last("PATCH").await, (one.clone(), sent));

    proxy
        .finds_wrong(
            "PATCH",
            &one,
            "override_config_allowed.1",
            "is never theirs to set",
        )
        .await;
    let refused = root.fill(&page(), &action, &members).await.expect(422);
    refused.expect_text("Entry 2: This is never theirs to set.");
    assert!(
        !refused
            .html
            .contains(r#"name="show_inner_events" type="checkbox" value="on" checked"#),
        "the box is as it was sent"
    );
}

#[tokio::test]
async fn a_chatflow_is_forgotten_only_with_a_tick() {
    let proxy = school().await;
    let (_app, mut root) = proxy.administrator().await;
    let one = format!("{CATALOG}/{FLOW}");
    let action = format!("{}/delete", page());
    root.fill(&page(), &action, &[])
        .await
        .expect(400)
        .expect_text("Tick this to go on.");
    assert!(proxy.asked("DELETE").await.is_empty());
    let gone =
        json!({ "message": "Chatflow deleted locally.", "flowise_id": FLOW, "assignments_deleted": 31 });
    proxy.answers("DELETE", &one, 200, gone).await;
    let done = root.fill(&page(), &action, &[("understood", "on")]).await;
    assert_eq!(done.location(), "/admin/chatflows?done=chatflow_deleted");
    assert_eq!(proxy.last("DELETE").await.0, one);
}

#[tokio::test]
async fn a_page_goes_without_what_cannot_be_had() {
    let proxy = school().await;
    let one = format!("{CATALOG}/{FLOW}");
    for list in ["users", "groups"] {
        proxy
            .refuses("GET", &format!("{one}/{list}"), 503, "database_unavailable")
            .await;
    }
    let (_app, mut root) = proxy.administrator().await;
    let page = root.open(&page()).await.expect(200);
    assert_eq!(
        page.html.matches("This cannot be shown at the moment.").count(),
        2
    );

    // A graph is longer than what pages usually read.
    let mut large = record("Biology 2B");
    large["flow_data"] = json!({ "nodes": "x".repeat(4 << 20) });
    proxy.answers("GET", &one, 200, large).await;
    root.open("/admin/chatflows/26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10")
        .await
        .expect(200);
    proxy.refuses("GET", &one, 404, "chatflow_not_found").await;
    root.open("/admin/chatflows/26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10")
        .await
        .expect(404)
        .expect_text("There is no such chatflow.");
    proxy.refuses("GET", &one, 503, "database_unavailable").await;
    root.open("/admin/chatflows/26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10")
        .await
        .expect(503);
}

#[tokio::test]
async fn an_address_leads_to_no_other_route_of_the_neighbour() {
    let proxy = Neighbour::proxy().await;
    let (_app, mut root) = proxy.administrator().await;
    for path in [
        "/admin/chatflows/..%2Fusers",
        "/admin/chatflows/%2e%2e%2fgroups",
        "/admin/chatflows/a%3Fb",
        "/admin/chatflows/a%23b",
        "/admin/chatflows/x/people/..%2F../remove",
        "/admin/embeds/..%2Fsession",
    ] {
        root.open(path).await.expect(404);
    }
    assert!(proxy.asked("GET").await.is_empty());
}

#[tokio::test]
async fn nobody_but_admins_administers_chatflows_and_embeds() {
    let proxy = school().await;
    let app = proxy.app().await;
    let give = format!("{}/give", page());
    for (name, role) in [("ada", "enduser"), ("sue", "supervisor")] {
        let (_, mut browser) = signed_in(&app, name, role).await;
        for path in ["/admin/chatflows", &page(), "/admin/embeds", "/admin/embeds/new"] {
            browser
                .open(path)
                .await
                .expect(403)
                .expect_text("You may not see this.");
        }
        let token = browser.open("/account").await.token();
        for action in [
            "/admin/chatflows/sync",
            &give,
            "/admin/embeds/new",
            "/admin/embeds/shop/delete",
        ] {
            browser
                .submit(action, &token, &[("person", name)])
                .await
                .expect(403);
        }
    }
    assert_eq!(
        Browser::new(&app).open("/admin/chatflows").await.location(),
        "/login?next=%2Fadmin%2Fchatflows"
    );
    assert!(proxy.asked("POST").await.is_empty() && proxy.asked("GET").await.is_empty());

    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    root.submit(&give, "made up", &[("group_id", GROUP)])
        .await
        .expect(403);
    assert!(proxy.asked("PUT").await.is_empty());
}

#[tokio::test]
async fn without_proxy_service_the_pages_say_that_it_is_away() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    for path in ["/admin/chatflows", &page(), "/admin/embeds"] {
        root.open(path)
            .await
            .expect(503)
            .expect_text("Another part of the platform does not answer at the moment");
    }
    let token = root.open("/account").await.token();
    root.submit("/admin/chatflows/sync", &token, &[])
        .await
        .expect(503)
        .expect_text("does not answer at the moment");
}
