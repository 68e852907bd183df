//! Who pays for visitors, how much, and what they are told when nobody does.

use serde_json::json;

use super::support::{OWNER, PRICE, WidgetApp, refused, text_of};
use crate::turns::support::{
    accounting::{BALANCE, HoldState, Mode},
    eventually,
};

#[actix_web::test]
async fn the_owner_pays_and_the_report_tells_for_which_embed() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    app.app.is_quiet().await;

    let hold = app.app.accounting.hold();
    assert_eq!(
        (hold.user_id.as_str(), hold.model_id.as_str()),
        (OWNER, "embed:default")
    );
    assert_eq!((hold.credits, hold.state), (PRICE, HoldState::Captured(PRICE)));
    let asked = app.app.accounting.asked();
    let settled = asked
        .iter()
        .find(|asked| asked.path.ends_with("/finalize"))
        .unwrap();
    assert_eq!(settled.body["usage"]["service"], "widget");
    assert_eq!(settled.body["usage"]["operation"], "embed:default");

    let usage = async || app.admin().get("/api/v1/embeds/default/usage").await.expect(200);
    eventually("the report has it", async || {
        usage().await.body["total"]["turns"] == 1
    })
    .await;
    let usage = usage().await;
    assert_eq!(usage.body["total"]["credits"], PRICE);
    assert_eq!(usage.body["rows"][0]["user_id"], OWNER);
}

#[actix_web::test]
async fn an_answer_that_never_came_costs_nothing() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    app.n8n.answer(refused(500));
    visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    app.app.is_quiet().await;
    assert_eq!(app.app.accounting.hold().state, HoldState::Voided);
}

#[actix_web::test]
async fn an_owner_who_cannot_pay_is_apologised_for() {
    let app = WidgetApp::spawn_with(|embed, _| embed.price = BALANCE + 1).await;
    let visitor = app.visitor().await;
    let streamed = visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    assert_eq!(text_of(&streamed.text), "We are closed.");
    let said = visitor
        .say("hello")
        .await
        .expect_problem(402, "embed_budget_reached");
    assert!(
        !said.text.contains("available\":") && !said.text.contains(&BALANCE.to_string()),
        "{}",
        said.text
    );
    assert!(app.n8n.asked().is_empty());
    assert_eq!(app.count("turns").await, 0);
}

#[actix_web::test]
async fn an_embed_costs_no_more_than_its_budget_however_many_ask() {
    let app = WidgetApp::spawn_with(|embed, _| {
        embed.budget.per_day = Some(2 * PRICE + 1);
        embed.budget.per_month = Some(100 * PRICE);
    })
    .await;
    let mut visitors = Vec::new();
    for _ in 0..6 {
        visitors.push(app.visitor().await);
    }
    let said = futures_util::future::join_all(visitors.iter().map(|visitor| visitor.say("hello"))).await;
    let answered = said.iter().filter(|answer| answer.status == 200).count();
    let refused = said.into_iter().filter(|answer| answer.status != 200);
    assert_eq!(answered, 2);
    for answer in refused {
        answer.expect_problem(402, "embed_budget_reached");
    }
    app.app.is_quiet().await;
    assert_eq!(app.app.accounting.holds().len(), 2);
}

#[actix_web::test]
async fn what_an_answer_that_never_came_would_have_cost_is_free_for_the_next() {
    let app = WidgetApp::spawn_with(|embed, _| embed.budget.per_month = Some(PRICE)).await;
    let visitor = app.visitor().await;
    app.n8n.answer(refused(500));
    visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    app.n8n.answer(super::support::lines(&["Hello"]));
    visitor.say("hello").await.expect(200);
    visitor
        .say("hello")
        .await
        .expect_problem(402, "embed_budget_reached");
}

#[actix_web::test]
async fn without_accounting_nobody_chats_for_nothing() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    app.app.accounting.on_hold(Mode::Status(500));
    visitor
        .stream(&json!({ "message": "hello" }))
        .await
        .expect_problem(503, "accounting_unavailable");
    assert!(app.n8n.asked().is_empty());
}
