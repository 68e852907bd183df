//! Starting, being looked after, stopping.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use auth_service::{App, BootstrapAdmin};
use bson::doc;
use common_telemetry::JsonLines;
use futures_util::future::join_all;
use serde_json::json;
use test_support::{ACCESS_SECRET, REFRESH_SECRET};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{PASSWORD, TestApp, email_of};

fn bootstrap(username: &str) -> BootstrapAdmin {
    BootstrapAdmin {
        username: username.to_owned(),
        email: email_of(username),
        password: PASSWORD.into(),
    }
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let app = TestApp::spawn_with(|config| config.bootstrap_admin = Some(bootstrap("root1"))).await;
    app.log_in("root1")
        .await
        .client
        .get("/api/admin/users")
        .await
        .expect(200);

    let mut config = app.config.clone();
    config.bootstrap_admin = Some(bootstrap("root2"));
    App::build(config).await.unwrap();

    assert_eq!(
        app.count("users", doc! {}).await,
        1,
        "there is an admin: nobody else becomes one"
    );
}

#[tokio::test]
async fn replicas_that_start_together_make_one_admin() {
    let app = TestApp::spawn().await;
    let mut config = app.config.clone();
    config.bootstrap_admin = Some(bootstrap("root1"));

    let apps = join_all((0..4).map(|_| App::build(config.clone()))).await;

    assert!(apps.iter().all(Result::is_ok));
    assert_eq!(app.count("users", doc! { "role": "admin" }).await, 1);
}

#[tokio::test]
async fn somebody_who_has_the_name_is_not_made_admin() {
    let app = TestApp::spawn().await;
    app.sign_up("root1").await;
    let mut config = app.config.clone();
    config.bootstrap_admin = Some(bootstrap("root1"));

    let error = App::build(config).await.err().unwrap();

    assert!(format!("{error:#}").contains("BOOTSTRAP_ADMIN"), "{error:#}");
    assert_eq!(app.count("users", doc! { "role": "admin" }).await, 0);
}

#[tokio::test]
async fn it_starts_on_the_database_of_an_older_deployment() {
    let mongo = test_support::TestMongo::create().await;
    for name in ["username", "email"] {
        let index =
            doc! { "key": { name: 1 }, "name": format!("{name}_1"), "unique": true, "background": true };
        let command = doc! { "createIndexes": "users", "indexes": [index] };
        mongo.database.run_command(command).await.unwrap();
    }
    let verifications = mongo.database.collection::<bson::Document>("verifications");
    let row = || doc! { "userId": bson::oid::ObjectId::new(), "type": "email", "token": "A1B2C3", "expires": bson::DateTime::MAX };
    verifications.insert_many([row(), row()]).await.unwrap();

    let uri = mongo.uri.clone();
    let app = TestApp::spawn_with(|config| config.mongodb_uri = uri.into()).await;

    app.sign_up("ada").await;
    let body = json!({ "token": "A1B2C3" });
    app.client
        .post("/api/auth/verify-email", &body)
        .await
        .expect_problem(400, "invalid_code");
}

#[tokio::test]
async fn health_says_whether_the_database_answers() {
    let app = TestApp::spawn().await;
    for path in ["/health", "/api/health", "/livez", "/readyz"] {
        let answer = app.client.get(path).await.expect(200);
        assert_eq!(answer.body, json!({ "status": "ok" }));
    }
}

