//! What the contract does not promise to take is refused, by every route, and changes nothing.

use auth_service::CONTRACT;
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use test_support::PublishedContract;

use crate::support::TestApp;

#[tokio::test]
async fn every_route_refuses_bodies_its_contract_does_not_name() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let victim = app.user("victim", "enduser").await;
    let before = snapshot(&app).await;
    let contract = PublishedContract::read(CONTRACT);
    let mut tried = 0;
    for operation in contract.operations() {
        let client = match operation.body["x-access"].as_str().unwrap() {
            "service" => app.as_service("proxy-service"),
            _ => root.client.clone(),
        };
        let named = |part: &str| match part {
            "{user_id}" => victim.id.clone(),
            "{email}" => "victim@example.com".to_owned(),
            "{type}" => "email".to_owned(),
            "{version}" => "0".to_owned(),
            "{session_id}" => "0193a000-0000-7000-8000-000000000000".to_owned(),
            part if part.starts_with('{') => "none".to_owned(),
            part => part.to_owned(),
        };
        let path = operation.path.split('/').map(named).collect::<Vec<_>>().join("/");
        for bad in contract.bad_bodies(&operation) {
            let method = operation.method.to_uppercase().parse().unwrap();
            let answer = client.send(client.request(method, &path).json(&bad.body)).await;
            let what = format!("{} {path}, {}: {}", operation.method, bad.why, answer.text);
            assert_eq!(answer.status, 400, "{what}");
            assert_eq!(
                answer.headers["content-type"], "application/problem+json",
                "{what}"
            );
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
    assert_eq!(snapshot(&app).await, before);
    root.client.get("/api/profile").await.expect(200);
    victim.client.get("/api/profile").await.expect(200);
}

/// Everybody, as the database holds them.
async fn snapshot(app: &TestApp) -> Vec<Document> {
    let users = app.users();
    let found = users.find(doc! {}).sort(doc! { "_id": 1 }).await;
    found.unwrap().try_collect().await.unwrap()
}
