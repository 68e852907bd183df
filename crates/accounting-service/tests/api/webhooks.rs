//! Messages to the operator's webhook: what is told, how it is signed, and what becomes of those that are not taken.

use std::time::Duration;

use accounting_service::{
    config::WebhookConfig,
    domain::{credits::Credits, webhook::WebhookSigner},
};
use common_jwt::Role;
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::Person;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

use crate::support::{TestApp, eventually};

const SECRETS: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const LETTERS: &str = "/api/admin/webhooks/dead-letters";

fn signer() -> WebhookSigner {
    WebhookSigner::parse(&SecretString::from(SECRETS)).unwrap()
}

fn webhook(url: &str) -> WebhookConfig {
    WebhookConfig {
        url: url.parse().unwrap(),
        signer: signer(),
        attempts_max: 3,
        low_threshold: Credits::new(10).unwrap(),
        expiry_notice_days: 7,
        timeout: Duration::from_secs(10),
        poll: Duration::from_millis(10),
    }
}

async fn receiver(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

async fn app_telling(server: &MockServer) -> TestApp {
    let url = format!("{}/hooks", server.uri());
    TestApp::spawn_with(|config| config.webhook = Some(webhook(&url))).await
}

async fn received(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

fn bodies(requests: &[Request]) -> Vec<Value> {
    requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

fn of_kind(requests: &[Request], kind: &str) -> Vec<Value> {
    let bodies = bodies(requests).into_iter();
    bodies.filter(|body| body["type"] == kind).collect()
}

async fn deduct(app: &TestApp, person: &Person, credits: i64) {
    app.sign_in(person)
        .post("/api/credits/deduct", &json!({ "credits": credits }))
        .await
        .expect(200);
}

async fn messages(app: &TestApp, condition: &str) -> i64 {
    app.number(&format!(
        "SELECT count(*) FROM webhook_messages WHERE {condition}"
    ))
    .await
}

#[actix_web::test]
async fn an_account_that_runs_low_is_told_of_once_until_it_recovers() {
    let server = receiver(ResponseTemplate::new(204)).await;
    let app = app_telling(&server).await;
    let replica = app.replica().await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 2).await;
    assert_eq!(messages(&app, "true").await, 0, "10 is not below 10");

    deduct(&app, &alice, 1).await;
    deduct(&app, &alice, 1).await;
    eventually("the message", async || received(&server).await.len() == 1).await;
    let requests = received(&server).await;
    insta::assert_json_snapshot!(bodies(&requests)[0], { ".data.userId" => "[alice]" }, @r#"
    {
      "data": {
        "balance": 9,
        "threshold": 10,
        "userId": "[alice]"
      },
      "timestamp": "2027-01-15T08:00:00.000Z",
      "type": "credit.low"
    }
    "#);

    app.grant(&alice, 1, 30).await;
    deduct(&app, &alice, 1).await;
    assert_eq!(messages(&app, "true").await, 1, "9 of 10 is no recovery");
    app.grant(&alice, 50, 30).await;
    deduct(&app, &alice, 49).await;
    assert_eq!(messages(&app, "kind = 'credit.low'").await, 2);
    app.assert_sound().await;
    drop(replica);
}

#[actix_web::test]
async fn messages_are_signed_as_the_standard_says() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let app = app_telling(&server).await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;
    eventually("the message", async || received(&server).await.len() == 1).await;

    let request = received(&server).await.remove(0);

    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    assert_eq!(timestamp, app.clock.now().timestamp().to_string());
    assert_eq!(header("content-type"), "application/json");
    let body = String::from_utf8(request.body.clone()).unwrap();
    let expected = signer().sign(&id, timestamp.parse().unwrap(), &body);
    assert_eq!(header("webhook-signature"), expected);
    assert_eq!(expected.split(' ').count(), 2, "both secrets sign");
    assert_eq!(request.url.path(), "/hooks");
    eventually("delivered", async || {
        messages(&app, "status = 'delivered'").await == 1
    })
    .await;
}

#[actix_web::test]
async fn a_hold_that_nobody_settled_is_told_of() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let app = app_telling(&server).await;
    let alice = app.person_with(100).await;
    let open = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 });
    app.sign_in(&alice)
        .post("/api/streaming-sessions/initialize", &open)
        .await
        .expect(201);

    app.advance_secs(901);
    eventually("the message", async || {
        of_kind(&received(&server).await, "hold.expired").len() == 1
    })
    .await;

    let told = of_kind(&received(&server).await, "hold.expired").remove(0);
    assert_eq!(told["data"]["sessionId"], "s-1");
    assert_eq!(told["data"]["userId"], json!(alice.id));
    assert_eq!(told["data"]["heldCredits"], 5);
}

