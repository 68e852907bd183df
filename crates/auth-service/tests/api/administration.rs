//! What administrators change of accounts: name, address, role, open or shut.

use bson::doc;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::{PASSWORD, SignedIn, TestApp, email_of, eventually};

fn path(id: &str) -> String {
    format!("/api/admin/users/{id}")
}

async fn edit(admin: &SignedIn, id: &str, body: Value) -> test_support::Answer {
    let request = admin.client.request(reqwest::Method::PATCH, &path(id));
    admin.client.send(request.json(&body)).await
}

#[tokio::test]
async fn a_shut_account_is_out_everywhere_and_comes_back_when_it_is_opened() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    let replica = app.spawn_beside().await;

    let shut = edit(&root, &ada.id, json!({ "isActive": false }))
        .await
        .expect(200);

    assert_eq!(shut.body["user"]["isActive"], false);
    for base in [&app, &replica] {
        let client = base.client.with_token(&ada.access);
        client
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
    }
    app.refresh(&ada.refresh).await.expect(401);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    let events = doc! { "action": "user_disabled", "actor": { "$exists": true } };
    assert_eq!(app.count("audit_events", events).await, 1);

    let open = edit(&root, &ada.id, json!({ "isActive": true }))
        .await
        .expect(200);
    assert_eq!(open.body["user"]["isActive"], true);
    app.log_in("ada")
        .await
        .client
        .get("/api/profile")
        .await
        .expect(200);
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_nothing_else() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "teacher").await;

    let body = json!({ "username": "ada2", "email": " Ada2@Example.COM ", "role": null, "__v": 9, "password": "x", "unknown": {} });
    let edited = edit(&root, &ada.id, body).await.expect(200);

    assert_eq!(edited.body["user"]["username"], "ada2");
    assert_eq!(edited.body["user"]["email"], "ada2@example.com");
    assert_eq!(edited.body["user"]["isVerified"], true);
    let stored = app.find_user(&ada.id).await.unwrap();
    assert_eq!(
        stored.get_str("role").unwrap(),
        "teacher",
        "the stored word stays"
    );
    ada.client.get("/api/profile").await.expect(200);
    let mail = eventually("a mail to the old address", async || {
        app.mails_to(&email_of("ada"))
            .into_iter()
            .find(|mail| mail.contains("was changed"))
    })
    .await;
    assert!(!mail.contains("ada2@example.com"), "the new address is not told");
    app.log_in("ada2").await;

    let doubted = edit(&root, &ada.id, json!({ "isVerified": false }))
        .await
        .expect(200);
    assert_eq!(doubted.body["user"]["isVerified"], false);
    app.try_log_in("ada2", PASSWORD)
        .await
        .expect_problem(401, "email_not_verified");
    for action in ["username_changed", "email_changed", "email_doubted"] {
        assert_eq!(
            app.count("audit_events", doc! { "action": action }).await,
            1,
            "{action}"
        );
    }
    let before = app.count("audit_events", doc! {}).await;
    edit(&root, &ada.id, json!({})).await.expect(200);
    edit(&root, &ada.id, json!({ "username": "ada2", "isVerified": false }))
        .await
        .expect(200);
    assert_eq!(
        app.count("audit_events", doc! {}).await,
        before,
        "nothing changed"
    );
}

#[tokio::test]
async fn codes_sent_to_the_old_address_are_void() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let id = app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    edit(&root, &id, json!({ "email": "new@example.com" }))
        .await
        .expect(200);

    for body in [
        json!({ "token": code }),
        json!({ "token": code, "email": "new@example.com" }),
    ] {
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "invalid_code");
    }
    let kept = doc! { "email": email_of("ada") };
    assert_eq!(app.count("verifications", kept).await, 0);
}

#[tokio::test]
async fn bad_edits_change_nothing() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let ada = app.user("ada", "enduser").await;
    app.user("bob", "enduser").await;
    let before = app.find_user(&ada.id).await.unwrap();

    for body in [
        json!({ "username": "x" }),
        json!({ "username": ["ada2"] }),
        json!({ "username": { "$ne": "" } }),
        json!({ "email": "nobody" }),
        json!({ "email": "a@b.c\r\nBcc: x@y.z" }),
        json!({ "role": "teacher" }),
        json!({ "role": "" }),
        json!({ "isActive": "false" }),
        json!({ "isVerified": 0 }),
        json!([]),
    ] {
        edit(&root, &ada.id, body)
            .await
            .expect_problem(400, "validation_failed");
    }
    let all = edit(
        &root,
        &ada.id,
        json!({ "username": "x", "email": "y", "role": "z" }),
    )
    .await;
    assert_eq!(all.body["errors"].as_array().unwrap().len(), 3);
    edit(&root, &ada.id, json!({ "username": "bob", "isActive": false }))
        .await
        .expect_problem(400, "username_taken");
    edit(&root, &ada.id, json!({ "email": "BOB@example.com" }))
        .await
        .expect_problem(400, "email_taken");
    edit(&root, "nobody", json!({}))
        .await
        .expect_problem(400, "invalid_user_id");
    edit(&root, &"a".repeat(24), json!({ "isActive": false }))
        .await
        .expect_problem(404, "user_not_found");
    edit(&ada, &root.id, json!({ "isActive": false }))
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(
        app.find_user(&ada.id).await.unwrap().get("username"),
        before.get("username")
    );
    ada.client.get("/api/profile").await.expect(200);
}

