//! How fast people may ask, and how much supervisors may grant.

use accounting_service::{domain::pace::Pace, service::AllocationCaps};
use common_jwt::Role;
use futures_util::future::join_all;
use serde_json::json;
use test_support::Person;

use crate::support::{TestApp, post_with_key};

const ALLOCATE: &str = "/api/credits/allocate";

async fn capped() -> TestApp {
    TestApp::spawn_with(|config| {
        config.supervisor_caps = AllocationCaps {
            at_once: 100,
            a_day: 250,
        };
    })
    .await
}

#[actix_web::test]
async fn a_person_who_asks_too_fast_is_told_when_to_come_back() {
    // So slow that no request passes by the mere passing of time while the test runs.
    let app = TestApp::spawn_with(|config| config.user_pace = Pace { per_sec: 1, burst: 5 }).await;
    let (alice, bob) = (
        Person::new("alice", Role::EndUser),
        Person::new("bob", Role::EndUser),
    );
    let client = app.sign_in(&alice);

    let asked = (0..40).map(|_| client.get("/api/credits/total-balance"));
    let answers = join_all(asked).await;

    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((5..40).contains(&passed), "{passed}");
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        let answer = answer.expect_problem(429, "rate_limited");
        assert_eq!(answer.headers["ratelimit-policy"], "\"user\";q=5;w=5");
        assert!(
            answer.headers["ratelimit"]
                .to_str()
                .unwrap()
                .starts_with("\"user\";r=0;t=")
        );
        assert!(answer.headers.contains_key("retry-after"));
    }
    app.sign_in(&bob)
        .get("/api/credits/total-balance")
        .await
        .expect(200);
}

#[actix_web::test]
async fn a_burst_of_two_thousand_passes_and_services_and_admins_are_never_too_fast() {
    let app = TestApp::spawn_with(|config| config.user_pace = Pace { per_sec: 1, burst: 3 }).await;
    let alice = Person::new("alice", Role::EndUser);
    let (admin, proxy) = (app.as_role(Role::Admin), app.proxy());
    for _ in 0..20 {
        admin.get("/api/credits/total-balance").await.expect(200);
        let body = json!({ "modelId": "m", "tokens": 1 });
        proxy.post("/api/credits/calculate", &body).await.expect(200);
        let path = format!("/api/credits/balance/{}", "a".repeat(24));
        proxy.get(&path).await.expect_problem(404, "user_not_found");
    }
    let supervisor = app.as_role(Role::Supervisor);
    let asked = (0..30).map(|_| supervisor.get("/api/credits/allocations/all"));
    let refused = join_all(asked).await;
    assert!(
        refused.iter().any(|answer| answer.status == 429),
        "supervisors are people"
    );

    let app = TestApp::spawn_with(|config| {
        config.user_pace = Pace {
            per_sec: 100,
            burst: 2_000,
        };
    })
    .await;
    let client = app.sign_in(&alice);
    for _ in 0..20 {
        let asked = (0..100).map(|_| client.get("/api/credits/total-balance"));
        for answer in join_all(asked).await {
            answer.expect(200);
        }
    }
}

#[actix_web::test]
async fn a_supervisor_grants_up_to_the_cap_of_a_call_and_of_a_day() {
    let app = capped().await;
    let alice = Person::new("alice", Role::EndUser);
    let supervisor = Person::new("sue", Role::Supervisor);
    let client = app.sign_in(&supervisor);
    let grant = |credits: i64| json!({ "userId": alice.id, "credits": credits });

    let refused = client.post(ALLOCATE, &grant(101)).await;
    let refused = refused.expect_problem(403, "allocation_cap_exceeded");
    assert_eq!(refused.body["limit"], 100);
    client.post(ALLOCATE, &grant(100)).await.expect(201);
    let set = json!({ "userId": alice.id, "credits": 100 });
    client.post("/api/credits/set", &set).await.expect(200);
    let adjust = json!({ "userId": alice.id, "adjustment": 51 });
    let refused = client.put("/api/credits/adjust", &adjust).await;
    let refused = refused.expect_problem(403, "allocation_cap_exceeded");
    assert_eq!(refused.body["limit"], 250);
    client.post(ALLOCATE, &grant(50)).await.expect(201);
    client
        .post(ALLOCATE, &grant(1))
        .await
        .expect_problem(403, "allocation_cap_exceeded");

    let lower = json!({ "userId": alice.id, "adjustment": -1 });
    client.put("/api/credits/adjust", &lower).await.expect(200);
    app.as_role(Role::Supervisor)
        .post(ALLOCATE, &grant(100))
        .await
        .expect(201);
    app.as_role(Role::Admin)
        .post(ALLOCATE, &grant(1_000_000))
        .await
        .expect(201);
    // The clock stands at eight in the morning.
    app.advance_secs(16 * 3_600);
    app.sign_in(&supervisor)
        .post(ALLOCATE, &grant(100))
        .await
        .expect(201);
    app.assert_sound().await;
}

#[actix_web::test]
async fn only_what_was_granted_counts_towards_the_day() {
    let app = capped().await;
    let alice = Person::new("alice", Role::EndUser);
    let client = app.sign_in(&Person::new("sue", Role::Supervisor));
    let body = json!({ "userId": alice.id, "credits": 100 });
    post_with_key(&client, ALLOCATE, "k-1", &body).await.expect(201);
    post_with_key(&client, ALLOCATE, "k-2", &body).await.expect(201);

    let other = json!({ "userId": alice.id, "credits": 99 });
    post_with_key(&client, ALLOCATE, "k-1", &other)
        .await
        .expect_problem(422, "idempotency_key_reused");
    client
        .post(ALLOCATE, &json!({ "userId": "nobody", "credits": 50 }))
        .await
        .expect_problem(404, "user_not_found");
    let again = post_with_key(&client, ALLOCATE, "k-1", &body).await.expect(201);
    assert_eq!(again.headers["idempotency-replayed"], "true");

    let last = json!({ "userId": alice.id, "credits": 50 });
    client.post(ALLOCATE, &last).await.expect(201);
    assert_eq!(app.balance(&alice).await, 250);
    let again = post_with_key(&client, ALLOCATE, "k-2", &body).await.expect(201);
    assert_eq!(
        again.headers["idempotency-replayed"], "true",
        "also when the day is full"
    );
}

#[actix_web::test]
async fn grants_that_race_for_the_rest_of_a_day_stay_within_it() {
    let app = capped().await;
    let replica = app
        .replica_with(|config| {
            config.supervisor_caps = AllocationCaps {
                at_once: 100,
                a_day: 250,
            };
        })
        .await;
    let alice = Person::new("alice", Role::EndUser);
    let sue = Person::new("sue", Role::Supervisor);
    let clients = [app.sign_in(&sue), replica.sign_in(&sue)];
    let body = json!({ "userId": alice.id, "credits": 30 });

    let answers = join_all((0..24).map(|index: usize| clients[index % 2].post(ALLOCATE, &body))).await;

    let granted = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(granted, 8);
    assert_eq!(app.balance(&alice).await, 240);
    app.assert_sound().await;
}