#[actix_web::test]
async fn an_allocation_that_ends_soon_is_told_of_once() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let app = app_telling(&server).await;
    let url = format!("{}/hooks", server.uri());
    let other = app
        .replica_with(|config| {
            config.webhook = Some(webhook(&url));
        })
        .await;
    let alice = Person::new("alice", Role::EndUser);
    let soon = app.grant(&alice, 20, 10).await;
    app.grant(&alice, 20, 300).await;
    let spent = Person::new("bob", Role::EndUser);
    app.grant(&spent, 20, 10).await;
    deduct(&app, &spent, 20).await;

    app.advance_secs(3 * 86_400 + 1);
    let expiring = async || of_kind(&received(&server).await, "allocation.expiring");
    // A day passes only when the delivery is noted: a lease that ends meanwhile means a second try.
    eventually("the message", async || {
        messages(&app, "kind = 'allocation.expiring' AND status = 'delivered'").await == 1
    })
    .await;
    app.advance_secs(86_400);
    // Both have looked again since: each look that finds nothing new leaves its gauge behind.
    let late = app.person_with(5).await;
    deduct(&app, &late, 1).await;
    eventually("a later message", async || {
        bodies(&received(&server).await)
            .iter()
            .any(|body| body["data"]["userId"] == json!(late.id))
    })
    .await;

    let told = expiring().await;
    assert_eq!(told.len(), 1, "once, and nothing of what is spent or far away");
    assert_eq!(told[0]["data"]["allocationId"], soon["id"]);
    assert_eq!(told[0]["data"]["remainingCredits"], 20);
    drop(other);
}

#[actix_web::test]
async fn what_is_not_taken_is_tried_again_with_growing_pauses_and_then_given_up() {
    let server = receiver(ResponseTemplate::new(500)).await;
    let app = app_telling(&server).await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;

    for attempt in 1..=2_usize {
        let failed = format!(
            "webhook_attempts_total{{kind=\"credit.low\",outcome=\"failed\",service=\"accounting-service\"}} {attempt}\n"
        );
        eventually("an attempt", async || {
            app.client.get("/metrics").await.text.contains(&failed)
        })
        .await;
        assert_eq!(received(&server).await.len(), attempt, "not before its time");
        app.advance_secs(if attempt == 1 { 5 } else { 20 });
    }
    eventually("the end", async || messages(&app, "status = 'dead'").await == 1).await;
    let ids: Vec<_> = received(&server)
        .await
        .iter()
        .map(|request| request.headers["webhook-id"].clone())
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "the same message each time");

    let admin = app.as_role(Role::Admin);
    let letters = admin.get(LETTERS).await.expect(200).body;
    assert_eq!(letters["deadLetters"][0]["attempts"], 3);
    assert_eq!(letters["deadLetters"][0]["lastError"], "answered 500");
    assert_eq!(letters["deadLetters"][0]["payload"]["type"], "credit.low");

    server.reset().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let retry = format!("{LETTERS}/{}/retry", ids[0].to_str().unwrap());
    admin.post(&retry, &json!({})).await.expect(202);
    eventually("the delivery", async || {
        messages(&app, "status = 'delivered'").await == 1
    })
    .await;
    assert_eq!(received(&server).await.len(), 1);
    admin
        .post(&retry, &json!({}))
        .await
        .expect_problem(404, "dead_letter_not_found");
    let letters = admin.get(LETTERS).await.expect(200).body;
    assert_eq!(letters["deadLetters"], json!([]));
}

#[actix_web::test]
async fn a_receiver_that_is_gone_for_good_is_not_asked_again() {
    let server = receiver(ResponseTemplate::new(410)).await;
    let app = app_telling(&server).await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;
    eventually("the end", async || {
        messages(&app, "status = 'dead' AND attempts = 1").await == 1
    })
    .await;
    assert_eq!(received(&server).await.len(), 1);
}

#[actix_web::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = receiver(ResponseTemplate::new(200)).await;
    let server =
        receiver(ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str())).await;
    let app = app_telling(&server).await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;
    eventually("the refusal", async || {
        messages(&app, "last_error = 'answered 307'").await == 1
    })
    .await;
    assert_eq!(received(&elsewhere).await.len(), 0);
}

