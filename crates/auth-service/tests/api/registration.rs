//! Signing up and proving an address.

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp, email_of, eventually};

fn verify(token: &str, email: &str) -> Value {
    json!({ "token": token, "email": email })
}

/// Another code than this one.
fn wrong(code: &str, step: u32) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + step) % 1_000_000)
}

#[tokio::test]
async fn somebody_signs_up_proves_the_address_and_signs_in() {
    let app = TestApp::spawn().await;

    let body = json!({ "username": " ada ", "email": " Ada@Example.COM ", "password": PASSWORD });
    let answer = app.client.post("/api/auth/signup", &body).await.expect(201);

    let id = answer.body["userId"].as_str().unwrap();
    assert_eq!(id.len(), 24);
    assert_eq!(answer.body["_id"], id);
    assert!(answer.body["message"].is_string());
    let user = app.find_user(id).await.unwrap();
    assert_eq!(user.get_str("username").ok(), Some("ada"));
    assert_eq!(user.get_str("email").ok(), Some("ada@example.com"));
    assert_eq!(user.get_str("role").ok(), Some("enduser"));
    assert_eq!(user.get_bool("isVerified").ok(), Some(false));
    assert_eq!(user.get_i32("__v").ok(), Some(0));
    assert!(user.get_str("password").unwrap().starts_with("$2b$"));
    assert!(user.get_datetime("createdAt").is_ok() && user.get_datetime("updatedAt").is_ok());

    let code = app.code("ada@example.com", 1).await;
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "email_not_verified");
    let verified = app
        .client
        .post("/api/auth/verify-email", &json!({ "token": code }))
        .await
        .expect(200);
    assert_eq!(verified.body["message"], "Email verified successfully");
    app.try_log_in("ada", PASSWORD).await.expect(200);
    app.try_log_in("ADA@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn taken_names_and_addresses_are_refused_with_the_documented_words() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;

    let body = json!({ "username": "ada", "email": "other@example.com", "password": PASSWORD });
    let name = app
        .client
        .post("/api/auth/signup", &body)
        .await
        .expect_problem(400, "username_taken");
    let body = json!({ "username": "other", "email": "ADA@example.com", "password": PASSWORD });
    let email = app
        .client
        .post("/api/auth/signup", &body)
        .await
        .expect_problem(400, "email_taken");

    for answer in [name, email] {
        assert!(answer.body["error"].as_str().unwrap().contains("already exists"));
    }
    assert_eq!(app.count("users", doc! {}).await, 1);
}

#[tokio::test]
async fn of_many_who_want_a_name_at_once_one_gets_it() {
    let app = TestApp::spawn().await;
    let body = json!({ "username": "ada", "email": "ada@example.com", "password": PASSWORD });

    let answers = join_all((0..12).map(|_| app.client.post("/api/auth/signup", &body))).await;

    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 || answer.status == 400)
    );
    assert_eq!(app.count("users", doc! {}).await, 1);
}

#[tokio::test]
async fn nobody_signs_up_with_rights() {
    let app = TestApp::spawn().await;
    let body = json!({
        "username": "mallory", "email": "mallory@example.com", "password": PASSWORD,
        "role": "admin", "isVerified": true, "is_verified": true, "_id": "a".repeat(24), "id": 1,
        "userId": "a".repeat(24), "credits": 1_000_000, "isDisabled": false, "__v": 9, "fullName": "M",
        "__proto__": { "role": "admin" }, "createdAt": "1970-01-01T00:00:00Z",
    });

    let answer = app.client.post("/api/auth/signup", &body).await.expect(201);

    let id = answer.body["userId"].as_str().unwrap();
    assert_ne!(id, "a".repeat(24));
    let user = app.find_user(id).await.unwrap();
    assert_eq!(user.get_str("role").ok(), Some("enduser"));
    assert_eq!(user.get_bool("isVerified").ok(), Some(false));
    let mut members: Vec<_> = user.keys().map(String::as_str).collect();
    members.sort_unstable();
    let documented = [
        "__v",
        "_id",
        "createdAt",
        "email",
        "isVerified",
        "password",
        "role",
        "updatedAt",
        "username",
    ];
    assert_eq!(members, documented);
}