#[tokio::test]
async fn the_last_admin_stays_whatever_is_tried() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let asleep = app.user("root2", "admin").await;
    app.update_user(&asleep.id, doc! { "isDisabled": true }).await;

    edit(&root, &root.id, json!({ "isActive": false }))
        .await
        .expect_problem(400, "own_account");
    for body in [json!({ "isVerified": false }), json!({ "role": "enduser" })] {
        edit(&root, &root.id, body)
            .await
            .expect_problem(409, "last_admin");
    }
    root.client
        .put(
            &format!("{}/role", path(&root.id)),
            &json!({ "role": "supervisor" }),
        )
        .await
        .expect_problem(409, "last_admin");
    root.client
        .delete(&path(&root.id))
        .await
        .expect_problem(400, "own_account");
    root.client.get("/api/users").await.expect(200);

    edit(&root, &asleep.id, json!({ "isActive": true }))
        .await
        .expect(200);
    edit(&root, &root.id, json!({ "role": "enduser" }))
        .await
        .expect(200);
    let other = app.log_in("root2").await;
    edit(&other, &other.id, json!({ "role": "enduser" }))
        .await
        .expect_problem(409, "last_admin");
}

#[tokio::test]
async fn admins_who_turn_on_each_other_on_two_replicas_leave_one() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    for round in 0..8 {
        let names = [format!("left{round}"), format!("right{round}")];
        let (left, right) = (
            app.user(&names[0], "admin").await,
            app.user(&names[1], "admin").await,
        );
        app.users()
            .update_many(
                doc! { "username": { "$nin": &names } },
                doc! { "$set": { "role": "enduser" } },
            )
            .await
            .unwrap();
        let on_replica = replica.client.with_token(&right.access);
        let body = [
            json!({ "role": "enduser" }),
            json!({ "isActive": false }),
            json!({ "isVerified": false }),
        ];
        let body = &body[round % 3];
        let patch = |client: &test_support::Client, id: &str| {
            let request = client.request(reqwest::Method::PATCH, &path(id)).json(body);
            let client = client.clone();
            async move { client.send(request).await.status.as_u16() }
        };

        let (one, other) = join(patch(&left.client, &right.id), patch(&on_replica, &left.id)).await;

        let active = doc! { "role": "admin", "isVerified": true, "isDisabled": { "$ne": true } };
        assert_eq!(app.count("users", active).await, 1, "{one} {other}");
        assert!([one, other].contains(&200), "{one} {other}");
        assert!(
            [one, other].iter().any(|status| matches!(status, 401 | 409)),
            "{one} {other}"
        );
    }
    assert_eq!(app.count("locks", doc! {}).await, 0, "every lock was given back");
}

#[tokio::test]
async fn a_lock_whose_holder_died_runs_out() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    app.user("root2", "admin").await;
    let past = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - 1);
    app.collection("locks")
        .insert_one(doc! { "_id": "admins", "holder": "dead", "expiresAt": past })
        .await
        .unwrap();
    edit(&root, &root.id, json!({ "role": "enduser" }))
        .await
        .expect(200);
}

#[tokio::test]
async fn many_edits_at_once_are_all_told() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(app.sign_up(&format!("user{number}")).await);
    }
    let edits = ids.iter().flat_map(|id| {
        let root = &root;
        (0..4).map(move |_| edit(root, id, json!({ "role": "supervisor" })))
    });
    for answer in join_all(edits).await {
        answer.expect(200);
    }

    let numbers: Vec<_> = {
        use futures_util::TryStreamExt as _;
        let rows = app
            .collection("user_changes")
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .await
            .unwrap();
        let rows: Vec<_> = rows.try_collect().await.unwrap();
        rows.iter().map(|row| row.get_i64("_id").unwrap()).collect()
    };
    assert!(numbers.len() >= 24);
    assert!(
        numbers
            .iter()
            .copied()
            .eq(1..=i64::try_from(numbers.len()).unwrap()),
        "no number is left out"
    );
    assert_eq!(
        app.count("users", doc! { "untold": { "$exists": true } }).await,
        0
    );
}

#[tokio::test]
async fn roles_of_other_tools_read_as_the_map_says_and_stay_as_they_are() {
    let app = TestApp::spawn_with(|config| config.role_map = "teacher:supervisor".parse().unwrap()).await;
    let teacher = app.user("teacher1", "teacher").await;
    let student = app.user("student1", "student").await;

    assert_eq!(teacher.claims(&app).role, common_jwt::Role::Supervisor);
    assert_eq!(student.claims(&app).role, common_jwt::Role::EndUser);
    teacher.client.get("/api/admin/reports").await.expect(200);
    student
        .client
        .get("/api/admin/reports")
        .await
        .expect_problem(403, "forbidden");
    let shown = teacher.client.get("/api/profile").await.expect(200);
    assert_eq!(shown.body["user"]["role"], "supervisor");
    teacher
        .client
        .put("/api/profile", &json!({ "username": "teacher2" }))
        .await
        .expect(200);
    let stored = app.find_user(&teacher.id).await.unwrap();
    assert_eq!(stored.get_str("role").unwrap(), "teacher");
}