#[actix_web::test]
async fn a_receiver_that_is_away_or_wants_to_be_left_alone_gets_time() {
    let away = TestApp::spawn_with(|config| config.webhook = Some(webhook("http://127.0.0.1:9/"))).await;
    let alice = away.person_with(12).await;
    deduct(&away, &alice, 5).await;
    eventually("the failure", async || {
        messages(&away, "last_error = 'no connection' AND status = 'waiting'").await == 1
    })
    .await;

    let server = receiver(ResponseTemplate::new(429).insert_header("retry-after", "3600")).await;
    let busy = app_telling(&server).await;
    let bob = busy.person_with(12).await;
    deduct(&busy, &bob, 5).await;
    eventually("the refusal", async || {
        let later = "last_error = 'answered 429' AND due_at = created_at + interval '1 hour'";
        messages(&busy, later).await == 1
    })
    .await;
}

#[actix_web::test]
async fn a_receiver_that_does_not_answer_in_time_has_not_taken_the_message() {
    let server = receiver(ResponseTemplate::new(200).set_delay(Duration::from_mins(1))).await;
    let mut impatient = webhook(&server.uri());
    impatient.timeout = Duration::from_millis(100);
    let app = TestApp::spawn_with(|config| config.webhook = Some(impatient)).await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;
    eventually("the failure", async || {
        messages(&app, "last_error = 'no answer in time' AND status = 'waiting'").await == 1
    })
    .await;
}

#[actix_web::test]
async fn a_slow_receiver_holds_nobody_up_and_gets_each_message_once() {
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_millis(300));
    let server = receiver(slow).await;
    let app = app_telling(&server).await;
    let url = format!("{}/hooks", server.uri());
    let other = app
        .replica_with(|config| {
            config.webhook = Some(webhook(&url));
        })
        .await;
    for index in 0..12 {
        let person = Person::new("pupil", Role::EndUser);
        let app = if index % 2 == 0 { &app } else { &other };
        app.grant(&person, 12, 30).await;
        deduct(app, &person, 5).await;
    }
    eventually("all deliveries", async || {
        messages(&app, "status = 'delivered'").await == 12
    })
    .await;
    assert_eq!(received(&server).await.len(), 12);
}

#[actix_web::test]
async fn nothing_is_written_down_until_a_webhook_is_configured() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;
    assert_eq!(messages(&app, "true").await, 0);
    let letters = app.as_role(Role::Admin).get(LETTERS).await.expect(200);
    assert_eq!(letters.body, json!({ "deadLetters": [], "nextCursor": null }));
}

#[actix_web::test]
async fn dead_letters_come_page_by_page_and_bad_questions_are_refused() {
    let app = TestApp::spawn().await;
    app.execute(
        "INSERT INTO webhook_messages (id, kind, subject, payload, status, attempts, due_at, created_at, ended_at)
         SELECT gen_random_uuid(), 'hold.expired', n::text, '{}', 'dead', 8, now(), now(), now() + n * interval '1s'
         FROM generate_series(1, 5) n",
    )
    .await;
    let admin = app.as_role(Role::Admin);
    let (mut seen, mut path) = (Vec::new(), format!("{LETTERS}?limit=2"));
    loop {
        let page = admin.get(&path).await.expect(200).body;
        let letters = page["deadLetters"].as_array().unwrap();
        seen.extend(letters.iter().map(|letter| letter["id"].to_string()));
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("{LETTERS}?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    for query in ["limit=0", "limit=501", "cursor=x"] {
        admin
            .get(&format!("{LETTERS}?{query}"))
            .await
            .expect_problem(400, "validation_failed");
    }
    for id in ["x", "01934d7a-8c31-7b60-a2f4-1d7e5c9b0a46"] {
        admin
            .post(&format!("{LETTERS}/{id}/retry"), &json!({}))
            .await
            .expect_problem(404, "dead_letter_not_found");
    }
}

#[actix_web::test]
async fn metrics_tell_of_messages() {
    let server = receiver(ResponseTemplate::new(410)).await;
    let app = app_telling(&server).await;
    let alice = app.person_with(12).await;
    deduct(&app, &alice, 5).await;
    eventually("the metrics", async || {
        let metrics = app.client.get("/metrics").await.text;
        metrics.contains(
            "webhook_attempts_total{kind=\"credit.low\",outcome=\"dead\",service=\"accounting-service\"} 1",
        ) && metrics.contains("webhook_dead_letters{service=\"accounting-service\"} 1")
    })
    .await;
}
