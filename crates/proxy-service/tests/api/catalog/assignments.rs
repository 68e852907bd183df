//! Giving one person a chatflow, taking it away, and looking people up.

use bson::{Document, doc};
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Answer, Person};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{bearer_token, method, path_regex},
};

use super::fakes::{Directory, assign, listed, problem, synced};
use super::support::{TestApp, until};

const USERS: &str = "/api/v1/admin/chatflows/flow/users";
const SYNC_USER: &str = "/api/v1/admin/users/sync-by-email";

async fn app_with_a_chatflow() -> (TestApp, Directory) {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    (app, directory)
}

async fn remove(app: &TestApp, path: &str, body: Option<Value>) -> Answer {
    let admin = app.admin();
    let request = admin.request(reqwest::Method::DELETE, path);
    match body {
        Some(body) => admin.send(request.json(&body)).await,
        None => admin.send(request).await,
    }
}

async fn count(app: &TestApp, collection: &str) -> u64 {
    let documents = app.behind.mongo.database.collection::<Document>(collection);
    documents.count_documents(doc! {}).await.unwrap()
}

fn emails(users: &Answer) -> Vec<&str> {
    users
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["email"].as_str().unwrap())
        .collect()
}

#[actix_web::test]
async fn a_person_is_assigned_revoked_and_assigned_again() {
    let (app, directory) = app_with_a_chatflow().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let (client, body) = (app.client(&ada), json!({ "email": ada.email }));
    client
        .get("/api/v1/chatflows/flow")
        .await
        .expect_problem(403, "chatflow_access_denied");

    let assigned = app.admin().post(USERS, &body).await.expect(200);
    assert_eq!(assigned.body["email"], ada.email);
    assert_eq!(assigned.body["status"], "Assigned");
    assert!(!assigned.body["message"].as_str().unwrap().is_empty());
    client.get("/api/v1/chatflows/flow").await.expect(200);
    let users = app.admin().get(USERS).await.expect(200);
    let since = users.body[0]["assigned_at"].clone();
    assert!(since.as_str().unwrap().ends_with('Z'));
    assert_eq!(
        users.body,
        json!([{
            "username": "ada", "email": ada.email, "external_user_id": ada.id, "assigned_at": since,
            "starts_at": null, "ends_at": null,
        }])
    );

    let again = app.admin().post(USERS, &body).await.expect(200);
    assert_eq!(again.body["status"], "No Action");
    assert_eq!(
        app.admin().get(USERS).await.body[0]["assigned_at"],
        since,
        "nothing moved"
    );

    let removed = remove(&app, &format!("{USERS}?email={}", ada.email), None)
        .await
        .expect(200);
    assert_eq!(
        removed.body,
        json!({ "email": ada.email, "status": "Deactivated", "message": "User access has been successfully revoked." })
    );
    client
        .get("/api/v1/chatflows/flow")
        .await
        .expect_problem(403, "chatflow_access_denied");
    assert_eq!(app.admin().get(USERS).await.body, json!([]));
    let row = app.behind.mongo.database.collection::<Document>("UserChatflow");
    let row = row
        .find_one(doc! { "external_user_id": &ada.id })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        row.get_datetime("assigned_at").unwrap().to_chrono(),
        since
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap()
    );
    assert!(
        row.get_datetime("revoked_at").is_ok() && row.get_str("revoked_by").is_ok(),
        "{row}"
    );
    let twice = remove(&app, &format!("{USERS}?email={}", ada.email), None).await;
    twice.expect_problem(404, "assignment_not_found");

    let back = app.admin().post(USERS, &body).await.expect(200);
    assert_eq!(back.body["status"], "Reactivated");
    client.get("/api/v1/chatflows/flow").await.expect(200);
    assert_eq!(count(&app, "UserChatflow").await, 1);
}

#[actix_web::test]
async fn the_older_paths_do_the_same() {
    let (app, directory) = app_with_a_chatflow().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let (path, body) = ("/api/admin/chatflows/flow/users", json!({ "email": ada.email }));

    assert_eq!(
        app.admin().post(path, &body).await.expect(200).body["status"],
        "Assigned"
    );
    assert_eq!(
        emails(&app.admin().get(path).await.expect(200)),
        [ada.email.as_str()]
    );
    remove(&app, path, Some(body)).await.expect(200);
    assert_eq!(
        app.admin().get("/api/admin/chatflows").await.expect(200).body[0]["flowise_id"],
        "flow"
    );
}

#[actix_web::test]
async fn who_is_removed_may_stand_in_the_body_as_the_web_client_sends_it() {
    let (app, directory) = app_with_a_chatflow().await;
    let ada = Person::new("ada", Role::EndUser);
    assign(&app, &directory, &ada, "flow").await;

    let typed = ada.email.to_uppercase();
    let removed = remove(&app, USERS, Some(json!({ "email": typed })))
        .await
        .expect(200);

    assert_eq!(removed.body["email"], ada.email);
    app.client(&ada)
        .get("/api/v1/chatflows/flow")
        .await
        .expect_problem(403, "chatflow_access_denied");
}