#[tokio::test]
async fn an_open_service_survives_its_database_going_away() {
    let (port, gate) = gate_to_mongo().await;
    let app = TestApp::spawn_with(|config| {
        let uri = secrecy::ExposeSecret::expose_secret(&config.mongodb_uri).to_owned();
        let mut uri: url::Url = uri.parse().unwrap();
        uri.set_port(Some(port)).unwrap();
        uri.set_query(Some("directConnection=true"));
        config.mongodb_uri = String::from(uri).into();
    })
    .await;
    let ada = app.user("ada", "enduser").await;

    gate.send(false).unwrap();
    app.client.get("/health").await.expect_problem(503, "unavailable");
    app.client.get("/readyz").await.expect_problem(503, "unavailable");
    app.client.get("/livez").await.expect(200);
    ada.client
        .get("/api/profile")
        .await
        .expect_problem(503, "unavailable");
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(503, "unavailable");
    app.refresh(&ada.refresh).await.expect_problem(503, "unavailable");

    gate.send(true).unwrap();
    crate::support::eventually("it is back", async || {
        (app.client.get("/health").await.status == 200).then_some(())
    })
    .await;
    ada.client.get("/api/profile").await.expect(200);
    app.refresh(&ada.refresh).await.expect(200);
}

/// A way to the database that can be shut and opened.
async fn gate_to_mongo() -> (u16, tokio::sync::watch::Sender<bool>) {
    let target = test_support::TestMongo::create()
        .await
        .uri
        .parse::<url::Url>()
        .unwrap();
    let target = (
        target.host_str().unwrap().to_owned(),
        target.port().unwrap_or(27_017),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (gate, is_open) = tokio::sync::watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (target, mut is_open) = (target.clone(), is_open.clone());
            tokio::spawn(async move {
                if !*is_open.borrow_and_update() {
                    return;
                }
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = is_open.changed() => {}
                }
            });
        }
    });
    (port, gate)
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_bounded_labels() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    app.try_log_in("ada", "another password 1").await.expect(401);
    for number in 0..50 {
        app.client.get(&format!("/nowhere/{number}")).await.expect(404);
    }

    let text = app.client.get("/metrics").await.expect(200).text;

    for series in [
        r#"auth_logins_total{outcome="ok",service="auth-service"} 1"#,
        r#"auth_logins_total{outcome="invalid_credentials",service="auth-service"} 1"#,
        r#"auth_refreshes_total{outcome="replayed_in_grace",service="auth-service"} 0"#,
        r#"auth_sessions_revoked_total{reason="logout",service="auth-service"} 0"#,
        r#"auth_hash_queue_waiting{service="auth-service"} 0"#,
        "auth_hash_wait_seconds_count",
        r#"http_requests_total{method="GET",route="unmatched",status="404",service="auth-service"} 50"#,
    ] {
        assert!(text.contains(series), "{series} is not in:\n{text}");
    }
    assert!(!text.contains("ada") && !text.contains("nowhere"));
}

#[tokio::test]
async fn every_answer_is_dressed_alike() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let refused = app.client.get("/api/profile").await.expect(401);
    let answers = [
        ada.client.get("/api/profile").await.expect(200),
        ada.client.get("/api/admin/users").await.expect(403),
        app.client.get("/nowhere").await.expect(404),
        app.client.post("/api/auth/login", &json!({})).await.expect(400),
        refused.clone(),
    ];

    for answer in answers {
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{}",
            answer.text
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-frame-options"], "DENY");
        assert!(answer.headers.contains_key("x-request-id") && !answer.headers.contains_key("server"));
    }
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert_eq!(
        refused.headers["x-request-id"],
        refused.body["request_id"].as_str().unwrap()
    );
}

