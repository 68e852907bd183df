//! The synchronisation that nobody asks for.

use std::time::Duration;

use serde_json::json;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{method, path},
};

use super::fakes::{FlowiseCatalog, listed};
use super::support::{Behind, FLOWISE_KEY, Replica, TestApp, until};
use secrecy::SecretString;

#[actix_web::test]
async fn chatflows_appear_by_themselves_soon_after_the_start() {
    let app = TestApp::spawn_with(|config| {
        config.chatflow_sync = true;
        config.chatflow_sync_interval = Duration::from_millis(50);
    })
    .await;
    let catalog = FlowiseCatalog::mount(&app.behind.flowise, vec![listed("one", "One")], true).await;
    let names = async || {
        app.admin()
            .get("/api/v1/admin/chatflows")
            .await
            .body
            .as_array()
            .unwrap()
            .len()
    };

    until(async || names().await == 1).await;
    catalog.set(vec![listed("one", "One"), listed("two", "Two")]);
    until(async || names().await == 2).await;
}

#[actix_web::test]
async fn an_outage_of_flowise_passes_by_itself() {
    let app = TestApp::spawn_with(|config| {
        config.chatflow_sync = true;
        config.chatflow_sync_interval = Duration::from_millis(50);
    })
    .await;
    let metric = async |text: &str| app.anybody.get("/metrics").await.text.contains(text);
    until(async || metric("chatflow_syncs_total{outcome=\"failed\",service=\"proxy-service\"}").await).await;
    app.anybody.get("/health").await.expect(200);

    FlowiseCatalog::mount(&app.behind.flowise, vec![listed("one", "One")], true).await;

    until(async || metric("chatflow_sync_up{service=\"proxy-service\"} 1").await).await;
}

#[actix_web::test]
async fn of_two_replicas_one_synchronises_and_the_other_takes_over() {
    let behind = Behind::start().await;
    let list = json!({ "data": [listed("one", "One")], "total": 1 });
    Mock::given(method("GET"))
        .and(path("/api/v1/chatflows"))
        .respond_with(ResponseTemplate::new(200).set_body_json(list))
        .mount(&behind.flowise)
        .await;
    let replica = async |key: &str| {
        let mut config = behind.config();
        config.flowise.api_key = Some(SecretString::from(key));
        config.chatflow_sync = true;
        config.chatflow_sync_interval = Duration::from_millis(20);
        Replica::start(config).await
    };
    // The keys tell who asked.
    let (first, second) = (replica("first").await, replica("second").await);
    let keys = async || {
        let requests = behind.flowise.received_requests().await.unwrap();
        let key = |request: &wiremock::Request| request.headers["authorization"].to_str().unwrap().to_owned();
        requests.iter().map(key).collect::<Vec<_>>()
    };

    until(async || keys().await.len() >= 10).await;
    let asked = keys().await;
    assert!(asked.iter().all(|key| *key == asked[0]), "{asked:?}");

    let (holder, other, other_key) = match asked[0].as_str() {
        "Bearer first" => (first, second, "Bearer second"),
        _ => (second, first, "Bearer first"),
    };
    drop(holder);
    until(async || keys().await.last().is_some_and(|key| key == other_key)).await;
    drop(other);
}

#[actix_web::test]
async fn a_replica_that_is_told_not_to_synchronise_only_does_so_when_asked() {
    let app = TestApp::spawn().await;
    FlowiseCatalog::mount(&app.behind.flowise, vec![listed("one", "One")], true).await;
    app.admin().get("/api/v1/admin/chatflows").await.expect(200);
    assert_eq!(app.behind.flowise.received_requests().await.unwrap().len(), 0);

    app.admin()
        .post("/api/v1/admin/chatflows/sync", &json!({}))
        .await
        .expect(200);

    let requests = app.behind.flowise.received_requests().await.unwrap();
    assert_eq!(
        requests[0].headers["authorization"],
        format!("Bearer {FLOWISE_KEY}")
    );
    assert!(
        !requests[0].url.as_str().contains(FLOWISE_KEY),
        "the key stands in the header only"
    );
}