#[actix_web::test]
async fn odd_addresses_reach_auth_unharmed() {
    let (app, directory) = app_with_a_chatflow().await;
    for (typed, stored) in [
        ("ada+class-7@example.com", "ada+class-7@example.com"),
        ("  BOB.B@School.LOCAL ", "bob.b@school.local"),
        ("eve@exam.test", "eve@exam.test"),
        ("admin@localhost", "admin@localhost"),
    ] {
        let mut person = Person::new("somebody", Role::EndUser);
        stored.clone_into(&mut person.email);
        directory.add(&person);

        let assigned = app
            .admin()
            .post(USERS, &json!({ "email": typed }))
            .await
            .expect(200);
        assert_eq!(
            (&assigned.body["email"], &assigned.body["status"]),
            (&json!(stored), &json!("Assigned"))
        );

        let typed = typed.trim();
        // Unescaped: a plus sign in a query reads as a space.
        let removed = remove(&app, &format!("{USERS}?email={typed}"), None)
            .await
            .expect(200);
        assert_eq!(removed.body["email"], stored);
    }
}

#[actix_web::test]
async fn a_request_that_is_not_valid_changes_nothing_and_asks_nobody() {
    let (app, directory) = app_with_a_chatflow().await;
    directory.add(&Person::new("ada", Role::EndUser));
    let lookups = async || {
        let requests = app.behind.auth.received_requests().await.unwrap();
        requests
            .iter()
            .filter(|request| request.url.path().contains("by-email"))
            .count()
    };

    for body in [
        json!({}),
        json!({ "email": null }),
        json!({ "email": 7 }),
        json!({ "email": ["ada@example.com"] }),
        json!({ "email": { "$ne": null } }),
        json!({ "email": "" }),
        json!({ "email": "ada" }),
        json!({ "email": "ada@@example.com" }),
        json!({ "email": "ada@example.com\r\nx: y" }),
    ] {
        for path in [USERS, SYNC_USER] {
            let refused = app
                .admin()
                .post(path, &body)
                .await
                .expect_problem(422, "validation_failed");
            assert_eq!(refused.body["errors"][0]["field"], "email", "{path} {body}");
        }
        remove(&app, USERS, Some(body))
            .await
            .expect_problem(422, "validation_failed");
    }
    remove(&app, USERS, None)
        .await
        .expect_problem(422, "validation_failed");
    remove(&app, &format!("{USERS}?email=nobody"), None)
        .await
        .expect_problem(422, "validation_failed");

    assert_eq!(lookups().await, 0);
    assert_eq!(
        (count(&app, "users").await, count(&app, "UserChatflow").await),
        (0, 0)
    );
}

#[actix_web::test]
async fn whom_or_what_nobody_knows_is_404() {
    let (app, directory) = app_with_a_chatflow().await;
    let ada = Person::new("ada", Role::EndUser);
    let body = json!({ "email": ada.email });

    let unknown = app
        .admin()
        .post(USERS, &body)
        .await
        .expect_problem(404, "user_not_found");
    assert_eq!(
        unknown.body["detail"],
        format!("User with email '{}' not found in external system.", ada.email)
    );
    app.admin()
        .post(SYNC_USER, &body)
        .await
        .expect_problem(404, "user_not_found");
    remove(&app, USERS, Some(body.clone()))
        .await
        .expect_problem(404, "user_not_found");
    assert_eq!(count(&app, "users").await, 0);

    directory.add(&ada);
    let elsewhere = "/api/v1/admin/chatflows/unknown/users";
    app.admin()
        .post(elsewhere, &body)
        .await
        .expect_problem(404, "chatflow_not_found");
    app.admin()
        .get(elsewhere)
        .await
        .expect_problem(404, "chatflow_not_found");
    remove(&app, elsewhere, Some(body.clone()))
        .await
        .expect_problem(404, "chatflow_not_found");
    remove(&app, USERS, Some(body))
        .await
        .expect_problem(404, "assignment_not_found");
    assert_eq!(count(&app, "UserChatflow").await, 0);
}

#[actix_web::test]
async fn giving_away_a_deleted_chatflow_does_not_bring_it_back() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    let catalog = synced(&app, vec![listed("flow", "Flow"), listed("other", "Other")]).await;
    let (ada, bob) = (
        Person::new("ada", Role::EndUser),
        Person::new("bob", Role::EndUser),
    );
    assign(&app, &directory, &ada, "flow").await;
    catalog.set(vec![listed("other", "Other")]);
    app.admin()
        .post("/api/v1/admin/chatflows/sync", &json!({}))
        .await
        .expect(200);

    directory.add(&bob);
    let refused = app.admin().post(USERS, &json!({ "email": bob.email })).await;
    refused.expect_problem(404, "chatflow_not_found");

    let record = app.admin().get("/api/v1/admin/chatflows/flow").await.expect(200);
    assert_eq!(record.body["sync_status"], "deleted");
    assert_eq!(
        emails(&app.admin().get(USERS).await.expect(200)),
        [ada.email.as_str()]
    );
    remove(&app, USERS, Some(json!({ "email": ada.email })))
        .await
        .expect(200);
}

