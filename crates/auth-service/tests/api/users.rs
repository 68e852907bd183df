//! What administrators do.

use bson::{doc, oid::ObjectId};
use futures_util::future::join;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp, email_of, text};

fn account(username: &str) -> Value {
    json!({ "username": username, "email": email_of(username), "password": PASSWORD })
}

#[tokio::test]
async fn an_admin_makes_accounts_that_work_at_once_or_after_verification() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;

    let mut body = account("vouched");
    body["skipVerification"] = json!(true);
    body["role"] = json!("supervisor");
    let answer = root.client.post("/api/admin/users", &body).await.expect(201);
    assert_eq!(answer.body["userId"].as_str().unwrap().len(), 24);
    assert!(answer.body["message"].is_string());
    assert_eq!(
        app.log_in("vouched").await.claims(&app).role,
        common_jwt::Role::Supervisor
    );

    for (name, skip) in [
        ("text", json!("true")),
        ("number", json!(1)),
        ("absent", Value::Null),
    ] {
        let mut body = account(name);
        body["skipVerification"] = skip;
        body["role"] = json!("user");
        let id = text(&root.client.post("/api/admin/users", &body).await.expect(201).body["userId"]);
        let stored = app.find_user(&id).await.unwrap();
        assert!(!stored.get_bool("isVerified").unwrap());
        assert_eq!(stored.get_str("role").unwrap(), "enduser");
        let code = app.code(&email_of(name), 1).await;
        app.client
            .post("/api/auth/verify-email", &json!({ "token": code }))
            .await
            .expect(200);
        app.log_in(name).await;
    }
}

#[tokio::test]
async fn an_admin_cannot_make_what_is_not_allowed() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let with = |member: &str, value: Value| {
        let mut body = account("somebody");
        body[member] = value;
        body
    };

    let admin = with("role", json!("admin"));
    root.client
        .post("/api/admin/users", &admin)
        .await
        .expect_problem(403, "admin_not_creatable");
    for body in [
        json!({}),
        with("role", json!("teacher")),
        with("role", json!("Admin")),
        with("role", json!("")),
        with("role", json!(["enduser"])),
        with("password", json!("short")),
        with("email", json!("nobody")),
    ] {
        root.client
            .post("/api/admin/users", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    let taken = root
        .client
        .post("/api/admin/users", &account("root1"))
        .await
        .expect_problem(400, "username_taken");
    assert!(taken.body["error"].as_str().unwrap().contains("already exists"));
    assert_eq!(app.count("users", doc! {}).await, 1);
}

#[tokio::test]
async fn lists_hold_everybody_without_passwords() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let many = (0..250).map(|number| {
        doc! { "username": format!("u{number}"), "email": format!("u{number}@example.com"), "password": "$2b$secret" }
    });
    app.users().insert_many(many).await.unwrap();

    let listed = root.client.get("/api/admin/users").await.expect(200);
    let bare = root.client.get("/api/users").await.expect(200);

    assert_eq!(listed.headers["content-type"], "application/json");
    let users = listed.body["users"].as_array().unwrap();
    assert_eq!(users.len(), 251);
    assert_eq!(users[0]["_id"], root.id.as_str());
    assert_eq!(bare.body.as_array(), Some(users));
    assert!(!listed.text.contains("$2b$") && !listed.text.contains("password"));
    for member in [
        "_id",
        "username",
        "email",
        "role",
        "isVerified",
        "createdAt",
        "updatedAt",
        "__v",
    ] {
        assert!(users.iter().all(|user| !user[member].is_null()), "{member}");
    }
}

#[tokio::test]
async fn a_user_is_found_by_id_in_both_styles() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;

    let answer = root
        .client
        .get(&format!("/api/admin/users/{}", root.id))
        .await
        .expect(200);

    let user = &answer.body["user"];
    for (one, other) in [
        ("user_id", "_id"),
        ("is_verified", "isVerified"),
        ("created_at", "createdAt"),
        ("updated_at", "updatedAt"),
    ] {
        assert!(!user[one].is_null());
        assert_eq!(user[one], user[other]);
    }
    assert_eq!(
        (&user["username"], &user["role"]),
        (&json!("root1"), &json!("admin"))
    );
    let nobody = format!("/api/admin/users/{}", "a".repeat(24));
    root.client
        .get(&nobody)
        .await
        .expect_problem(404, "user_not_found");
    for bad in ["1", "zzzzzzzzzzzzzzzzzzzzzzzz", "%00", "[$ne]=1"] {
        root.client
            .get(&format!("/api/admin/users/{bad}"))
            .await
            .expect_problem(400, "invalid_user_id");
    }
}

