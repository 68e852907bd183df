//! Copies of everybody, from auth-service.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bson::doc;
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::Person;
use wiremock::{
    Mock, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use crate::catalog::{fakes::problem, support::TestApp};

/// Auth-service's list, by pages as it gives them.
#[derive(Clone)]
struct People {
    users: Arc<Vec<Value>>,
    asked: Arc<AtomicUsize>,
    fails_after: usize,
}

impl Respond for People {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        if self.asked.fetch_add(1, Ordering::Relaxed) >= self.fails_after {
            return problem(503, "database_unavailable", "try again");
        }
        let query: std::collections::HashMap<_, _> = request.url.query_pairs().into_owned().collect();
        let limit: usize = query["limit"].parse().unwrap();
        assert!(limit <= 200, "auth-service gives no more at once");
        let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let matches = |user: &&Value| query.get("role").is_none_or(|role| user["role"] == **role);
        let all: Vec<_> = self.users.iter().filter(matches).collect();
        let users: Vec<_> = all.iter().skip(from).take(limit).collect();
        let next = (from + limit < all.len()).then(|| (from + limit).to_string());
        ResponseTemplate::new(200).set_body_json(json!({ "users": users, "nextCursor": next }))
    }
}

async fn mount(app: &TestApp, users: Vec<Value>, fails_after: usize) {
    let people = People {
        users: Arc::new(users),
        asked: Arc::default(),
        fails_after,
    };
    app.behind.auth.reset().await;
    Mock::given(method("GET"))
        .and(path("/api/admin/users"))
        .respond_with(people)
        .mount(&app.behind.auth)
        .await;
}

fn user(person: &Person) -> Value {
    json!({
        "_id": person.id, "username": person.username, "email": person.email, "role": person.role,
        "isVerified": true, "isActive": true, "createdAt": "2026-01-01T00:00:00.000Z", "__v": 0,
    })
}

/// Auth-service knows so many pupils, and an admin.
pub(super) async fn everybody(app: &TestApp, count: usize) -> Vec<Person> {
    let people: Vec<_> = (0..count)
        .map(|number| Person::new(&format!("pupil-{number}"), Role::EndUser))
        .collect();
    let mut users: Vec<_> = people.iter().map(user).collect();
    users.push(user(&Person::new("admin", Role::Admin)));
    mount(app, users, usize::MAX).await;
    people
}

const SYNC: &str = "/api/v1/admin/users/sync";

#[actix_web::test]
async fn everybody_is_copied_compared_and_switched_off() {
    let app = TestApp::spawn().await;
    let admin = app.admin();
    admin.get(SYNC).await.expect_problem(404, "never_synchronised");
    let people = everybody(&app, 450).await;

    let first = admin.post(SYNC, &json!({})).await.expect(200).body;
    assert_eq!(first["status"], "success");
    let counts = |body: &Value| {
        ["total", "created", "updated", "deactivated", "unchanged"].map(|name| body[name].as_u64().unwrap())
    };
    assert_eq!(counts(&first), [451, 451, 0, 0, 0]);

    // One is gone, one was shut, one has another name, one is new.
    let mut users: Vec<_> = people.iter().skip(1).map(user).collect();
    users[0]["isActive"] = json!(false);
    users[1]["username"] = json!("renamed");
    users.push(user(&Person::new("new", Role::EndUser)));
    mount(&app, users, usize::MAX).await;
    let second = admin.post(SYNC, &json!({})).await.expect(200).body;
    // The admin's copy is not named either.
    assert_eq!(counts(&second), [450, 1, 1, 3, 447]);
    assert_eq!(admin.get(SYNC).await.expect(200).body, second);

    let listed = admin.get("/api/v1/admin/users").await.expect(200);
    let listed = listed.body.as_array().unwrap();
    assert_eq!(listed.len(), 452);
    let active = |person: &Person| {
        let row = listed.iter().find(|row| row["external_id"] == person.id).unwrap();
        row["is_active"].as_bool().unwrap()
    };
    assert_eq!(
        [0, 1, 2, 3].map(|index| active(&people[index])),
        [false, false, true, true]
    );
}

#[actix_web::test]
async fn a_list_that_breaks_off_switches_nobody_off() {
    let app = TestApp::spawn().await;
    let admin = app.admin();
    let people = everybody(&app, 450).await;
    admin.post(SYNC, &json!({})).await.expect(200);
    mount(&app, people.iter().map(user).collect(), 1).await;

    admin
        .post(SYNC, &json!({}))
        .await
        .expect_problem(503, "auth_unavailable");

    let latest = admin.get(SYNC).await.expect(200).body;
    assert_eq!(
        (&latest["status"], &latest["error"]),
        (&json!("failed"), &json!("auth_unavailable"))
    );
    mount(&app, vec![], usize::MAX).await;
    admin
        .post(SYNC, &json!({}))
        .await
        .expect_problem(503, "auth_unavailable");
    let copies = app.behind.mongo.database.collection::<bson::Document>("users");
    let inactive = copies.count_documents(doc! { "is_active": false }).await.unwrap();
    assert_eq!(inactive, 0, "an empty list is an answer of something else");
}

#[actix_web::test]
async fn two_runs_at_once_on_two_replicas_are_one() {
    let app = TestApp::spawn().await;
    everybody(&app, 900).await;
    let second = app.second_replica().await;
    let token = app.tokens.access(&Person::new("admin", Role::Admin));
    let (here, there) = (app.admin(), second.client().with_token(token));
    let nothing = json!({});

    let (one, other) = futures_util::join!(here.post(SYNC, &nothing), there.post(SYNC, &nothing));

    for answer in [&one, &other] {
        assert!([200, 202].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    let copies = app.behind.mongo.database.collection::<bson::Document>("users");
    crate::catalog::support::until(async || here.get(SYNC).await.body["status"] == "success").await;
    assert_eq!(copies.count_documents(doc! {}).await.unwrap(), 901);
}
