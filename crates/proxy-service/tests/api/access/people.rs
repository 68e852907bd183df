//! Giving and taking by id, looking at what somebody has, forgetting a chatflow.

use bson::{Document, doc};
use common_jwt::Role;
use reqwest::Method;
use serde_json::json;
use test_support::{Answer, Client, Person};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{method, path},
};

use crate::catalog::{
    fakes::{Directory, listed, problem, synced},
    support::TestApp,
};

/// Two chatflows; whom auth-service knows can be looked up by id too.
pub(super) async fn spawn() -> (TestApp, Directory) {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow"), listed("other", "Other")]).await;
    (app, directory)
}

/// Auth-service knows this person by id.
pub(super) async fn known_by_id(app: &TestApp, person: &Person) {
    let user = json!({ "_id": person.id, "username": person.username, "email": person.email, "role": person.role, "isVerified": true });
    Mock::given(method("GET"))
        .and(path(format!("/api/admin/users/{}", person.id)))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "user": user })))
        .mount(&app.behind.auth)
        .await;
}

/// Auth-service knows nobody else by id.
pub(super) async fn nobody_by_id(app: &TestApp) {
    Mock::given(method("GET"))
        .and(wiremock::matchers::path_regex("^/api/admin/users/[0-9a-f]{24}$"))
        .respond_with(problem(404, "user_not_found", "there is no such user"))
        .with_priority(200)
        .mount(&app.behind.auth)
        .await;
}

/// A request that has no helper of its own.
pub(super) async fn call(client: &Client, verb: Method, path: &str, body: &serde_json::Value) -> Answer {
    client.send(client.request(verb, path).json(body)).await
}

pub(super) async fn ids(client: &Client) -> Vec<String> {
    let answer = client.get("/api/v1/chat/my-assigned-chatflows").await.expect(200);
    serde_json::from_value(answer.body["assigned_chatflow_ids"].clone()).unwrap()
}

#[actix_web::test]
async fn a_chatflow_is_given_and_taken_by_id() {
    let (app, _) = spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    known_by_id(&app, &ada).await;
    nobody_by_id(&app).await;
    let place = format!("/api/v1/admin/chatflows/flow/users/{}", ada.id);

    for status in ["Assigned", "No Action"] {
        let answer = app.admin().post(&place, &json!({})).await.expect(200);
        assert_eq!(
            (&answer.body["email"], &answer.body["status"]),
            (&json!(ada.email), &json!(status))
        );
    }
    assert_eq!(ids(&app.client(&ada)).await, ["flow"]);

    let taken = app.admin().delete(&place).await.expect(200);
    assert_eq!(
        (&taken.body["user_id"], &taken.body["status"]),
        (&json!(ada.id), &json!("Deactivated"))
    );
    assert_eq!(ids(&app.client(&ada)).await, [""; 0]);
    app.admin()
        .delete(&place)
        .await
        .expect_problem(404, "assignment_not_found");

    let stranger = "/api/v1/admin/chatflows/flow/users/aaaaaaaaaaaaaaaaaaaaaaaa";
    app.admin()
        .post(stranger, &json!({}))
        .await
        .expect_problem(404, "user_not_found");
    app.admin()
        .post("/api/v1/admin/chatflows/flow/users/nobody", &json!({}))
        .await
        .expect_problem(422, "validation_failed");
    app.admin()
        .post(&place.replace("flow/", "unknown/"), &json!({}))
        .await
        .expect_problem(404, "chatflow_not_found");
}

#[actix_web::test]
async fn many_are_given_a_chatflow_by_ids_and_addresses() {
    let (app, directory) = spawn().await;
    let (ada, ben) = (
        Person::new("ada", Role::EndUser),
        Person::new("ben", Role::EndUser),
    );
    known_by_id(&app, &ada).await;
    nobody_by_id(&app).await;
    directory.add(&ben);
    let body = json!({ "chatflow_id": "flow", "user_ids": [ada.id, "bbbbbbbbbbbbbbbbbbbbbbbb"], "emails": [ben.email] });

    let answer = app
        .admin()
        .post("/api/admin/chatflows/add-users", &body)
        .await
        .expect(200);

    assert_eq!(answer.body["successful_assignments"].as_array().unwrap().len(), 2);
    assert_eq!(
        answer.body["failed_assignments"][0]["email"],
        "bbbbbbbbbbbbbbbbbbbbbbbb"
    );
    assert_eq!(ids(&app.client(&ada)).await, ["flow"]);
    assert_eq!(ids(&app.client(&ben)).await, ["flow"]);
}

#[actix_web::test]
async fn an_admin_sees_what_somebody_was_given_and_by_whom() {
    let (app, directory) = spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let admin = app.admin();
    admin
        .post(
            "/api/v1/admin/chatflows/flow/users",
            &json!({ "email": ada.email }),
        )
        .await
        .expect(200);
    let group = admin
        .post("/api/v1/admin/groups", &json!({ "name": "2B" }))
        .await
        .expect(201);
    let id = group.body["id"].as_str().unwrap();
    admin
        .post(
            &format!("/api/v1/admin/groups/{id}/members"),
            &json!({ "emails": [ada.email] }),
        )
        .await
        .expect(200);
    call(
        &admin,
        Method::PUT,
        &format!("/api/v1/admin/groups/{id}/chatflows/other"),
        &json!({}),
    )
    .await
    .expect(200);

    let seen = admin
        .get(&format!("/api/v1/admin/users/{}/chatflows", ada.id))
        .await
        .expect(200);
    let shown: Vec<_> = seen
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["id"], &row["group_name"]))
        .collect();
    assert_eq!(
        shown,
        [(&json!("flow"), &json!(null)), (&json!("other"), &json!("2B"))]
    );
    admin
        .get("/api/v1/admin/users/nobody/chatflows")
        .await
        .expect_problem(422, "validation_failed");
}

#[actix_web::test]
async fn a_chatflow_that_is_forgotten_comes_back_without_anybodys_access() {
    let (app, directory) = spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let admin = app.admin();
    admin
        .post(
            "/api/v1/admin/chatflows/flow/users",
            &json!({ "email": ada.email }),
        )
        .await
        .expect(200);
    app.client(&ada).get("/api/v1/chatflows/flow").await.expect(200);

    let gone = admin.delete("/api/v1/admin/chatflows/flow").await.expect(200);
    assert_eq!(gone.body["assignments_deleted"], 1);
    let denied = app.client(&ada).get("/api/v1/chatflows/flow").await;
    denied.expect_problem(403, "chatflow_access_denied");
    admin
        .delete("/api/v1/admin/chatflows/flow")
        .await
        .expect_problem(404, "chatflow_not_found");
    let rows = app.behind.mongo.database.collection::<Document>("UserChatflow");
    assert_eq!(rows.count_documents(doc! {}).await.unwrap(), 0);

    let sync = admin
        .post("/api/v1/admin/chatflows/sync", &json!({}))
        .await
        .expect(200);
    assert_eq!(sync.body["created"], 1);
    let denied = app.client(&ada).get("/api/v1/chatflows/flow").await;
    denied.expect_problem(403, "chatflow_access_denied");
}
