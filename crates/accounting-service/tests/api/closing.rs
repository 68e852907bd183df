//! Accounts of people who have left: credits gone, name and address blanked, history kept.

use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use crate::support::TestApp;

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";

/// Somebody with 100 credits whose name and address are known.
async fn known_person(app: &TestApp) -> Person {
    let alice = app.person_with(100).await;
    assert_eq!(app.balance(&alice).await, 100);
    alice
}

#[actix_web::test]
async fn scripts_remove_somebodys_accounting_data_by_id_name_or_address() {
    for by in ["id", "name", "address", "other path"] {
        let app = TestApp::spawn().await;
        let alice = known_person(&app).await;
        let admin = app.as_role(Role::Admin);
        let path = match by {
            "id" => format!("/api/users/{}", alice.id),
            "name" => format!("/api/users/{}", alice.username),
            "address" => format!("/api/users/{}", alice.email.replace('@', "%40")),
            _ => format!("/api/credits/user/{}", alice.id),
        };

        let closed = admin.delete(&path).await.expect(200);

        assert_eq!(closed.body["userId"], alice.id, "{by}");
        assert_eq!(closed.body["removedCredits"], 100, "{by}");
        admin.delete(&path).await.expect_problem(404, "user_not_found");
        let blanked = format!(
            "SELECT count(*) FROM user_accounts WHERE user_id = '{0}' AND username = '{0}' AND email IS NULL
             AND closed_at IS NOT NULL",
            alice.id
        );
        assert_eq!(app.number(&blanked).await, 1, "{by}");
        let kept = format!("/api/credits/transactions?userId={}", alice.id);
        let kept = admin.get(&kept).await.expect(200).body;
        assert_eq!(kept["transactions"][0]["type"], "remove");
        assert_eq!(kept["transactions"][0]["amount"], -100);
        assert_eq!(kept["transactions"][0]["balanceAfter"], 0);
        app.assert_sound().await;
    }
}

#[actix_web::test]
async fn a_token_that_outlives_the_account_finds_nothing_and_brings_nothing_back() {
    let app = TestApp::spawn().await;
    let alice = known_person(&app).await;
    let admin = app.as_role(Role::Admin);
    admin
        .delete(&format!("/api/users/{}", alice.id))
        .await
        .expect(200);

    assert_eq!(app.balance(&alice).await, 0);
    let hold = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 1 });
    app.sign_in(&alice)
        .post(INITIALIZE, &hold)
        .await
        .expect_problem(402, "insufficient_credits");
    let turn = json!({ "sessionId": "t", "modelId": "m", "credits": 1, "userId": alice.id,
                       "username": alice.username, "email": alice.email });
    app.proxy()
        .post(INITIALIZE, &turn)
        .await
        .expect_problem(402, "insufficient_credits");
    for (path, body) in [
        (
            "/api/credits/allocate",
            json!({ "userId": alice.id, "credits": 5 }),
        ),
        ("/api/credits/set", json!({ "userId": alice.id, "credits": 5 })),
    ] {
        admin
            .post(path, &body)
            .await
            .expect_problem(409, "account_closed");
    }
    let adjust = json!({ "userId": alice.id, "adjustment": 5 });
    admin
        .put("/api/credits/adjust", &adjust)
        .await
        .expect_problem(409, "account_closed");
    let blank = "SELECT count(*) FROM user_accounts WHERE closed_at IS NOT NULL AND email IS NULL";
    assert_eq!(app.number(blank).await, 1);
    app.assert_sound().await;
}

#[actix_web::test]
async fn turns_that_run_while_an_account_is_closed_are_settled_and_return_nothing() {
    let app = TestApp::spawn().await;
    let alice = known_person(&app).await;
    for session in ["paid", "unpaid"] {
        let body = json!({ "sessionId": session, "modelId": "m", "userId": alice.id, "credits": 10 });
        app.proxy().post(INITIALIZE, &body).await.expect(201);
    }
    let admin = app.as_role(Role::Admin);
    let closed = admin
        .delete(&format!("/api/users/{}", alice.id))
        .await
        .expect(200);
    assert_eq!(closed.body["removedCredits"], 80);

    let body = json!({ "sessionId": "paid", "actualCredits": 4 });
    let paid = app.proxy().post(FINALIZE, &body).await.expect(200);
    assert_eq!(
        (&paid.body["actualCredits"], &paid.body["refund"]),
        (&json!(4), &json!(6))
    );
    app.advance_secs(900);
    let open = "SELECT count(*) FROM streaming_sessions WHERE status = 'open'";
    crate::support::eventually("the expiry", async || app.number(open).await == 0).await;

    assert_eq!(app.balance(&alice).await, 0);
    let written_off = "SELECT -sum(amount) FROM credit_transactions WHERE kind = 'write_off'";
    assert_eq!(app.number(written_off).await, 16);
    assert_eq!(
        app.number("SELECT sum(remaining_credits) FROM credit_allocations")
            .await,
        0
    );
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_admin_opens_a_closed_account_again() {
    let app = TestApp::spawn().await;
    let alice = known_person(&app).await;
    let admin = app.as_role(Role::Admin);
    admin
        .delete(&format!("/api/users/{}", alice.id))
        .await
        .expect(200);

    let body =
        json!({ "sub": alice.id, "email": alice.email, "role": "enduser", "username": alice.username });
    admin.post("/api/admin/users", &body).await.expect(201);

    let grant = json!({ "email": alice.email, "credits": 25 });
    admin
        .post("/api/credits/allocate-by-email", &grant)
        .await
        .expect(201);
    assert_eq!(app.balance(&alice).await, 25);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_person_created_again_with_the_same_address_begins_anew() {
    let app = TestApp::spawn().await;
    let alice = known_person(&app).await;
    let admin = app.as_role(Role::Admin);
    admin
        .delete(&format!("/api/users/{}", alice.id))
        .await
        .expect(200);
    let again = Person {
        id: "c".repeat(24),
        ..alice.clone()
    };

    assert_eq!(app.balance(&again).await, 0);
    let grant = json!({ "email": alice.email, "credits": 25 });
    let granted = admin.post("/api/credits/allocate-by-email", &grant).await;
    assert_eq!(granted.expect(201).body["userId"], again.id);
    assert_eq!((app.balance(&again).await, app.balance(&alice).await), (25, 0));
}

#[actix_web::test]
async fn only_admins_close_accounts_and_only_those_that_are_there() {
    let app = TestApp::spawn().await;
    let alice = known_person(&app).await;
    let admin = app.as_role(Role::Admin);
    let path = format!("/api/users/{}", alice.id);
    admin
        .delete("/api/users/nobody")
        .await
        .expect_problem(404, "user_not_found");
    admin
        .delete(&format!("/api/users/{}", "f".repeat(24)))
        .await
        .expect_problem(404, "user_not_found");
    app.as_role(Role::Supervisor)
        .delete(&path)
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(app.balance(&alice).await, 100);
    let with_key = async || {
        let request = admin.request(reqwest::Method::DELETE, &path);
        admin
            .send(request.header("idempotency-key", "left-the-school"))
            .await
            .expect(200)
    };
    let (first, again) = (with_key().await, with_key().await);
    assert_eq!(first.text, again.text);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    app.assert_sound().await;
}
