//! Signing in and out.

use bson::doc;
use futures_util::future::join_all;
use serde_json::json;
use test_support::Answer;

use crate::support::{PASSWORD, TestApp, cookies_of, email_of, text};

#[tokio::test]
async fn a_sign_in_answers_with_tokens_and_the_user() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "supervisor").await;

    let answer = app.try_log_in("ada", PASSWORD).await.expect(200);

    assert_eq!(
        answer.body["user"],
        json!({ "id": ada.id, "username": "ada", "email": "ada@example.com", "isVerified": true, "role": "supervisor" })
    );
    assert!(answer.body["message"].is_string() && answer.body["refreshToken"].is_string());
    assert_eq!(answer.headers["cache-control"], "no-store");
    let claims = ada.claims(&app);
    assert_eq!(
        (claims.iss.as_str(), claims.sub.as_str()),
        ("flowgate", ada.id.as_str())
    );
    assert_eq!(claims.exp - claims.iat, 900);
    assert_eq!(
        (claims.username.as_str(), claims.email.as_str()),
        ("ada", "ada@example.com")
    );
    let header = ada.access.split('.').next().unwrap();
    let header = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("HS256"), &json!("at+jwt"))
    );
    assert!(header["kid"].is_string());
}

#[tokio::test]
async fn cookies_carry_the_same_tokens_as_safely_as_cookies_can() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;

    let answer = app.try_log_in("ada", PASSWORD).await.expect(200);

    let access = format!("accessToken={}; ", text(&answer.body["accessToken"]));
    let refresh = format!("refreshToken={}; ", text(&answer.body["refreshToken"]));
    let cookies = cookies_of(&answer);
    assert_eq!(cookies.len(), 2);
    assert!(
        cookies[0].starts_with(&access) && cookies[0].contains("Path=/;"),
        "{}",
        cookies[0]
    );
    assert!(cookies[0].contains("Max-Age=900"));
    assert!(
        cookies[1].starts_with(&refresh) && cookies[1].contains("Path=/api/auth;"),
        "{}",
        cookies[1]
    );
    assert!(cookies[1].contains("Max-Age=604800"));
    for cookie in cookies {
        for attribute in ["HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
    }
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_are_answered_alike() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    let shut = app.user("shut", "enduser").await;
    app.update_user(&shut.id, doc! { "isDisabled": true }).await;

    let alike = |answer: Answer| {
        let mut answer = answer.expect_problem(401, "invalid_credentials");
        assert_eq!(answer.body["error"], "Invalid credentials");
        answer.body["request_id"] = json!(null);
        let names: Vec<_> = answer
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        (answer.body, names)
    };
    let wrong = alike(app.try_log_in("ada", "another password 1").await);
    for (login, password) in [
        ("nobody", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("Ada", PASSWORD),
        ("shut", PASSWORD),
        ("ada", "x"),
        ("ada", "plenty of trees 9 "),
        ("ada@example.com", "another password 1"),
    ] {
        assert_eq!(alike(app.try_log_in(login, password).await), wrong, "{login}");
    }
    let long = alike(app.try_log_in("ada", &"x".repeat(50_000)).await);
    assert_eq!(long, wrong);
}

#[tokio::test]
async fn only_the_right_password_tells_that_an_address_is_unproven() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;

    app.try_log_in("ada", "another password 1")
        .await
        .expect_problem(401, "invalid_credentials");
    let answer = app
        .try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "email_not_verified");

    assert_eq!(answer.body["error"], "Email not verified");
    assert_eq!(app.count("sessions", doc! {}).await, 0);
}

