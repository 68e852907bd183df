//! Granting credits, and the list of what was granted.

use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use crate::support::TestApp;

const ALLOCATE: &str = "/api/credits/allocate";
const BY_EMAIL: &str = "/api/credits/allocate-by-email";
const ALL: &str = "/api/credits/allocations/all";

#[actix_web::test]
async fn a_user_nobody_has_seen_yet_can_be_granted_credits() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);

    let body = json!({ "userId": alice.id, "credits": 50, "expiryDays": 365, "notes": "term 1" });
    let answer = app
        .as_role(Role::Supervisor)
        .post(ALLOCATE, &body)
        .await
        .expect(201);

    assert_eq!(answer.body["userId"], alice.id);
    assert_eq!(
        (&answer.body["totalCredits"], &answer.body["remainingCredits"]),
        (&json!(50), &json!(50))
    );
    assert_eq!(answer.body["expiresAt"], "2028-01-15T08:00:00.000Z");
    assert!(answer.body["id"].is_string());
    assert_eq!(app.balance(&alice).await, 50);
    let ledger = "SELECT count(*) FROM credit_transactions WHERE kind = 'allocate' AND amount = 50
        AND balance_after = 50 AND description = 'term 1' AND actor LIKE 'user:%' AND request_id <> ''";
    assert_eq!(app.number(ledger).await, 1);
    app.assert_sound().await;
}

#[actix_web::test]
async fn who_is_granted_may_be_named_in_several_ways() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.balance(&alice).await;
    let supervisor = app.as_role(Role::Supervisor);

    supervisor
        .post(ALLOCATE, &json!({ "targetUserId": alice.id, "credits": 1 }))
        .await
        .expect(201);
    supervisor
        .post(ALLOCATE, &json!({ "userId": "alice", "credits": 2 }))
        .await
        .expect(201);
    supervisor
        .post(ALLOCATE, &json!({ "userId": "nobody", "credits": 4 }))
        .await
        .expect_problem(404, "user_not_found");
    let by_email = json!({ "email": "Alice@example.com ", "credits": 8, "expiryDays": 3650 });
    let answer = app
        .as_role(Role::Admin)
        .post(BY_EMAIL, &by_email)
        .await
        .expect(201);
    let unknown = json!({ "email": "nobody@example.com", "credits": 16 });
    app.as_role(Role::Admin)
        .post(BY_EMAIL, &unknown)
        .await
        .expect_problem(404, "user_not_found");

    assert_eq!(answer.body["email"], "alice@example.com");
    assert_eq!(app.balance(&alice).await, 11);
}

#[actix_web::test]
async fn bad_grants_are_refused_and_change_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1).await;
    let admin = app.as_role(Role::Admin);
    let before = app.rows().await;

    for credits in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("10"),
        json!(true),
        json!(1e18),
        json!(i64::MAX),
        json!(null),
    ] {
        let body = json!({ "userId": alice.id, "credits": credits });
        admin
            .post(ALLOCATE, &body)
            .await
            .expect_problem(400, "validation_failed");
        let body = json!({ "email": alice.email, "credits": credits });
        admin
            .post(BY_EMAIL, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    for days in [
        json!(0),
        json!(-1),
        json!(36_501),
        json!(1_000_000_000),
        json!(1.5),
        json!("30"),
        json!(true),
    ] {
        let body = json!({ "userId": alice.id, "credits": 1, "expiryDays": days });
        admin
            .post(ALLOCATE, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    for body in [
        json!({ "credits": 1 }),
        json!({ "userId": "", "credits": 1 }),
        json!({ "userId": 7, "credits": 1 }),
        json!({ "userId": alice.id, "credits": 1, "notes": "a\u{0}b" }),
        json!({ "userId": alice.id, "credits": 1, "notes": "n".repeat(1_001) }),
    ] {
        admin
            .post(ALLOCATE, &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    for email in ["", "alice", "@example.com", "alice@", "alice@localhost"] {
        let body = json!({ "email": email, "credits": 1 });
        admin
            .post(BY_EMAIL, &body)
            .await
            .expect_problem(400, "validation_failed");
    }

    assert_eq!(app.rows().await, before);
}

#[actix_web::test]
async fn a_balance_has_an_end() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.execute("INSERT INTO user_accounts VALUES ('aaaaaaaaaaaaaaaaaaaaaaaa', 'x', NULL, NULL, 'enduser', now(), now())")
        .await;
    app.balance(&alice).await;
    let nearly = "INSERT INTO credit_allocations
        SELECT gen_random_uuid(), user_id, 999999999999999, 999999999999999, 'system', NULL, now(), '2100-01-01'
        FROM user_accounts WHERE username = 'alice'";
    app.execute(nearly).await;

    let admin = app.as_role(Role::Admin);
    let too_much = json!({ "userId": alice.id, "credits": 2 });
    admin
        .post(ALLOCATE, &too_much)
        .await
        .expect_problem(400, "balance_too_large");
    admin
        .post(ALLOCATE, &json!({ "userId": alice.id, "credits": 1 }))
        .await
        .expect(201);
}

#[actix_web::test]
async fn all_allocations_are_listed_page_by_page() {
    // No sweep writes off what has expired while the pages are read.
    let app = TestApp::spawn_with(|config| config.hold_sweep = std::time::Duration::from_hours(1)).await;
    let alice = app.person_with(10).await;
    app.grant(&alice, 5, 1).await;
    app.balance(&alice).await;
    app.grant(&Person::new("unseen", Role::EndUser), 7, 30).await;
    app.advance_secs(2 * 86_400);
    let supervisor = app.as_role(Role::Supervisor);

    let all = supervisor.get(ALL).await.expect(200).body;
    assert_eq!(
        all["allocations"].as_array().unwrap().len(),
        3,
        "expired ones too"
    );
    assert_eq!(all["nextCursor"], json!(null));
    let of_alice = all["allocations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["totalCredits"] == 10)
        .unwrap();
    insta::assert_json_snapshot!(
        of_alice,
        { ".id" => "[id]", ".userId" => "[user]", ".allocatedBy" => "[user]" },
        @r#"
    {
      "UserAccount": {
        "email": "alice@example.com",
        "username": "alice"
      },
      "allocatedAt": "2027-01-15T08:00:00.000Z",
      "allocatedBy": "[user]",
      "expiresAt": "2027-02-14T08:00:00.000Z",
      "id": "[id]",
      "notes": null,
      "remainingCredits": 10,
      "totalCredits": 10,
      "userId": "[user]"
    }
    "#
    );

    let mut paged = Vec::new();
    let mut path = format!("{ALL}?limit=1");
    loop {
        let page = supervisor.get(&path).await.expect(200).body;
        paged.extend(page["allocations"].as_array().unwrap().clone());
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("{ALL}?limit=1&cursor={cursor}");
    }
    assert_eq!(json!(paged), all["allocations"]);
    for query in ["limit=0", "limit=10001", "limit=x", "cursor=x"] {
        supervisor
            .get(&format!("{ALL}?{query}"))
            .await
            .expect_problem(400, "validation_failed");
    }
}
