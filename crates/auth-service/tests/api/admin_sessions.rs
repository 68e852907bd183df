//! Where people are signed in, as administrators see it.

use std::collections::BTreeSet;

use bson::{doc, oid::ObjectId};
use serde_json::{Value, json};

use crate::support::{SignedIn, TestApp, text};

fn ids(body: &Value) -> Vec<String> {
    let sessions = body["sessions"].as_array().unwrap();
    sessions.iter().map(|session| text(&session["id"])).collect()
}

async fn ended(session: &SignedIn) -> bool {
    session.client.get("/api/profile").await.status == 401
}

#[tokio::test]
async fn pages_show_each_session_once_however_many_were_opened_in_one_moment() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for number in 0..3 {
        app.user(&format!("pupil{number}"), "enduser").await;
        app.log_in(&format!("pupil{number}")).await;
    }
    app.advance_secs(1);
    let newest = app.log_in("pupil0").await;

    let mut seen = Vec::new();
    let mut path = "/api/admin/sessions?limit=3".to_owned();
    loop {
        let page = root.client.get(&path).await.expect(200).body;
        let found = ids(&page);
        assert!((1..=3).contains(&found.len()));
        seen.extend(found);
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/admin/sessions?limit=3&cursor={cursor}");
    }

    assert_eq!(seen.len(), 8);
    assert_eq!(seen[0], newest.claims(&app).sid);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 8);
    let all = root.client.get("/api/admin/sessions").await.expect(200).body;
    assert_eq!(ids(&all), seen);
    assert_eq!(all["sessions"][0]["username"], "pupil0");
    assert_eq!(all["sessions"][0]["userId"], newest.id);
    let current: Vec<_> = all["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|session| session["current"] == true)
        .collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"], root.claims(&app).sid);

    let own = format!("/api/admin/sessions?userId={}&limit=2", newest.id);
    let own = root.client.get(&own).await.expect(200).body;
    assert_eq!(own["sessions"].as_array().unwrap().len(), 2);
    assert!(own["nextCursor"].is_string());
    assert!(
        own["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|session| session["userId"] == newest.id)
    );
}

#[tokio::test]
async fn parameters_that_are_not_right_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for (path, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("cursor=rubbish", "cursor"),
        ("cursor=1.%24ne", "cursor"),
        ("userId=me", "userId"),
    ] {
        for list in ["/api/admin/sessions", "/api/v1/admin/sessions"] {
            let answer = root.client.get(&format!("{list}?{path}")).await;
            let answer = answer.expect_problem(400, "validation_failed");
            assert_eq!(answer.body["errors"][0]["field"], field, "{path}");
        }
    }
    root.client
        .get("/api/admin/sessions?limit=&cursor=&userId=")
        .await
        .expect(200);
}

#[tokio::test]
async fn one_session_of_anybody_is_ended() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for (method, path) in [
        (reqwest::Method::DELETE, "/api/admin/sessions/{}"),
        (reqwest::Method::POST, "/api/v1/admin/sessions/{}/expire"),
    ] {
        let name = if method == reqwest::Method::POST {
            "ada"
        } else {
            "bob"
        };
        let phone = app.user(name, "enduser").await;
        let laptop = app.log_in(name).await;
        let path = path.replace("{}", &phone.claims(&app).sid);
        let end = || root.client.send(root.client.request(method.clone(), &path));

        let answer = end().await.expect(200);

        assert_eq!(answer.body["sessionId"], phone.claims(&app).sid);
        assert!(ended(&phone).await && !ended(&laptop).await);
        end().await.expect_problem(404, "session_not_found");
        let event = doc! {
            "action": "session_ended", "outcome": "admin", "sessionId": phone.claims(&app).sid,
            "actor": ObjectId::parse_str(&root.id).unwrap(), "subject": ObjectId::parse_str(&phone.id).unwrap(),
        };
        assert_eq!(app.count("audit_events", event).await, 1);
    }
}

#[tokio::test]
async fn all_sessions_of_somebody_are_listed_and_ended() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = [app.user("ada", "enduser").await, app.log_in("ada").await];
    let bob = app.user("bob", "enduser").await;
    let path = format!("/api/admin/users/{}/sessions", ada[0].id);

    let list = root.client.get(&path).await.expect(200).body;
    assert_eq!(
        (&list["total"], list["sessions"].as_array().unwrap().len()),
        (&json!(2), 2)
    );
    let answer = root.client.delete(&path).await.expect(200);

    assert_eq!(answer.body["revokedCount"], 2);
    assert!(ended(&ada[0]).await && ended(&ada[1]).await && !ended(&bob).await);
    assert_eq!(
        root.client.delete(&path).await.expect(200).body["revoked_count"],
        0
    );
    for client in [&ada[0].client, &bob.client] {
        let answer = client.delete(&path).await;
        assert!(matches!(answer.status.as_u16(), 401 | 403), "{}", answer.text);
    }
    let nobody = format!("/api/admin/users/{}/sessions", "a".repeat(24));
    root.client
        .get(&nobody)
        .await
        .expect_problem(404, "user_not_found");
    root.client
        .delete(&nobody)
        .await
        .expect_problem(404, "user_not_found");
    let bad = "/api/admin/users/me/sessions";
    root.client.get(bad).await.expect_problem(400, "invalid_user_id");
    root.client
        .delete(bad)
        .await
        .expect_problem(400, "invalid_user_id");
}

#[tokio::test]
async fn older_clients_list_and_end_everybodys_sessions() {
    let app = TestApp::spawn_with(|config| config.sessions_per_user_max = 1_000).await;
    let root = app.user("root1", "admin").await;
    let root_elsewhere = app.log_in("root1").await;
    let ada = app.user("ada", "enduser").await;
    // More than are ended in one go.
    let template = app
        .collection("sessions")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    let copies = (0..700).map(|number| {
        let mut copy = template.clone();
        copy.insert("_id", format!("copy-{number}"));
        copy
    });
    app.collection("sessions").insert_many(copies).await.unwrap();

    let list = root.client.get("/api/v1/admin/sessions").await.expect(200).body;
    assert_eq!(list["total"], 703);
    let session = &list["sessions"][0];
    assert_eq!(
        (&session["user_id"], &session["is_active"]),
        (&session["userId"], &json!(true))
    );
    assert_eq!(session["created_at"], session["createdAt"]);
    let one = format!("/api/v1/admin/sessions?userId={}", ada.id);
    assert_eq!(root.client.get(&one).await.expect(200).body["total"], 1);

    let answer = root
        .client
        .post("/api/v1/admin/sessions/expire-all", &json!({}))
        .await
        .expect(200);

    assert_eq!(
        (&answer.body["expired_count"], &answer.body["expiredCount"]),
        (&json!(702), &json!(702))
    );
    assert!(ended(&ada).await && ended(&root_elsewhere).await && !ended(&root).await);
    assert_eq!(app.count("sessions", doc! {}).await, 1);
    let events = doc! { "action": "session_ended", "outcome": "admin" };
    assert_eq!(app.count("audit_events", events).await, 702);
    assert_eq!(app.count("revocations", doc! {}).await, 702);
}
