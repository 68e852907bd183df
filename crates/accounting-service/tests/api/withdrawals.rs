//! Taking credits out of one particular allocation.

use common_jwt::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client, Person};

use crate::support::TestApp;

async fn patch(client: &Client, id: &Value, body: &Value) -> Answer {
    let path = format!("/api/credits/allocations/{}", id.as_str().unwrap());
    client.send(client.request(Method::PATCH, &path).json(body)).await
}

async fn delete(client: &Client, id: &Value) -> Answer {
    let path = format!("/api/credits/allocations/{}", id.as_str().unwrap());
    client.delete(&path).await
}

#[actix_web::test]
async fn an_allocation_is_lowered_and_removed_and_nothing_else_is_touched() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    let (first, second) = (app.grant(&alice, 10, 1).await, app.grant(&alice, 20, 30).await);
    let supervisor = app.as_role(Role::Supervisor);

    let lowered = patch(&supervisor, &second["id"], &json!({ "remainingCredits": 5 })).await;
    assert_eq!(
        lowered.expect(200).body,
        json!({
            "id": second["id"], "userId": alice.id, "totalCredits": 20, "remainingCredits": 5, "removedCredits": 15,
            "expiresAt": second["expiresAt"], "message": "Allocation changed",
        })
    );
    assert_eq!(app.balance(&alice).await, 15);
    let removed = delete(&supervisor, &first["id"]).await.expect(200);
    assert_eq!(removed.body["removedCredits"], 10);
    assert_eq!(app.balance(&alice).await, 5);

    let again = delete(&supervisor, &first["id"]).await.expect(200);
    assert_eq!(again.body["removedCredits"], 0, "what is done is done");
    let rows = "SELECT count(*) FROM credit_transactions WHERE kind = 'remove'";
    assert_eq!(app.number(rows).await, 2);
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_allocation_is_never_raised_so_that_holds_find_room_to_return() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    let granted = app.grant(&alice, 10, 30).await;
    let hold = json!({ "sessionId": "s", "modelId": "m", "userId": alice.id, "credits": 6 });
    app.proxy()
        .post("/api/streaming-sessions/initialize", &hold)
        .await
        .expect(201);
    let admin = app.as_role(Role::Admin);

    let refused = patch(&admin, &granted["id"], &json!({ "remainingCredits": 10 })).await;
    let refused = refused.expect_problem(409, "allocation_has_less");
    assert_eq!(refused.body["remaining"], 4);
    delete(&admin, &granted["id"]).await.expect(200);
    app.proxy()
        .post("/api/streaming-sessions/abort", &json!({ "sessionId": "s" }))
        .await
        .expect(200);

    assert_eq!(app.balance(&alice).await, 6, "what was held is back in it");
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_expired_allocation_has_nothing_to_take() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    let granted = app.grant(&alice, 10, 1).await;
    app.advance_secs(86_400);
    let admin = app.as_role(Role::Admin);

    assert_eq!(
        delete(&admin, &granted["id"]).await.expect(200).body["removedCredits"],
        0
    );
    patch(&admin, &granted["id"], &json!({ "remainingCredits": 1 }))
        .await
        .expect_problem(409, "allocation_has_less");
    app.assert_sound().await;
}

#[actix_web::test]
async fn allocations_that_are_none_and_bad_numbers_change_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let supervisor = app.as_role(Role::Supervisor);
    app.balance(&alice).await;
    let granted = app.grant(&alice, 10, 30).await;
    let before = app.rows().await;

    for id in [json!("7"), json!("00000000-0000-0000-0000-000000000000")] {
        delete(&supervisor, &id)
            .await
            .expect_problem(404, "allocation_not_found");
        patch(&supervisor, &id, &json!({ "remainingCredits": 0 }))
            .await
            .expect_problem(404, "allocation_not_found");
    }
    for number in [
        json!(-1),
        json!(1.5),
        json!("0"),
        json!(true),
        json!(null),
        json!(9_223_372_036_854_775_808_u64),
    ] {
        patch(
            &supervisor,
            &granted["id"],
            &json!({ "remainingCredits": number }),
        )
        .await
        .expect_problem(400, "validation_failed");
    }
    patch(
        &app.sign_in(&alice),
        &granted["id"],
        &json!({ "remainingCredits": 0 }),
    )
    .await
    .expect_problem(403, "forbidden");
    delete(&app.sign_in(&alice), &granted["id"])
        .await
        .expect_problem(403, "forbidden");

    assert_eq!(app.rows().await, before);
}
