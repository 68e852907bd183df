//! Setting, removing and adjusting what somebody can spend, and accounts made before their owner comes.

use common_jwt::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client, Person};

use crate::support::TestApp;

const SET: &str = "/api/credits/set";
const REMOVE: &str = "/api/credits/remove";
const ADJUST: &str = "/api/credits/adjust";
const ACCOUNTS: &str = "/api/admin/users";

async fn remove(client: &Client, body: &Value) -> Answer {
    let request = client.request(Method::DELETE, REMOVE).json(body);
    client.send(request).await
}

#[actix_web::test]
async fn set_replaces_what_can_be_spent_and_keeps_the_history() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(70).await;
    let supervisor = app.as_role(Role::Supervisor);

    for (credits, before) in [(500, 70), (500, 500), (0, 500)] {
        let body = json!({ "userId": alice.id, "credits": credits, "expiryDays": 365, "notes": "new term" });
        let answer = supervisor.post(SET, &body).await.expect(200);
        assert_eq!(answer.body["userId"], alice.id);
        assert_eq!(answer.body["previousCredits"], before);
        assert_eq!(answer.body["newCredits"], credits);
        assert_eq!(app.balance(&alice).await, credits);
    }
    let ledger = "SELECT count(*) FROM credit_transactions WHERE kind = 'set' AND description = 'new term'";
    assert_eq!(app.number(ledger).await, 3);
    app.assert_sound().await;
}

#[actix_web::test]
async fn remove_takes_all_that_was_asked_or_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let supervisor = app.as_role(Role::Supervisor);

    let answer = remove(
        &supervisor,
        &json!({ "userId": alice.id, "credits": 4, "notes": "left" }),
    )
    .await;
    let answer = answer.expect(200);
    assert_eq!(
        (
            &answer.body["previousCredits"],
            &answer.body["newCredits"],
            &answer.body["removedCredits"]
        ),
        (&json!(10), &json!(6), &json!(4))
    );
    let refused = remove(&supervisor, &json!({ "userId": alice.id, "credits": 7 })).await;
    let refused = refused.expect_problem(400, "insufficient_credits");
    assert_eq!(
        (&refused.body["required"], &refused.body["available"]),
        (&json!(7), &json!(6))
    );
    assert_eq!(app.balance(&alice).await, 6);
    app.assert_sound().await;
}

#[actix_web::test]
async fn adjust_goes_both_ways_and_never_below_zero() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    assert_eq!(app.balance(&alice).await, 10, "her name is known from now on");
    let supervisor = app.as_role(Role::Supervisor);

    for (adjustment, after) in [(5, 15), (-15, 0), (3, 3)] {
        let body = json!({ "userId": alice.username, "adjustment": adjustment });
        let answer = supervisor.put(ADJUST, &body).await.expect(200);
        assert_eq!(answer.body["newCredits"], after);
        assert_eq!(answer.body["adjustment"], adjustment);
    }
    let body = json!({ "userId": alice.id, "adjustment": -4 });
    supervisor
        .put(ADJUST, &body)
        .await
        .expect_problem(400, "insufficient_credits");
    assert_eq!(app.balance(&alice).await, 3);
    app.assert_sound().await;
}

#[actix_web::test]
async fn corrections_of_strangers_and_bad_numbers_change_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let supervisor = app.as_role(Role::Supervisor);
    let before = app.rows().await;

    for number in [
        json!(-1),
        json!(1.5),
        json!("10"),
        json!(true),
        json!(1e18),
        json!(null),
    ] {
        let body = json!({ "userId": alice.id, "credits": number });
        supervisor
            .post(SET, &body)
            .await
            .expect_problem(400, "validation_failed");
        remove(&supervisor, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    remove(&supervisor, &json!({ "userId": alice.id, "credits": 0 }))
        .await
        .expect_problem(400, "validation_failed");
    for adjustment in [json!(0), json!(0.5), json!("1"), json!(i64::MIN), json!(i64::MAX)] {
        let body = json!({ "userId": alice.id, "adjustment": adjustment });
        supervisor
            .put(ADJUST, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    let nobody = "f".repeat(24);
    let body = json!({ "userId": nobody, "credits": 1, "adjustment": 1 });
    supervisor
        .post(SET, &body)
        .await
        .expect_problem(404, "user_not_found");
    remove(&supervisor, &body)
        .await
        .expect_problem(404, "user_not_found");
    supervisor
        .put(ADJUST, &body)
        .await
        .expect_problem(404, "user_not_found");

    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn a_repeated_correction_with_a_key_happens_once() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let supervisor = app.as_role(Role::Supervisor);
    let send = async || {
        let request = supervisor.request(Method::DELETE, REMOVE);
        let body = json!({ "userId": alice.id, "credits": 3 });
        let request = request.header("idempotency-key", "term-end").json(&body);
        supervisor.send(request).await.expect(200)
    };

    let (first, second) = (send().await, send().await);

    assert_eq!(first.text, second.text);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(app.balance(&alice).await, 7);
}

#[actix_web::test]
async fn an_account_is_made_once_for_an_id_and_an_address() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    let id = "a1".repeat(12);
    let body = json!({ "sub": id, "email": "Mia@School.example", "role": "student" });

    let made = admin.post(ACCOUNTS, &body).await.expect(201);
    assert_eq!(
        (&made.body["userId"], &made.body["sub"]),
        (&json!(id), &json!(id))
    );
    assert_eq!(made.body["email"], "mia@school.example");
    assert_eq!(made.body["username"], "mia");
    assert_eq!(
        made.body["role"], "enduser",
        "a role we do not know grants nothing"
    );

    admin
        .post(ACCOUNTS, &body)
        .await
        .expect_problem(409, "account_exists");
    let other = json!({ "sub": "b2".repeat(12), "email": "mia@school.example", "role": "enduser" });
    admin
        .post(ACCOUNTS, &other)
        .await
        .expect_problem(409, "email_taken");
    for bad in [
        json!({ "email": "x@y.example", "role": "enduser" }),
        json!({ "sub": "short", "email": "x@y.example", "role": "enduser" }),
        json!({ "sub": "c3".repeat(12), "email": "x", "role": "enduser" }),
        json!({ "sub": "c3".repeat(12), "email": "x@y.example" }),
        json!({ "sub": { "$ne": 1 }, "email": "x@y.example", "role": "enduser" }),
    ] {
        admin
            .post(ACCOUNTS, &bad)
            .await
            .expect_problem(400, "validation_failed");
    }
    let grant = json!({ "email": "mia@school.example", "credits": 25, "expiryDays": 365 });
    admin
        .post("/api/credits/allocate-by-email", &grant)
        .await
        .expect(201);
}

#[actix_web::test]
async fn an_id_that_was_only_granted_credits_takes_on_its_owner() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    let mia = Person::new("mia", Role::EndUser);
    let grant = json!({ "userId": mia.id, "credits": 25 });
    admin.post("/api/credits/allocate", &grant).await.expect(201);

    let body = json!({ "sub": mia.id, "email": mia.email, "role": "enduser", "username": "mia" });
    admin.post(ACCOUNTS, &body).await.expect(201);

    let body = json!({ "userId": mia.email, "credits": 40 });
    admin.post(SET, &body).await.expect(200);
    assert_eq!(app.balance(&mia).await, 40);
}