#[tokio::test]
async fn a_sign_in_without_both_members_is_a_bad_request() {
    let app = TestApp::spawn().await;
    for body in [
        json!({}),
        json!({ "username": "ada" }),
        json!({ "password": PASSWORD }),
        json!({ "username": "", "password": PASSWORD }),
        json!({ "username": "ada", "password": "" }),
        json!({ "username": ["ada"], "password": PASSWORD }),
        json!({ "username": "ada", "password": { "$ne": "" } }),
    ] {
        app.client
            .post("/api/auth/login", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
}

#[tokio::test]
async fn seventy_two_bytes_are_all_told_apart() {
    let app = TestApp::spawn().await;
    let longest = "abcdefgh".repeat(9);
    let body = json!({ "username": "ada", "email": "ada@example.com", "password": longest });
    let id = text(&app.client.post("/api/auth/signup", &body).await.expect(201).body["userId"]);
    app.update_user(&id, doc! { "isVerified": true }).await;

    app.try_log_in("ada", &longest).await.expect(200);
    app.try_log_in("ada", &format!("{longest}X"))
        .await
        .expect_problem(401, "invalid_credentials");
    app.try_log_in("ada", &longest[..71])
        .await
        .expect_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn hashes_of_older_deployments_are_accepted_and_renewed() {
    let app = TestApp::spawn_with(|config| config.bcrypt_cost = 5).await;
    let ada = app.sign_up("ada").await;
    let older = bcrypt::hash(PASSWORD, 4).unwrap().replacen("$2b$", "$2a$", 1);
    app.update_user(&ada, doc! { "isVerified": true, "password": &older })
        .await;

    app.try_log_in("ada", "another password 1").await.expect(401);
    assert_eq!(
        app.find_user(&ada).await.unwrap().get_str("password").ok(),
        Some(older.as_str())
    );
    app.try_log_in("ada", PASSWORD).await.expect(200);

    let renewed = app.find_user(&ada).await.unwrap();
    assert!(renewed.get_str("password").unwrap().starts_with("$2b$05$"));
    app.try_log_in("ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn roles_written_by_scripts_are_read_and_survive() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "teacher").await;

    assert_eq!(ada.claims(&app).role, common_jwt::Role::EndUser);
    ada.client
        .put("/api/profile", &json!({ "username": "ada2" }))
        .await
        .expect(200);
    assert_eq!(
        app.find_user(&ada.id).await.unwrap().get_str("role").ok(),
        Some("teacher")
    );
    app.log_in("ada2").await;
}

#[tokio::test]
async fn documents_that_lack_what_scripts_leave_out_are_read() {
    let app = TestApp::spawn().await;
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let bare = doc! { "username": "bare", "email": "bare@example.com", "password": hash, "isVerified": true };
    app.users().insert_one(bare).await.unwrap();

    let bare = app.log_in("bare").await;

    let profile = bare.client.get("/api/profile").await.expect(200);
    assert_eq!(profile.body["user"]["role"], "enduser");
    assert_eq!(profile.body["user"]["__v"], 0);
    assert!(profile.body["user"]["createdAt"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn guessing_is_slowed_and_the_owner_is_never_locked_out() {
    let app = TestApp::spawn_with(|config| {
        config.trusted_proxies = common_http::TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await;
    app.user("ada", "enduser").await;
    let from = async |address: &str, password: &str| {
        let request = app.client.request(reqwest::Method::POST, "/api/auth/login");
        let body = json!({ "username": "ada", "password": password });
        app.client
            .send(request.header("x-forwarded-for", address).json(&body))
            .await
    };

    for _ in 0..5 {
        from("203.0.113.5", "another password 1")
            .await
            .expect_problem(401, "invalid_credentials");
    }
    let slowed = from("203.0.113.5", PASSWORD)
        .await
        .expect_problem(429, "too_many_attempts");
    assert!(
        slowed.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );

    from("198.51.100.7", PASSWORD).await.expect(200);
    app.advance_secs(2);
    from("203.0.113.5", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn more_sign_ins_than_can_wait_are_told_to_come_back() {
    let app = TestApp::spawn_with(|config| {
        config.bcrypt_cost = 10;
        config.hashing_threads = 1;
        config.hash_queue_max = 2;
    })
    .await;
    let ada = app.user("ada", "enduser").await;

    let answers = join_all((0..24).map(|_| app.try_log_in("ada", PASSWORD))).await;

    let busy: Vec<_> = answers
        .into_iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert!(!busy.is_empty());
    for answer in busy {
        assert_eq!(answer.headers["retry-after"], "1");
        answer.expect_problem(503, "busy");
    }
    ada.client.get("/api/dashboard").await.expect(200);
    app.log_in("ada").await;
}

#[tokio::test]
async fn the_oldest_session_goes_when_there_are_too_many() {
    let app = TestApp::spawn_with(|config| config.sessions_per_user_max = 3).await;
    let first = app.user("ada", "enduser").await;
    let other = app.user("bob", "enduser").await;
    let mut later = Vec::new();
    for _ in 0..3 {
        app.advance_secs(1);
        later.push(app.log_in("ada").await);
    }

    first
        .client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
    app.refresh(&first.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");
    for session in later.iter().chain([&other]) {
        session.client.get("/api/profile").await.expect(200);
    }
}

#[tokio::test]
async fn signing_out_ends_this_session_and_no_other() {
    let app = TestApp::spawn().await;
    let phone = app.user("ada", "enduser").await;
    let laptop = app.log_in("ada").await;

    let body = json!({ "refreshToken": phone.refresh });
    let answer = app.client.post("/api/auth/logout", &body).await.expect(200);

    assert_eq!(answer.body["message"], "Logout successful");
    for cookie in cookies_of(&answer) {
        assert!(cookie.contains("Max-Age=0"), "{cookie}");
    }
    phone
        .client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
    app.refresh(&phone.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");
    laptop.client.get("/api/profile").await.expect(200);
    app.client.post("/api/auth/logout", &body).await.expect(200);
}

#[tokio::test]
async fn signing_out_works_with_whatever_names_the_session() {
    let app = TestApp::spawn().await;
    let by_cookie = app.user("ada", "enduser").await;
    let by_access = app.log_in("ada").await;
    let by_stale = app.log_in("ada").await;
    let by_rubbish = app.log_in("ada").await;

    let request = app.client.request(reqwest::Method::POST, "/api/auth/logout");
    let cookie = format!("refreshToken={}", by_cookie.refresh);
    app.client
        .send(request.header("cookie", cookie))
        .await
        .expect(200);
    by_cookie.client.get("/api/profile").await.expect(401);

    by_access
        .client
        .send(
            by_access
                .client
                .request(reqwest::Method::POST, "/api/auth/logout"),
        )
        .await
        .expect(200);
    by_access.client.get("/api/profile").await.expect(401);

    let rubbish = json!({ "refreshToken": "rubbish" });
    by_rubbish
        .client
        .post("/api/auth/logout", &rubbish)
        .await
        .expect(200);
    by_rubbish.client.get("/api/profile").await.expect(401);

    app.refresh(&by_stale.refresh).await.expect(200);
    let used = json!({ "refreshToken": by_stale.refresh });
    app.client.post("/api/auth/logout", &used).await.expect(200);
    by_stale.client.get("/api/profile").await.expect(401);
}

#[tokio::test]
async fn signing_out_of_nothing_is_fine_and_ends_nothing() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;

    for body in [
        json!({}),
        json!({ "refreshToken": null }),
        json!({ "refreshToken": "rubbish" }),
        json!({ "refreshToken": ada.access }),
    ] {
        let answer = app.client.post("/api/auth/logout", &body).await.expect(200);
        assert_eq!(answer.body["message"], "Logout successful");
    }
    let empty = app.client.request(reqwest::Method::POST, "/api/auth/logout");
    app.client.send(empty).await.expect(200);
    let bad = app.client.with_token("rubbish");
    bad.send(bad.request(reqwest::Method::POST, "/api/auth/logout"))
        .await
        .expect(200);
    app.client
        .post("/api/auth/logout", &json!({ "refreshToken": { "$ne": null } }))
        .await
        .expect(400);

    ada.client.get("/api/profile").await.expect(200);
    app.refresh(&ada.refresh).await.expect(200);
}

#[tokio::test]
async fn signing_out_everywhere_ends_the_callers_sessions_only() {
    let app = TestApp::spawn().await;
    let phone = app.user("ada", "enduser").await;
    let laptop = app.log_in("ada").await;
    let bob = app.user("bob", "enduser").await;

    phone
        .client
        .post("/api/auth/logout-all", &json!({}))
        .await
        .expect(200);

    for session in [&phone, &laptop] {
        session
            .client
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
        app.refresh(&session.refresh)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    bob.client.get("/api/profile").await.expect(200);
    app.log_in("ada")
        .await
        .client
        .get("/api/profile")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_new_sign_in_is_a_new_session() {
    let app = TestApp::spawn().await;
    let first = app.user("ada", "enduser").await;
    let second = app.log_in(&email_of("ada")).await;
    assert_ne!(first.claims(&app).sid, second.claims(&app).sid);
    assert_ne!(first.refresh, second.refresh);
}

#[tokio::test]
async fn refresh_tokens_are_stored_as_hashes_only() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.refresh(&ada.refresh).await.expect(200);

    let row = app
        .collection("sessions")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap()
        .to_string();

    for part in ada.refresh.split('.').chain([ada.refresh.as_str()]) {
        assert!(!row.contains(part), "{row}");
    }
}
