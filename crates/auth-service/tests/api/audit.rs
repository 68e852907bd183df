//! What happened, as administrators read it, and one's own sign-ins.

use std::{collections::BTreeSet, time::Duration};

use bson::{Bson, DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use serde_json::{Value, json};

use crate::{
    elsewhere::{LAPTOP, PHONE, behind_a_proxy},
    support::{PASSWORD, SignedIn, TestApp, text},
};

async fn events(admin: &SignedIn, query: &str) -> Vec<Value> {
    let answer = admin
        .client
        .get(&format!("/api/admin/audit?limit=200&{query}"))
        .await;
    answer.expect(200).body["events"].as_array().unwrap().clone()
}

fn words(events: &[Value]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|event| {
            (
                event["action"].as_str().unwrap(),
                event["outcome"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn acts_are_found_by_each_filter() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    app.advance_secs(60);
    let before = app.clock.now().to_rfc3339();
    app.try_log_in_from("203.0.113.57", PHONE, "ada", "another password 1")
        .await
        .expect(401);
    root.client
        .put(
            &format!("/api/admin/users/{}/role", ada.id),
            &json!({ "role": "supervisor" }),
        )
        .await
        .expect(200);

    let changed = events(&root, "action=role_changed").await;
    assert_eq!(changed.len(), 1);
    let event = &changed[0];
    assert_eq!(
        (&event["outcome"], &event["details"]),
        (&json!("ok"), &json!({ "from": "enduser", "to": "supervisor" }))
    );
    assert_eq!(
        (&event["actor"], &event["actorName"]),
        (&json!(root.id), &json!("root1"))
    );
    assert_eq!(
        (&event["subject"], &event["subjectName"]),
        (&json!(ada.id), &json!("ada"))
    );
    assert!(!event["requestId"].as_str().unwrap().is_empty() && event["ipAddress"] == "127.0.0.1");

    let failed = events(&root, "address=203.0.113.57").await;
    assert_eq!(words(&failed), [("login", "invalid_credentials")]);
    assert_eq!(
        (&failed[0]["userAgent"], &failed[0]["actor"]),
        (&json!(PHONE), &json!(null))
    );
    assert_eq!(events(&root, "address=::ffff:203.0.113.57").await, failed);
    assert_eq!(events(&root, "outcome=invalid_credentials").await, failed);
    assert_eq!(
        events(&root, "action=login&outcome=invalid_credentials").await,
        failed
    );

    let by_root = events(&root, &format!("actor={}", root.id)).await;
    assert_eq!(words(&by_root), [("role_changed", "ok"), ("login", "ok")]);
    assert_eq!(by_root[1]["sessionId"], root.claims(&app).sid);
    let to_root = events(&root, &format!("subject={}", root.id)).await;
    assert_eq!(words(&to_root), [("login", "ok"), ("user_created", "ok")]);
    let root_at_all = events(&root, &format!("userId={}", root.id)).await;
    assert_eq!(
        words(&root_at_all),
        [("role_changed", "ok"), ("login", "ok"), ("user_created", "ok")],
        "each once, in order"
    );
    let both = format!("userId={}&actor={}", ada.id, root.id);
    assert_eq!(events(&root, &both).await, changed);
    let by_nobody = format!("userId={}&subject={}", root.id, "a".repeat(24));
    assert!(events(&root, &by_nobody).await.is_empty());

    let since = format!("from={}", before.replace('+', "%2B"));
    let later: BTreeSet<_> = events(&root, &since)
        .await
        .iter()
        .map(|event| text(&event["action"]))
        .collect();
    assert_eq!(
        later,
        ["login", "role_changed", "session_ended"]
            .map(str::to_owned)
            .into()
    );
    let until = format!("to={}&action=login", before.replace('+', "%2B"));
    assert_eq!(events(&root, &until).await.len(), 2);
    assert!(events(&root, "action=nothing_of_the_kind").await.is_empty());
}

#[tokio::test]
async fn questions_that_are_not_right_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "supervisor").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1000", "limit"),
        ("cursor=x", "cursor"),
        ("action=%7B%22%24ne%22%3A1%7D", "action"),
        ("outcome=OK", "outcome"),
        ("actor=ada", "actor"),
        ("subject=1", "subject"),
        ("userId=x", "userId"),
        ("address=localhost", "address"),
        ("from=yesterday", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
    ] {
        let answer = root.client.get(&format!("/api/admin/audit?{query}")).await;
        let answer = answer.expect_problem(400, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], field, "{query}");
    }
    for query in ["limit=0", "limit=x", "cursor=x"] {
        root.client
            .get(&format!("/api/profile/sign-ins?{query}"))
            .await
            .expect_problem(400, "validation_failed");
    }
    ada.client
        .get("/api/admin/audit")
        .await
        .expect_problem(403, "forbidden");
    app.client
        .get("/api/admin/audit")
        .await
        .expect_problem(401, "missing_token");
}

/// Many events about one user, several in each millisecond.
async fn fill(app: &TestApp, count: i64, subject: &str) {
    let subject = ObjectId::parse_str(subject).unwrap();
    let begin = app.clock.now().timestamp_millis() - 1_000_000;
    let event = |number: i64| {
        doc! {
            "at": BsonDateTime::from_millis(begin + number / 3), "action": "login",
            "outcome": if number % 1_000 == 0 { "disabled" } else { "invalid_credentials" },
            "actor": Bson::Null, "subject": if number % 2 == 0 { Bson::Null } else { subject.into() },
            "sessionId": Bson::Null, "address": format!("10.0.{}.{}", number / 250 % 250, number % 250),
            "userAgent": Bson::Null, "requestId": "r",
        }
    };
    app.collection("audit_events")
        .insert_many((0..count).map(event))
        .await
        .unwrap();
}

#[tokio::test]
async fn pages_hold_every_event_once_also_while_more_happen() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    fill(&app, 100, &root.id).await;
    let total = app.count("audit_events", doc! {}).await;

    let mut seen = Vec::new();
    let mut path = "/api/admin/audit?limit=7".to_owned();
    loop {
        let page = root.client.get(&path).await.expect(200).body;
        for event in page["events"].as_array().unwrap() {
            seen.push((text(&event["at"]), text(&event["id"])));
        }
        app.try_log_in("nobody", PASSWORD).await;
        app.advance_secs(30);
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/admin/audit?limit=7&cursor={cursor}");
    }

    assert_eq!(u64::try_from(seen.len()).unwrap(), total);
    assert!(
        seen.is_sorted_by(|one, next| one > next),
        "newest first, each once"
    );
}

