//! `usage_price` in `PATCH /api/v1/admin/chatflows/{flowise_id}`: what a turn costs by its tokens.

use bson::{Document, doc};
use common_jwt::{KeyRing, Verifier, VerifyingKey};
use serde_json::{Value, json};
use test_support::{Answer, SERVICE_SECRET};
use wiremock::{Mock, Request, Respond, ResponseTemplate, matchers::method};

use super::fakes::{listed, problem, synced};
use super::support::TestApp;

const FLOW: &str = "/api/v1/admin/chatflows/flow";
const MODEL: &str = "vendor/nova:1";

/// A table of prices with one model in it.
struct Table;

impl Respond for Table {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let token = request.headers["authorization"].to_str().unwrap();
        let token = token.strip_prefix("Bearer ").unwrap();
        let ring = KeyRing::new([VerifyingKey::hs256(SERVICE_SECRET.as_bytes())]);
        let verifier = Verifier::for_services(ring, "accounting-service");
        let claims = verifier.service(token, common_http::Clock::System.now());
        assert_eq!(claims.unwrap().sub, "proxy-service");
        if request.url.path() == "/api/prices/vendor%2Fnova:1" {
            ResponseTemplate::new(200).set_body_json(json!({
                "id": "01934d7a-2b40-7d15-8f3c-9a1e0b6c4d58", "modelId": MODEL, "inputRate": 250, "outputRate": 800,
                "validFrom": "2026-09-01T00:00:00.000Z", "validUntil": null,
            }))
        } else {
            problem(404, "price_not_found", "this model has no price of its own")
        }
    }
}

async fn spawn() -> TestApp {
    let app = TestApp::spawn_with(|config| config.chatflow_price = 3).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    answered_by(&app, Table).await;
    app
}

async fn answered_by(app: &TestApp, answer: impl Respond + 'static) {
    app.behind.accounting.reset().await;
    Mock::given(method("GET"))
        .respond_with(answer)
        .mount(&app.behind.accounting)
        .await;
}

async fn patch(app: &TestApp, body: &Value) -> Answer {
    let admin = app.admin();
    admin
        .send(admin.request(reqwest::Method::PATCH, FLOW).json(body))
        .await
}

/// The two members that say what a turn costs.
async fn price(app: &TestApp) -> (Value, Value) {
    let body = app.admin().get(FLOW).await.expect(200).body;
    (body["price"].clone(), body["usage_price"].clone())
}

async fn stored(app: &TestApp) -> Document {
    let chatflows = app.behind.mongo.database.collection::<Document>("Chatflow");
    chatflows
        .find_one(doc! { "flowise_id": "flow" })
        .await
        .unwrap()
        .unwrap()
}

#[actix_web::test]
async fn a_chatflow_has_one_price_flat_or_by_usage() {
    let app = spawn().await;
    let by_usage = |tokens: i64| json!({ "model_id": MODEL, "estimated_tokens": tokens });
    assert_eq!(price(&app).await, (json!(3), Value::Null));

    for (body, flat, usage) in [
        (
            json!({ "usage_price": { "model_id": MODEL } }),
            Value::Null,
            by_usage(10_000),
        ),
        (
            json!({ "price": null, "usage_price": by_usage(1) }),
            Value::Null,
            by_usage(1),
        ),
        (json!({ "show_inner_events": true }), Value::Null, by_usage(1)),
        (json!({ "price": 7 }), json!(7), Value::Null),
        (json!({ "usage_price": null }), json!(7), Value::Null),
        (
            json!({ "usage_price": by_usage(10_000_000) }),
            Value::Null,
            by_usage(10_000_000),
        ),
        (json!({ "usage_price": null }), json!(3), Value::Null),
        (
            json!({ "usage_price": { "model_id": MODEL, "estimated_tokens": null } }),
            Value::Null,
            by_usage(10_000),
        ),
        (json!({ "price": null }), json!(3), Value::Null),
        (json!({ "price": 0, "usage_price": null }), json!(0), Value::Null),
    ] {
        let answer = patch(&app, &body).await.expect(200);
        assert_eq!(
            (&answer.body["price"], &answer.body["usage_price"]),
            (&flat, &usage),
            "{body}"
        );
        assert_eq!(price(&app).await, (flat, usage), "{body}");
    }
}

#[actix_web::test]
async fn a_synchronisation_leaves_a_price_by_usage() {
    let app = spawn().await;
    let body = json!({ "usage_price": { "model_id": MODEL, "estimated_tokens": 500 } });
    let set = patch(&app, &body).await.expect(200);
    synced(&app, vec![listed("flow", "Another name")]).await;
    assert_eq!(price(&app).await, (Value::Null, set.body["usage_price"].clone()));
}

#[actix_web::test]
async fn a_model_without_a_price_is_refused() {
    let app = spawn().await;
    let before = stored(&app).await;
    for model in ["nobody", "vendor", "nova:1", "../prices", "vendor/nova:1/history"] {
        let body = json!({ "usage_price": { "model_id": model }, "show_inner_events": true });
        let refused = patch(&app, &body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(
            refused.body["errors"][0]["field"], "usage_price.model_id",
            "{model}"
        );
        assert_eq!(stored(&app).await, before, "{model}");
    }
}

#[actix_web::test]
async fn what_accounting_cannot_confirm_is_not_taken() {
    let app = spawn().await;
    let before = stored(&app).await;
    let body = json!({ "usage_price": { "model_id": MODEL } });
    for answer in [
        ResponseTemplate::new(500),
        problem(503, "unavailable", "the service cannot reach its database"),
        problem(401, "invalid_token", "the token is not valid"),
        problem(404, "not_found", "there is nothing here"),
        ResponseTemplate::new(200).set_body_raw("<html>", "text/html"),
        ResponseTemplate::new(200).set_body_json(json!({ "modelId": "another" })),
        ResponseTemplate::new(307).insert_header("location", "http://127.0.0.1:1/"),
    ] {
        answered_by(&app, answer).await;
        let refused = patch(&app, &body).await;
        let refused = refused.expect_problem(503, "accounting_unavailable");
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(stored(&app).await, before);
    }
    patch(&app, &json!({ "price": 4 })).await.expect(200);
}

#[actix_web::test]
async fn a_price_by_usage_that_is_not_valid_changes_nothing() {
    let app = spawn().await;
    let before = stored(&app).await;
    for usage in [
        json!(MODEL),
        json!(5),
        json!([]),
        json!({}),
        json!({ "model_id": 5 }),
        json!({ "model_id": "" }),
        json!({ "model_id": "a\u{0}" }),
        json!({ "model_id": "m".repeat(101) }),
        json!({ "model_id": MODEL, "estimated_tokens": 0 }),
        json!({ "model_id": MODEL, "estimated_tokens": -1 }),
        json!({ "model_id": MODEL, "estimated_tokens": 1.5 }),
        json!({ "model_id": MODEL, "estimated_tokens": "5" }),
        json!({ "model_id": MODEL, "estimated_tokens": 10_000_001 }),
    ] {
        let refused = patch(&app, &json!({ "usage_price": usage, "show_inner_events": true })).await;
        refused.expect_problem(422, "validation_failed");
        assert_eq!(stored(&app).await, before, "{usage}");
    }
    let both = json!({ "price": 5, "usage_price": { "model_id": MODEL } });
    patch(&app, &both).await.expect_problem(422, "validation_failed");
    assert_eq!(stored(&app).await, before);
}
