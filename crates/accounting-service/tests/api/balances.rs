//! Balances, checks and prices.

use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use crate::support::TestApp;

#[actix_web::test]
async fn a_balance_shows_what_can_be_spent_soonest_expiry_first() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.grant(&alice, 20, 60).await;
    app.grant(&alice, 10, 30).await;
    app.grant(&alice, 5, 1).await;
    app.advance_secs(86_400);

    let balance = app
        .sign_in(&alice)
        .get("/api/credits/balance")
        .await
        .expect(200)
        .body;

    insta::assert_json_snapshot!(balance, { ".activeAllocations[].id" => "[id]" }, @r#"
    {
      "activeAllocations": [
        {
          "allocatedAt": "2027-01-15T08:00:00.000Z",
          "credits": 10,
          "expiresAt": "2027-02-14T08:00:00.000Z",
          "id": "[id]",
          "remainingCredits": 10,
          "totalCredits": 10
        },
        {
          "allocatedAt": "2027-01-15T08:00:00.000Z",
          "credits": 20,
          "expiresAt": "2027-03-16T08:00:00.000Z",
          "id": "[id]",
          "remainingCredits": 20,
          "totalCredits": 20
        }
      ],
      "totalCredits": 30
    }
    "#);
    assert_eq!(app.balance(&alice).await, 30);
}

#[actix_web::test]
async fn the_first_request_makes_an_account() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::Supervisor);

    let balance = app
        .sign_in(&alice)
        .get("/api/credits/balance")
        .await
        .expect(200)
        .body;

    assert_eq!(balance, json!({ "totalCredits": 0, "activeAllocations": [] }));
    let known = "SELECT count(*) FROM user_accounts WHERE username = 'alice' AND email = 'alice@example.com'
        AND role = 'supervisor'";
    assert_eq!(app.number(known).await, 1);
}

#[actix_web::test]
async fn a_changed_name_address_and_role_arrive_with_the_next_token() {
    let app = TestApp::spawn().await;
    let mut alice = Person::new("alice", Role::EndUser);
    app.balance(&alice).await;

    alice.username = "alicia".to_owned();
    alice.email = "Alicia@Example.com".to_owned();
    alice.role = Role::Supervisor;
    app.balance(&alice).await;

    let known =
        "SELECT count(*) FROM user_accounts WHERE username = 'alicia' AND email = 'alicia@example.com'
        AND role = 'supervisor'";
    assert_eq!(app.number(known).await, 1);
    assert_eq!(app.number("SELECT count(*) FROM user_accounts").await, 1);
}

#[actix_web::test]
async fn many_first_requests_at_once_make_one_account() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    let client = app.sign_in(&alice);

    let answers =
        futures_util::future::join_all((0..20).map(|_| client.get("/api/credits/total-balance"))).await;

    for answer in answers {
        answer.expect(200);
    }
    assert_eq!(app.number("SELECT count(*) FROM user_accounts").await, 1);
}

#[actix_web::test]
async fn a_person_created_again_with_the_same_address_has_the_address() {
    let app = TestApp::spawn().await;
    let former = Person::new("alice", Role::EndUser);
    app.balance(&former).await;
    app.advance_secs(60);

    let created_again = Person::new("alice", Role::EndUser);
    assert_eq!(
        app.balance(&created_again).await,
        0,
        "their address bricks nobody"
    );
    let body = json!({ "email": "ALICE@example.com", "credits": 7 });
    app.as_role(Role::Admin)
        .post("/api/credits/allocate-by-email", &body)
        .await
        .expect(201);
    assert_eq!(app.balance(&former).await, 0);
    assert_eq!(app.balance(&created_again).await, 7);
    app.as_role(Role::Admin)
        .post("/api/credits/allocate-by-email", &body)
        .await
        .expect(201);

    assert_eq!(
        app.balance(&created_again).await,
        14,
        "an old token wins nothing back"
    );
}

