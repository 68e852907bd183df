//! Deleting accounts: nothing stays, and nobody is deleted by mistake.

use bson::{Document, doc, oid::ObjectId};
use futures_util::{TryStreamExt as _, future::join};
use serde_json::{Value, json};

use crate::support::{PASSWORD, SignedIn, TestApp, email_of, eventually};

async fn delete_with(client: &test_support::Client, path: &str, body: Value) -> test_support::Answer {
    client
        .send(client.request(reqwest::Method::DELETE, path).json(&body))
        .await
}

async fn changes(app: &TestApp, since: &str) -> Value {
    let path = format!("/internal/user-changes?since={since}");
    app.as_service("proxy-service").get(&path).await.expect(200).body
}

/// Where in the whole database the id still stands, as an id or as text.
async fn traces(app: &TestApp, id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in app.mongo.database.list_collection_names().await.unwrap() {
        let rows = app.collection(&name).find(doc! {}).await.unwrap();
        let rows: Vec<Document> = rows.try_collect().await.unwrap();
        if rows.iter().any(|row| row.to_string().contains(id)) {
            found.push(name);
        }
    }
    found.sort();
    found
}

async fn deletable(app: &TestApp, name: &str) -> SignedIn {
    let user = app.user(name, "enduser").await;
    app.client
        .post(
            "/api/auth/resend-verification",
            &json!({ "email": email_of(name) }),
        )
        .await
        .expect(200);
    user
}

#[tokio::test]
async fn a_deleted_user_is_gone_from_everywhere_but_the_trail_and_the_feed() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    let root = app.user("root1", "admin").await;
    let ada = deletable(&app, "ada").await;
    let unverified = app.sign_up("eve").await;

    let path = format!("/api/admin/users/{}", ada.id);
    let answer = root.client.delete(&path).await.expect(200);

    assert_eq!(
        answer.body["user"],
        json!({ "username": "ada", "email": "ada@example.com", "role": "enduser" })
    );
    for base in [&app, &replica] {
        let client = base.client.with_token(&ada.access);
        client.get("/api/profile").await.expect(401);
    }
    app.refresh(&ada.refresh).await.expect(401);
    app.try_log_in("ada", PASSWORD).await.expect(401);
    assert_eq!(traces(&app, &ada.id).await, ["audit_events", "user_changes"]);
    root.client
        .delete(&path)
        .await
        .expect_problem(404, "user_not_found");
    let event = doc! {
        "action": "user_deleted",
        "actor": ObjectId::parse_str(&root.id).unwrap(),
        "subject": ObjectId::parse_str(&ada.id).unwrap(),
    };
    assert_eq!(app.count("audit_events", event).await, 1);

    let at_old_path = format!("/api/users/{unverified}");
    root.client.delete(&at_old_path).await.expect(200);
    assert_eq!(traces(&app, &unverified).await, ["audit_events", "user_changes"]);
    assert_eq!(app.count("deletions", doc! {}).await, 0);

    let again = app.user("ada", "enduser").await;
    assert_ne!(again.id, ada.id);
    again.client.get("/api/profile").await.expect(200);
}

#[tokio::test]
async fn the_feed_tells_of_changes_in_order_and_of_the_gone_nothing_but_the_id() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/admin/users/{}", ada.id);
    let edit = async |body: Value| {
        let request = root.client.request(reqwest::Method::PATCH, &path).json(&body);
        root.client.send(request).await.expect(200);
    };

    edit(json!({ "username": "ada2" })).await;
    let first = changes(&app, "").await;
    edit(json!({ "isActive": false })).await;
    edit(json!({ "isActive": true, "role": "supervisor" })).await;
    root.client.delete(&path).await.expect(200);

    let told = changes(&app, first["cursor"].as_str().unwrap()).await;
    let of_ada: Vec<_> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            assert_eq!(change["id"], ada.id.as_str());
            (
                change["kind"].as_str().unwrap(),
                change["role"].as_str(),
                change["email"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        of_ada,
        [
            ("disabled", Some("enduser"), Some("ada@example.com")),
            ("enabled", Some("supervisor"), Some("ada@example.com")),
            ("deleted", None, None),
        ]
    );
    assert_eq!(
        changes(&app, told["cursor"].as_str().unwrap()).await["changes"],
        json!([])
    );
    let everything = changes(&app, "").await;
    for odd in ["x", "-1", "99999999999999999999", "9999", "1.5"] {
        assert_eq!(
            changes(&app, odd).await["changes"],
            everything["changes"],
            "{odd:?}"
        );
    }
}

#[tokio::test]
async fn a_poll_that_waits_hears_of_a_change_on_another_replica() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let cursor = changes(&app, "").await["cursor"].as_str().unwrap().to_owned();
    let waiting = replica.as_service("proxy-service");
    let path = format!("/internal/user-changes?since={cursor}&wait=25");

    let (told, _) = join(waiting.get(&path), async {
        root.client
            .delete(&format!("/api/admin/users/{}", ada.id))
            .await
            .expect(200)
    })
    .await;

    assert_eq!(told.expect(200).body["changes"][0]["kind"], "deleted");
}