#[actix_web::test]
async fn twenty_assignments_at_once_make_one() {
    let (app, directory) = app_with_a_chatflow().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let second = app.second_replica().await;
    let admin = app.tokens.access(&Person::new("admin", Role::Admin));
    let clients = [app.anybody.with_token(&admin), second.client().with_token(&admin)];
    let body = json!({ "email": ada.email });

    let posts = (0..20).map(|number| clients[number % 2].post(USERS, &body));
    let answers = futures_util::future::join_all(posts).await;

    let statuses: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect(200).body["status"].clone())
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == "Assigned").count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == "No Action").count(),
        19
    );
    assert_eq!(
        (count(&app, "users").await, count(&app, "UserChatflow").await),
        (1, 1)
    );
}

#[actix_web::test]
async fn a_revocation_reaches_the_other_replicas() {
    let (app, directory) = app_with_a_chatflow().await;
    let second = app.second_replica().await;
    let ada = Person::new("ada", Role::EndUser);
    assign(&app, &directory, &ada, "flow").await;
    let there = second.client().with_token(app.tokens.access(&ada));
    there.get("/api/v1/chatflows/flow").await.expect(200);

    remove(&app, USERS, Some(json!({ "email": ada.email })))
        .await
        .expect(200);

    until(async || there.get("/api/v1/chatflows/flow").await.status == 403).await;
}

#[actix_web::test]
async fn auths_refusals_of_the_administrator_are_passed_on() {
    let app = TestApp::spawn().await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    for (answer, status, code) in [
        (
            problem(401, "session_revoked", "this session has ended"),
            401,
            "invalid_token",
        ),
        (
            problem(403, "forbidden", "your role does not allow this"),
            403,
            "forbidden",
        ),
        (
            ResponseTemplate::new(429).insert_header("retry-after", "3"),
            429,
            "too_many_attempts",
        ),
        (ResponseTemplate::new(500), 503, "auth_unavailable"),
        (
            ResponseTemplate::new(404).set_body_raw("<html>", "text/html"),
            503,
            "auth_unavailable",
        ),
        (
            ResponseTemplate::new(200).set_body_json(json!({ "user": {} })),
            503,
            "auth_unavailable",
        ),
    ] {
        app.behind.auth.reset().await;
        Mock::given(path_regex("by-email"))
            .respond_with(answer)
            .mount(&app.behind.auth)
            .await;
        let body = json!({ "email": "ada@example.com" });

        app.admin().post(USERS, &body).await.expect_problem(status, code);
        app.admin()
            .post(SYNC_USER, &body)
            .await
            .expect_problem(status, code);

        assert_eq!(
            (count(&app, "users").await, count(&app, "UserChatflow").await),
            (0, 0)
        );
    }
}

#[actix_web::test]
async fn a_person_is_looked_up_with_the_administrators_own_token() {
    let app = TestApp::spawn().await;
    let (admin, ada) = (
        Person::new("admin", Role::Admin),
        Person::new("ada", Role::Supervisor),
    );
    let token = app.tokens.access(&admin);
    let user = json!({ "_id": ada.id, "username": "ada", "email": "ADA@example.com", "role": "supervisor", "isVerified": true });
    Mock::given(method("GET"))
        .and(bearer_token(&token))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "user": user })))
        .mount(&app.behind.auth)
        .await;

    let answer = app
        .anybody
        .with_token(&token)
        .post(SYNC_USER, &json!({ "email": ada.email }))
        .await
        .expect(200);

    assert_eq!(answer.body["status"], "success");
    assert_eq!(answer.body["message"], "User synchronized successfully.");
    let mut details = answer.body["user_details"].clone();
    assert_eq!(details["id"].take().as_str().unwrap().len(), 24);
    assert!(details["created_at"].take().as_str().unwrap().ends_with('Z'));
    assert!(details["updated_at"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        details,
        json!({
            "id": null, "username": "ada", "email": "ada@example.com", "role": "supervisor", "is_active": true,
            "external_id": ada.id, "created_at": null, "updated_at": null, "daily_turns_max": null,
        })
    );
}

#[actix_web::test]
async fn an_address_that_changed_hands_means_whoever_has_the_chatflow() {
    let (app, directory) = app_with_a_chatflow().await;
    let (mut old, mut new) = (
        Person::new("old", Role::EndUser),
        Person::new("new", Role::EndUser),
    );
    for person in [&mut old, &mut new] {
        "desk@school.local".clone_into(&mut person.email);
    }
    assign(&app, &directory, &old, "flow").await;
    // auth-service gives the address to somebody else, who is looked up but never assigned.
    directory.add(&new);
    app.admin()
        .post(SYNC_USER, &json!({ "email": new.email }))
        .await
        .expect(200);

    remove(&app, USERS, Some(json!({ "email": "desk@school.local" })))
        .await
        .expect(200);

    app.client(&old)
        .get("/api/v1/chatflows/flow")
        .await
        .expect_problem(403, "chatflow_access_denied");
}
