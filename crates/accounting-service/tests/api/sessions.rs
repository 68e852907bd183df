//! Streaming sessions as people use them, with the documented bodies.

use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use crate::support::TestApp;

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const ABORT: &str = "/api/streaming-sessions/abort";

#[actix_web::test]
async fn a_session_holds_its_estimate_and_gives_back_what_was_not_used() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);

    let body = json!({ "sessionId": "s-1", "modelId": "amazon.nova-lite-v1:0", "estimatedTokens": 10_000 });
    let opened = client.post(INITIALIZE, &body).await.expect(201);
    assert_eq!(
        opened.body,
        json!({ "sessionId": "s-1", "allocatedCredits": 8, "status": "active" })
    );
    assert_eq!(app.balance(&alice).await, 92);

    app.advance_secs(3);
    let settled = client
        .post(FINALIZE, &json!({ "sessionId": "s-1", "actualTokens": 5_000 }))
        .await
        .expect(200);
    assert_eq!(
        settled.body,
        json!({ "sessionId": "s-1", "actualCredits": 3, "refund": 5 })
    );
    assert_eq!(app.balance(&alice).await, 97);

    let logged = "SELECT count(*) FROM usage_logs WHERE service = 'chat-streaming' AND credits = 3
        AND operation = 'amazon.nova-lite-v1:0'
        AND metadata - 'price' = '{\"sessionId\": \"s-1\", \"tokens\": 5000, \"streamingDuration\": 3.0}'";
    assert_eq!(app.number(logged).await, 1);
    app.assert_sound().await;
}

#[actix_web::test]
async fn more_than_was_held_is_refused_and_less_may_follow() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let body = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 1_000 });
    client.post(INITIALIZE, &body).await.expect(201);
    let before = app.rows().await;

    for (path, member) in [(FINALIZE, "actualTokens"), (ABORT, "tokensGenerated")] {
        let body = json!({ "sessionId": "s-1", member: 900_000 });
        let refused = client.post(path, &body).await;
        let refused = refused.expect_problem(409, "capture_exceeds_hold");
        assert_eq!(
            (&refused.body["requested"], &refused.body["held"]),
            (&json!(315), &json!(2))
        );
    }
    assert_eq!(app.rows().await, before);

    let settled = client
        .post(FINALIZE, &json!({ "sessionId": "s-1", "actualTokens": 5_000 }))
        .await
        .expect(200);

    assert_eq!(
        settled.body,
        json!({ "sessionId": "s-1", "actualCredits": 2, "refund": 0 })
    );
    assert_eq!(app.balance(&alice).await, 98);
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_aborted_session_costs_what_had_come() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    for id in ["early", "late"] {
        let body = json!({ "sessionId": id, "modelId": "m", "estimatedTokens": 10_000 });
        client.post(INITIALIZE, &body).await.expect(201);
    }

    let early = client
        .post(ABORT, &json!({ "sessionId": "early" }))
        .await
        .expect(200);
    let late = client
        .post(ABORT, &json!({ "sessionId": "late", "tokensGenerated": 4_000 }))
        .await
        .expect(200);

    assert_eq!(
        early.body,
        json!({ "sessionId": "early", "partialCredits": 0, "refund": 5 })
    );
    assert_eq!(
        late.body,
        json!({ "sessionId": "late", "partialCredits": 2, "refund": 3 })
    );
    assert_eq!(app.balance(&alice).await, 98);
    assert_eq!(
        app.number("SELECT count(*) FROM usage_logs WHERE service = 'chat-streaming-aborted'")
            .await,
        1
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn what_returns_keeps_its_expiry() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let expiry = client.get("/api/credits/balance").await.body["activeAllocations"][0]["expiresAt"].clone();
    app.advance_secs(86_400);
    let client = app.sign_in(&alice);

    client
        .post(
            INITIALIZE,
            &json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 }),
        )
        .await
        .expect(201);
    client
        .post(ABORT, &json!({ "sessionId": "s-1" }))
        .await
        .expect(200);

    let balance = client.get("/api/credits/balance").await.body;
    assert_eq!(
        balance["activeAllocations"].as_array().unwrap().len(),
        1,
        "no new allocation"
    );
    assert_eq!(balance["activeAllocations"][0]["expiresAt"], expiry);
    assert_eq!(balance["totalCredits"], 100);
}