#[tokio::test]
async fn what_a_crash_left_untold_is_told() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let past = bson::DateTime::from_chrono(app.clock.now() - chrono::Duration::seconds(5));
    app.update_user(
        &ada.id,
        doc! { "username": "ada2", "untold": ObjectId::new(), "updatedAt": past },
    )
    .await;

    eventually("the change is told", async || {
        let told = changes(&app, "").await;
        let latest = told["changes"].as_array().unwrap().last().cloned()?;
        (latest["username"] == "ada2").then_some(())
    })
    .await;
    eventually("the mark is taken off", async || {
        let marked = app.count("users", doc! { "untold": { "$exists": true } }).await;
        (marked == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deletion_that_broke_off_is_finished_by_the_next_start() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let (early, late) = (deletable(&app, "early").await, deletable(&app, "late").await);
    let promoted = app.user("boss", "admin").await;
    let actor = ObjectId::parse_str(&root.id).unwrap();
    let past = bson::DateTime::from_chrono(app.clock.now() - chrono::Duration::minutes(5));
    for user in [&early, &late, &promoted] {
        let id = ObjectId::parse_str(&user.id).unwrap();
        let row = doc! { "_id": id, "at": past, "actor": actor };
        app.collection("deletions").insert_one(row).await.unwrap();
    }
    let gone = doc! { "_id": ObjectId::parse_str(&late.id).unwrap() };
    app.users().delete_one(gone).await.unwrap();

    let replica = app.spawn_beside().await;

    eventually("the deletions are finished", async || {
        (app.count("deletions", doc! {}).await == 0).then_some(())
    })
    .await;
    for user in [&early, &late] {
        assert_eq!(traces(&app, &user.id).await, ["audit_events", "user_changes"]);
        app.refresh(&user.refresh).await.expect(401);
    }
    replica.log_in("boss").await;
}

#[tokio::test]
async fn deletion_is_refused_where_it_would_be_a_mistake() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let other = app.user("root2", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = |id: &str| format!("/api/admin/users/{id}");

    root.client
        .delete(&path(&root.id))
        .await
        .expect_problem(400, "own_account");
    root.client
        .delete(&path(&other.id))
        .await
        .expect_problem(403, "admin_not_deletable");
    root.client
        .delete(&path("x"))
        .await
        .expect_problem(400, "invalid_user_id");
    root.client
        .delete(&path(&"a".repeat(24)))
        .await
        .expect_problem(404, "user_not_found");
    ada.client
        .delete(&path(&other.id))
        .await
        .expect_problem(403, "forbidden");
    app.client
        .delete(&path(&ada.id))
        .await
        .expect_problem(401, "missing_token");
    for body in [
        json!({}),
        json!({ "confirmDelete": "delete_all_users" }),
        json!({ "confirmDelete": true }),
        json!({ "confirmDelete": { "$ne": "" }, "preserveAdmins": false }),
    ] {
        let refused = delete_with(&root.client, "/api/admin/users", body).await;
        let refused = refused.expect_problem(400, "confirmation_missing");
        assert_eq!(refused.body["error"], refused.body["message"]);
    }
    root.client
        .delete("/api/admin/users")
        .await
        .expect_problem(400, "confirmation_missing");
    let phrase = json!({ "confirmDelete": "DELETE_ALL_USERS" });
    delete_with(&ada.client, "/api/admin/users", phrase)
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(app.count("users", doc! {}).await, 3);
    assert_eq!(app.count("deletions", doc! {}).await, 0);
}

#[tokio::test]
async fn everybody_goes_but_the_admins_and_at_last_but_the_caller() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    app.user("root2", "admin").await;
    let ada = app.user("ada", "supervisor").await;
    let many = (0..1_200).map(|number| {
        doc! { "username": format!("u{number}"), "email": format!("u{number}@example.com"), "password": "x" }
    });
    app.users().insert_many(many).await.unwrap();

    let body = json!({ "confirmDelete": "DELETE_ALL_USERS" });
    let first = delete_with(&root.client, "/api/admin/users", body)
        .await
        .expect(200);
    assert!(first.body["message"].as_str().unwrap().starts_with("1201 "));
    assert_eq!(first.body["preservedAdmins"], true);
    assert_eq!(app.count("users", doc! {}).await, 2);
    app.refresh(&ada.refresh).await.expect(401);

    let body = json!({ "confirmDelete": "DELETE_ALL_USERS", "preserveAdmins": false });
    let second = delete_with(&root.client, "/api/admin/users", body)
        .await
        .expect(200);
    assert!(second.body["message"].as_str().unwrap().starts_with("1 "));
    assert_eq!(second.body["preservedAdmins"], false);
    root.client.get("/api/profile").await.expect(200);
    assert_eq!(app.count("users", doc! {}).await, 1);

    let (mut cursor, mut told) = (String::new(), 0);
    loop {
        let page = changes(&app, &cursor).await;
        let page_of = page["changes"].as_array().unwrap();
        if page_of.is_empty() {
            break;
        }
        assert!(page_of.len() <= 500);
        told += page_of
            .iter()
            .filter(|change| change["kind"] == "deleted")
            .count();
        cursor = page["cursor"].as_str().unwrap().to_owned();
    }
    assert_eq!(told, 1_202);
    assert_eq!(app.count("deletions", doc! {}).await, 0);
}

#[tokio::test]
async fn whoever_wants_to_go_proves_who_they_are() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = deletable(&app, "ada").await;
    let bob = app.user("bob", "enduser").await;

    for body in [
        json!({}),
        json!({ "password": null }),
        json!({ "password": { "$ne": "" } }),
        json!({ "password": [PASSWORD] }),
    ] {
        delete_with(&ada.client, "/api/profile", body)
            .await
            .expect_problem(400, "validation_failed");
    }
    delete_with(&ada.client, "/api/profile", json!({ "password": "not the one" }))
        .await
        .expect_problem(400, "wrong_password");
    let right = json!({ "password": PASSWORD });
    delete_with(&app.client, "/api/profile", right.clone())
        .await
        .expect_problem(401, "missing_token");
    delete_with(&root.client, "/api/profile", right.clone())
        .await
        .expect_problem(403, "admin_not_deletable");

    let gone = delete_with(&ada.client, "/api/profile", right.clone())
        .await
        .expect(200);

    assert!(gone.headers.get_all("set-cookie").iter().count() == 2);
    delete_with(&ada.client, "/api/profile", right).await.expect(401);
    assert_eq!(traces(&app, &ada.id).await, ["audit_events", "user_changes"]);
    bob.client.get("/api/profile").await.expect(200);
}

