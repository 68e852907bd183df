//! Reports on usage, as administrators read them.

use serde_json::{Value, json};
use wiremock::Request;

use super::neighbours::{Neighbours, Reply, alone, parameter};

const REPORT: &str = "/api/v1/reports/usage";
const STATISTICS: &str = "/api/usage/system-stats";
const HOSTILE: &str = "<script>alert(1)</script>";
const SHOWN: &str = "&#60;script&#62;";

fn report(turns: i64, rows: &Value, next: Option<&str>) -> Value {
    json!({ "from": "2026-03-01", "to": "2026-03-03", "time_zone": "UTC", "rows": rows, "next_cursor": next,
        "total": { "turns": turns, "failed": 1, "credits": 50, "tokens": 1000 }, "by_day": [] })
}

fn statistics(by_user: &Value, by_chatflow: &Value, next: Option<&str>) -> Value {
    json!({ "totalRecords": 3, "totalCredits": 60, "byUser": by_user, "byService": {}, "byModel": {},
        "byChatflow": by_chatflow, "byDay": { "2026-03-02": 60 }, "nextCursor": next })
}

#[tokio::test]
async fn a_period_is_chosen_and_drawn_by_day() {
    let neighbours = Neighbours::start().await;
    let (_app, mut root) = neighbours.administrator().await;
    neighbours
        .proxy
        .answers("GET", REPORT, 200, report(12, &json!([]), None))
        .await;
    let known = statistics(&json!({}), &json!({}), None);
    neighbours.accounting.answers("GET", STATISTICS, 200, known).await;
    let page = root
        .open("/admin/usage?from=2026-03-01&to=2026-03-03&by=day")
        .await
        .expect(200);
    page.expect_text("<dt>Turns</dt><dd>12</dd>")
        .expect_text(r#"<tr><th scope="row">2026-03-02</th><td class="number">60</td></tr>"#)
        .expect_text(r#"<tr><th scope="row">2026-03-01</th><td class="number">0</td></tr>"#)
        .expect_text(r#"name="from" type="date" value="2026-03-01""#)
        .expect_text("/admin/usage/download?from=2026-03-01&#38;to=2026-03-03");
    let question = &neighbours.accounting.asked_at("GET", STATISTICS).await[0];
    assert_eq!(parameter(question, "startDate").as_deref(), Some("2026-03-01"));
    assert_eq!(parameter(question, "endDate").as_deref(), Some("2026-03-03"));

    let download = root
        .open("/admin/usage/download?from=2026-03-01&to=2026-03-03")
        .await;
    assert_eq!(
        download.location(),
        "/api/v1/reports/usage.csv?from=2026-03-01&to=2026-03-03"
    );
}

#[tokio::test]
async fn a_period_that_is_none_is_told_at_its_field_and_nobody_is_asked() {
    let neighbours = Neighbours::start().await;
    let (_app, mut root) = neighbours.administrator().await;
    for (query, text) in [
        ("from=yesterday", "This is not a date."),
        ("to=2026-13-01", "This is not a date."),
        (
            "from=2026-03-02&to=2026-03-01",
            "The period begins after it ends.",
        ),
        ("from=2020-01-01&to=2026-03-01", "At most 366 days, please."),
        ("from=%3Cb%3E", "This is not a date."),
    ] {
        let page = root.open(&format!("/admin/usage?{query}")).await.expect(400);
        page.expect_text(text).expect_text("aria-invalid");
        assert!(!page.html.contains("<b>"), "{}", page.html);
    }
    root.open("/admin/usage/download?from=x").await.expect(400);
    assert!(neighbours.accounting.is_unasked().await);
    assert!(neighbours.proxy.is_unasked().await);
}

#[tokio::test]
async fn people_are_named_in_the_order_of_what_they_spent() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    let gone = "a".repeat(24);
    let known = statistics(&json!({ &ada: 20, &gone: 40 }), &json!({}), Some("20.x&y"));
    neighbours.accounting.answers("GET", STATISTICS, 200, known).await;
    neighbours
        .proxy
        .answers("GET", REPORT, 200, report(12, &json!([]), None))
        .await;
    let page = root
        .open("/admin/usage?from=2026-03-01&to=2026-03-03&by=person")
        .await
        .expect(200);
    let first = page.html.find(&gone).unwrap();
    let second = page.html.find(&format!("/admin/users/{ada}\">ada</a>")).unwrap();
    assert!(first < second, "who spent the most stands first");
    assert!(
        !page.html.contains(&format!("/admin/users/{gone}")),
        "nobody is there any more"
    );
    page.expect_text("cursor=20.x%26y")
        .expect_text(r#"<rect width="500" height="80"/>"#);
    let of = neighbours.proxy.asked_at("GET", REPORT).await;
    let of: Vec<_> = of.iter().filter_map(|one| parameter(one, "user_id")).collect();
    assert_eq!(of.len(), 2);

    root.open("/admin/usage?from=2026-03-01&to=2026-03-03&by=person&cursor=20.x%26y")
        .await
        .expect(200);
    let questions = neighbours.accounting.asked_at("GET", STATISTICS).await;
    assert_eq!(
        parameter(questions.last().unwrap(), "cursor").as_deref(),
        Some("20.x&y")
    );
}

#[tokio::test]
async fn chatflows_have_names_and_pages() {
    let neighbours = Neighbours::start().await;
    let (_app, mut root) = neighbours.administrator().await;
    let many: serde_json::Map<_, _> = (0..25)
        .map(|number| (format!("flow-{number:02}"), json!(100 - number)))
        .collect();
    let known = statistics(&json!({}), &Value::Object(many), None);
    neighbours.accounting.answers("GET", STATISTICS, 200, known).await;
    let named = |request: &Request| {
        let rows = parameter(request, "chatflow_id").map(|id| {
            json!([{ "day": "2026-03-01", "user_id": "u", "username": null, "email": null, "chatflow_id": id,
                "chatflow_name": format!("{HOSTILE} {id}"), "turns": 1, "failed": 0, "credits": 1, "tokens": 1 }])
        });
        Reply::new(200, report(7, &rows.unwrap_or(json!([])), None))
    };
    neighbours.proxy.replies("GET", REPORT, named).await;
    let period = "/admin/usage?from=2026-03-01&to=2026-03-03&by=chatflow";
    let page = root.open(period).await.expect(200);
    page.expect_text(&format!("{SHOWN}alert(1)&#60;/script&#62; flow-00"))
        .expect_text("page=2");
    assert!(
        !page.html.contains(HOSTILE) && !page.html.contains("flow-20"),
        "{}",
        page.html
    );
    let page = root.open(&format!("{period}&page=2")).await.expect(200);
    page.expect_text("flow-24");
    assert!(!page.html.contains("flow-19") && !page.html.contains("page=3"));
    root.open(&format!("{period}&page=4294967295"))
        .await
        .expect(200)
        .expect_text("Nothing was used in this period.");
}

#[tokio::test]
async fn groups_and_single_rows_come_from_who_keeps_them() {
    let neighbours = Neighbours::start().await;
    let (_app, mut root) = neighbours.administrator().await;
    let group = json!({ "id": "g1", "name": HOSTILE, "description": null,
        "created_at": "2026-03-01T00:00:00.000Z", "updated_at": "2026-03-01T00:00:00.000Z" });
    let proxy = &neighbours.proxy;
    proxy
        .lists("/api/v1/admin/groups", None, &[group], Some("next%2B1"))
        .await;
    let rows = json!([{ "day": "2026-03-02", "user_id": "u1", "username": HOSTILE, "email": null,
        "chatflow_id": "flow-1", "chatflow_name": null, "turns": 4, "failed": 1, "credits": 9, "tokens": 70 }]);
    neighbours
        .proxy
        .answers("GET", REPORT, 200, report(31, &rows, Some("c&d")))
        .await;
    let period = "/admin/usage?from=2026-03-01&to=2026-03-03";
    let page = root.open(&format!("{period}&by=group")).await.expect(200);
    page.expect_text(SHOWN)
        .expect_text(r#"<td class="number">31</td>"#)
        .expect_text("cursor=next%2B1");
    assert!(!page.html.contains(HOSTILE));
    let of = neighbours.proxy.asked_at("GET", REPORT).await;
    assert!(
        of.iter()
            .any(|one| parameter(one, "group_id").as_deref() == Some("g1"))
    );

    let page = root.open(&format!("{period}&by=detail")).await.expect(200);
    page.expect_text(SHOWN)
        .expect_text("flow-1")
        .expect_text("cursor=c%26d");
    assert!(!page.html.contains(HOSTILE));
}

#[tokio::test]
async fn a_report_says_so_when_nobody_can_make_it() {
    let (_app, mut root) = alone().await;
    for by in ["day", "person", "chatflow", "group", "detail", "nonsense"] {
        let page = root.open(&format!("/admin/usage?by={by}")).await.expect(200);
        page.expect_text("This cannot be shown at the moment.")
            .expect_text("Turns cannot be counted at the moment.");
    }
}