#[tokio::test]
async fn a_user_is_found_by_address() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let body = json!({ "username": "plus", "email": "plus+tag.x@example.com", "password": PASSWORD });
    let id = text(&app.client.post("/api/auth/signup", &body).await.expect(201).body["userId"]);

    for address in [
        "plus%2Btag.x%40example.com",
        "PLUS+tag.x@Example.com",
        "plus+tag.x@example.com",
    ] {
        let answer = root
            .client
            .get(&format!("/api/admin/users/by-email/{address}"))
            .await
            .expect(200);
        assert_eq!(answer.body["user"]["_id"], id.as_str(), "{address}");
        assert_eq!(answer.body["user"]["isVerified"], false);
    }
    for address in [
        "nobody@example.com",
        "not-an-address",
        "%7B%22%24ne%22%3A1%7D",
        "%E2%82",
        "a%00b",
    ] {
        root.client
            .get(&format!("/api/admin/users/by-email/{address}"))
            .await
            .expect(404);
    }
    let bad = app.client.with_token("rubbish");
    bad.get("/api/admin/users/by-email/a@b.c")
        .await
        .expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_new_role_ends_the_users_sessions() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = format!("/api/admin/users/{}/role", ada.id);

    let answer = root
        .client
        .put(&path, &json!({ "role": "admin" }))
        .await
        .expect(200);

    assert_eq!(
        (&answer.body["user"]["role"], &answer.body["user"]["_id"]),
        (&json!("admin"), &json!(ada.id))
    );
    ada.client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
    app.refresh(&ada.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");
    let ada = app.log_in("ada").await;
    ada.client.get("/api/admin/users").await.expect(200);

    root.client
        .put(&path, &json!({ "role": "user" }))
        .await
        .expect(200);
    ada.client
        .get("/api/admin/users")
        .await
        .expect_problem(401, "session_revoked");
    app.log_in("ada")
        .await
        .client
        .get("/api/admin/users")
        .await
        .expect_problem(403, "forbidden");

    let ids = doc! { "action": "role_changed", "actor": ObjectId::parse_str(&root.id).unwrap() };
    assert_eq!(app.count("audit_events", ids).await, 2);
}

#[tokio::test]
async fn the_same_role_again_ends_nothing() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "teacher").await;
    let path = format!("/api/admin/users/{}/role", ada.id);

    root.client
        .put(&path, &json!({ "role": "enduser" }))
        .await
        .expect(200);

    ada.client.get("/api/profile").await.expect(200);
    assert_eq!(
        app.find_user(&ada.id).await.unwrap().get_str("role").ok(),
        Some("enduser")
    );
}

#[tokio::test]
async fn roles_that_do_not_exist_and_users_that_do_not_are_refused() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let path = |id: &str| format!("/api/admin/users/{id}/role");

    for body in [
        json!({}),
        json!({ "role": "god" }),
        json!({ "role": "" }),
        json!({ "role": { "$set": "admin" } }),
    ] {
        root.client
            .put(&path(&ada.id), &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    let admin = json!({ "role": "admin" });
    root.client
        .put(&path("nonsense"), &admin)
        .await
        .expect_problem(400, "invalid_user_id");
    root.client
        .put(&path(&"a".repeat(24)), &admin)
        .await
        .expect_problem(404, "user_not_found");
    ada.client.get("/api/profile").await.expect(200);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let path = format!("/api/admin/users/{}/role", root.id);

    root.client
        .put(&path, &json!({ "role": "enduser" }))
        .await
        .expect_problem(409, "last_admin");

    root.client.get("/api/admin/users").await.expect(200);
    let unable = app.sign_up("root3").await;
    app.update_user(&unable, doc! { "role": "admin" }).await;
    root.client
        .put(&path, &json!({ "role": "enduser" }))
        .await
        .expect_problem(409, "last_admin");
    app.user("root2", "admin").await;
    root.client
        .put(&path, &json!({ "role": "enduser" }))
        .await
        .expect(200);
}

#[tokio::test]
async fn two_admins_who_demote_each_other_leave_one_at_least() {
    let app = TestApp::spawn().await;
    let (one, two) = (app.user("root1", "admin").await, app.user("root2", "admin").await);
    let enduser = json!({ "role": "enduser" });
    for _ in 0..8 {
        let (path_one, path_two) = (
            format!("/api/admin/users/{}/role", one.id),
            format!("/api/admin/users/{}/role", two.id),
        );
        let (first, second) = (app.log_in("root1").await, app.log_in("root2").await);

        join(
            first.client.put(&path_two, &enduser),
            second.client.put(&path_one, &enduser),
        )
        .await;

        assert!(app.count("users", doc! { "role": "admin" }).await >= 1);
        app.update_user(&one.id, doc! { "role": "admin" }).await;
        app.update_user(&two.id, doc! { "role": "admin" }).await;
    }
}