#[tokio::test]
async fn a_page_costs_the_same_wherever_it_lies() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    fill(&app, 12_000, &root.id).await;
    let middle = app.clock.now().timestamp_millis() - 1_000_000 + 2_000;
    let cursor = format!("{middle}.{}", "f".repeat(24));
    let database = &app.mongo.database;
    database.run_command(doc! { "profile": 2 }).await.unwrap();

    for filter in [
        String::new(),
        format!("&subject={}", root.id),
        format!("&userId={}", root.id),
        "&action=login".to_owned(),
        "&outcome=disabled".to_owned(),
        "&action=login&outcome=disabled".to_owned(),
        "&address=10.0.3.7".to_owned(),
        format!(
            "&to={}",
            (app.clock.now() - chrono::Duration::seconds(998)).format("%Y-%m-%dT%H:%M:%SZ")
        ),
    ] {
        for cursor in [String::new(), format!("&cursor={cursor}")] {
            let path = format!("/api/admin/audit?limit=20{filter}{cursor}");
            root.client.get(&path).await.expect(200);
        }
    }
    database.run_command(doc! { "profile": 0 }).await.unwrap();

    let profiled = doc! { "command.find": "audit_events" };
    let mut profile = app.collection("system.profile").find(profiled).await.unwrap();
    let mut pages = 0;
    while profile.advance().await.unwrap() {
        let page: Document = profile.deserialize_current().unwrap();
        let number = |name: &str| page.get(name).and_then(Bson::as_i32).unwrap_or_default();
        // A page, the entry behind it, those of the cursor's own millisecond, and for two indexes twice of all that.
        assert!(number("docsExamined") <= 50, "{page}");
        assert!(number("keysExamined") <= 60, "{page}");
        assert!(!page.get_bool("hasSortStage").unwrap_or_default(), "{page}");
        pages += 1;
    }
    assert_eq!(pages, 16);
}