#[tokio::test]
async fn every_mistake_is_named_and_nothing_is_stored() {
    let app = TestApp::spawn().await;

    let body = json!({ "username": "ad", "email": "nobody", "password": "short" });
    let answer = app
        .client
        .post("/api/auth/signup", &body)
        .await
        .expect_problem(400, "validation_failed");
    let fields: Vec<_> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["field"])
        .collect();
    assert_eq!(fields, ["username", "email", "password"]);

    let good = |member: &str, value: Value| {
        let mut body = json!({ "username": "adaxyz", "email": "ada@example.com", "password": PASSWORD });
        body[member] = value;
        body
    };
    for body in [
        json!({}),
        json!([]),
        json!("text"),
        json!(null),
        good("username", json!("")),
        good("username", json!(null)),
        good("username", json!(12)),
        good("username", json!("ada@example.com")),
        good("username", json!("a\u{0}da")),
        good("username", json!("x".repeat(31))),
        good("email", json!("")),
        good("email", json!("a@b@c")),
        good("email", json!("a@b.c\r\nBcc: victim@example.com")),
        good("email", json!(["ada@example.com"])),
        good("password", json!("")),
        good("password", json!("1234567")),
        good("password", json!("x".repeat(73))),
        good("password", json!("x".repeat(90_000))),
        good("password", json!("plenty\u{0}of trees")),
        good("password", json!("password123")),
        good("password", json!("my ADAXYZ secret")),
        good("password", json!("flowise rocks 77")),
        good("password", json!(12_345_678)),
    ] {
        app.client
            .post("/api/auth/signup", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    let big = json!({ "username": "adaxyz", "email": "ada@example.com", "password": "x".repeat(1_000_000) });
    app.client
        .post("/api/auth/signup", &big)
        .await
        .expect_problem(413, "body_too_large");
    assert_eq!(app.count("users", doc! {}).await, 0);
    assert_eq!(app.count("verifications", doc! {}).await, 0);
}

#[tokio::test]
async fn a_code_is_good_once_and_for_its_owner_only() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let bob = app.sign_up("bob").await;
    let code = app.code(&email_of("ada"), 1).await;

    let of_bob = verify(&code, &email_of("bob"));
    app.client
        .post("/api/auth/verify-email", &of_bob)
        .await
        .expect_problem(400, "invalid_code");
    assert_eq!(
        app.find_user(&bob).await.unwrap().get_bool("isVerified").ok(),
        Some(false)
    );

    app.client
        .post("/api/auth/verify-email", &verify(&code, " ADA@example.com "))
        .await
        .expect(200);
    for body in [verify(&code, &email_of("ada")), json!({ "token": code })] {
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "invalid_code");
    }
}

#[tokio::test]
async fn codes_are_stored_as_a_keyed_hash() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    let row = app
        .collection("verifications")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();

    assert!(!row.to_string().contains(&code), "{row}");
    assert_eq!(row.get_str("codeHash").unwrap().len(), 64);
}

#[tokio::test]
async fn the_fifth_wrong_try_voids_the_code() {
    let app = TestApp::spawn().await;
    let id = app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    for step in 1..=5 {
        let body = verify(&wrong(&code, step), &email_of("ada"));
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "invalid_code");
    }

    for body in [verify(&code, &email_of("ada")), json!({ "token": code })] {
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "invalid_code");
    }
    assert_eq!(
        app.find_user(&id).await.unwrap().get_bool("isVerified").ok(),
        Some(false)
    );
}

#[tokio::test]
async fn guesses_made_at_once_are_all_counted() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    let guesses = (1..=40)
        .map(|step| verify(&wrong(&code, step), "ada@example.com"))
        .collect::<Vec<_>>();
    join_all(
        guesses
            .iter()
            .map(|body| app.client.post("/api/auth/verify-email", body)),
    )
    .await;

    let row = app
        .collection("verifications")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get_i32("tries").ok(), Some(5), "no sixth guess was compared");
    let right = verify(&code, "ada@example.com");
    app.client
        .post("/api/auth/verify-email", &right)
        .await
        .expect_problem(400, "invalid_code");
}

