//! Where people are signed in, as they see it themselves.

use std::time::Duration;

use bson::doc;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::Client;

use crate::{
    elsewhere::{LAPTOP, PHONE, behind_a_proxy},
    support::{TestApp, cookies_of, text},
};

const PREFIXES: [&str; 2] = ["/api/sessions", "/sessions"];

async fn delete_with(client: &Client, path: &str, body: &Value) -> test_support::Answer {
    client.send(client.request(Method::DELETE, path).json(body)).await
}

async fn ids_of(client: &Client) -> Vec<String> {
    let answer = client.get("/api/sessions").await.expect(200);
    let sessions = answer.body["sessions"].as_array().unwrap();
    assert_eq!(answer.body["total"], sessions.len());
    sessions.iter().map(|session| text(&session["id"])).collect()
}

#[tokio::test]
async fn sessions_are_shown_as_devices_newest_first() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    app.user("bob", "enduser").await;
    let id = app.sign_up("ada").await;
    app.update_user(&id, doc! { "isVerified": true }).await;
    let phone = app.log_in_from("203.0.113.57", PHONE, "ada").await;
    app.advance_secs(60);
    let laptop = app.log_in_from("2001:db8::7", LAPTOP, "ada").await;
    app.advance_secs(60);
    let next = app.refresh(&phone.refresh).await.expect(200);

    let list = laptop.client.get("/api/sessions").await.expect(200).body;

    assert_eq!(list["total"], 2);
    let (first, second) = (&list["sessions"][0], &list["sessions"][1]);
    assert_eq!(
        (
            &first["device"],
            &first["browser"],
            &first["os"],
            &first["ipAddress"]
        ),
        (
            &json!("computer"),
            &json!("Edge 131"),
            &json!("Windows 10"),
            &json!("2001:db8::7")
        )
    );
    assert_eq!(
        (&first["current"], &first["userAgent"]),
        (&json!(true), &json!(LAPTOP))
    );
    assert_eq!(
        (
            &second["device"],
            &second["browser"],
            &second["os"],
            &second["ipAddress"]
        ),
        (
            &json!("phone"),
            &json!("Firefox 133"),
            &json!("Android 14"),
            &json!("203.0.113.57")
        )
    );
    assert_eq!(
        (&second["current"], &second["authMethod"]),
        (&json!(false), &json!("password"))
    );
    assert_eq!(second["id"], phone.claims(&app).sid);
    let time = |session: &Value, member: &str| {
        chrono::DateTime::parse_from_rfc3339(session[member].as_str().unwrap())
            .unwrap()
            .timestamp()
    };
    assert_eq!(time(second, "lastSeenAt") - time(second, "createdAt"), 120);
    assert_eq!(time(second, "expiresAt") - time(second, "lastSeenAt"), 7 * 86_400);

    for prefix in PREFIXES {
        let again = laptop.client.get(&format!("{prefix}/me")).await.expect(200);
        assert_eq!(again.body, list);
        let one = format!("{prefix}/{}", text(&second["id"]));
        assert_eq!(laptop.client.get(&one).await.expect(200).body, *second);
        let count = laptop
            .client
            .get(&format!("{prefix}/active/count"))
            .await
            .expect(200);
        assert_eq!(
            count.body,
            json!({ "active_sessions": 2, "activeSessions": 2, "user_id": id, "userId": id })
        );
    }
    let elsewhere = app.client.with_token(text(&next.body["accessToken"]));
    let seen = elsewhere.get("/api/sessions").await.expect(200).body;
    assert_eq!(seen["sessions"][1]["current"], true);
}

#[tokio::test]
async fn other_peoples_sessions_are_none() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "admin").await;
    let bob = app.user("bob", "enduser").await;
    let theirs = bob.claims(&app).sid;
    for prefix in PREFIXES {
        for id in [
            theirs.as_str(),
            "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6",
            "x",
            "$ne",
            "%00",
        ] {
            let path = format!("{prefix}/{id}");
            let alike = |mut answer: test_support::Answer| {
                answer.body["request_id"] = json!(null);
                answer.body
            };
            let shown = ada
                .client
                .get(&path)
                .await
                .expect_problem(404, "session_not_found");
            let ended = ada
                .client
                .delete(&path)
                .await
                .expect_problem(404, "session_not_found");
            assert_eq!(alike(shown), alike(ended));
        }
    }
    bob.client.get("/api/profile").await.expect(200);
    assert_eq!(ids_of(&ada.client).await.len(), 1);
}

#[tokio::test]
async fn a_lost_device_is_signed_out_from_another() {
    for prefix in PREFIXES {
        let app = TestApp::spawn().await;
        let replica = app.spawn_beside().await;
        let phone = app.user("ada", "enduser").await;
        let laptop = app.log_in("ada").await;
        let path = format!("{prefix}/{}", phone.claims(&app).sid);

        let answer = laptop.client.delete(&path).await.expect(200);

        let id = json!(phone.claims(&app).sid);
        assert_eq!(
            (&answer.body["session_id"], &answer.body["sessionId"]),
            (&id, &id)
        );
        assert_eq!(answer.body["status"], "success");
        assert!(cookies_of(&answer).is_empty(), "the laptop stays");
        for client in [&app.client, &replica.client] {
            client
                .with_token(&phone.access)
                .get("/api/profile")
                .await
                .expect_problem(401, "session_revoked");
        }
        app.refresh(&phone.refresh)
            .await
            .expect_problem(401, "invalid_refresh_token");
        laptop.client.get("/api/profile").await.expect(200);
        laptop
            .client
            .delete(&path)
            .await
            .expect_problem(404, "session_not_found");
        let ada = bson::oid::ObjectId::parse_str(&laptop.id).unwrap();
        let event = doc! {
            "action": "session_ended", "outcome": "revoked", "actor": ada, "subject": ada,
            "sessionId": phone.claims(&app).sid,
        };
        assert_eq!(app.count("audit_events", event).await, 1);
    }
}