#[tokio::test]
async fn people_see_their_own_sign_ins() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let ada = app.user("ada", "enduser").await;
    app.user("bob", "enduser").await;
    app.advance_secs(1);
    app.try_log_in_from("198.51.100.9", LAPTOP, "ada@example.com", "another password 1")
        .await
        .expect(401);
    app.try_log_in("bob", "another password 1").await.expect(401);
    app.try_log_in("nobody", "another password 1").await.expect(401);
    app.advance_secs(1);
    let phone = app.log_in_from("203.0.113.57", PHONE, "ada").await;

    let page = phone.client.get("/api/profile/sign-ins").await.expect(200).body;

    assert_eq!(page["nextCursor"], json!(null));
    let sign_ins = page["signIns"].as_array().unwrap();
    assert_eq!(sign_ins.len(), 3);
    assert_eq!(
        (
            &sign_ins[0]["outcome"],
            &sign_ins[0]["device"],
            &sign_ins[0]["browser"],
            &sign_ins[0]["os"]
        ),
        (
            &json!("ok"),
            &json!("phone"),
            &json!("Firefox 133"),
            &json!("Android 14")
        )
    );
    assert_eq!(
        (
            &sign_ins[0]["ipAddress"],
            &sign_ins[0]["current"],
            &sign_ins[0]["sessionId"]
        ),
        (
            &json!("203.0.113.57"),
            &json!(true),
            &json!(phone.claims(&app).sid)
        )
    );
    assert_eq!(
        (
            &sign_ins[1]["outcome"],
            &sign_ins[1]["browser"],
            &sign_ins[1]["sessionId"]
        ),
        (&json!("invalid_credentials"), &json!("Edge 131"), &json!(null))
    );
    assert_eq!(sign_ins[2]["sessionId"], ada.claims(&app).sid);
    let first = phone
        .client
        .get("/api/profile/sign-ins?limit=2")
        .await
        .expect(200)
        .body;
    let rest = format!(
        "/api/profile/sign-ins?limit=2&cursor={}",
        text(&first["nextCursor"])
    );
    let rest = phone.client.get(&rest).await.expect(200).body;
    assert_eq!(rest["signIns"], json!([sign_ins[2]]));
}

#[tokio::test]
async fn the_retention_is_the_configured_one_also_when_it_changes() {
    let app = TestApp::spawn().await;
    let expiry = async || {
        let mut indexes = app.collection("audit_events").list_indexes().await.unwrap();
        while indexes.advance().await.unwrap() {
            let index = indexes.deserialize_current().unwrap();
            if let Some(after) = index.options.and_then(|options| options.expire_after) {
                assert_eq!(index.keys, doc! { "at": 1 });
                return after;
            }
        }
        panic!("no index lets events expire");
    };
    assert_eq!(expiry().await, Duration::from_hours(365 * 24));

    let mut config = app.config.clone();
    config.audit_retention = Duration::from_hours(30 * 24);
    auth_service::App::build(config.clone()).await.unwrap();
    assert_eq!(expiry().await, Duration::from_hours(30 * 24));
    auth_service::App::build(config).await.unwrap();
    assert_eq!(expiry().await, Duration::from_hours(30 * 24));
}

#[tokio::test]
async fn a_trail_that_cannot_be_written_fails_no_request_and_is_counted() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let refuse = doc! { "collMod": "audit_events", "validator": { "never": { "$exists": true } } };
    app.mongo.database.run_command(refuse).await.unwrap();

    app.log_in("ada").await;
    app.try_log_in("ada", "another password 1").await.expect(401);
    ada.client.delete("/api/sessions").await.expect(200);

    let lost = app
        .metric(r#"auth_audit_events_lost_total{service="auth-service"}"#)
        .await;
    assert!((lost - 3.0).abs() < 0.1, "{lost}");
}
