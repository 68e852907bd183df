//! `POST /api/usage/record`.

use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use crate::support::{TestApp, post_with_key};

const PATH: &str = "/api/usage/record";

#[actix_web::test]
async fn usage_is_written_down_and_costs_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;

    let body =
        json!({ "service": "chat", "operation": "flow-1", "credits": 3, "metadata": { "success": true } });
    let answer = app.sign_in(&alice).post(PATH, &body).await.expect(201);

    insta::assert_json_snapshot!(answer.body, { ".id" => "[id]" }, @r#"
    {
      "credits": 3,
      "id": "[id]",
      "operation": "flow-1",
      "service": "chat",
      "timestamp": "2027-01-15T08:00:00.000Z"
    }
    "#);
    assert_eq!(app.balance(&alice).await, 10);
    assert_eq!(
        app.number("SELECT count(*) FROM usage_logs WHERE metadata = '{\"success\": true}'")
            .await,
        1
    );
}

#[actix_web::test]
async fn a_person_records_only_their_own_and_a_service_whom_it_names() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (
        Person::new("alice", Role::EndUser),
        Person::new("bob", Role::EndUser),
    );
    let body = json!({ "service": "chat", "operation": "flow-1", "credits": 0, "userId": bob.id });
    let of = |person: &Person| format!("SELECT count(*) FROM usage_logs WHERE user_id = '{}'", person.id);

    app.sign_in(&alice).post(PATH, &body).await.expect(201);
    assert_eq!(
        (app.number(&of(&alice)).await, app.number(&of(&bob)).await),
        (1, 0)
    );

    app.proxy().post(PATH, &body).await.expect(201);
    assert_eq!(
        (app.number(&of(&alice)).await, app.number(&of(&bob)).await),
        (1, 1)
    );

    let nobody = json!({ "service": "chat", "operation": "flow-1", "credits": 0 });
    app.proxy()
        .post(PATH, &nobody)
        .await
        .expect_problem(400, "validation_failed");
}

#[actix_web::test]
async fn a_repeated_record_is_written_once() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::EndUser);
    let body = json!({ "service": "chat", "operation": "flow-1", "credits": 1 });

    let sent = (0..10).map(|_| post_with_key(&client, PATH, "k-1", &body));
    let answers = futures_util::future::join_all(sent).await;

    let (written, told_to_wait): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    for answer in told_to_wait {
        answer.expect_problem(409, "idempotency_in_progress");
    }
    let again = post_with_key(&client, PATH, "k-1", &body).await.expect(201);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert!(!written.is_empty());
    for answer in written {
        assert_eq!(answer.text, again.text);
    }
    assert_eq!(app.number("SELECT count(*) FROM usage_logs").await, 1);
    let other = json!({ "service": "chat", "operation": "flow-2", "credits": 1 });
    post_with_key(&client, PATH, "k-1", &other)
        .await
        .expect_problem(422, "idempotency_key_reused");
}

#[actix_web::test]
async fn bad_records_are_refused() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::EndUser);
    for body in [
        json!({}),
        json!({ "service": "", "operation": "o", "credits": 1 }),
        json!({ "service": "s".repeat(51), "operation": "o", "credits": 1 }),
        json!({ "service": "s", "operation": "o".repeat(101), "credits": 1 }),
        json!({ "service": "s", "operation": "o", "credits": -1 }),
        json!({ "service": "s", "operation": "o", "credits": 0.5 }),
        json!({ "service": "s", "operation": "o", "credits": 1, "metadata": [] }),
        json!({ "service": "s", "operation": "o", "credits": 1, "metadata": "x" }),
        json!({ "service": "s", "operation": "o", "credits": 1, "metadata": { "a": ["b\u{0}"] } }),
        json!({ "service": "s", "operation": "o", "credits": 1, "metadata": { "a\u{0}": 1 } }),
    ] {
        client
            .post(PATH, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    assert_eq!(app.number("SELECT count(*) FROM usage_logs").await, 0);
}
