//! Giving many people a chatflow at once.

use bson::{Document, doc};
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Answer, Person};
use wiremock::{Mock, ResponseTemplate, matchers::path_regex};

use super::fakes::{Directory, listed, synced};
use super::support::TestApp;

const BULK: &str = "/api/v1/admin/chatflows/flow/users/bulk-add";
const BY_EMAIL: &str = "/api/v1/admin/chatflows/add-users-by-email";

async fn count(app: &TestApp, collection: &str) -> u64 {
    let documents = app.behind.mongo.database.collection::<Document>(collection);
    documents.count_documents(doc! {}).await.unwrap()
}

fn pupils(directory: &Directory, count: usize) -> Vec<Person> {
    let pupil = |number| {
        let person = Person::new(&format!("pupil-{number}"), Role::EndUser);
        directory.add(&person);
        person
    };
    (0..count).map(pupil).collect()
}

fn column(answer: &Answer, list: &str, member: &str) -> Vec<Value> {
    answer.body[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[member].clone())
        .collect()
}

#[actix_web::test]
async fn each_address_succeeds_or_fails_for_itself() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let known = pupils(&directory, 3);
    let addresses = json!([
        known[0].email,
        "not an address",
        known[1].email.to_uppercase(),
        "nobody@example.com",
        known[2].email,
        "",
        known[0].email,
    ]);

    let answer = app
        .admin()
        .post(BULK, &json!({ "emails": addresses }))
        .await
        .expect(200);

    assert_eq!(
        column(&answer, "successful_assignments", "email"),
        [&known[0].email, &known[1].email.to_uppercase(), &known[2].email].map(|email| json!(email))
    );
    assert_eq!(
        column(&answer, "successful_assignments", "status"),
        ["Assigned"; 3].map(Value::from)
    );
    assert_eq!(
        column(&answer, "failed_assignments", "email"),
        ["not an address", "nobody@example.com", ""].map(Value::from)
    );
    assert_eq!(
        column(&answer, "failed_assignments", "status"),
        ["Failed"; 3].map(Value::from)
    );
    assert_eq!(
        column(&answer, "failed_assignments", "message"),
        [
            "email: is not an e-mail address",
            "User with email 'nobody@example.com' not found in external system.",
            "email: is not an e-mail address",
        ]
        .map(Value::from)
    );
    assert_eq!(count(&app, "UserChatflow").await, 3);

    let again = json!({ "chatflow_id": "flow", "emails": [known[0].email] });
    let answer = app.admin().post(BY_EMAIL, &again).await.expect(200);
    assert_eq!(column(&answer, "successful_assignments", "status"), ["No Action"]);
}

#[actix_web::test]
async fn a_class_assigned_twice_at_once_is_assigned_once() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let class = pupils(&directory, 30);
    let emails: Vec<_> = class.iter().map(|pupil| &pupil.email).collect();
    let (admin, body) = (app.admin(), json!({ "chatflow_id": "flow", "emails": emails }));

    let (one, other) = futures_util::join!(admin.post(BY_EMAIL, &body), admin.post(BY_EMAIL, &body));

    let mut statuses = Vec::new();
    for answer in [one, other] {
        let answer = answer.expect(200);
        assert_eq!(answer.body["failed_assignments"], json!([]), "{}", answer.text);
        statuses.extend(column(&answer, "successful_assignments", "status"));
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == "Assigned").count(),
        30
    );
    assert_eq!(
        (count(&app, "users").await, count(&app, "UserChatflow").await),
        (30, 30)
    );
}

#[actix_web::test]
async fn a_bulk_that_is_not_valid_changes_nothing() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let known = pupils(&directory, 1);
    let crowd: Vec<_> = (0..1_001).map(|number| format!("p{number}@x.org")).collect();

    for body in [
        json!({}),
        json!({ "emails": [] }),
        json!({ "emails": "ada@example.com" }),
        json!({ "emails": [known[0].email, 7] }),
        json!({ "emails": [known[0].email, null] }),
        json!({ "emails": crowd }),
    ] {
        app.admin()
            .post(BULK, &body)
            .await
            .expect_problem(422, "validation_failed");
    }
    let body = json!({ "emails": [known[0].email] });
    app.admin()
        .post(BY_EMAIL, &body)
        .await
        .expect_problem(422, "validation_failed");
    let unknown = json!({ "chatflow_id": "unknown", "emails": [known[0].email] });
    app.admin()
        .post(BY_EMAIL, &unknown)
        .await
        .expect_problem(404, "chatflow_not_found");

    assert_eq!(
        (count(&app, "users").await, count(&app, "UserChatflow").await),
        (0, 0)
    );
}

#[actix_web::test]
async fn an_outage_of_auth_is_one_answer_and_not_a_hundred_waits() {
    let app = TestApp::spawn().await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    Mock::given(path_regex("by-email"))
        .respond_with(ResponseTemplate::new(503))
        .mount(&app.behind.auth)
        .await;
    let emails: Vec<_> = (0..100).map(|number| format!("p{number}@example.com")).collect();

    let answer = app.admin().post(BULK, &json!({ "emails": emails })).await;

    answer.expect_problem(503, "auth_unavailable");
    let requests = app.behind.auth.received_requests().await.unwrap();
    let lookups = requests
        .iter()
        .filter(|request| request.url.path().contains("by-email"))
        .count();
    assert!(lookups <= 16, "{lookups} look-ups at a service that is away");
}

#[actix_web::test]
async fn an_outage_half_way_says_who_was_assigned_and_who_was_not() {
    let app = TestApp::spawn().await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let ada = Person::new("ada", Role::EndUser);
    let user = json!({ "_id": ada.id, "username": "ada", "email": ada.email, "role": "enduser", "isVerified": true });
    Mock::given(path_regex(format!("by-email/{}", ada.email)))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "user": user })))
        .mount(&app.behind.auth)
        .await;
    Mock::given(path_regex("by-email/p"))
        .respond_with(ResponseTemplate::new(502))
        .mount(&app.behind.auth)
        .await;
    let mut emails = vec![ada.email.clone()];
    emails.extend((0..50).map(|number| format!("p{number}@example.com")));

    let answer = app
        .admin()
        .post(BULK, &json!({ "emails": emails }))
        .await
        .expect(200);

    assert_eq!(
        column(&answer, "successful_assignments", "email"),
        [json!(ada.email)]
    );
    let messages = column(&answer, "failed_assignments", "message");
    assert_eq!(messages.len(), 50);
    assert!(
        messages
            .iter()
            .all(|message| message.as_str().unwrap().contains("try again")),
        "{messages:?}"
    );
    assert_eq!(count(&app, "UserChatflow").await, 1);
}