#[tokio::test]
async fn ending_the_session_that_asks_clears_the_cookies() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/sessions/{}", ada.claims(&app).sid);

    let answer = ada.client.delete(&path).await.expect(200);

    assert_eq!(cookies_of(&answer).len(), 2);
    ada.client
        .get("/api/sessions")
        .await
        .expect_problem(401, "session_revoked");
}

#[tokio::test]
async fn all_others_are_signed_out_at_once() {
    let app = TestApp::spawn().await;
    let here = app.user("ada", "enduser").await;
    let others = [app.log_in("ada").await, app.log_in("ada").await];
    let bob = app.user("bob", "enduser").await;

    let answer = here.client.delete("/api/sessions").await.expect(200);

    assert_eq!(
        (&answer.body["revokedCount"], &answer.body["revoked_count"]),
        (&json!(2), &json!(2))
    );
    assert!(answer.body["message"].is_string());
    for other in &others {
        other
            .client
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
    }
    bob.client.get("/api/profile").await.expect(200);
    assert_eq!(ids_of(&here.client).await, [here.claims(&app).sid]);
    let again = here.client.delete("/api/sessions").await.expect(200);
    assert_eq!(again.body["revokedCount"], 0);
}

#[tokio::test]
async fn signing_out_everywhere_has_to_be_meant() {
    let app = TestApp::spawn().await;
    let mut ada = app.user("ada", "enduser").await;
    let other = app.log_in("ada").await;
    for prefix in PREFIXES {
        let path = format!("{prefix}/revoke/all");
        for body in [
            json!({}),
            json!({ "confirm": "true" }),
            json!({ "confirm": 1 }),
            json!([true]),
        ] {
            delete_with(&ada.client, &path, &body)
                .await
                .expect_problem(400, "validation_failed");
        }
        ada.client
            .delete(&path)
            .await
            .expect_problem(415, "unsupported_media_type");
    }
    other.client.get("/api/profile").await.expect(200);

    for (prefix, expected) in PREFIXES.into_iter().zip([2, 1]) {
        let path = format!("{prefix}/revoke/all");
        let answer = delete_with(&ada.client, &path, &json!({ "confirm": true }))
            .await
            .expect(200);
        assert_eq!(
            (&answer.body["revoked_count"], &answer.body["status"]),
            (&json!(expected), &json!("success"))
        );
        assert_eq!(cookies_of(&answer).len(), 2);
        ada.client
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
        ada = app.log_in("ada").await;
    }
    other
        .client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
}

#[tokio::test]
async fn what_has_expired_is_not_listed() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    app.advance_secs(6 * 86_400);
    let second = app.log_in("ada").await;
    let second_id = second.claims(&app).sid;
    assert_eq!(ids_of(&second.client).await.len(), 2);
    app.advance_secs(86_400);

    let third = app.log_in("ada").await;

    assert_eq!(ids_of(&third.client).await, [third.claims(&app).sid, second_id]);
    let count = third.client.get("/api/sessions/active/count").await.expect(200);
    assert_eq!(count.body["active_sessions"], 2);
}

#[tokio::test]
async fn no_session_is_said_to_outlive_its_greatest_age() {
    let app = TestApp::spawn_with(|config| config.session_life = Duration::from_hours(1)).await;
    let ada = app.user("ada", "enduser").await;
    let list = ada.client.get("/api/sessions").await.expect(200).body;
    let session = &list["sessions"][0];
    let expires_at = chrono::DateTime::parse_from_rfc3339(session["expiresAt"].as_str().unwrap()).unwrap();
    assert!(expires_at <= app.clock.now() + chrono::Duration::hours(1));
}

#[tokio::test]
async fn sessions_of_an_older_version_and_of_unknown_devices_are_listed() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let unset = doc! { "$unset": { "authMethod": "" } };
    app.collection("sessions")
        .update_many(doc! {}, unset)
        .await
        .unwrap();

    let list = ada.client.get("/api/sessions").await.expect(200).body;

    let session = &list["sessions"][0];
    assert_eq!(
        (&session["authMethod"], &session["device"]),
        (&json!("password"), &json!("unknown"))
    );
    assert_eq!(
        (&session["browser"], &session["userAgent"]),
        (&json!(null), &json!(null))
    );
    app.refresh(&ada.refresh).await.expect(200);
}

#[tokio::test]
async fn the_cap_holds_under_sign_ins_at_once() {
    let app = TestApp::spawn_with(|config| config.sessions_per_user_max = 5).await;
    let replica = app.spawn_beside().await;
    app.user("ada", "enduser").await;

    let signed_in = join_all((0..30).map(|number| {
        let app = if number % 2 == 0 { &app } else { &replica };
        app.log_in("ada")
    }))
    .await;

    assert_eq!(app.count("sessions", doc! {}).await, 5);
    let mut alive = 0;
    for session in &signed_in {
        alive += u32::from(session.client.get("/api/profile").await.status == 200);
    }
    assert_eq!(alive, 5, "the newest, whoever they are");
}
