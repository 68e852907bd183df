//! Everything that is kept about somebody, as one file.

use bson::doc;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header_exists, method, path},
};

use crate::support::{TestApp, email_of};

async fn another_service(user_id: &str, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(format!("/internal/people/{user_id}/data")))
        .and(header_exists("authorization"))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn the_file_holds_what_is_kept_and_no_secret() {
    let app = TestApp::spawn().await;
    let bob = app.user("bob", "enduser").await;
    let ada = app.user("ada", "enduser").await;

    let answer = ada.client.get("/api/profile/export").await.expect(200);

    assert_eq!(
        answer.headers["content-disposition"],
        r#"attachment; filename="personal-data.json""#
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = &answer.body;
    assert_eq!(body["account"]["email"], email_of("ada"));
    assert_eq!(body["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(body["sessions"][0]["id"], ada.claims(&app).sid);
    assert_eq!(body["verifications"][0]["email"], email_of("ada"));
    let actions = body["auditEvents"].as_array().unwrap().iter();
    let actions: Vec<_> = actions.filter_map(|event| event["action"].as_str()).collect();
    assert!(
        actions.contains(&"user_created") && actions.contains(&"login"),
        "{actions:?}"
    );
    for section in ["conversations", "credits"] {
        assert_eq!(
            body[section],
            json!({ "available": false }),
            "{section} is not configured"
        );
    }
    let stored = app.find_user(&ada.id).await.unwrap();
    for secret in [
        stored.get_str("password").unwrap(),
        &ada.refresh,
        &bob.id,
        "Hash",
        "tokenId",
        "$2b$",
    ] {
        assert!(!answer.text.contains(secret), "{secret}");
    }
    let event = doc! { "action": "data_exported" };
    assert_eq!(app.count("audit_events", event).await, 1);
    app.client
        .get("/api/profile/export")
        .await
        .expect_problem(401, "missing_token");
}

#[tokio::test]
async fn the_other_services_add_their_part_or_are_said_to_be_away() {
    let first = TestApp::spawn().await;
    let ada = first.user("ada", "enduser").await;
    let said = json!({ "messages": [{ "content": "hello" }] });
    let proxy = another_service(&ada.id, ResponseTemplate::new(200).set_body_json(&said)).await;
    for (accounting, status) in [("refuses", 403), ("fails", 500), ("moved", 302)] {
        let accounting_service = another_service(&ada.id, ResponseTemplate::new(status)).await;
        let app = first
            .spawn_beside_with(|config| {
                config.proxy_url = Some(proxy.uri().parse().unwrap());
                config.accounting_url = Some(accounting_service.uri().parse().unwrap());
            })
            .await;

        let answer = app
            .client
            .with_token(&ada.access)
            .get("/api/profile/export")
            .await
            .expect(200);

        assert_eq!(
            answer.body["conversations"],
            json!({ "available": true, "data": said })
        );
        assert_eq!(
            answer.body["credits"],
            json!({ "available": false }),
            "{accounting}"
        );
    }
    let asked: Vec<Value> = proxy
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| json!(request.headers["authorization"].to_str().unwrap()))
        .collect();
    assert!(
        !asked.contains(&json!(format!("Bearer {}", ada.access))),
        "the service asks in its own name"
    );
}