#[actix_web::test]
async fn what_returns_to_an_expired_allocation_cannot_be_spent() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.grant(&alice, 100, 1).await;
    app.advance_secs(86_400 - 60);
    let body = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 });
    app.sign_in(&alice).post(INITIALIZE, &body).await.expect(201);
    app.advance_secs(120);

    let settled = app
        .sign_in(&alice)
        .post(ABORT, &json!({ "sessionId": "s-1" }))
        .await
        .expect(200);

    assert_eq!(settled.body["refund"], 5);
    assert_eq!(app.balance(&alice).await, 0);
    assert_eq!(
        app.number("SELECT remaining_credits FROM credit_allocations")
            .await,
        0
    );
    let written_off = "SELECT -sum(amount) FROM credit_transactions WHERE kind = 'write_off'";
    assert_eq!(
        app.number(written_off).await,
        100,
        "what had expired, and what returned"
    );
    assert_eq!(app.number("SELECT sum(amount) FROM credit_transactions").await, 0);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_session_the_balance_does_not_cover_is_refused() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(4).await;
    let before = app.rows().await;

    let body = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 });
    let answer = app.sign_in(&alice).post(INITIALIZE, &body).await;

    let answer = answer.expect_problem(402, "insufficient_credits");
    assert_eq!(
        (&answer.body["required"], &answer.body["available"]),
        (&json!(5), &json!(4))
    );
    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn a_session_ends_once() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let body = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 });
    client.post(INITIALIZE, &body).await.expect(201);
    client
        .post(FINALIZE, &json!({ "sessionId": "s-1", "actualTokens": 1_000 }))
        .await
        .expect(200);
    let before = app.rows().await;

    let again = json!({ "sessionId": "s-1", "actualTokens": 0 });
    let settled = client
        .post(FINALIZE, &again)
        .await
        .expect_problem(409, "session_settled");
    assert_eq!(settled.body["actualCredits"], 1, "what was paid");
    client
        .post(ABORT, &json!({ "sessionId": "s-1" }))
        .await
        .expect_problem(409, "session_settled");
    client
        .post(INITIALIZE, &body)
        .await
        .expect_problem(409, "session_exists");

    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn an_unknown_session_cannot_be_settled() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::EndUser);
    let finalize = json!({ "sessionId": "nope", "actualTokens": 1 });
    client
        .post(FINALIZE, &finalize)
        .await
        .expect_problem(404, "session_not_found");
    client
        .post(ABORT, &json!({ "sessionId": "nope" }))
        .await
        .expect_problem(404, "session_not_found");
}

#[actix_web::test]
async fn session_ids_are_everybodys_own() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    let body = json!({ "sessionId": "chat", "modelId": "m", "estimatedTokens": 10_000 });
    app.sign_in(&alice).post(INITIALIZE, &body).await.expect(201);

    let settle = json!({ "sessionId": "chat", "actualTokens": 0 });
    app.sign_in(&bob)
        .post(FINALIZE, &settle)
        .await
        .expect_problem(404, "session_not_found");
    app.sign_in(&bob).post(INITIALIZE, &body).await.expect(201);
    app.sign_in(&bob).post(FINALIZE, &settle).await.expect(200);

    assert_eq!((app.balance(&alice).await, app.balance(&bob).await), (95, 100));
}

#[actix_web::test]
async fn open_sessions_are_listed_for_their_owner() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    let client = app.sign_in(&alice);
    for id in ["a", "b"] {
        let body = json!({ "sessionId": id, "modelId": "m", "estimatedTokens": 1_000 });
        client.post(INITIALIZE, &body).await.expect(201);
        app.advance_secs(1);
    }
    client.post(ABORT, &json!({ "sessionId": "a" })).await.expect(200);

    let open = client
        .get("/api/streaming-sessions/active")
        .await
        .expect(200)
        .body;

    insta::assert_json_snapshot!(open, { "[].id" => "[id]", "[].userId" => "[user]" }, @r#"
    [
      {
        "allocatedCredits": 2,
        "completedAt": null,
        "estimatedCredits": 1,
        "id": "[id]",
        "modelId": "m",
        "sessionId": "b",
        "startedAt": "2027-01-15T08:00:01.000Z",
        "status": "active",
        "usedCredits": 0,
        "userId": "[user]"
      }
    ]
    "#);
    assert_eq!(
        app.sign_in(&bob).get("/api/streaming-sessions/active").await.body,
        json!([])
    );
}

#[actix_web::test]
async fn bad_bodies_are_refused_and_change_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    let open = json!({ "sessionId": "s-1", "modelId": "m", "estimatedTokens": 10_000 });
    client.post(INITIALIZE, &open).await.expect(201);
    let before = app.rows().await;

    let long = "x".repeat(101);
    for body in [
        json!({}),
        json!({ "sessionId": "", "modelId": "m", "estimatedTokens": 1 }),
        json!({ "sessionId": long, "modelId": "m", "estimatedTokens": 1 }),
        json!({ "sessionId": "a\u{0}b", "modelId": "m", "estimatedTokens": 1 }),
        json!({ "sessionId": 7, "modelId": "m", "estimatedTokens": 1 }),
        json!({ "sessionId": "s", "modelId": "", "estimatedTokens": 1 }),
        json!({ "sessionId": "s", "modelId": "m" }),
        json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 0 }),
        json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": -5 }),
        json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 1.5 }),
        json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": "1000" }),
        json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 1_000_000_000_000_i64 }),
        json!({ "sessionId": "s", "modelId": "m", "credits": 5 }),
    ] {
        client
            .post(INITIALIZE, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    for body in [
        json!({ "sessionId": "s-1" }),
        json!({ "actualTokens": 1 }),
        json!({ "sessionId": "s-1", "actualTokens": -1 }),
        json!({ "sessionId": "s-1", "actualTokens": "1" }),
        json!({ "sessionId": "s-1", "actualTokens": 1, "success": "yes" }),
        json!({ "sessionId": "s-1", "actualCredits": 1 }),
    ] {
        client
            .post(FINALIZE, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    client
        .post(ABORT, &json!({ "sessionId": "s-1", "tokensGenerated": -1 }))
        .await
        .expect_problem(400, "validation_failed");

    assert_eq!(app.rows().await, before);
}