#[actix_web::test]
async fn supervisors_look_somebody_up_by_id_address_or_name() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(25).await;
    app.balance(&alice).await;
    let supervisor = app.as_role(Role::Supervisor);

    for name in [
        alice.id.clone(),
        alice.id.to_uppercase(),
        "alice@example.com".to_owned(),
        "Alice%40Example.com".to_owned(),
        "alice%2540example.com".to_owned(),
        "alice".to_owned(),
    ] {
        let answer = supervisor
            .get(&format!("/api/credits/balance/{name}"))
            .await
            .expect(200);
        assert_eq!(answer.body["totalCredits"], 25, "{name}");
    }
    for name in [
        "5f0a1b2c3d4e5f6a7b8c9d0e",
        "nobody",
        "nobody@example.com",
        "%FF",
        "a%00b",
    ] {
        supervisor
            .get(&format!("/api/credits/balance/{name}"))
            .await
            .expect_problem(404, "user_not_found");
    }
    let answer = app
        .proxy()
        .get(&format!("/api/credits/balance/{}", alice.id))
        .await
        .expect(200);
    assert_eq!(answer.body["totalCredits"], 25);
}

#[actix_web::test]
async fn a_name_that_two_accounts_have_names_nobody() {
    let app = TestApp::spawn().await;
    app.person_with(1).await;
    for _ in 0..2 {
        app.balance(&Person::new("twin", Role::EndUser)).await;
    }
    let before = app.rows().await;

    let supervisor = app.as_role(Role::Supervisor);
    supervisor
        .get("/api/credits/balance/twin")
        .await
        .expect_problem(409, "ambiguous_username");
    let body = json!({ "userId": "twin", "credits": 5 });
    supervisor
        .post("/api/credits/allocate", &body)
        .await
        .expect_problem(409, "ambiguous_username");

    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn a_check_compares_and_takes_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let client = app.sign_in(&alice);

    let enough = client
        .post("/api/credits/check", &json!({ "requiredCredits": 10 }))
        .await
        .expect(200);
    assert_eq!(
        enough.body,
        json!({ "sufficient": true, "credits": 10, "requiredCredits": 10 })
    );
    let short = client
        .post("/api/credits/check", &json!({ "requiredCredits": 11 }))
        .await
        .expect(200);
    assert_eq!(short.body["sufficient"], false);
    assert_eq!(
        short.body["message"],
        "Insufficient credits: 11 needed, 10 available"
    );

    for body in [
        json!({}),
        json!({ "requiredCredits": -1 }),
        json!({ "requiredCredits": "1" }),
    ] {
        client
            .post("/api/credits/check", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    assert_eq!(app.balance(&alice).await, 10);
}

#[actix_web::test]
async fn prices_are_those_of_the_documented_table() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::EndUser);
    for (model, tokens, credits) in [
        ("amazon.nova-micro-v1:0", 100_000, 6),
        ("amazon.nova-lite-v1:0", 10_000, 6),
        ("amazon.titan-text-express-v1", 10_000, 4),
        ("meta.llama3-70b-instruct-v1:0", 10_000, 4),
        ("gpt-4", 10_000, 4),
        ("constructor", 1_000, 1),
        ("gpt-4", 0, 0),
        ("gpt-4", 1, 1),
    ] {
        let body = json!({ "modelId": model, "tokens": tokens });
        let answer = client.post("/api/credits/calculate", &body).await.expect(200);
        assert_eq!(answer.body, json!({ "credits": credits }), "{tokens} of {model}");
    }
    for body in [
        json!({ "modelId": "", "tokens": 1 }),
        json!({ "tokens": 1 }),
        json!({ "modelId": "m" }),
        json!({ "modelId": "m", "tokens": -1 }),
        json!({ "modelId": "m", "tokens": 1.5 }),
        json!({ "modelId": "m", "tokens": "1" }),
    ] {
        client
            .post("/api/credits/calculate", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
}
