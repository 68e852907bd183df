//! How much the platform is used, as administrators see it.

use bson::doc;
use chrono::{Days, NaiveDate};
use serde_json::json;

use super::neighbours::{Neighbours, alone, parameter};
use crate::support::TestApp;

fn today(app: &TestApp) -> NaiveDate {
    app.clock.now().date_naive()
}

/// A row of the table that stands beside a chart.
fn row(day: NaiveDate, count: &str) -> String {
    format!(r#"<tr><th scope="row">{day}</th><td class="number">{count}</td></tr>"#)
}

#[tokio::test]
async fn the_overview_draws_what_was_counted_and_says_it_in_a_table() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let (today, old) = (today(&app), today(&app) - Days::new(5));
    // proxy-service is in a zone where it is tomorrow already.
    let tomorrow = today + Days::new(1);
    let on = |day: NaiveDate, turns: u64| json!({ "day": day, "turns": turns, "failed": 0, "credits": turns, "tokens": 0 });
    let turns = json!({
        "from": tomorrow - Days::new(29), "to": tomorrow, "time_zone": "Pacific/Auckland", "rows": [], "next_cursor": null,
        "total": { "turns": 90, "failed": 0, "credits": 90, "tokens": 0 }, "by_day": [on(old, 87), on(tomorrow, 3)],
    });
    neighbours
        .proxy
        .answers("GET", "/api/v1/reports/usage", 200, turns)
        .await;
    let spent = json!({ "totalRecords": 2, "totalCredits": 1_234_567, "byUser": {}, "byService": {}, "byModel": {},
        "byChatflow": {}, "byDay": { today.to_string(): 1_234_560, old.to_string(): 7 }, "nextCursor": null });
    neighbours
        .accounting
        .answers("GET", "/api/usage/system-stats", 200, spent)
        .await;
    let id = app.sign_up("ada").await;
    let long_ago = app.clock.now() - Days::new(5);
    app.update_user(&id, doc! { "createdAt": bson::DateTime::from_chrono(long_ago) })
        .await;

    let page = root.open("/admin").await.expect(200);
    assert_eq!(
        page.html.matches("<svg class=\"chart\"").count(),
        4,
        "{}",
        page.html
    );
    assert_eq!(page.html.matches("role=\"img\"").count(), 4);
    assert!(
        !page.html.contains(" style=") && !page.html.contains("<style"),
        "the policy forbids it"
    );
    // Ada came five days ago, and somebody signed in today: the administrator.
    page.expect_text(&row(old, "1")).expect_text(&row(today, "1"));
    page.expect_text("<dt>Accounts</dt><dd>2</dd>");
    // Turns: proxy-service says what day it is there.
    page.expect_text(&row(tomorrow, "3"))
        .expect_text(&row(old, "87"))
        .expect_text("<dt>30 days</dt><dd>90</dd>")
        .expect_text("Days begin at midnight, Pacific/Auckland.");
    page.expect_text(&row(today, "1\u{202f}234\u{202f}560"))
        .expect_text("<dt>7 days</dt><dd>1\u{202f}234\u{202f}567</dd>");
    let told = format!("1\u{202f}234\u{202f}567 in all. The most are 1\u{202f}234\u{202f}560, on {today}.");
    page.expect_text(&told);
    // It is asked once, as the person who looks.
    let questions = neighbours.proxy.asked_at("GET", "/api/v1/reports/usage").await;
    assert_eq!(questions.len(), 1);
    let token = format!("Bearer {}", root.jar["__Host-access"]);
    assert!(
        questions
            .iter()
            .all(|one| one.headers["authorization"] == token.as_str())
    );
    let question = &neighbours
        .accounting
        .asked_at("GET", "/api/usage/system-stats")
        .await[0];
    assert_eq!(
        parameter(question, "startDate"),
        Some((today - Days::new(29)).to_string())
    );
    assert_eq!(parameter(question, "endDate"), Some(today.to_string()));
}

#[tokio::test]
async fn only_sign_ins_that_worked_and_days_that_are_shown_count() {
    let (app, mut root) = alone().await;
    app.user("ada", "enduser").await;
    app.try_log_in("ada", "wrong wrong wrong").await.expect(401);
    app.audited("login", "ok", 2).await;
    let page = root.open("/admin").await.expect(200);
    let (_, after) = page.html.split_once(r#"id="sign-ins-title""#).unwrap();
    assert!(after.contains(&row(today(&app), "2")), "{after}");

    // A month later nothing of it is on the page.
    app.advance_secs(31 * 86_400);
    root.sign_in("root1").await.location();
    let page = root.open("/admin").await.expect(200);
    let (before, after) = page.html.split_once(r#"id="sign-ins-title""#).unwrap();
    assert!(after.contains(&row(today(&app), "1")), "{after}");
    assert_eq!(
        after.matches(r#"<td class="number">0</td>"#).count(),
        29,
        "{after}"
    );
    assert!(before.contains(": nothing."), "{before}");
}

#[tokio::test]
async fn the_overview_goes_without_who_is_away_and_tells_who_waits() {
    let (app, mut root) = alone().await;
    let page = root.open("/admin").await.expect(200);
    assert_eq!(
        page.html.matches("This cannot be shown at the moment.").count(),
        2
    );
    assert_eq!(page.html.matches("<svg class=\"chart\"").count(), 2);
    assert!(
        !page.html.contains("/admin/registrations\">People"),
        "nobody waits"
    );

    let id = app.sign_up("ada").await;
    app.update_user(&id, doc! { "isVerified": true, "awaitsApproval": true })
        .await;
    root.open("/admin")
        .await
        .expect(200)
        .expect_text("People who wait for approval: 1");
}