#[tokio::test]
async fn guesses_without_an_address_run_out_and_shut_nobody_out() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    let mut refused = None;
    for step in 1..=31 {
        let answer = app
            .client
            .post("/api/auth/verify-email", &json!({ "token": wrong(&code, step) }))
            .await;
        if answer.status == 429 {
            refused = Some((step, answer));
            break;
        }
        answer.expect_problem(400, "invalid_code");
    }

    let (step, answer) = refused.unwrap();
    assert_eq!(step, 31);
    assert!(
        answer.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    answer.expect_problem(429, "too_many_attempts");
    let nameless = json!({ "token": code });
    app.client
        .post("/api/auth/verify-email", &nameless)
        .await
        .expect_problem(429, "too_many_attempts");
    app.client
        .post("/api/auth/verify-email", &verify(&code, "ada@example.com"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_code_expires() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    app.advance_secs(15 * 60);

    for body in [verify(&code, &email_of("ada")), json!({ "token": code })] {
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "invalid_code");
    }
}

#[tokio::test]
async fn what_is_no_code_is_refused_like_a_wrong_one() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let code = app.code(&email_of("ada"), 1).await;

    for token in [
        format!(" {code}"),
        format!("{code}\n"),
        "A1B2C3".to_owned(),
        "0".repeat(5_000),
    ] {
        let body = verify(&token, &email_of("ada"));
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "invalid_code");
    }
    for body in [
        json!({}),
        json!({ "token": "" }),
        json!({ "token": 123_456 }),
        json!({ "token": { "$ne": null } }),
    ] {
        app.client
            .post("/api/auth/verify-email", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    app.client
        .post("/api/auth/verify-email", &verify(&code, "ada@example.com"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_new_code_replaces_the_old_one() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let first = app.code(&email_of("ada"), 1).await;
    app.advance_secs(30);

    let body = json!({ "email": "ADA@example.com" });
    app.client
        .post("/api/auth/resend-verification", &body)
        .await
        .expect(200);

    let second = app.code(&email_of("ada"), 2).await;
    if first != second {
        let old = verify(&first, &email_of("ada"));
        app.client
            .post("/api/auth/verify-email", &old)
            .await
            .expect_problem(400, "invalid_code");
    }
    app.client
        .post("/api/auth/verify-email", &verify(&second, &email_of("ada")))
        .await
        .expect(200);
}

#[tokio::test]
async fn asking_for_a_code_tells_nothing_about_accounts() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    app.user("bob", "enduser").await;
    app.advance_secs(60);

    let mut bodies = Vec::new();
    for email in [
        "ada@example.com",
        "bob@example.com",
        "nobody@example.com",
        "not an address",
    ] {
        let answer = app
            .client
            .post("/api/auth/resend-verification", &json!({ "email": email }))
            .await
            .expect(200);
        bodies.push(answer.body);
    }

    assert!(bodies.iter().all(|body| body == &bodies[0]));
    app.code(&email_of("ada"), 2).await;
    assert_eq!(app.mails_to(&email_of("bob")).len(), 1, "the one from signing up");
    for body in [
        json!({}),
        json!({ "email": " " }),
        json!({ "email": { "$gt": "" } }),
    ] {
        app.client
            .post("/api/auth/resend-verification", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
}

#[tokio::test]
async fn codes_cannot_be_had_without_end() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let ask = json!({ "email": "ada@example.com" });

    for number in 2..=10 {
        app.advance_secs(30);
        app.client
            .post("/api/auth/resend-verification", &ask)
            .await
            .expect(200);
        app.code(&email_of("ada"), number).await;
    }
    app.advance_secs(30);
    app.client
        .post("/api/auth/resend-verification", &ask)
        .await
        .expect(200);
    app.sign_up("last").await;
    app.code(&email_of("last"), 1).await;
    assert_eq!(app.mails_to(&email_of("ada")).len(), 10);

    app.advance_secs(24 * 3_600);
    app.client
        .post("/api/auth/resend-verification", &ask)
        .await
        .expect(200);
    app.code(&email_of("ada"), 11).await;
}

#[tokio::test]
async fn mails_still_waiting_are_sent_before_the_service_ends() {
    let app = TestApp::spawn().await;
    for number in 0..20 {
        app.sign_up(&format!("user{number}")).await;
    }
    app.lifecycle.stop();
    let sent = eventually("all mails", async || {
        let sent = (0..20)
            .filter(|number| !app.mails_to(&format!("user{number}@example.com")).is_empty())
            .count();
        (sent == 20).then_some(sent)
    });
    assert_eq!(sent.await, 20);
}
