//! One trace id follows a chat from the gateway through all services to Flowise, and their spans arrive at a collector.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use system_tests::{
    fleet::{Fleet, Guest, until},
    gateway::Gateway,
    platform::{ADMIN, PASSWORD},
};
use test_support::Client;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What the collector was sent: a span with the name of its service.
type Spans = Arc<Mutex<Vec<(String, Value)>>>;

async fn collect(body: web::Json<Value>, spans: web::Data<Mutex<Vec<(String, Value)>>>) -> HttpResponse {
    for resource in body["resourceSpans"].as_array().unwrap() {
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let name = attributes
            .iter()
            .find(|attribute| attribute["key"] == "service.name")
            .unwrap();
        let name = name["value"]["stringValue"].as_str().unwrap();
        for scope in resource["scopeSpans"].as_array().unwrap() {
            let new = scope["spans"].as_array().unwrap().iter();
            spans
                .lock()
                .unwrap()
                .extend(new.map(|span| (name.to_owned(), span.clone())));
        }
    }
    HttpResponse::Ok().json(json!({}))
}

fn start_collector() -> (SocketAddr, Spans) {
    let spans = Spans::default();
    let data = web::Data::from(Arc::clone(&spans));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::JsonConfig::default().limit(8 << 20))
            .route("/v1/traces", web::post().to(collect))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    (address, spans)
}

/// The spans of our trace.
fn ours(spans: &Spans) -> Vec<(String, Value)> {
    let all = spans.lock().unwrap();
    all.iter()
        .filter(|(_, span)| span["traceId"] == TRACE)
        .cloned()
        .collect()
}

fn find(spans: &[(String, Value)], service: &str, name: &str) -> Option<Value> {
    let named = |(owner, span): &&(String, Value)| owner == service && span["name"] == name;
    spans.iter().find(named).map(|(_, span)| span.clone())
}

#[actix_web::test]
async fn one_trace_id_follows_a_chat_through_all_services() {
    let (collector, spans) = start_collector();
    let endpoint = format!("http://{collector}");
    let fleet = Fleet::start(crate::PROGRAM, 1, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let gateway = Gateway::start(&fleet.behind(), None).await;
    let outside = Client::new(gateway.url());
    let admin = Guest::log_in(&outside, &outside, &outside, ADMIN.0, ADMIN.2).await;
    let guest = admin.admits("traced", 10).await;

    // Signing in at the proxy asks auth-service, a turn asks accounting-service and Flowise.
    let sign_in = outside
        .request(reqwest::Method::POST, "/api/v1/chat/authenticate")
        .header("traceparent", TRACEPARENT)
        .json(&json!({ "username": "traced", "password": PASSWORD }));
    outside.send(sign_in).await.expect(200);
    guest.chat(&[("traceparent", TRACEPARENT)]).await.unwrap();

    // The services send their spans in batches, each in its own time.
    let awaited = [
        ("proxy-service", "POST /api/v1/chat/authenticate"),
        ("auth-service", "POST /api/auth/login"),
        ("proxy-service", "POST /api/v1/chat/predict/stream/store"),
        ("accounting-service", "POST /api/streaming-sessions/initialize"),
        ("accounting-service", "POST /api/streaming-sessions/finalize"),
    ];
    until("the spans of all three arrive", async || {
        let spans = ours(&spans);
        awaited
            .iter()
            .all(|(service, name)| find(&spans, service, name).is_some())
    })
    .await;
    let spans = ours(&spans);
    let of = |service, name| find(&spans, service, name).expect("awaited");
    let turn = of("proxy-service", "POST /api/v1/chat/predict/stream/store");
    let hold = of("accounting-service", "POST /api/streaming-sessions/initialize");
    let settle = of("accounting-service", "POST /api/streaming-sessions/finalize");
    assert_eq!(
        turn["parentSpanId"], "00f067aa0ba902b7",
        "the gateway hands the caller's on"
    );
    assert_eq!(hold["parentSpanId"], turn["spanId"]);
    assert_eq!(settle["parentSpanId"], turn["spanId"]);
    let signed_in = of("proxy-service", "POST /api/v1/chat/authenticate");
    let log_in = of("auth-service", "POST /api/auth/login");
    assert_eq!(log_in["parentSpanId"], signed_in["spanId"]);

    let asked = fleet.flowise.predictions();
    let header = asked
        .last()
        .and_then(|request| request.header("traceparent"))
        .expect("Flowise is told too");
    let span = turn["spanId"].as_str().unwrap();
    assert_eq!(header, format!("00-{TRACE}-{span}-01"));
}
