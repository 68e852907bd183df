//! Somebody signs up, proves their address, signs in and gets their first credits.

use serde_json::json;
use system_tests::{person::Person, platform::Platform};

/// The code in the mail, which says `verification code: 123456`.
fn code_in(mail: &str) -> &str {
    let (_, rest) = mail
        .split_once("verification code: ")
        .expect("the mail names the code");
    rest.split_whitespace().next().expect("a code follows")
}

#[actix_web::test]
async fn a_new_user_gets_from_sign_up_to_credits() {
    let platform = Platform::start().await;
    let auth = platform.auth.client();
    let credentials = json!({ "username": "grace", "password": "amazing discoveries" });

    let body =
        json!({ "username": "grace", "email": "Grace@Example.com", "password": "amazing discoveries" });
    let created = auth.post("/api/auth/signup", &body).await.expect(201);
    auth.post("/api/auth/login", &credentials)
        .await
        .expect_problem(401, "email_not_verified");
    let mail = platform.mail_to("grace@example.com").await;
    auth.post("/api/auth/verify-email", &json!({ "token": code_in(&mail) }))
        .await
        .expect(200);

    let grace = Person::log_in(&platform, "grace", "amazing discoveries").await;
    assert_eq!(created.body["userId"], grace.id);
    assert_eq!(
        grace.balance().await,
        0,
        "the account is made by the first look at it"
    );
    let admin = platform.admin().await;
    let grant = json!({ "email": "grace@example.com", "credits": 25 });
    admin
        .accounting
        .post("/api/credits/allocate-by-email", &grant)
        .await
        .expect(201);
    assert_eq!(grace.balance().await, 25);

    let credits = grace.proxy.get("/api/v1/chat/credits").await.expect(200);
    assert_eq!(
        (&credits.body["credits"], &credits.body["totalCredits"]),
        (&json!(25), &json!(25))
    );
}