#[tokio::test]
async fn the_audit_trail_says_who_did_what_and_holds_no_secret() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let request = app
        .client
        .request(reqwest::Method::POST, "/api/auth/login")
        .header("x-request-id", "my-request");
    let wrong = json!({ "username": "ada", "password": "another password 1" });
    app.client
        .send(request.header("user-agent", "phone/1").json(&wrong))
        .await
        .expect(401);
    root.client
        .put(
            &format!("/api/admin/users/{}/role", ada.id),
            &json!({ "role": "supervisor" }),
        )
        .await
        .expect(200);

    let failed = doc! { "action": "login", "outcome": "invalid_credentials" };
    let failed = app
        .collection("audit_events")
        .find_one(failed)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(failed.get_str("requestId").ok(), Some("my-request"));
    assert_eq!(failed.get_str("address").ok(), Some("127.0.0.1"));
    assert_eq!(failed.get_str("userAgent").ok(), Some("phone/1"));
    assert_eq!(failed.get_object_id("subject").unwrap().to_hex(), ada.id);
    let changed = app
        .collection("audit_events")
        .find_one(doc! { "action": "role_changed" })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(changed.get_object_id("actor").unwrap().to_hex(), root.id);
    assert_eq!(changed.get_object_id("subject").unwrap().to_hex(), ada.id);
    assert_eq!(
        app.count("audit_events", doc! { "action": "user_created" }).await,
        2
    );

    let mut events = app.collection("audit_events").find(doc! {}).await.unwrap();
    while events.advance().await.unwrap() {
        let event = events.deserialize_current().unwrap().to_string();
        for secret in [
            PASSWORD,
            "another password",
            ada.access.as_str(),
            ada.refresh.as_str(),
        ] {
            assert!(!event.contains(secret), "{event}");
        }
    }
}

#[tokio::test]
async fn a_stopping_service_is_not_ready_and_then_gone() {
    let app = TestApp::spawn().await;
    app.client.get("/readyz").await.expect(200);

    app.lifecycle.stop();

    let request = || app.client.request(reqwest::Method::GET, "/readyz").send();
    crate::support::eventually("it is gone", async || request().await.err()).await;
}

/// Where log lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_holds_a_secret_at_any_level() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(JsonLines::new("auth-service", lines.clone()));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let app = TestApp::spawn().await;
    app.sign_up("newcomer").await;
    let code = app.code(&email_of("newcomer"), 1).await;
    let wrong = json!({ "token": code, "email": "nobody@example.com" });
    app.client
        .post("/api/auth/verify-email", &wrong)
        .await
        .expect(400);
    app.client
        .post("/api/auth/verify-email", &json!({ "token": code }))
        .await
        .expect(200);
    let ada = app.user("ada", "enduser").await;
    app.try_log_in("ada", "another password 1").await.expect(401);
    app.client
        .get(&format!("/api/profile?token={}", ada.access))
        .await
        .expect(401);
    ada.client.get("/api/profile").await.expect(200);
    let next = app.refresh(&ada.refresh).await.expect(200).body["refreshToken"]
        .as_str()
        .unwrap()
        .to_owned();
    app.advance_secs(11);
    app.refresh(&ada.refresh).await.expect(401);
    let link = app.reset_token(&email_of("newcomer"), 1).await;
    app.redeem(&link, "short").await.expect(400);
    app.redeem(&link, "a password by mail 1").await.expect(200);
    let grace = app.user("grace", "enduser").await;
    let password = json!({ "password": PASSWORD });
    let setup = grace.client.post("/api/2fa/setup", &password).await.expect(200);
    let totp_secret = setup.body["secret"].as_str().unwrap().to_owned();
    let given = json!({ "currentPassword": PASSWORD, "newPassword": "another of hers 12" });
    let changed = grace
        .client
        .post("/api/change-password", &given)
        .await
        .expect(200);
    let changed = changed.body["accessToken"].as_str().unwrap().to_owned();
    let malformed = json!({ "username": "ada", "password": [PASSWORD] });
    app.client.post("/api/auth/login", &malformed).await.expect(400);

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();

    assert!(
        text.contains("request answered") && text.contains("refresh token used twice"),
        "{text}"
    );
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    let ours: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("\"target\":\"reqwest") && !line.contains("\"target\":\"hyper"))
        .collect();
    let text = ours.join("\n");
    for secret in [
        PASSWORD,
        "another password 1",
        &ada.access,
        &ada.refresh,
        &next,
        &link,
        "a password by mail 1",
        "another of hers 12",
        &totp_secret,
        &changed,
        ACCESS_SECRET,
        REFRESH_SECRET,
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    let code = format!("\"{code}\"");
    assert!(!text.contains(&code) && !text.contains("verification code: "));
}
