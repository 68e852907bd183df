//! What people see and change of themselves.

use bson::doc;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn the_profile_is_the_user_without_the_password() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;

    let answer = ada.client.get("/api/profile").await.expect(200);

    let user = &answer.body["user"];
    let mut members: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "__v",
            "_id",
            "createdAt",
            "email",
            "isActive",
            "isVerified",
            "role",
            "updatedAt",
            "username"
        ]
    );
    assert_eq!((&user["_id"], &user["username"]), (&json!(ada.id), &json!("ada")));
    let created = user["createdAt"].as_str().unwrap();
    assert!(created.len() == 24 && created.ends_with('Z'), "{created}");
}

#[tokio::test]
async fn a_name_is_changed_and_nothing_else_can_be() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let body = json!({
        "username": " lovelace ", "email": "ADA@example.com", "role": "admin", "isVerified": false,
        "_id": "b".repeat(24), "password": "another password 1",
    });

    let answer = ada.client.put("/api/profile", &body).await.expect(200);

    assert_eq!(answer.body["user"]["username"], "lovelace");
    assert_eq!(answer.body["user"]["role"], "enduser");
    let stored = app.find_user(&ada.id).await.unwrap();
    assert_eq!(stored.get_bool("isVerified").ok(), Some(true));
    app.log_in("lovelace").await;
    for body in [
        json!({}),
        json!({ "username": "", "email": "" }),
        json!({ "username": null, "email": null }),
    ] {
        let same = ada.client.put("/api/profile", &body).await.expect(200);
        assert_eq!(same.body["user"]["username"], "lovelace");
    }
}

#[tokio::test]
async fn a_profile_is_not_changed_to_what_may_not_be() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.user("bob", "enduser").await;

    for username in ["ab", "bob@example.com", "x\u{0}yz", "\u{202e}ada"] {
        let body = json!({ "username": username });
        ada.client
            .put("/api/profile", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    for body in [
        json!({ "username": 5 }),
        json!({ "email": ["x"] }),
        json!({ "username": { "$set": 1 } }),
    ] {
        ada.client
            .put("/api/profile", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    ada.client
        .put("/api/profile", &json!({ "username": "bob" }))
        .await
        .expect_problem(400, "username_taken");
    let body = json!({ "username": "adanew", "email": "new@example.com" });
    let answer = ada.client.put("/api/profile", &body).await;
    let answer = answer.expect_problem(400, "validation_failed");
    assert_eq!(answer.body["errors"][0]["field"], "currentPassword");

    let stored = app.find_user(&ada.id).await.unwrap();
    assert_eq!(stored.get_str("username").unwrap(), "ada");
    assert_eq!(stored.get_str("email").unwrap(), "ada@example.com");
}

#[tokio::test]
async fn somebody_removed_from_the_database_has_no_profile() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.users().delete_many(doc! {}).await.unwrap();

    ada.client
        .get("/api/profile")
        .await
        .expect_problem(404, "user_not_found");
    ada.client
        .put("/api/profile", &json!({ "username": "x12" }))
        .await
        .expect_problem(404, "user_not_found");
}

#[tokio::test]
async fn dashboards_say_who_is_looking() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "supervisor").await;
    let bob = app.user("bob", "enduser").await;

    let dashboard = ada.client.get("/api/dashboard").await.expect(200);
    assert_eq!(
        dashboard.body["user"],
        json!({ "userId": ada.id, "username": "ada", "role": "supervisor" })
    );
    let own = bob.client.get("/api/admin/dashboard").await.expect(200);
    assert_eq!(
        own.body,
        json!({ "message": "User dashboard accessed successfully", "role": "enduser" })
    );
    let reports = ada.client.get("/api/admin/reports").await.expect(200);
    assert_eq!(
        reports.body,
        json!({ "message": "Reports accessed successfully", "role": "supervisor" })
    );
    bob.client
        .get("/api/admin/reports")
        .await
        .expect_problem(403, "forbidden");
}
