//! What must not become a query.

use bson::doc;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp};

fn operators() -> Vec<Value> {
    vec![
        json!({ "$ne": null }),
        json!({ "$gt": "" }),
        json!({ "$regex": ".*" }),
        json!({ "$where": "sleep(1000)" }),
        json!(["ada", { "$ne": 1 }]),
        json!(true),
        json!(1),
    ]
}

#[tokio::test]
async fn operators_in_any_member_are_refused_and_change_nothing() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    app.sign_up("ada").await;
    let before = app.count("users", doc! {}).await;
    let role_path = format!("/api/admin/users/{}/role", root.id);

    let routes: [(&str, &str, &[&str]); 8] = [
        ("POST", "/api/auth/signup", &["username", "email", "password"]),
        ("POST", "/api/auth/verify-email", &["token", "email"]),
        ("POST", "/api/auth/resend-verification", &["email"]),
        ("POST", "/api/auth/login", &["username", "password"]),
        ("POST", "/api/auth/refresh", &["refreshToken"]),
        ("POST", "/api/auth/logout", &["refreshToken"]),
        (
            "POST",
            "/api/admin/users",
            &["username", "email", "password", "role"],
        ),
        ("PUT", &role_path, &["role"]),
    ];
    for (method, path, members) in routes {
        for member in members {
            for operator in operators() {
                let mut body = json!({
                    "username": "somebody", "email": "somebody@example.com", "password": PASSWORD,
                    "token": "000000", "refreshToken": "x", "role": "enduser",
                });
                body[member] = operator;
                let request = root.client.request(method.parse().unwrap(), path).json(&body);
                let answer = root.client.send(request).await;
                assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
                assert_eq!(answer.body["code"], "validation_failed", "{path} {body}");
            }
        }
    }
    assert_eq!(app.count("users", doc! {}).await, before);
    assert_eq!(app.count("users", doc! { "isVerified": true }).await, 1);
    root.client.get("/api/profile").await.expect(200);
}

#[tokio::test]
async fn operators_as_text_are_text() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    for login in [
        r#"{"$ne":null}"#,
        "$where",
        "' or 1=1 --",
        "ada\u{0}",
        ".*",
        "^ada$",
    ] {
        app.try_log_in(login, PASSWORD)
            .await
            .expect_problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let app = TestApp::spawn().await;
    let post = async |content_type: &str, body: Vec<u8>| {
        let request = app.client.request(reqwest::Method::POST, "/api/auth/login");
        app.client
            .send(request.header("content-type", content_type).body(body))
            .await
    };

    for body in ["{", "", "{\"username\":\"ada\",}", "\u{feff}{}", "NaN"] {
        post("application/json", body.into())
            .await
            .expect_problem(400, "malformed_json");
    }
    let followed = r#"{"username":"ada","password":"x"} {}"#;
    post("application/json", followed.into())
        .await
        .expect_problem(400, "malformed_json");
    post("application/json", vec![0xff, 0xfe, 0x00])
        .await
        .expect_problem(400, "malformed_json");
    let twice = r#"{"username":"ada","username":"bob","password":"x"}"#;
    post("application/json", twice.into())
        .await
        .expect_problem(400, "validation_failed");
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    post("application/json", deep.into()).await.expect(400);
    post(
        "application/x-www-form-urlencoded",
        b"username=ada&password=x".into(),
    )
    .await
    .expect_problem(415, "unsupported_media_type");
    let secret = r#"{"username":"ada","password":["s3cret-in-body"]}"#;
    let answer = post("application/json", secret.into())
        .await
        .expect_problem(400, "validation_failed");
    assert!(!answer.text.contains("s3cret"));
}
