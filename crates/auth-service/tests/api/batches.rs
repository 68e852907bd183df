//! Many accounts in one request.

use bson::doc;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp, email_of, eventually};

fn user(username: &str) -> Value {
    json!({ "username": username, "email": email_of(username) })
}

#[tokio::test]
async fn each_account_is_made_or_not_for_itself() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let mut chosen = user("chosen");
    chosen["password"] = json!(PASSWORD);
    chosen["role"] = json!("supervisor");
    let mut weak = user("weak");
    weak["password"] = json!("12345678");
    let users = [
        user("mei"),
        chosen,
        weak,
        user("root1"),
        user("x"),
        json!({ "username": "tom", "email": "tom@" }),
        user("mei"),
    ];

    let body = json!({ "users": users });
    let answer = root
        .client
        .post("/api/admin/users/batch", &body)
        .await
        .expect(201);

    let results = answer.body["results"].as_array().unwrap();
    let successes: Vec<_> = results
        .iter()
        .map(|result| result["success"].as_bool().unwrap())
        .collect();
    assert_eq!(
        successes,
        [true, true, true, false, false, false, false],
        "{}",
        answer.text
    );
    assert_eq!(
        answer.body["summary"],
        json!({ "total": 7, "successful": 3, "failed": 4 })
    );
    for result in results {
        assert_eq!(result["success"] == true, result.get("userId").is_some());
        assert!(result["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    assert!(results[3]["message"].as_str().unwrap().contains("already exists"));
    assert_eq!(
        app.log_in("chosen").await.claims(&app).role,
        common_jwt::Role::Supervisor
    );
    for name in ["mei", "weak"] {
        let mail = eventually("an invitation", async || app.mails_to(&email_of(name)).pop()).await;
        assert!(
            mail.contains("reset-password?token=") && !mail.contains("12345678"),
            "{mail}"
        );
    }
    app.try_log_in("weak", "12345678").await.expect(401);
    assert!(app.mails_to(&email_of("chosen")).is_empty());

    let again = root
        .client
        .post("/api/admin/users/batch", &json!({ "users": [user("mei")] }))
        .await
        .expect(201);
    assert_eq!(
        again.body["summary"],
        json!({ "total": 1, "successful": 0, "failed": 1 })
    );
    assert_eq!(app.mails_to(&email_of("mei")).len(), 1);
}

#[tokio::test]
async fn one_row_that_makes_no_sense_spoils_the_batch() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let good = user("good");
    for (bad, status, code) in [
        (json!({ "username": "mei" }), 400, "invalid_user"),
        (json!({ "email": "mei@example.com" }), 400, "invalid_user"),
        (
            json!({ "username": "", "email": "mei@example.com" }),
            400,
            "invalid_user",
        ),
        (
            json!({ "username": { "$ne": 1 }, "email": "mei@example.com" }),
            400,
            "invalid_user",
        ),
        (
            json!({ "username": "mei", "email": "mei@example.com", "role": "god" }),
            400,
            "invalid_user",
        ),
        (
            json!({ "username": "mei", "email": "mei@example.com", "role": ["user"] }),
            400,
            "invalid_user",
        ),
        (json!(null), 400, "invalid_user"),
        (
            json!({ "username": "mei", "email": "mei@example.com", "role": "admin", "password": "tell-nobody" }),
            403,
            "admin_not_creatable",
        ),
    ] {
        let body = json!({ "users": [good, bad] });
        let answer = root.client.post("/api/admin/users/batch", &body).await;
        let answer = answer.expect_problem(status, code);
        assert_eq!(
            answer.body["invalidUser"]["username"], bad["username"],
            "{}",
            answer.text
        );
        assert!(!answer.text.contains("tell-nobody"));
    }
    for users in [json!([]), json!("x"), json!({}), json!(vec![user("many"); 1_001])] {
        let answer = root
            .client
            .post("/api/admin/users/batch", &json!({ "users": users }))
            .await;
        answer.expect_problem(400, "validation_failed");
    }
    assert_eq!(app.count("users", doc! {}).await, 1);
}

#[tokio::test]
async fn only_a_literal_false_asks_for_a_proof_of_the_address() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    for (name, skip, verified) in [
        ("absent", Value::Null, true),
        ("text", json!("false"), true),
        ("refused", json!(false), false),
    ] {
        let body = json!({ "users": [user(name)], "skipVerification": skip });
        root.client
            .post("/api/admin/users/batch", &body)
            .await
            .expect(201);
        let stored = app
            .users()
            .find_one(doc! { "username": name })
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.get_bool("isVerified").unwrap(), verified, "{name}");
    }
}
