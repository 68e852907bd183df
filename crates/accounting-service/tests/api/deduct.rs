//! `POST /api/credits/deduct`.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::Person;

use crate::support::TestApp;

const PATH: &str = "/api/credits/deduct";

#[actix_web::test]
async fn deducting_lowers_the_own_balance() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;

    let answer = app
        .sign_in(&alice)
        .post(PATH, &json!({ "credits": 30 }))
        .await
        .expect(200);

    assert_eq!(
        answer.body,
        json!({
            "success": true, "message": "Credits deducted successfully", "remainingBalance": 70, "newBalance": 70
        })
    );
    assert_eq!(app.balance(&alice).await, 70);
    assert_eq!(
        app.number("SELECT sum(amount) FROM credit_transactions").await,
        70
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_deduction_that_the_balance_does_not_cover_changes_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    app.grant(&alice, 5, 60).await;
    let before = app.rows().await;

    let answer = app.sign_in(&alice).post(PATH, &json!({ "credits": 16 })).await;

    let answer = answer.expect_problem(400, "insufficient_credits");
    assert_eq!(
        (&answer.body["required"], &answer.body["available"]),
        (&json!(16), &json!(15))
    );
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .starts_with("Insufficient credits")
    );
    assert_eq!(app.rows().await, before);
    assert_eq!(app.balance(&alice).await, 15);
}

#[actix_web::test]
async fn what_expires_first_is_spent_first() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.grant(&alice, 10, 60).await;
    app.grant(&alice, 10, 30).await;
    app.grant(&alice, 10, 90).await;

    app.sign_in(&alice)
        .post(PATH, &json!({ "credits": 15 }))
        .await
        .expect(200);

    let balance = app
        .sign_in(&alice)
        .get("/api/credits/balance")
        .await
        .expect(200)
        .body;
    let left: Vec<_> = balance["activeAllocations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["credits"])
        .collect();
    assert_eq!(left, [5, 10], "the soonest is gone, the next half gone");
}

#[actix_web::test]
async fn an_allocation_can_be_spent_until_the_very_moment_it_expires() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let day = 86_400;

    app.advance_secs(30 * day - 1);
    app.sign_in(&alice)
        .post(PATH, &json!({ "credits": 1 }))
        .await
        .expect(200);
    app.advance_secs(1);
    app.sign_in(&alice)
        .post(PATH, &json!({ "credits": 1 }))
        .await
        .expect_problem(400, "insufficient_credits");

    assert_eq!(app.balance(&alice).await, 0);
    app.assert_sound().await;
}

#[actix_web::test]
async fn only_whole_positive_numbers_are_credits() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let before = app.rows().await;
    let huge: Value = serde_json::from_str("1e308").unwrap();
    let bodies = [
        json!({ "credits": 1.5 }),
        json!({ "credits": 1.0 }),
        json!({ "credits": -1 }),
        json!({ "credits": 0 }),
        json!({ "credits": "10" }),
        json!({ "credits": true }),
        json!({ "credits": null }),
        json!({ "credits": [1] }),
        json!({ "credits": 1_000_000_000_000_000_000_i64 }),
        json!({ "credits": u64::MAX }),
        json!({ "credits": huge }),
        json!({}),
        json!([]),
        json!("credits"),
    ];

    for body in bodies {
        app.sign_in(&alice)
            .post(PATH, &body)
            .await
            .expect_problem(400, "validation_failed");
    }

    assert_eq!(app.rows().await, before);
}
