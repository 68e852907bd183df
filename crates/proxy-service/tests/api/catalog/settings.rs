//! `PATCH /api/v1/admin/chatflows/{flowise_id}`.

use bson::{Document, doc};
use serde_json::{Value, json};
use test_support::Answer;

use super::fakes::{listed, synced};
use super::support::TestApp;

const FLOW: &str = "/api/v1/admin/chatflows/flow";

async fn patch(app: &TestApp, path: &str, body: &Value) -> Answer {
    let admin = app.admin();
    admin
        .send(admin.request(reqwest::Method::PATCH, path).json(body))
        .await
}

#[actix_web::test]
async fn a_price_is_set_changed_and_taken_back() {
    let app = TestApp::spawn_with(|config| config.chatflow_price = 3).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    assert_eq!(app.admin().get(FLOW).await.body["price"], 3);

    for (body, price) in [
        (json!({ "price": 0 }), 0),
        (json!({ "price": 1_000_000 }), 1_000_000),
        (json!({ "price": 25, "unknown": true }), 25),
        (json!({ "override_config_allowed": ["temperature"] }), 25),
        (json!({ "price": null }), 3),
    ] {
        let answer = patch(&app, FLOW, &body).await.expect(200);
        assert_eq!(answer.body["price"], price, "{body}");
        assert_eq!(app.admin().get(FLOW).await.body["price"], price);
    }
    let last = app.admin().get(FLOW).await;
    assert_eq!(last.body["override_config_allowed"], json!(["temperature"]));
    let cleared = patch(
        &app,
        "/api/admin/chatflows/flow",
        &json!({ "override_config_allowed": [] }),
    )
    .await;
    assert_eq!(cleared.expect(200).body["override_config_allowed"], json!([]));
}

#[actix_web::test]
async fn whether_people_see_the_inside_is_set_and_taken_back() {
    let app = TestApp::spawn().await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    assert_eq!(app.admin().get(FLOW).await.body["show_inner_events"], false);
    for shown in [true, false] {
        let body = json!({ "show_inner_events": shown });
        let answer = patch(&app, FLOW, &body).await.expect(200);
        assert_eq!(answer.body["show_inner_events"], shown);
        synced(&app, vec![listed("flow", "Flow")]).await;
        let kept = app.admin().get(FLOW).await;
        assert_eq!(
            kept.body["show_inner_events"], shown,
            "a synchronisation leaves it"
        );
    }
}

#[actix_web::test]
async fn settings_that_are_not_valid_change_nothing() {
    let app = TestApp::spawn().await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let stored = async || {
        let chatflows = app.behind.mongo.database.collection::<Document>("Chatflow");
        chatflows
            .find_one(doc! { "flowise_id": "flow" })
            .await
            .unwrap()
            .unwrap()
    };
    let before = stored().await;

    for body in [
        json!({}),
        json!([]),
        json!({ "price": -1 }),
        json!({ "price": 1_000_001 }),
        json!({ "price": 1.5 }),
        json!({ "price": 2.0 }),
        json!({ "price": "5" }),
        json!({ "price": true }),
        json!({ "price": 1e300 }),
        json!({ "show_inner_events": "yes" }),
        json!({ "show_inner_events": 1 }),
        json!({ "override_config_allowed": "all" }),
        json!({ "override_config_allowed": [7] }),
        json!({ "override_config_allowed": [""] }),
        json!({ "override_config_allowed": ["x".repeat(101)] }),
        json!({ "override_config_allowed": vec!["x"; 101] }),
        json!({ "override_config_allowed": ["temperature", "sessionId"] }),
        json!({ "price": 5, "override_config_allowed": ["chatId"] }),
    ] {
        patch(&app, FLOW, &body)
            .await
            .expect_problem(422, "validation_failed");
    }
    let unknown = patch(&app, "/api/v1/admin/chatflows/unknown", &json!({ "price": 1 })).await;
    unknown.expect_problem(404, "chatflow_not_found");

    assert_eq!(stored().await, before);
    let chatflows = app.behind.mongo.database.collection::<Document>("Chatflow");
    assert_eq!(chatflows.count_documents(doc! {}).await.unwrap(), 1);
}