#[tokio::test]
async fn guessing_the_password_of_an_open_session_is_slowed() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let wrong = json!({ "password": "not the one" });
    let mut answer = delete_with(&ada.client, "/api/profile", wrong.clone()).await;
    for _ in 0..10 {
        if answer.status == 429 {
            break;
        }
        answer.expect_problem(400, "wrong_password");
        answer = delete_with(&ada.client, "/api/profile", wrong.clone()).await;
    }
    answer.expect_problem(429, "too_many_attempts");
    let right = json!({ "password": PASSWORD });
    delete_with(&ada.client, "/api/profile", right.clone())
        .await
        .expect_problem(429, "too_many_attempts");
    app.advance_secs(120);
    delete_with(&ada.client, "/api/profile", right).await.expect(200);
}

#[tokio::test]
async fn changes_are_kept_as_long_as_wanted_and_the_order_survives() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for name in ["ada", "bob"] {
        let id = app.sign_up(name).await;
        root.client.delete(&format!("/api/users/{id}")).await.expect(200);
    }
    let cursor = changes(&app, "").await["cursor"].as_str().unwrap().to_owned();
    app.advance_secs(91 * 86_400);

    let replica = app.spawn_beside().await;
    eventually("all but the last are removed", async || {
        (app.count("user_changes", doc! {}).await == 1).then_some(())
    })
    .await;
    let root = replica.log_in("root1").await;
    let id = app.sign_up("eve").await;
    root.client.delete(&format!("/api/users/{id}")).await.expect(200);
    let told = changes(&replica, &cursor).await;
    assert_eq!(told["changes"].as_array().unwrap().len(), 1);
    assert_eq!(told["changes"][0]["id"], id.as_str());
}

#[tokio::test]
async fn anybody_sees_whether_there_is_somebody_and_only_admins_and_services_more() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/auth/users/{}", ada.id);

    let little = json!({ "_id": ada.id, "username": "ada", "active": true, "deleted": false });
    for client in [&app.client, &ada.client, &app.client.with_token("nonsense")] {
        assert_eq!(client.get(&path).await.expect(200).body, little);
    }
    for client in [&root.client, &app.as_service("proxy-service")] {
        let all = client.get(&path).await.expect(200).body;
        assert_eq!(
            (&all["email"], &all["role"]),
            (&json!("ada@example.com"), &json!("enduser"))
        );
        assert!(all["createdAt"].is_string() && all["updatedAt"].is_string() && all["isVerified"] == true);
    }
    app.update_user(&ada.id, doc! { "isDisabled": true }).await;
    assert_eq!(app.client.get(&path).await.expect(200).body["active"], false);
    app.client
        .get("/api/auth/users/x")
        .await
        .expect_problem(400, "invalid_user_id");
    let nobody = format!("/api/auth/users/{}", "a".repeat(24));
    app.client
        .get(&nobody)
        .await
        .expect_problem(404, "user_not_found");
}
